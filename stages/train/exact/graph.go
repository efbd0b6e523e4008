package exact

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/notimplemented"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// node is one value of a graph. What an operation needs to know besides its operands
// is in its lowering, the function that turns it into steps of a plan.
type node struct {
	builder *builder
	op      compute.OpType
	shape   shapes.Shape
	in      []*node

	// Exactly one of the following says how the value comes about.
	parameter int                 // index of the parameter, for OpTypeParameter
	constant  *program.Chunk      // its bytes
	alias     bool                // it is the operand under another shape
	view      *steps.View         // it is a strided look at the operand
	kernel    kernels.Elementwise // it is computed element by element
	lower     func(p *plan)       // it is computed by steps of its own

	pooling     *pooling     // of a maximum over windows; nil for all else
	convolution *convolution // of a convolution; nil for all else
}

// builder builds one graph.
type builder struct {
	backend  *Backend
	name     string
	main     *function
	compiled bool
}

func newBuilder(b *Backend, name string) *builder {
	built := &builder{backend: b, name: name}
	built.main = &function{builder: built}
	built.main.Function = notimplemented.Function{ErrFn: func(op compute.OpType) error { return unsupported(op.String()) }}
	return built
}

func unsupported(what string) error {
	return fmt.Errorf("exact backend: operation %s: %w", what, compute.ErrNotImplemented)
}

func (b *builder) Name() string { return b.name }

func (b *builder) Main() compute.Function { return b.main }

func (b *builder) NewFunction(name string) (compute.Function, error) {
	return nil, unsupported("function " + name)
}

func (b *builder) OpShape(op compute.Value) (shapes.Shape, error) { return b.main.Shape(op) }

func (b *builder) DistributedSPMD(n int) error {
	if n != 1 {
		return unsupported("distribution over several devices")
	}
	return nil
}

func (b *builder) DistributedAutoSharding(...compute.Mesh) error {
	return unsupported("automatic sharding")
}

func (b *builder) DeviceAssignment(devices ...compute.DeviceNum) error {
	if len(devices) != 1 || devices[0] != 0 {
		return fmt.Errorf("exact backend: devices %v: there is only device 0", devices)
	}
	return nil
}

func (b *builder) Compile() (compute.Executable, error) {
	if b.compiled {
		return nil, fmt.Errorf("exact backend: compile %s: it was compiled before", b.name)
	}
	if !b.main.returned {
		return nil, fmt.Errorf("exact backend: compile %s: its main function does not return", b.name)
	}
	b.compiled = true
	return newExecutable(b)
}

// function is the main function of a graph. Its methods check shapes and types; what
// they accept can be compiled and run.
type function struct {
	notimplemented.Function // refuses, by name, every operation that is not here

	builder    *builder
	parameters []*node
	names      []string
	outputs    []*node
	returned   bool
}

var _ compute.Function = (*function)(nil)

func (f *function) Name() string { return compute.MainName }

func (f *function) Builder() compute.Builder { return f.builder }

func (f *function) Closure() (compute.Function, error) { return nil, unsupported("closure") }

func (f *function) Call(compute.Function, ...compute.Value) ([]compute.Value, error) {
	return nil, unsupported("Call")
}

func (f *function) Shape(v compute.Value) (shapes.Shape, error) {
	n, err := f.value(v)
	if err != nil {
		return shapes.Invalid(), err
	}
	return n.shape, nil
}

var errForeign = errors.New("exact backend: the value is not one of this graph")

// value returns the node behind a value of this graph.
func (f *function) value(v compute.Value) (*node, error) {
	n, ok := v.(*node)
	if !ok || n == nil || n.builder != f.builder {
		return nil, errForeign
	}
	return n, nil
}

func (f *function) values(list ...compute.Value) ([]*node, error) {
	if f.returned {
		return nil, fmt.Errorf("exact backend: graph %s: an operation after its return", f.builder.name)
	}
	nodes := make([]*node, len(list))
	for i, v := range list {
		n, err := f.value(v)
		if err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

func (f *function) node(op compute.OpType, shape shapes.Shape, in ...*node) *node {
	return &node{builder: f.builder, op: op, shape: shape, in: in}
}

func (f *function) Parameter(name string, shape shapes.Shape, sharding *compute.ShardingSpec) (compute.Value, error) {
	if sharding != nil {
		return nil, unsupported("sharding")
	}
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	if _, err := f.values(); err != nil {
		return nil, err
	}
	n := f.node(compute.OpTypeParameter, shape.Clone())
	n.parameter = len(f.parameters)
	f.parameters = append(f.parameters, n)
	f.names = append(f.names, name)
	return n, nil
}

func (f *function) Constant(flat any, dims ...int) (compute.Value, error) {
	dtype := dtypeOf(flat)
	if !types[dtype] {
		return nil, fmt.Errorf("exact backend: constant of %T: %w", flat, compute.ErrNotImplemented)
	}
	data, err := flatBytes(flat, shapes.Make(dtype, dims...))
	if err != nil {
		return nil, err
	}
	return f.constant(data, shapes.Make(dtype, dims...)), nil
}

func (f *function) constant(data []byte, shape shapes.Shape) *node {
	n := f.node(compute.OpTypeConstant, shape)
	n.constant = program.NewChunk(len(data))
	copy(unsafe.Slice((*byte)(n.constant.Base()), len(data)), data)
	return n
}

func (f *function) Return(outputs []compute.Value, shardings []*compute.ShardingSpec) error {
	for _, s := range shardings {
		if s != nil {
			return unsupported("sharding")
		}
	}
	nodes, err := f.values(outputs...)
	if err != nil {
		return err
	}
	f.outputs, f.returned = nodes, true
	return nil
}

// one turns the results of a construction into what the interface's methods return:
// without it a nil *node would become a compute.Value that is not nil.
func one(n *node, err error) (compute.Value, error) {
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (f *function) aliasOf(op compute.OpType, x *node, shape shapes.Shape) *node {
	n := f.node(op, shape, x)
	n.alias = true
	return n
}

func (f *function) viewOf(op compute.OpType, x *node, shape shapes.Shape, v steps.View) *node {
	n := f.node(op, shape, x)
	n.view = &v
	return n
}

package exact

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// executable is a compiled graph. It may be executed from many goroutines.
type executable struct {
	backend *Backend
	name    string
	program *program.Program
	names   []string
	inputs  []shapes.Shape
	outputs []shapes.Shape
}

var _ compute.Executable = (*executable)(nil)

func newExecutable(b *builder) (compute.Executable, error) {
	if b.backend.IsFinalized() {
		return nil, errFinalized
	}
	e := &executable{backend: b.backend, name: b.name, names: b.main.names, program: newProgram(b.backend, b.main.outputs)}
	for _, n := range b.main.parameters {
		e.inputs = append(e.inputs, n.shape)
	}
	for _, n := range b.main.outputs {
		e.outputs = append(e.outputs, n.shape)
	}
	return e, nil
}

// Finalize lets the memory between runs go.
func (e *executable) Finalize() { e.program.Close() }

func (e *executable) Inputs() ([]string, []shapes.Shape) {
	return slices.Clone(e.names), slices.Clone(e.inputs)
}

func (e *executable) Outputs() []shapes.Shape { return slices.Clone(e.outputs) }

// Execute implements compute.Executable. A donated buffer is given back to the
// backend when the execution ends. It allocates what it returns, the list and the
// buffers' headers, and nothing else: their memory is that of buffers that were
// finalized.
func (e *executable) Execute(inputs []compute.Buffer, donate []bool, _ compute.DeviceNum) ([]compute.Buffer, error) {
	if e.backend.IsFinalized() {
		return nil, errFinalized
	}
	if len(inputs) != len(e.inputs) || (donate != nil && len(donate) != len(inputs)) {
		return nil, fmt.Errorf("exact backend: execute %s: %d inputs and %d donations: want %d inputs",
			e.name, len(inputs), len(donate), len(e.inputs))
	}
	r := e.program.Start()
	defer e.program.End(r)
	for i := range inputs {
		c, err := e.input(i, inputs[i])
		if err != nil {
			return nil, fmt.Errorf("exact backend: execute %s: input %s: %w", e.name, e.names[i], err)
		}
		e.program.SetInput(r, i, c.Base())
	}
	outputs, headers := make([]compute.Buffer, len(e.outputs)), make([]buffer, len(e.outputs))
	for i, shape := range e.outputs {
		b := &headers[i]
		b.backend, b.shape = e.backend, shape
		c := e.backend.memory.Take(byteSize(shape))
		b.chunk.Store(c)
		outputs[i] = b
		e.program.SetOutput(r, i, c.Base())
	}
	e.program.Do(r)
	for i, d := range donate {
		if d {
			_ = inputs[i].Finalize() // a buffer of ours, which never fails
		}
	}
	return outputs, nil
}

// input returns the memory of the i-th input.
func (e *executable) input(i int, in compute.Buffer) (*program.Chunk, error) {
	b, ok := in.(*buffer)
	if !ok || b.backend != e.backend {
		return nil, fmt.Errorf("%T is not a buffer of this backend", in)
	}
	if !b.shape.Equal(e.inputs[i]) {
		return nil, fmt.Errorf("shape %s, want %s", b.shape, e.inputs[i])
	}
	c := b.chunk.Load()
	if c == nil {
		return nil, errGone
	}
	return c, nil
}

package exact

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

func (f *function) ConvGeneral(input, kernel compute.Value, axes compute.ConvolveAxesConfig, strides []int, paddings [][2]int, inputDilations, kernelDilations []int, channelGroups, batchGroups int) (compute.Value, error) {
	in, err := f.values(input, kernel)
	if err != nil {
		return nil, err
	}
	channelGroups, batchGroups = max(1, channelGroups), max(1, batchGroups)
	shape, err := shapeinference.ConvGeneral(in[0].shape, in[1].shape, axes, strides, paddings, inputDilations, kernelDilations, channelGroups, batchGroups)
	if err != nil {
		return nil, err
	}
	if dtype := shape.DType; dtype.IsHalfPrecision() {
		return one(f.widened(dtype, func(wide []compute.Value) (compute.Value, error) {
			return f.ConvGeneral(wide[0], wide[1], axes, strides, paddings, inputDilations, kernelDilations, channelGroups, batchGroups)
		}, in...))
	}
	ones := slices.Repeat([]int{1}, len(axes.InputSpatial))
	c := &convolution{
		input: in[0], axes: axes.Clone(), strides: steps.OrElse(strides, ones), dilations: steps.OrElse(kernelDilations, ones),
		holes: steps.OrElse(inputDilations, ones), paddings: slices.Clone(paddings),
		channelGroups: channelGroups, batchGroups: batchGroups, output: shape, kernel: in[1].shape,
	}
	padded, changed := c.around(in[0].shape)
	if err := checkContraction(compute.OpTypeConvGeneral, padded, in[1].shape, shape); err != nil {
		return nil, err
	}
	x := in[0]
	if changed {
		// Zeros are laid around the picture for good: a chain then has the same length
		// at its edge, and the kernels no conditions.
		zero := f.constant(make([]byte, shape.DType.Size()), shapes.Make(shape.DType))
		x = f.node(compute.OpTypePad, padded, in[0], zero)
		x.lower = func(p *plan) {
			from, value := p.slot(in[0]), p.slot(zero)
			steps.Pad(&p.Plan, p.result(x), from, value, in[0].shape, padded, c.padding)
		}
	}
	n := f.node(compute.OpTypeConvGeneral, shape, x, in[1])
	n.convolution = c
	n.lower = func(p *plan) { p.contraction(n).Plan(&p.Plan, shape.DType) }
	return n, nil
}

// contraction plans the operands of a convolution and says how it is a contraction.
func (p *plan) contraction(n *node) *steps.Contraction {
	t := &steps.Contraction{A: p.slot(n.in[0]), B: p.slot(n.in[1]), C: p.result(n)}
	n.convolution.lay(t, n.in[0].shape)
	return t
}

// convolution says how a convolution is a contraction.
type convolution struct {
	input                      *node // before padding
	axes                       compute.ConvolveAxesConfig
	strides, dilations, holes  []int
	paddings                   [][2]int
	channelGroups, batchGroups int
	output, kernel             shapes.Shape
	padding                    []compute.PadAxis
}

// around returns the input's shape with its padding and holes.
func (c *convolution) around(input shapes.Shape) (shapes.Shape, bool) {
	padded, changed := input.Clone(), false
	c.padding = make([]compute.PadAxis, input.Rank())
	for i, axis := range c.axes.InputSpatial {
		pad := compute.PadAxis{Interior: c.holes[i] - 1}
		if len(c.paddings) > 0 {
			pad.Start, pad.End = c.paddings[i][0], c.paddings[i][1]
		}
		c.padding[axis] = pad
		changed = changed || pad != compute.PadAxis{}
		size := input.Dimensions[axis]
		padded.Dimensions[axis] = size + max(0, size-1)*pad.Interior + pad.Start + pad.End
	}
	return padded, changed
}

// dimension is one axis of a contraction: its length, and how far apart its elements
// are in each operand that has it.
type dimension struct{ length, a, b, c int }

// lay fills in a contraction's offsets.
//
// Rows are the pictures and places of the output, columns its channels, the depth the
// window and the input's channels. Groups are the contraction's batch. Rows and depth go
// in the order in which they lie in the input, so that a chain reads forward.
func (c *convolution) lay(t *steps.Contraction, input shapes.Shape) {
	a, b, out := steps.Strides(input.Dimensions), steps.Strides(c.kernel.Dimensions), steps.Strides(c.output.Dimensions)
	x := c.axes
	groups := c.channelGroups * c.batchGroups
	filters := c.kernel.Dimensions[x.KernelOutputChannels] / groups
	channels := c.kernel.Dimensions[x.KernelInputChannels]
	batch := input.Dimensions[x.InputBatch] / c.batchGroups

	group := dimension{length: groups, b: filters * b[x.KernelOutputChannels], c: filters * out[x.OutputChannels]}
	if c.batchGroups > 1 {
		group.a = batch * a[x.InputBatch]
	} else {
		group.a = channels * a[x.InputChannels]
	}
	rows := []dimension{{length: batch, a: a[x.InputBatch], c: out[x.OutputBatch]}}
	deep := []dimension{{length: channels, a: a[x.InputChannels], b: b[x.KernelInputChannels]}}
	for i, axis := range x.InputSpatial {
		rows = append(rows, dimension{length: c.output.Dimensions[x.OutputSpatial[i]], a: a[axis] * c.strides[i], c: out[x.OutputSpatial[i]]})
		deep = append(deep, dimension{length: c.kernel.Dimensions[x.KernelSpatial[i]], a: a[axis] * c.dilations[i], b: b[x.KernelSpatial[i]]})
	}
	forward := func(p, q dimension) int { return q.a - p.a }
	slices.SortStableFunc(rows, forward)
	slices.SortStableFunc(deep, forward)
	cols := []dimension{{length: filters, b: b[x.KernelOutputChannels], c: out[x.OutputChannels]}}

	inA, inB, inC := func(d dimension) int { return d.a }, func(d dimension) int { return d.b }, func(d dimension) int { return d.c }
	t.ABatch, t.BBatch, t.CBatch = spread([]dimension{group}, inA), spread([]dimension{group}, inB), spread([]dimension{group}, inC)
	t.ARow, t.CRow = spread(rows, inA), spread(rows, inC)
	t.ADepth, t.BDepth = spread(deep, inA), spread(deep, inB)
	t.BCol, t.CCol = spread(cols, inB), spread(cols, inC)
}

func spread(list []dimension, stride func(dimension) int) []int32 {
	lengths, strides := make([]int, len(list)), make([]int, len(list))
	for i, d := range list {
		lengths[i], strides[i] = d.length, stride(d)
	}
	return steps.Offsets(lengths, strides)
}

// regroup turns convolutions of the slices of one tensor, concatenated along their
// channels, into one grouped convolution: the same chains, of which gomlx makes one
// convolution a group when it derives the gradients of a grouped convolution. It returns
// nil where it does not find that.
func (f *function) regroup(axis int, in []*node) (compute.Value, error) {
	if len(in) < 2 {
		return nil, nil
	}
	first := in[0].convolution
	inputs, kernels := make([]*node, len(in)), make([]*node, len(in))
	for i, n := range in {
		c := n.convolution
		if c == nil || axis != c.axes.OutputChannels || !c.sameAs(first) || !n.shape.Equal(in[0].shape) ||
			!n.in[1].shape.Equal(in[0].in[1].shape) || !c.input.shape.Equal(first.input.shape) {
			return nil, nil
		}
		inputs[i], kernels[i] = c.input, n.in[1]
	}
	kernel, err := f.joined(first.axes.KernelOutputChannels, kernels)
	if kernel == nil || err != nil {
		return nil, err
	}
	call := func(input *node, channelGroups, batchGroups int) (compute.Value, error) {
		return f.ConvGeneral(input, kernel, first.axes, first.strides, first.paddings, first.holes, first.dilations, channelGroups, batchGroups)
	}
	if x := sliced(first.axes.InputChannels, inputs); x != nil {
		return call(x, len(in), 1)
	}
	if x := sliced(first.axes.InputBatch, inputs); x != nil {
		return call(x, 1, len(in))
	}
	return nil, nil
}

// sameAs says whether two convolutions, without groups, differ in their operands only.
func (c *convolution) sameAs(o *convolution) bool {
	same := func(a, b compute.ConvolveAxesConfig) bool {
		return a.InputBatch == b.InputBatch && a.InputChannels == b.InputChannels && slices.Equal(a.InputSpatial, b.InputSpatial) &&
			a.KernelInputChannels == b.KernelInputChannels && a.KernelOutputChannels == b.KernelOutputChannels && slices.Equal(a.KernelSpatial, b.KernelSpatial) &&
			a.OutputBatch == b.OutputBatch && a.OutputChannels == b.OutputChannels && slices.Equal(a.OutputSpatial, b.OutputSpatial)
	}
	return o != nil && c.channelGroups*c.batchGroups*o.channelGroups*o.batchGroups == 1 && same(c.axes, o.axes) &&
		slices.Equal(c.strides, o.strides) && slices.Equal(c.dilations, o.dilations) && slices.Equal(c.holes, o.holes) && slices.Equal(c.paddings, o.paddings)
}

// sliced returns the tensor that a list of nodes, of one shape, are the slices of, one
// after the other along an axis, or nil.
func sliced(axis int, parts []*node) *node {
	if parts[0].op != compute.OpTypeSlice {
		return nil
	}
	whole, shape := parts[0].in[0], parts[0].shape.Clone()
	strides := steps.Strides(whole.shape.Dimensions)
	for i, n := range parts {
		if n.op != compute.OpTypeSlice || n.in[0] != whole || !slices.Equal(n.view.Strides, strides) || n.view.Offset != i*shape.Dimensions[axis]*strides[axis] {
			return nil
		}
	}
	shape.Dimensions[axis] *= len(parts)
	if !shape.Equal(whole.shape) {
		return nil
	}
	return whole
}

// joined concatenates along an axis. Where the parts are the slices of one tensor,
// maybe reversed, it takes that instead.
func (f *function) joined(axis int, parts []*node) (*node, error) {
	if parts[0].op == compute.OpTypeReverse {
		return f.joinedReversed(axis, parts)
	}
	for from := range parts[0].shape.Rank() {
		if whole := sliced(from, parts); whole != nil {
			return f.moved(whole, from, axis, len(parts))
		}
	}
	operands := make([]compute.Value, len(parts))
	for i, n := range parts {
		operands[i] = n
	}
	v, err := f.Concatenate(axis, operands...)
	if err != nil {
		return nil, err
	}
	return f.value(v)
}

func (f *function) joinedReversed(axis int, parts []*node) (*node, error) {
	straight := make([]*node, len(parts))
	for i, n := range parts {
		if n.op != compute.OpTypeReverse || n.view.Offset != parts[0].view.Offset || !slices.Equal(n.view.Strides, parts[0].view.Strides) {
			return nil, nil
		}
		straight[i] = n.in[0]
	}
	var reversed []int
	for a, s := range parts[0].view.Strides {
		if s < 0 {
			reversed = append(reversed, a)
		}
	}
	if slices.Contains(reversed, axis) {
		return nil, nil
	}
	whole, err := f.joined(axis, straight)
	if whole == nil || err != nil {
		return whole, err
	}
	v, err := f.Reverse(whole, reversed...)
	if err != nil {
		return nil, err
	}
	return f.value(v)
}

// moved cuts a tensor along one axis into parts and lays them side by side along
// another.
func (f *function) moved(x *node, from, to, parts int) (*node, error) {
	if from == to {
		return x, nil
	}
	dims := slices.Clone(x.shape.Dimensions)
	dims[from] /= parts
	result := slices.Clone(dims)
	result[to] *= parts
	split := slices.Insert(slices.Clone(dims), from, parts)
	order := steps.Others(len(split), []int{from})
	order = slices.Insert(order, to, from) // before what was axis to
	v, err := f.Reshape(x, split...)
	if err != nil {
		return nil, err
	}
	if v, err = f.Transpose(v, order...); err != nil {
		return nil, err
	}
	if v, err = f.Reshape(v, result...); err != nil {
		return nil, err
	}
	return f.value(v)
}

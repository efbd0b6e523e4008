package exact

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
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
		axes: axes.Clone(), strides: orElse(strides, ones), dilations: orElse(kernelDilations, ones),
		channelGroups: channelGroups, batchGroups: batchGroups, output: shape, kernel: in[1].shape,
	}
	padded, changed := c.around(in[0].shape, paddings, orElse(inputDilations, ones))
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
			p.pad(p.result(x), from, value, in[0].shape, padded, c.padding)
		}
	}
	n := f.node(compute.OpTypeConvGeneral, shape, x, in[1])
	n.lower = func(p *plan) {
		t := &contraction{a: p.slot(x), b: p.slot(in[1])}
		t.c = p.result(n)
		c.lay(t, x.shape)
		t.contract(p, shape.DType)
	}
	return n, nil
}

// convolution says how a convolution is a contraction.
type convolution struct {
	axes                       compute.ConvolveAxesConfig
	strides, dilations         []int
	channelGroups, batchGroups int
	output, kernel             shapes.Shape
	padding                    []compute.PadAxis
}

// around returns the input's shape with its padding and holes.
func (c *convolution) around(input shapes.Shape, paddings [][2]int, holes []int) (shapes.Shape, bool) {
	padded, changed := input.Clone(), false
	c.padding = make([]compute.PadAxis, input.Rank())
	for i, axis := range c.axes.InputSpatial {
		pad := compute.PadAxis{Interior: holes[i] - 1}
		if len(paddings) > 0 {
			pad.Start, pad.End = paddings[i][0], paddings[i][1]
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
func (c *convolution) lay(t *contraction, input shapes.Shape) {
	a, b, out := steps(input.Dimensions), steps(c.kernel.Dimensions), steps(c.output.Dimensions)
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
	t.aBatch, t.bBatch, t.cBatch = spread([]dimension{group}, inA), spread([]dimension{group}, inB), spread([]dimension{group}, inC)
	t.aRow, t.cRow = spread(rows, inA), spread(rows, inC)
	t.aDepth, t.bDepth = spread(deep, inA), spread(deep, inB)
	t.bCol, t.cCol = spread(cols, inB), spread(cols, inC)
}

func spread(list []dimension, stride func(dimension) int) []int32 {
	lengths, strides := make([]int, len(list)), make([]int, len(list))
	for i, d := range list {
		lengths[i], strides[i] = d.length, stride(d)
	}
	return offsets(lengths, strides)
}

// BatchNormForInference implements compute.StandardOps, spelled out in operations that
// are here anyway.
func (f *function) BatchNormForInference(operand, scale, offset, mean, variance compute.Value, epsilon float32, axis int) (compute.Value, error) {
	e, err := f.normalization(operand, epsilon, axis)
	if err != nil {
		return nil, err
	}
	result := e.add(e.mul(e.mul(e.sub(operand, e.wide(mean)), e.wide(e.rsqrt(variance))), e.wide(scale)), e.wide(offset))
	return result, e.err
}

func (f *function) BatchNormForTraining(operand, scale, offset compute.Value, epsilon float32, axis int) (normalized, mean, variance compute.Value, err error) {
	e, err := f.normalization(operand, epsilon, axis)
	if err != nil {
		return nil, nil, nil, err
	}
	mean = e.mean(operand)
	centred := e.sub(operand, e.wide(mean))
	variance = e.mean(e.mul(centred, centred))
	normalized = e.add(e.mul(e.mul(centred, e.wide(e.rsqrt(variance))), e.wide(scale)), e.wide(offset))
	return normalized, mean, variance, e.err
}

func (f *function) BatchNormGradient(operand, scale, mean, variance, gradient compute.Value, epsilon float32, axis int) (byOperand, byScale, byOffset compute.Value, err error) {
	e, err := f.normalization(operand, epsilon, axis)
	if err != nil {
		return nil, nil, nil, err
	}
	inverse := e.rsqrt(variance)
	standard := e.mul(e.sub(operand, e.wide(mean)), e.wide(inverse))
	byOffset = e.sum(gradient)
	byScale = e.sum(e.mul(gradient, standard))
	// The mean and the variance depend on the operand too.
	left := e.sub(e.sub(gradient, e.wide(e.mean(gradient))), e.mul(standard, e.wide(e.mean(e.mul(gradient, standard)))))
	byOperand = e.mul(left, e.wide(e.mul(scale, inverse)))
	return byOperand, byScale, byOffset, e.err
}

// expression builds on a function and keeps the first error.
type expression struct {
	f       *function
	shape   shapes.Shape
	axis    int
	epsilon compute.Value
	count   compute.Value // elements of a feature
	err     error
}

func (f *function) normalization(operand compute.Value, epsilon float32, axis int) (*expression, error) {
	in, err := f.values(operand)
	if err != nil {
		return nil, err
	}
	shape := in[0].shape
	if axis < 0 || axis >= shape.Rank() || !shape.DType.IsFloat() {
		return nil, unsupported("batch normalization of " + shape.String())
	}
	count := float32(shape.Size() / max(1, shape.Dimensions[axis]))
	e := &expression{f: f, shape: shape, axis: axis}
	e.epsilon, e.count = e.scalar(epsilon), e.scalar(count)
	return e, e.err
}

func (e *expression) scalar(v float32) compute.Value {
	c, err := e.f.Constant([]float32{v})
	return e.keep(e.keep(c, err), nil, func(x compute.Value) (compute.Value, error) { return e.f.ConvertDType(x, e.shape.DType) })
}

// keep notes an error, or goes on with the functions that follow.
func (e *expression) keep(v compute.Value, err error, then ...func(compute.Value) (compute.Value, error)) compute.Value {
	for _, next := range then {
		if e.err == nil && err == nil {
			v, err = next(v)
		}
	}
	if e.err == nil {
		e.err = err
	}
	return v
}

func (e *expression) apply(op func(a, b compute.Value) (compute.Value, error), a, b compute.Value) compute.Value {
	if e.err != nil {
		return nil
	}
	return e.keep(op(a, b))
}

func (e *expression) add(a, b compute.Value) compute.Value { return e.apply(e.f.Add, a, b) }
func (e *expression) sub(a, b compute.Value) compute.Value { return e.apply(e.f.Sub, a, b) }
func (e *expression) mul(a, b compute.Value) compute.Value { return e.apply(e.f.Mul, a, b) }

func (e *expression) rsqrt(variance compute.Value) compute.Value {
	return e.keep(e.add(variance, e.epsilon), nil, e.f.Rsqrt)
}

func (e *expression) sum(x compute.Value) compute.Value {
	return e.keep(x, nil, func(x compute.Value) (compute.Value, error) {
		return e.f.ReduceSum(x, others(e.shape.Rank(), []int{e.axis})...)
	})
}

func (e *expression) mean(x compute.Value) compute.Value {
	return e.apply(e.f.Div, e.sum(x), e.count)
}

// wide repeats one value for each feature over the operand's shape.
func (e *expression) wide(x compute.Value) compute.Value {
	return e.keep(x, nil, func(x compute.Value) (compute.Value, error) {
		return e.f.BroadcastInDim(x, withType(e.shape, dtypesOf(e)), []int{e.axis})
	})
}

func dtypesOf(e *expression) dtypes.DType { return e.shape.DType }

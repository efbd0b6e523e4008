package exact

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

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
		return e.f.ReduceSum(x, steps.Others(e.shape.Rank(), []int{e.axis})...)
	})
}

func (e *expression) mean(x compute.Value) compute.Value {
	return e.apply(e.f.Div, e.sum(x), e.count)
}

// wide repeats one value for each feature over the operand's shape.
func (e *expression) wide(x compute.Value) compute.Value {
	return e.keep(x, nil, func(x compute.Value) (compute.Value, error) {
		return e.f.BroadcastInDim(x, e.shape, []int{e.axis})
	})
}

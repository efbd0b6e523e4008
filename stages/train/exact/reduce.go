package exact

import (
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

func (f *function) ReduceSum(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceSum, compute.OpTypeAdd, x, axes)
}

func (f *function) ReduceProduct(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceProduct, compute.OpTypeMul, x, axes)
}

func (f *function) ReduceMax(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceMax, compute.OpTypeMax, x, axes)
}

func (f *function) ReduceMin(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceMin, compute.OpTypeMin, x, axes)
}

func (f *function) ReduceBitwiseAnd(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseAnd, compute.OpTypeBitwiseAnd, x, axes)
}

func (f *function) ReduceBitwiseOr(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseOr, compute.OpTypeBitwiseOr, x, axes)
}

func (f *function) ReduceBitwiseXor(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseXor, compute.OpTypeBitwiseXor, x, axes)
}

func (f *function) ReduceLogicalAnd(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalAnd, compute.OpTypeLogicalAnd, x, axes)
}

func (f *function) ReduceLogicalOr(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalOr, compute.OpTypeLogicalOr, x, axes)
}

func (f *function) ReduceLogicalXor(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalXor, compute.OpTypeLogicalXor, x, axes)
}

// neutral returns the bytes of the value that changes nothing when combined.
func neutral(with compute.OpType, dtype dtypes.DType) []byte {
	v := reflect.New(dtype.GoType())
	data := unsafe.Slice((*byte)(v.UnsafePointer()), dtype.Size())
	switch with {
	case compute.OpTypeMul:
		v.Elem().Set(reflect.ValueOf(1).Convert(dtype.GoType()))
	case compute.OpTypeMax:
		v.Elem().Set(reflect.ValueOf(dtype.LowestValue()))
	case compute.OpTypeMin:
		v.Elem().Set(reflect.ValueOf(dtype.HighestValue()))
	case compute.OpTypeBitwiseAnd:
		for i := range data {
			data[i] = 0xFF
		}
	case compute.OpTypeLogicalAnd:
		data[0] = 1
	}
	return data
}

// reduce combines the elements along some axes, in an order that shapes decide. No axes
// mean all of them.
func (f *function) reduce(op, with compute.OpType, x compute.Value, axes []int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	rank, dtype := in[0].shape.Rank(), in[0].shape.DType
	if len(axes) == 0 {
		axes = steps.Others(rank)
	}
	shape, err := shapeinference.Reduce(in[0].shape, axes)
	if err != nil {
		return nil, err
	}
	if dtype.IsHalfPrecision() {
		return one(f.widened(dtype, func(wide []compute.Value) (compute.Value, error) {
			return f.reduce(op, with, wide[0], axes)
		}, in[0]))
	}
	k := f.kernelFor(with, dtype)
	if k == nil {
		return nil, unsupported(fmt.Sprintf("%s on %s", op, dtype))
	}
	n := f.node(op, shape, in[0])
	n.lower = func(p *plan) {
		r := &steps.Reduction{From: p.slot(in[0]), To: p.result(n), Zero: neutral(with, dtype), Kernel: k, Fold: kernels.Fold(with, dtype)}
		keep := steps.Others(rank, axes)
		r.Lay(in[0].shape, keep, steps.Others(rank, keep))
		if with == compute.OpTypeAdd && dtype == dtypes.Float32 && byteSize(in[0].shape) <= math.MaxInt32 {
			r.PlanSum(&p.Plan)
		} else {
			r.Plan(&p.Plan)
		}
	}
	return n, nil
}

func (f *function) ArgMinMax(x compute.Value, axis int, output dtypes.DType, least bool) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if in[0].shape.DType.IsHalfPrecision() {
		in[0] = f.convert(in[0], dtypes.Float32)
	}
	shape, err := shapeinference.ArgMinMax(in[0].shape, axis, output)
	if err != nil {
		return nil, err
	}
	if !output.IsInt() || in[0].shape.DType == dtypes.Bool {
		return nil, unsupported(fmt.Sprintf("ArgMinMax of %s to %s", in[0].shape.DType, output))
	}
	better := f.kernelFor(map[bool]compute.OpType{true: compute.OpTypeLessThan, false: compute.OpTypeGreaterThan}[least], in[0].shape.DType)
	equal := f.kernelFor(compute.OpTypeEqual, in[0].shape.DType)
	n := f.node(compute.OpTypeArgMinMax, withType(shape, dtypes.Int64), in[0])
	n.lower = func(p *plan) {
		from := p.slot(in[0])
		to := p.result(n)
		dims, strides, width := in[0].shape.Dimensions, steps.Strides(in[0].shape.Dimensions), in[0].shape.DType.Size()
		kept := steps.Others(len(dims), []int{axis})
		starts := steps.Offsets(steps.Pick(dims, kept), steps.Pick(strides, kept))
		p.Do(len(starts), steps.Elements/4/max(1, dims[axis]), func(r *program.Run, _ *program.Scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				src := unsafe.Add(r.At(from), int(starts[i])*width)
				program.Values[int64](r, to, len(starts))[i] = int64(first(src, dims[axis], strides[axis]*width, better, equal))
			}
		}, from, to)
	}
	return f.convert(n, output), nil
}

// first returns the first of the best of n elements; NaN is better than all.
func first(src unsafe.Pointer, n, apart int, better, equal kernels.Elementwise) int {
	best := 0
	for i := range n {
		at := unsafe.Add(src, i*apart)
		var yes bool
		if equal(unsafe.Pointer(&yes), at, at, nil, 1); !yes {
			return i
		}
		if better(unsafe.Pointer(&yes), at, unsafe.Add(src, best*apart), nil, 1); yes {
			best = i
		}
	}
	return best
}

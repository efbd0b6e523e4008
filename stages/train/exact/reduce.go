package exact

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
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

// reduce combines the elements along some axes, in the order in which they lie in
// memory, one after the other. No axes mean all of them.
func (f *function) reduce(op, with compute.OpType, x compute.Value, axes []int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	rank, dtype := in[0].shape.Rank(), in[0].shape.DType
	if len(axes) == 0 {
		axes = others(rank)
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
		from := p.slot(in[0])
		to := p.result(n)
		r := newReduction(k, foldFor(with, dtype), in[0].shape, axes)
		r.from, r.to, r.zero = from, to, neutral(with, dtype)
		p.do(shape.Size(), max(elements/max(1, len(r.taken)*r.inner), min(r.run, cacheLine/r.width)), r.work, from, to)
	}
	return n, nil
}

// reduction combines, for each kept element, what lies at the taken offsets from it.
type reduction struct {
	kernel   kernel
	fold     func(acc, from unsafe.Pointer, n int)
	from, to slot
	zero     []byte
	width    int
	kept     []int32 // where each run of kept elements begins
	run      int     // kept elements that lie side by side
	taken    []int32 // where each run of taken elements begins, from a kept one
	inner    int     // taken elements that lie side by side
}

func newReduction(k kernel, fold func(acc, from unsafe.Pointer, n int), shape shapes.Shape, axes []int) *reduction {
	r := &reduction{kernel: k, fold: fold, run: 1, inner: 1, width: shape.DType.Size()}
	dims, strides := shape.Dimensions, steps(shape.Dimensions)
	keep, take := others(len(dims), axes), others(len(dims), others(len(dims), axes))
	r.run, keep = sideBySide(dims, strides, keep)
	if r.run == 1 && fold != nil {
		r.inner, take = sideBySide(dims, strides, take)
	}
	r.kept = offsets(pick(dims, keep), pick(strides, keep))
	r.taken = offsets(pick(dims, take), pick(strides, take))
	return r
}

// sideBySide splits the last of some axes off that form one run of memory.
func sideBySide(dims, strides, axes []int) (int, []int) {
	length := 1
	for len(axes) > 0 && strides[axes[len(axes)-1]] == length {
		length *= dims[axes[len(axes)-1]]
		axes = axes[:len(axes)-1]
	}
	return length, axes
}

func (t *reduction) work(r *run, _ *scratch, lo, hi int) {
	for lo < hi {
		first := lo % t.run
		n := min(hi-lo, t.run-first)
		acc := unsafe.Add(r.at[t.to], lo*t.width)
		src := unsafe.Add(r.at[t.from], (int(t.kept[lo/t.run])+first)*t.width)
		fill(acc, unsafe.Pointer(&t.zero[0]), t.width, n)
		for _, o := range t.taken {
			at := unsafe.Add(src, int(o)*t.width)
			if t.inner > 1 {
				t.fold(acc, at, t.inner)
			} else {
				t.kernel(acc, acc, at, nil, n)
			}
		}
		lo += n
	}
}

// foldFor returns a loop that combines n elements side by side into one, nil if there
// is none for the operation.
func foldFor(with compute.OpType, dtype dtypes.DType) func(acc, from unsafe.Pointer, n int) {
	switch dtype {
	case dtypes.Float32:
		return foldNumber[float32](with)
	case dtypes.Float64:
		return foldNumber[float64](with)
	case dtypes.Int32:
		return foldNumber[int32](with)
	case dtypes.Int64:
		return foldNumber[int64](with)
	}
	return nil
}

func foldNumber[T number](with compute.OpType) func(acc, from unsafe.Pointer, n int) {
	switch with {
	case compute.OpTypeAdd:
		return func(acc, from unsafe.Pointer, n int) {
			sum := *(*T)(acc)
			for _, v := range unsafe.Slice((*T)(from), n) {
				sum += v
			}
			*(*T)(acc) = sum
		}
	case compute.OpTypeMax:
		return func(acc, from unsafe.Pointer, n int) {
			most := *(*T)(acc)
			for _, v := range unsafe.Slice((*T)(from), n) {
				if !(most > v || most != most) {
					most = v
				}
			}
			*(*T)(acc) = most
		}
	}
	return nil
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
		dims, strides, width := in[0].shape.Dimensions, steps(in[0].shape.Dimensions), in[0].shape.DType.Size()
		kept := others(len(dims), []int{axis})
		starts := offsets(pick(dims, kept), pick(strides, kept))
		p.do(len(starts), elements/4/max(1, dims[axis]), func(r *run, _ *scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				src := unsafe.Add(r.at[from], int(starts[i])*width)
				slice[int64](r, to, len(starts))[i] = int64(first(src, dims[axis], strides[axis]*width, better, equal))
			}
		}, from, to)
	}
	return f.convert(n, output), nil
}

// first returns the first of the best of n elements; NaN is better than all.
func first(src unsafe.Pointer, n, apart int, better, equal kernel) int {
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

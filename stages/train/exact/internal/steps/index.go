package steps

import "github.com/sandwich-build/sandwich/stages/train/exact/internal/program"

// Vectors reads the index vectors of a gather or scatter.
type Vectors struct {
	starts  []int32 // where each vector begins in the indices
	apart   int     // between the parts of a vector
	axes    []int   // the operand's axis that each part is for
	dims    []int   // of the operand
	Strides []int
	total   int // elements of the indices
}

// NewVectors returns the vectors that lie along an axis of the indices; their parts are
// for these axes of an operand with the given dimensions.
func NewVectors(indices []int, vectorAxis int, axes, dims []int) Vectors {
	v := Vectors{axes: axes, dims: dims, Strides: Strides(dims), total: Product(indices), apart: 1}
	apart := Strides(indices)
	batch := Others(len(indices), []int{vectorAxis})
	v.starts = Offsets(Pick(indices, batch), Pick(apart, batch))
	if vectorAxis < len(indices) {
		v.apart = apart[vectorAxis]
	}
	return v
}

// Clamped returns where in the operand a window of the given sizes begins; windows that
// stand out are moved in.
func (v *Vectors) Clamped(r *program.Run, index program.Slot, i int, sizes []int) int {
	values, base := program.Values[int64](r, index, v.total), 0
	for k, axis := range v.axes {
		at := values[int(v.starts[i])+k*v.apart]
		base += int(max(0, min(at, int64(v.dims[axis]-sizes[axis])))) * v.Strides[axis]
	}
	return base
}

// Inside is like Clamped for single elements, but says no to vectors that stand out.
func (v *Vectors) Inside(r *program.Run, index program.Slot, i int, sizes []int) (int, bool) {
	values, base := program.Values[int64](r, index, v.total), 0
	for k, axis := range v.axes {
		at := values[int(v.starts[i])+k*v.apart]
		if at < 0 || at > int64(v.dims[axis]-sizes[axis]) {
			return 0, false
		}
		base += int(at) * v.Strides[axis]
	}
	return base, true
}

// StartOf returns where in the operand a window begins that is moved in if it stands out.
func StartOf(r *program.Run, indices []program.Slot, dims, sizes, strides []int) int {
	base := 0
	for axis, s := range indices {
		at := *(*int64)(r.At(s))
		base += int(max(0, min(at, int64(dims[axis]-sizes[axis])))) * strides[axis]
	}
	return base
}

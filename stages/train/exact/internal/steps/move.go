package steps

import (
	"slices"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// View says where the elements of a tensor are in another one.
type View struct {
	Offset  int
	Strides []int // for each axis of the result, in elements; 0 repeats, negative reverses
}

// Copy plans the copy of a strided look at a tensor.
func Copy(p *Plan, shape shapes.Shape, v View, from, to program.Slot) {
	g := NewGrid(shape, v)
	p.Do(g.Rows, Elements/max(1, g.Length), func(r *program.Run, _ *program.Scratch, lo, hi int) {
		g.Gather(r.At(to), r.At(from), lo, hi)
	}, from, to)
}

// Grid walks a strided look at a tensor row by row.
type Grid struct {
	View
	dims   []int // axes before the row
	Rows   int
	Length int // elements of a row
	Stride int // between the elements of a row
	Width  int // bytes of an element
}

// NewGrid returns the grid of a look at a tensor that has the given shape.
func NewGrid(shape shapes.Shape, v View) Grid {
	dims := slices.Clone(shape.Dimensions)
	g := Grid{View: View{Offset: v.Offset, Strides: slices.Clone(v.Strides)}, Length: 1, Stride: 1, Width: shape.DType.Size()}
	// Axes that follow each other evenly are one long row.
	last := len(dims) - 1
	if last >= 0 {
		g.Length, g.Stride = dims[last], g.Strides[last]
		for last--; last >= 0 && g.Strides[last] == g.Stride*g.Length; last-- {
			g.Length *= dims[last]
		}
	}
	g.dims = dims[:max(last+1, 0)]
	g.Rows = Product(g.dims)
	return g
}

// Row returns where the i-th row begins, in elements.
func (g *Grid) Row(i int) int {
	at := g.Offset
	for axis := len(g.dims) - 1; axis >= 0; axis-- {
		at += i % g.dims[axis] * g.Strides[axis]
		i /= g.dims[axis]
	}
	return at
}

// Gather copies rows of the strided tensor to a dense one.
func (g *Grid) Gather(dst, src unsafe.Pointer, lo, hi int) {
	if g.Length == 0 {
		return // where a row without elements begins need not be in the tensor
	}
	for i := lo; i < hi; i++ {
		CopyRow(unsafe.Add(dst, i*g.Length*g.Width), unsafe.Add(src, g.Row(i)*g.Width), g.Length, 1, g.Stride, g.Width)
	}
}

// CopyRow copies n elements with strides.
func CopyRow(dst, src unsafe.Pointer, n, to, from, width int) {
	switch {
	case to == 1 && from == 1:
		copy(unsafe.Slice((*byte)(dst), n*width), unsafe.Slice((*byte)(src), n*width))
	case to == 1 && from == 0:
		Fill(dst, src, width, n)
	case width == 1:
		copyElements[uint8](dst, src, n, to, from)
	case width == 2:
		copyElements[uint16](dst, src, n, to, from)
	case width == 4:
		copyElements[uint32](dst, src, n, to, from)
	default:
		copyElements[uint64](dst, src, n, to, from)
	}
}

func copyElements[T any](dst, src unsafe.Pointer, n, to, from int) {
	size := int(unsafe.Sizeof(*(*T)(nil)))
	to, from = to*size, from*size
	for i := range n {
		*(*T)(unsafe.Add(dst, i*to)) = *(*T)(unsafe.Add(src, i*from))
	}
}

// Pad plans a copy of a tensor with a value around and between its elements.
func Pad(p *Plan, to, from, value program.Slot, inner, outer shapes.Shape, axes []compute.PadAxis) {
	width, rank := outer.DType.Size(), outer.Rank()
	length, taken, last := 1, 1, compute.PadAxis{}
	if rank > 0 {
		length, taken, last = outer.Dimensions[rank-1], inner.Dimensions[rank-1], axes[rank-1]
	}
	// The elements of a row that come from the tensor; a negative Start or End cuts.
	apart := last.Interior + 1
	first := 0
	for first < taken && last.Start+first*apart < 0 {
		first++
	}
	end := taken
	for end > first && last.Start+(end-1)*apart >= length {
		end--
	}
	rows := outer.Size() / max(1, length)
	p.Do(rows, Elements/max(1, length), func(r *program.Run, _ *program.Scratch, lo, hi int) {
		for row := lo; row < hi; row++ {
			dst := unsafe.Add(r.At(to), row*length*width)
			source, ok := padSource(row, inner.Dimensions, outer.Dimensions, axes)
			if !ok || end-first < length {
				Fill(dst, r.At(value), width, length)
			}
			if ok && first < end {
				CopyRow(unsafe.Add(dst, (last.Start+first*apart)*width),
					unsafe.Add(r.At(from), (source*taken+first)*width), end-first, apart, 1, width)
			}
		}
	}, to, from, value)
}

// padSource returns the row of the inner tensor that lies in a row of the outer one.
func padSource(row int, inner, outer []int, axes []compute.PadAxis) (int, bool) {
	source, scale := 0, 1
	for axis := len(outer) - 2; axis >= 0; axis-- {
		at := row%outer[axis] - axes[axis].Start
		row /= outer[axis]
		apart := axes[axis].Interior + 1
		if at < 0 || at%apart != 0 || at/apart >= inner[axis] {
			return 0, false
		}
		source += at / apart * scale
		scale *= inner[axis]
	}
	return source, true
}

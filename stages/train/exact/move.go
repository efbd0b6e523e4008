package exact

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// This file holds the operations that move elements and compute nothing.

func (f *function) Identity(x compute.Value) (compute.Value, error) {
	return f.renamed(compute.OpTypeIdentity, x)
}

func (f *function) renamed(op compute.OpType, x compute.Value) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	return f.aliasOf(op, in[0], in[0].shape), nil
}

// OptimizationBarrier implements compute.StandardOps. Rewrites here never change a
// result, so there is nothing to hold back.
func (f *function) OptimizationBarrier(operands ...compute.Value) ([]compute.Value, error) {
	list := make([]compute.Value, len(operands))
	for i, x := range operands {
		v, err := f.renamed(compute.OpTypeOptimizationBarrier, x)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

// SchedulingBarrier implements compute.StandardOps. Operations have no effects besides
// their values, so no order of theirs can be seen.
func (f *function) SchedulingBarrier(operand compute.Value, dependencies ...compute.Value) (compute.Value, error) {
	if _, err := f.values(dependencies...); err != nil {
		return nil, err
	}
	return f.renamed(compute.OpTypeSchedulingBarrier, operand)
}

func (f *function) Reshape(x compute.Value, dims ...int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Reshape(in[0].shape, dims)
	if err != nil {
		return nil, err
	}
	return f.aliasOf(compute.OpTypeReshape, in[0], shape), nil
}

func (f *function) Bitcast(x compute.Value, to dtypes.DType) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if !types[to] {
		return nil, unsupported("Bitcast to " + to.String())
	}
	shape, err := shapeinference.Bitcast(in[0].shape, to)
	if err != nil {
		return nil, err
	}
	return f.aliasOf(compute.OpTypeBitcast, in[0], shape), nil
}

func (f *function) Transpose(x compute.Value, permutation ...int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Transpose(in[0].shape, permutation)
	if err != nil {
		return nil, err
	}
	strides := pick(steps(in[0].shape.Dimensions), permutation)
	return f.viewOf(compute.OpTypeTranspose, in[0], shape, view{strides: strides}), nil
}

func (f *function) BroadcastInDim(x compute.Value, output shapes.Shape, axes []int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if err := checkShape(output); err != nil {
		return nil, err
	}
	if err := shapeinference.BroadcastInDim(in[0].shape, output, axes, nil); err != nil {
		return nil, err
	}
	shape := output.Clone()
	strides := make([]int, shape.Rank())
	for i, s := range broadcastStrides(in[0].shape.Dimensions, pick(shape.Dimensions, axes)) {
		strides[axes[i]] = s
	}
	return f.viewOf(compute.OpTypeBroadcastInDim, in[0], shape, view{strides: strides}), nil
}

func (f *function) Slice(x compute.Value, starts, limits, strides []int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if strides == nil {
		strides = slices.Repeat([]int{1}, len(starts))
	}
	shape, err := shapeinference.Slice(in[0].shape, starts, limits, strides)
	if err != nil {
		return nil, err
	}
	v := view{strides: steps(in[0].shape.Dimensions)}
	for axis, s := range v.strides {
		v.offset += starts[axis] * s
		v.strides[axis] = s * strides[axis]
	}
	return f.viewOf(compute.OpTypeSlice, in[0], shape, v), nil
}

func (f *function) Reverse(x compute.Value, axes ...int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	dims := in[0].shape.Dimensions
	v := view{strides: steps(dims)}
	for i, axis := range axes {
		if axis < 0 || axis >= len(dims) || slices.Contains(axes[:i], axis) {
			return nil, fmt.Errorf("exact backend: reverse axes %v of %s: want different axes from 0 on", axes, in[0].shape)
		}
		v.offset += (dims[axis] - 1) * v.strides[axis]
		v.strides[axis] = -v.strides[axis]
	}
	return f.viewOf(compute.OpTypeReverse, in[0], in[0].shape, v), nil
}

// copyView plans the copy of a strided look at a tensor.
func (p *plan) copyView(n *node) slot {
	from, to := p.slot(n.in[0]), p.temporary(byteSize(n.shape))
	g := newGrid(n.shape, *n.view)
	p.do(g.rows, elements/max(1, g.length), func(r *run, _ *scratch, lo, hi int) {
		g.gather(r.at[to], r.at[from], lo, hi)
	}, from, to)
	return to
}

// grid walks a strided look at a tensor row by row.
type grid struct {
	view
	dims   []int // axes before the row
	rows   int
	length int // elements of a row
	stride int // between the elements of a row
	width  int // bytes of an element
}

func newGrid(shape shapes.Shape, v view) grid {
	dims := slices.Clone(shape.Dimensions)
	g := grid{view: view{offset: v.offset, strides: slices.Clone(v.strides)}, length: 1, stride: 1, width: shape.DType.Size()}
	// Axes that follow each other evenly are one long row.
	last := len(dims) - 1
	if last >= 0 {
		g.length, g.stride = dims[last], g.strides[last]
		for last--; last >= 0 && g.strides[last] == g.stride*g.length; last-- {
			g.length *= dims[last]
		}
	}
	g.dims = dims[:max(last+1, 0)]
	g.rows = product(g.dims)
	return g
}

// row returns where the i-th row begins, in elements.
func (g *grid) row(i int) int {
	at := g.offset
	for axis := len(g.dims) - 1; axis >= 0; axis-- {
		at += i % g.dims[axis] * g.strides[axis]
		i /= g.dims[axis]
	}
	return at
}

// gather copies rows of the strided tensor to a dense one.
func (g *grid) gather(dst, src unsafe.Pointer, lo, hi int) {
	if g.length == 0 {
		return // where a row without elements begins need not be in the tensor
	}
	for i := lo; i < hi; i++ {
		copyRow(unsafe.Add(dst, i*g.length*g.width), unsafe.Add(src, g.row(i)*g.width), g.length, 1, g.stride, g.width)
	}
}

// copyRow copies n elements with strides.
func copyRow(dst, src unsafe.Pointer, n, to, from, width int) {
	switch {
	case to == 1 && from == 1:
		copy(unsafe.Slice((*byte)(dst), n*width), unsafe.Slice((*byte)(src), n*width))
	case to == 1 && from == 0:
		fill(dst, src, width, n)
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

func (f *function) Concatenate(axis int, operands ...compute.Value) (compute.Value, error) {
	in, err := f.values(operands...)
	if err != nil {
		return nil, err
	}
	list := make([]shapes.Shape, len(in))
	for i, x := range in {
		list[i] = x.shape
	}
	shape, err := shapeinference.Concatenate(list, axis)
	if err != nil {
		return nil, err
	}
	n := f.node(compute.OpTypeConcatenate, shape, in...)
	n.lower = func(p *plan) {
		from := make([]slot, len(in))
		for i, x := range in {
			from[i] = p.slot(x)
		}
		to := p.result(n)
		rows, width := product(shape.Dimensions[:axis]), shape.DType.Size()
		whole, at := product(shape.Dimensions[axis:])*width, 0
		for i, x := range in {
			part, offset := product(x.shape.Dimensions[axis:])*width, at
			at += part
			p.do(rows, elements*width/max(1, part), func(r *run, _ *scratch, lo, hi int) {
				dst, src := slice[byte](r, to, rows*whole), slice[byte](r, from[i], rows*part)
				for row := lo; row < hi; row++ {
					copy(dst[row*whole+offset:][:part], src[row*part:])
				}
			}, to, from[i])
		}
	}
	return n, nil
}

func (f *function) Pad(x, value compute.Value, axes ...compute.PadAxis) (compute.Value, error) {
	in, err := f.values(x, value)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Pad(in[0].shape, axes...)
	if err != nil {
		return nil, err
	}
	if in[1].shape.DType != shape.DType || in[1].shape.Rank() != 0 {
		return nil, fmt.Errorf("exact backend: pad %s with %s: want a scalar of its type", in[0].shape, in[1].shape)
	}
	all := make([]compute.PadAxis, shape.Rank())
	copy(all, axes)
	n := f.node(compute.OpTypePad, shape, in...)
	n.lower = func(p *plan) {
		from, value := p.slot(in[0]), p.slot(in[1])
		p.pad(p.result(n), from, value, in[0].shape, shape, all)
	}
	return n, nil
}

// pad plans a copy of a tensor with a value around and between its elements.
func (p *plan) pad(to, from, value slot, inner, outer shapes.Shape, axes []compute.PadAxis) {
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
	p.do(rows, elements/max(1, length), func(r *run, _ *scratch, lo, hi int) {
		for row := lo; row < hi; row++ {
			dst := unsafe.Add(r.at[to], row*length*width)
			source, ok := padSource(row, inner.Dimensions, outer.Dimensions, axes)
			if !ok || end-first < length {
				fill(dst, r.at[value], width, length)
			}
			if ok && first < end {
				copyRow(unsafe.Add(dst, (last.Start+first*apart)*width),
					unsafe.Add(r.at[from], (source*taken+first)*width), end-first, apart, 1, width)
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

// Iota implements compute.StandardOps. It is a constant, made when the graph is built.
func (f *function) Iota(shape shapes.Shape, axis int) (compute.Value, error) {
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	if axis < 0 || axis >= shape.Rank() {
		return nil, fmt.Errorf("exact backend: iota of %s along axis %d: there is no such axis", shape, axis)
	}
	if shape.DType == dtypes.Bool {
		return nil, unsupported("Iota of type Bool")
	}
	line := make([]int64, shape.Dimensions[axis])
	for i := range line {
		line[i] = int64(i)
	}
	dims := slices.Repeat([]int{1}, shape.Rank())
	dims[axis] = len(line)
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(line))), len(line)*8)
	return f.broadcast(f.convert(f.constant(data, shapes.Make(dtypes.Int64, dims...)), shape.DType), shape.Dimensions), nil
}

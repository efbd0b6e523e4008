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

// windows says how windows slide over a tensor. The last axes along which they do not
// slide at all, the channels of a picture, form runs that are worked on together.
type windows struct {
	in, out         []int // dims of the sliding axes
	inSteps         []int // strides of the sliding axes, in elements
	size, stride    []int
	dilation, holes []int // of the window; of the input
	before          []int // padding
	run             int
	width           int
	inside          []int32 // offsets of a window's elements, if no window stands out or has holes
}

func newWindows(in, out shapes.Shape, size, stride, holes, dilation []int, padding [][2]int) *windows {
	rank := in.Rank()
	w := &windows{in: in.Dimensions, out: out.Dimensions, inSteps: steps(in.Dimensions), run: 1, width: in.DType.Size()}
	w.size = slices.Clone(size)
	w.stride = orElse(stride, size)
	w.holes, w.dilation = orElse(holes, slices.Repeat([]int{1}, rank)), orElse(dilation, slices.Repeat([]int{1}, rank))
	w.before = make([]int, rank)
	for axis, p := range padding {
		w.before[axis] = p[0]
	}
	last := rank
	for last > 0 && w.idle(last-1) {
		last--
		w.run *= w.in[last]
	}
	w.in, w.out, w.inSteps = w.in[:last], w.out[:last], w.inSteps[:last]
	w.size, w.stride, w.holes, w.dilation, w.before = w.size[:last], w.stride[:last], w.holes[:last], w.dilation[:last], w.before[:last]
	if w.plain() {
		apart := make([]int, last)
		for axis := range apart {
			apart[axis] = w.dilation[axis] * w.inSteps[axis]
		}
		w.inside = offsets(w.size, apart)
	}
	return w
}

func orElse(list, otherwise []int) []int {
	if len(list) == 0 {
		return slices.Clone(otherwise)
	}
	return slices.Clone(list)
}

func (w *windows) idle(axis int) bool {
	return w.size[axis] == 1 && w.stride[axis] == 1 && w.holes[axis] == 1 && w.before[axis] == 0 && w.in[axis] == w.out[axis]
}

// plain says whether all elements of all windows are in the input.
func (w *windows) plain() bool {
	for axis, size := range w.size {
		end := (w.out[axis]-1)*w.stride[axis] + (size-1)*w.dilation[axis]
		if w.holes[axis] != 1 || w.before[axis] != 0 || end >= w.in[axis] {
			return false
		}
	}
	return true
}

// base returns the offset of the first element of the i-th window, when all are inside.
func (w *windows) base(i int) int {
	offset := 0
	for axis := len(w.out) - 1; axis >= 0; axis-- {
		offset += i % w.out[axis] * w.stride[axis] * w.inSteps[axis]
		i /= w.out[axis]
	}
	return offset
}

// visit calls f with the offset of each input element, or run, of the i-th window, in
// the order of the window.
func (w *windows) visit(i int, f func(offset int)) {
	if w.inside != nil {
		base := w.base(i)
		for _, o := range w.inside {
			f(base + int(o))
		}
		return
	}
	var position [maxSliding]int
	for axis := len(w.out) - 1; axis >= 0; axis-- {
		position[axis] = i%w.out[axis]*w.stride[axis] - w.before[axis]
		i /= w.out[axis]
	}
	w.descend(&position, 0, 0, f)
}

func (w *windows) descend(position *[maxSliding]int, axis, offset int, f func(int)) {
	if axis == len(w.size) {
		f(offset)
		return
	}
	for k := range w.size[axis] {
		at := position[axis] + k*w.dilation[axis]
		if at < 0 || at%w.holes[axis] != 0 || at/w.holes[axis] >= w.in[axis] {
			continue
		}
		w.descend(position, axis+1, offset+at/w.holes[axis]*w.inSteps[axis], f)
	}
}

// maxSliding is how many axes windows may slide along.
const maxSliding = 8

func (f *function) ReduceWindow(x compute.Value, reduction compute.ReduceOpType, size, stride, holes, dilation []int, padding [][2]int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.ReduceWindow(in[0].shape, size, stride, holes, dilation, padding)
	if err != nil {
		return nil, err
	}
	dtype := shape.DType
	if dtype.IsHalfPrecision() {
		return one(f.widened(dtype, func(wide []compute.Value) (compute.Value, error) {
			return f.ReduceWindow(wide[0], reduction, size, stride, holes, dilation, padding)
		}, in[0]))
	}
	with := map[compute.ReduceOpType]compute.OpType{
		compute.ReduceOpSum: compute.OpTypeAdd, compute.ReduceOpProduct: compute.OpTypeMul,
		compute.ReduceOpMax: compute.OpTypeMax, compute.ReduceOpMin: compute.OpTypeMin,
	}[reduction]
	k := f.kernelFor(with, dtype)
	if k == nil || shape.Rank() > maxSliding {
		return nil, unsupported(fmt.Sprintf("ReduceWindow %s on %s", reduction, in[0].shape))
	}
	build := func(x *node) *node {
		n := f.node(compute.OpTypeReduceWindow, shape, x)
		n.lower = func(p *plan) {
			from := p.slot(x)
			reduceWindows(p, k, neutral(with, dtype), newWindows(x.shape, shape, size, stride, holes, dilation, padding), from, p.result(n))
		}
		return n
	}
	n := build(in[0])
	if last := shape.Rank() - 1; reduction == compute.ReduceOpMax && last > 0 && size[last] == 1 &&
		newWindows(in[0].shape, shape, size, stride, holes, dilation, padding).inside != nil {
		n.pool = build
	}
	return n, nil
}

func reduceWindows(p *plan, k kernel, zero []byte, w *windows, from, to slot) {
	p.do(product(w.out), elements/max(1, w.run*product(w.size)), func(r *run, _ *scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			acc := unsafe.Add(r.at[to], i*w.run*w.width)
			fill(acc, unsafe.Pointer(&zero[0]), w.width, w.run)
			w.visit(i, func(offset int) {
				k(acc, acc, unsafe.Add(r.at[from], offset*w.width), nil, w.run)
			})
		}
	}, from, to)
}

func (f *function) SelectAndScatterMax(operand, source compute.Value, size, stride []int, padding [][2]int) (compute.Value, error) {
	return f.selectAndScatter(compute.OpTypeSelectAndScatterMax, compute.OpTypeGreaterThan, operand, source, size, stride, padding)
}

func (f *function) SelectAndScatterMin(operand, source compute.Value, size, stride []int, padding [][2]int) (compute.Value, error) {
	return f.selectAndScatter(compute.OpTypeSelectAndScatterMin, compute.OpTypeLessThan, operand, source, size, stride, padding)
}

// selectAndScatter adds each element of source to the place of the best operand in its
// window, the first of equal ones, window after window.
func (f *function) selectAndScatter(op, better compute.OpType, operand, source compute.Value, size, stride []int, padding [][2]int) (compute.Value, error) {
	in, err := f.values(operand, source)
	if err != nil {
		return nil, err
	}
	dtype := in[0].shape.DType
	if dtype.IsHalfPrecision() {
		return one(f.widened(dtype, func(wide []compute.Value) (compute.Value, error) {
			return f.selectAndScatter(op, better, wide[0], wide[1], size, stride, padding)
		}, in...))
	}
	pooled, err := shapeinference.ReduceWindow(in[0].shape, size, stride, nil, nil, padding)
	if err != nil {
		return nil, err
	}
	if !pooled.Equal(in[1].shape) {
		return nil, fmt.Errorf("exact backend: %s of %s: source is %s, want %s", op, in[0].shape, in[1].shape, pooled)
	}
	s := &selection{better: f.kernelFor(better, dtype), add: f.kernelFor(compute.OpTypeAdd, dtype)}
	if s.better == nil || s.add == nil || pooled.Rank() > maxSliding {
		return nil, unsupported(fmt.Sprintf("%s on %s", op, in[0].shape))
	}
	n := f.node(op, in[0].shape, in...)
	n.lower = func(p *plan) {
		s.operand, s.source = p.slot(in[0]), p.slot(in[1])
		s.to = p.result(n)
		s.windows = newWindows(in[0].shape, pooled, size, stride, nil, nil, padding)
		s.lay()
		work := s.work
		if dtype == dtypes.Float32 && better == compute.OpTypeGreaterThan && s.inside != nil {
			work, s.selectMax = s.workMax, p.backend.kernels.selectMax
			s.inBytes = slices.Clone(s.inside)
			inBytes(s.inBytes)
		}
		p.do(s.parts, 1, work, s.operand, s.source, s.to)
	}
	return n, nil
}

// selection is a planned SelectAndScatter. Windows of different pictures cannot meet,
// so pictures are its parts.
type selection struct {
	*windows
	better, add         kernel
	operand, source, to slot
	parts               int
	each                int // windows of a part
	size                int // elements of the operand in a part
	inBytes             []int32
	selectMax           func(to, operand *byte, source *float32, inside *int32, count, n int)
}

func (s *selection) lay() {
	s.parts = 1
	if len(s.out) > 1 && s.windows.idle(0) {
		s.parts = s.out[0]
	}
	s.each = product(s.out) / max(1, s.parts)
	s.size = product(s.in) * s.run / max(1, s.parts)
}

// workMax is work for what max pooling's gradient usually is: float32, every window
// inside. It gives the same result.
func (s *selection) workMax(r *run, _ *scratch, lo, hi int) {
	clear(slice[float32](r, s.to, s.parts*s.size)[lo*s.size : hi*s.size])
	for i := lo * s.each; i < hi*s.each; i++ {
		base := s.base(i) * 4
		operand, to := unsafe.Add(r.at[s.operand], base), unsafe.Add(r.at[s.to], base)
		source := unsafe.Slice((*float32)(unsafe.Add(r.at[s.source], i*s.run*4)), s.run)
		done := 0
		if s.selectMax != nil && s.run >= 8 {
			done = s.run &^ 7
			s.selectMax((*byte)(to), (*byte)(operand), &source[0], &s.inBytes[0], len(s.inBytes), done)
		}
		for c := done; c < s.run; c++ {
			best := s.inBytes[0]
			most := *(*float32)(unsafe.Add(operand, int(best)+c*4))
			for _, o := range s.inBytes[1:] {
				if x := *(*float32)(unsafe.Add(operand, int(o)+c*4)); x > most {
					best, most = o, x
				}
			}
			*(*float32)(unsafe.Add(to, int(best)+c*4)) += source[c]
		}
	}
}

func (s *selection) work(r *run, scratch *scratch, lo, hi int) {
	clear(unsafe.Slice((*byte)(unsafe.Add(r.at[s.to], lo*s.size*s.width)), (hi-lo)*s.size*s.width))
	chunk := scratch.at(s.run * 9)
	best := unsafe.Slice((*int64)(chunk.base), s.run)
	yes := unsafe.Slice((*bool)(unsafe.Add(chunk.base, s.run*8)), s.run)
	for i := lo * s.each; i < hi*s.each; i++ {
		started := false
		s.visit(i, func(offset int) {
			if !started {
				started = true
				for c := range best {
					best[c] = int64(offset + c)
				}
				return
			}
			for c := range best {
				s.better(unsafe.Pointer(&yes[c]), unsafe.Add(r.at[s.operand], (offset+c)*s.width),
					unsafe.Add(r.at[s.operand], int(best[c])*s.width), nil, 1)
				if yes[c] {
					best[c] = int64(offset + c)
				}
			}
		})
		if !started {
			continue
		}
		for c, at := range best {
			dst := unsafe.Add(r.at[s.to], int(at)*s.width)
			s.add(dst, dst, unsafe.Add(r.at[s.source], (i*s.run+c)*s.width), nil, 1)
		}
	}
}

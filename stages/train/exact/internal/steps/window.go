package steps

import (
	"math"
	"slices"
	"unsafe"

	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// MaxSliding is how many axes windows may slide along.
const MaxSliding = 8

// Windows says how windows slide over a tensor. The last axes along which they do not
// slide at all, the channels of a picture, form runs that are worked on together.
type Windows struct {
	in, out         []int // dims of the sliding axes
	inSteps         []int // strides of the sliding axes, in elements
	size, stride    []int
	dilation, holes []int // of the window; of the input
	before          []int // padding
	run             int
	width           int
	inside          []int32 // bytes to a window's elements, if no window stands out or has holes
}

// NewWindows returns the windows over in whose results have the shape out.
func NewWindows(in, out shapes.Shape, size, stride, holes, dilation []int, padding [][2]int) *Windows {
	rank := in.Rank()
	w := &Windows{in: in.Dimensions, out: out.Dimensions, inSteps: Strides(in.Dimensions), run: 1, width: in.DType.Size()}
	w.size = slices.Clone(size)
	w.stride = OrElse(stride, size)
	w.holes, w.dilation = OrElse(holes, slices.Repeat([]int{1}, rank)), OrElse(dilation, slices.Repeat([]int{1}, rank))
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
	if w.plain() && in.Size()*w.width <= math.MaxInt32 {
		apart := make([]int, last)
		for axis := range apart {
			apart[axis] = w.dilation[axis] * w.inSteps[axis] * w.width
		}
		w.inside = Offsets(w.size, apart)
	}
	return w
}

// OrElse returns a list, or another one if it is empty.
func OrElse(list, otherwise []int) []int {
	if len(list) == 0 {
		return slices.Clone(otherwise)
	}
	return slices.Clone(list)
}

func (w *Windows) idle(axis int) bool {
	return w.size[axis] == 1 && w.stride[axis] == 1 && w.holes[axis] == 1 && w.before[axis] == 0 && w.in[axis] == w.out[axis]
}

// plain says whether all elements of all windows are in the input.
func (w *Windows) plain() bool {
	for axis, size := range w.size {
		end := (w.out[axis]-1)*w.stride[axis] + (size-1)*w.dilation[axis]
		if w.holes[axis] != 1 || w.before[axis] != 0 || end >= w.in[axis] {
			return false
		}
	}
	return true
}

// Plain says whether all elements of all windows are in the input.
func (w *Windows) Plain() bool { return w.inside != nil }

// numbered says whether the elements of a plain window can be numbered in a byte.
func (w *Windows) numbered() bool { return w.Plain() && len(w.inside) <= 256 }

// base returns the offset in bytes of the first element of the i-th window, when all are
// inside.
func (w *Windows) base(i int) int {
	offset := 0
	for axis := len(w.out) - 1; axis >= 0; axis-- {
		offset += i % w.out[axis] * w.stride[axis] * w.inSteps[axis]
		i /= w.out[axis]
	}
	return offset * w.width
}

// line calls f for the windows lo to hi, as many at a time as lie along the last sliding
// axis: with the first one's number and place in bytes, how many there are, and how far
// apart they are.
func (w *Windows) line(lo, hi int, f func(i, base, count, apart int)) {
	last := len(w.out) - 1
	if last < 0 {
		f(lo, 0, hi-lo, 0)
		return
	}
	apart := w.stride[last] * w.inSteps[last] * w.width
	for lo < hi {
		count := min(hi-lo, w.out[last]-lo%w.out[last])
		f(lo, w.base(lo), count, apart)
		lo += count
	}
}

// visit calls f with the offset in elements of each input element, or run, of the i-th
// window, in the order of the window.
func (w *Windows) visit(i int, f func(offset int)) {
	var position [MaxSliding]int
	for axis := len(w.out) - 1; axis >= 0; axis-- {
		position[axis] = i%w.out[axis]*w.stride[axis] - w.before[axis]
		i /= w.out[axis]
	}
	w.descend(&position, 0, 0, f)
}

func (w *Windows) descend(position *[MaxSliding]int, axis, offset int, f func(int)) {
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

// Reduce plans to combine the elements of each window with a kernel, starting with zero.
func (w *Windows) Reduce(p *Plan, k kernels.Elementwise, zero []byte, from, to program.Slot) {
	p.Do(Product(w.out), Elements/max(1, w.run*Product(w.size)), func(r *program.Run, _ *program.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			acc := slotAt(r, to, i*w.run*w.width)
			Fill(acc, unsafe.Pointer(&zero[0]), w.width, w.run)
			w.visit(i, func(offset int) {
				k(acc, acc, slotAt(r, from, offset*w.width), nil, w.run)
			})
		}
	}, from, to)
}

// Max plans the maximum of each of plain windows of float32.
func (w *Windows) Max(p *Plan, from, to program.Slot) {
	set := p.Kernels
	p.DoBand(program.Band{Slot: to, Elements: w.run, Total: Product(w.out) * w.run},
		Product(w.out), Elements/(w.run*len(w.inside)), func(r *program.Run, _ *program.Scratch, lo, hi int) {
			w.line(lo, hi, func(i, base, count, apart int) {
				for j := range count {
					set.MaxWindow(slotAt(r, to, (i+j)*w.run*4), slotAt(r, from, base+j*apart), &w.inside[0], len(w.inside), w.run)
				}
			})
		}, from, to)
}

// Selection is the gradient of a maximum over windows: it adds each element of a source
// to the place of the best element in its window, the first of equal ones, window after
// window. Windows of different pictures cannot meet, so pictures are its parts.
type Selection struct {
	*Windows
	Operand, Source, To program.Slot
	Better, Add         kernels.Elementwise
	parts               int
	each                int // windows of a part
	size                int // elements of the operand in a part
}

func (s *Selection) lay() {
	s.parts = 1
	if len(s.out) > 1 && s.idle(0) {
		s.parts = s.out[0]
	}
	s.each = Product(s.out) / max(1, s.parts)
	s.size = Product(s.in) * s.run / max(1, s.parts)
}

// Plan plans the definition.
func (s *Selection) Plan(p *Plan) {
	s.lay()
	p.Do(s.parts, 1, s.work, s.Operand, s.Source, s.To)
}

// PlanMax plans the same for what max pooling's gradient usually is: float32, every
// window inside. numbers says which element of its window is the largest; it is the
// operand that tells, if they are not known.
func (s *Selection) PlanMax(p *Plan, numbers program.Slot, known bool) {
	s.lay()
	touches := []program.Slot{s.Source, s.To}
	if known {
		touches = append(touches, numbers)
	} else {
		touches = append(touches, s.Operand)
	}
	set := p.Kernels
	p.Do(s.parts, 1, func(r *program.Run, scratch *program.Scratch, lo, hi int) {
		clear(program.Values[float32](r, s.To, s.parts*s.size)[lo*s.size : hi*s.size])
		s.line(lo*s.each, hi*s.each, func(i, base, count, apart int) {
			for j := range count {
				var number unsafe.Pointer
				if known {
					number = slotAt(r, numbers, (i+j)*s.run)
				} else {
					number = scratch.At(s.run)
					set.Winner(number, slotAt(r, s.Operand, base+j*apart), &s.inside[0], len(s.inside), s.run)
				}
				set.Spread(slotAt(r, s.To, base+j*apart), number, slotAt(r, s.Source, (i+j)*s.run*4), &s.inside[0], len(s.inside), s.run)
			}
		})
	}, touches...)
}

// Numbered says whether PlanMax can be used.
func (s *Selection) Numbered() bool { return s.numbered() }

func (s *Selection) work(r *program.Run, scratch *program.Scratch, lo, hi int) {
	clear(unsafe.Slice((*byte)(slotAt(r, s.To, lo*s.size*s.width)), (hi-lo)*s.size*s.width))
	memory := scratch.At(s.run * 9)
	best := unsafe.Slice((*int64)(memory), s.run)
	yes := unsafe.Slice((*bool)(unsafe.Add(memory, s.run*8)), s.run)
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
				s.Better(unsafe.Pointer(&yes[c]), slotAt(r, s.Operand, (offset+c)*s.width),
					slotAt(r, s.Operand, int(best[c])*s.width), nil, 1)
				if yes[c] {
					best[c] = int64(offset + c)
				}
			}
		})
		if !started {
			continue
		}
		for c, at := range best {
			dst := slotAt(r, s.To, int(at)*s.width)
			s.Add(dst, dst, slotAt(r, s.Source, (i*s.run+c)*s.width), nil, 1)
		}
	}
}

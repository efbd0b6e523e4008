package steps

import (
	"unsafe"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

const (
	// chainBlock is how many elements go through a chain at a time: 2 KB of float32.
	chainBlock = 512
	// widest is the size of the largest element, in bytes.
	widest = 8
)

// Chain is a group of element-wise operations that ends in one value. They are computed
// block by block, so that what passes between them stays in the first-level cache.
type Chain struct {
	Size     int // elements
	Operands []Operand
	Links    []Link
	Result   program.Slot
	Width    int // bytes of an element of the result

	registers int // blocks in scratch, one for each link and each operand that repeats
}

// Operand is an input of a chain.
type Operand struct {
	From   program.Slot
	Width  int // bytes of an element
	Period int // elements after which it repeats; the chain's size if it does not
}

// Link is one operation. Its operands are operands of the chain if ≥ 0 and earlier
// links if < 0: -1 is link 0.
type Link struct {
	Kernel kernels.Elementwise
	In     [3]int
	Count  int
}

// Plan plans the chain, as the end of the last step if it computes one of the operands.
func (c *Chain) Plan(p *Plan) {
	c.registers = len(c.Links) + len(c.Operands)
	touches := []program.Slot{c.Result}
	for _, o := range c.Operands {
		touches = append(touches, o.From)
	}
	for _, o := range c.Operands {
		if o.Period == c.Size && p.Follow(o.From, c.Result, c.work, touches...) {
			return
		}
	}
	grain := max(chainBlock, Elements/len(c.Links)/chainBlock*chainBlock)
	p.Do(c.Size, grain, c.work, touches...)
}

// work computes the elements lo to hi.
func (c *Chain) work(r *program.Run, s *program.Scratch, lo, hi int) {
	base := s.At(c.registers * chainBlock * widest)
	register := func(i int) unsafe.Pointer { return unsafe.Add(base, i*chainBlock*widest) }
	repeated := func(i int) unsafe.Pointer { return register(len(c.Links) + i) }
	// What repeats evenly in a block is the same in all of them.
	even := func(o Operand) bool { return o.Period < c.Size && chainBlock%o.Period == 0 }
	for i, o := range c.Operands {
		if o.Period == 1 {
			Fill(repeated(i), r.At(o.From), o.Width, min(chainBlock, hi-lo))
		} else if even(o) {
			unfold(repeated(i), r.At(o.From), o.Width, lo, min(chainBlock, hi-lo), o.Period)
		}
	}
	for ; lo < hi; lo += chainBlock {
		n := min(chainBlock, hi-lo)
		for i, o := range c.Operands {
			if o.Period < c.Size && !even(o) {
				unfold(repeated(i), r.At(o.From), o.Width, lo, n, o.Period)
			}
		}
		for i := range c.Links {
			l := &c.Links[i]
			var in [3]unsafe.Pointer
			for k, from := range l.In[:l.Count] {
				if from < 0 {
					in[k] = register(-1 - from)
				} else if o := &c.Operands[from]; o.Period < c.Size {
					in[k] = repeated(from)
				} else {
					in[k] = slotAt(r, o.From, lo*o.Width)
				}
			}
			dst := register(i)
			if i == len(c.Links)-1 {
				dst = slotAt(r, c.Result, lo*c.Width)
			}
			l.Kernel(dst, in[0], in[1], in[2], n)
		}
	}
}

// Fill writes n copies of an element.
func Fill(dst, value unsafe.Pointer, width, n int) {
	switch width {
	case 1:
		fillWith(dst, *(*uint8)(value), n)
	case 2:
		fillWith(dst, *(*uint16)(value), n)
	case 4:
		fillWith(dst, *(*uint32)(value), n)
	default:
		fillWith(dst, *(*uint64)(value), n)
	}
}

func fillWith[T any](dst unsafe.Pointer, value T, n int) {
	d := unsafe.Slice((*T)(dst), n)
	first := d[:min(8, n)]
	for i := range first {
		first[i] = value
	}
	for done := len(first); done < n; done *= 2 {
		copy(d[done:], d[:done])
	}
}

// unfold writes n elements of a sequence that repeats after period elements, from its
// lo-th on.
func unfold(dst, src unsafe.Pointer, width, lo, n, period int) {
	d := unsafe.Slice((*byte)(dst), n*width)
	from := unsafe.Slice((*byte)(src), period*width)
	for at := lo % period * width; len(d) > 0; at = 0 {
		d = d[copy(d, from[at:]):]
	}
}

package exact

import (
	"slices"
	"unsafe"

	"github.com/gomlx/compute"
)

// Element-wise operations whose values nobody else needs are computed together, block
// by block, so that what passes between them stays in the first-level cache.

const (
	// block is how many elements go through a chain at a time: 2 KB of float32.
	block = 512
	// longest bounds a chain, so that its registers fit the second-level cache.
	longest = 24
	// widest is the size of the largest element, in bytes.
	widest = 8
)

// chain is a group of element-wise nodes that ends in one value.
type chain struct {
	size      int // elements
	operands  []operand
	links     []link
	registers int // block buffers in scratch
	result    slot
	width     int // bytes of an element of the result
}

// operand is an input of a chain.
type operand struct {
	from   slot
	width  int // bytes of an element
	period int // elements after which it repeats; the chain's size if it does not
	buffer int // register it is unfolded into, if it repeats
}

// link is one operation. Its operands are operands of the chain if ≥ 0 and earlier
// links if < 0: -1 is link 0.
type link struct {
	kernel   kernel
	in       [3]int
	count    int
	register int // where the value goes; the last link's goes to the result
}

// fuse plans a node and everything that can be computed along with it.
func (p *plan) fuse(root *node) slot {
	size := root.shape.Size()
	members := p.group(root)
	c := &chain{size: size, width: root.shape.DType.Size()}
	index := make(map[*node]int)
	for i, n := range members {
		l := link{kernel: n.kernel, count: len(n.in), register: c.registers}
		c.registers++
		for k, x := range n.in {
			if at, ok := index[x]; ok {
				l.in[k] = at
				continue
			}
			index[x] = len(c.operands)
			l.in[k] = len(c.operands)
			c.operands = append(c.operands, p.operand(x, size))
		}
		index[n] = -1 - i
		c.links = append(c.links, l)
	}
	touches := make([]slot, 0, len(c.operands)+1)
	for i := range c.operands {
		o := &c.operands[i]
		touches = append(touches, o.from)
		if o.period < size {
			o.buffer = c.registers
			c.registers++
		}
	}
	c.result = p.temporary(byteSize(root.shape))
	grain := max(block, elements/len(members)/block*block)
	p.do(size, grain, c.run, append(touches, c.result)...)
	return c.result
}

// group returns the nodes of a chain in an order in which they can be computed: root,
// and before it every element-wise node of its size that only the chain uses.
func (p *plan) group(root *node) []*node {
	in := map[*node]bool{root: true}
	candidates := []*node{root}
	for changed := true; changed && len(candidates) < longest; {
		changed = false
		for _, n := range slices.Clone(candidates) {
			for _, x := range n.in {
				if len(candidates) < longest && !in[x] && p.joins(x, root, in) {
					in[x], changed = true, true
					candidates = append(candidates, x)
				}
			}
		}
	}
	return inOrder(root, in)
}

func (p *plan) joins(x, root *node, in map[*node]bool) bool {
	if _, done := p.of[x]; done || x.kernel == nil || p.keep[x] || x.shape.Size() != root.shape.Size() {
		return false
	}
	return !slices.ContainsFunc(p.users[x], func(u *node) bool { return !in[u] })
}

// inOrder lists the members of a set that root depends on, operands first.
func inOrder(root *node, in map[*node]bool) []*node {
	var list []*node
	done := make(map[*node]bool)
	var visit func(n *node)
	visit = func(n *node) {
		if !in[n] || done[n] {
			return
		}
		done[n] = true
		for _, x := range n.in {
			visit(x)
		}
		list = append(list, n)
	}
	visit(root)
	return list
}

// operand looks through a broadcast of a scalar, or of the last axes along the first:
// the chain repeats those itself.
func (p *plan) operand(x *node, size int) operand {
	o := operand{width: x.shape.DType.Size(), period: size}
	for x.alias {
		x = x.in[0]
	}
	if x.op == compute.OpTypeBroadcastInDim && x.view != nil {
		if _, done := p.of[x]; !done && repeats(x) {
			o.period = x.in[0].shape.Size()
			x = x.in[0]
		}
	}
	o.from = p.slot(x)
	return o
}

// repeats says whether a broadcast is its operand over and over.
func repeats(x *node) bool {
	dims := x.shape.Dimensions
	next, axis := 1, len(dims)-1
	for ; axis >= 0 && (x.view.strides[axis] == next || dims[axis] == 1); axis-- {
		next *= dims[axis]
	}
	for ; axis >= 0; axis-- {
		if x.view.strides[axis] != 0 && dims[axis] != 1 {
			return false
		}
	}
	return x.in[0].shape.Size() == next
}

// run computes the elements lo to hi.
func (c *chain) run(r *run, s *scratch, lo, hi int) {
	base := s.at(c.registers * block * widest).base
	register := func(i int) unsafe.Pointer { return unsafe.Add(base, i*block*widest) }
	for _, o := range c.operands {
		if o.period == 1 {
			fill(register(o.buffer), r.at[o.from], o.width, min(block, hi-lo))
		}
	}
	for ; lo < hi; lo += block {
		n := min(block, hi-lo)
		for _, o := range c.operands {
			if o.period > 1 && o.period < c.size {
				unfold(register(o.buffer), r.at[o.from], o.width, lo, n, o.period)
			}
		}
		for i := range c.links {
			l := &c.links[i]
			var in [3]unsafe.Pointer
			for k, from := range l.in[:l.count] {
				if from < 0 {
					in[k] = register(c.links[-1-from].register)
				} else if o := &c.operands[from]; o.period < c.size {
					in[k] = register(o.buffer)
				} else {
					in[k] = unsafe.Add(r.at[o.from], lo*o.width)
				}
			}
			dst := register(l.register)
			if i == len(c.links)-1 {
				dst = unsafe.Add(r.at[c.result], lo*c.width)
			}
			l.kernel(dst, in[0], in[1], in[2], n)
		}
	}
}

// fill writes n copies of an element.
func fill(dst, value unsafe.Pointer, width, n int) {
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
	for i := range d {
		d[i] = value
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

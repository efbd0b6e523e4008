package exact

import (
	"slices"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

// slot is a place in a plan that holds a tensor.
type slot int

// place says where a slot's memory comes from.
type place int

const (
	fromInput    place = iota // the caller's buffer of a parameter
	fromConstant              // the graph
	fromArena                 // the run's arena, shared with slots that are not alive at the same time
	toOutput                  // a buffer that the caller gets
)

type storage struct {
	place    place
	index    int    // of the parameter or the output
	constant *chunk // of a constant
	size     int    // bytes
	offset   int    // in the arena
	born     int    // the first step that mentions it
	dies     int    // the last
}

// step is one thing to do. Its work is on 0 … units-1, in parts that may be done at
// once and in any order, because no two of them write the same element.
type step struct {
	work    func(r *run, s *scratch, lo, hi int)
	units   int
	grain   int // units that are worth handing to another worker
	touches []slot
}

// plan is a graph made ready to run: steps in order, and where each tensor lies.
type plan struct {
	backend *Backend
	slots   []storage
	steps   []step
	outputs []slot
	arena   int // bytes

	of    map[*node]slot
	users map[*node][]*node
	keep  map[*node]bool // outputs of the graph
}

func newPlan(b *Backend, outputs []*node) *plan {
	p := &plan{backend: b, of: make(map[*node]slot), users: make(map[*node][]*node), keep: make(map[*node]bool)}
	for _, n := range outputs {
		p.keep[n] = true
	}
	for _, n := range reachable(outputs) {
		for _, x := range n.in {
			p.users[x] = append(p.users[x], n)
		}
	}
	for _, n := range outputs {
		p.slot(n)
	}
	for i, n := range outputs {
		p.output(i, p.slot(n), n.shape)
	}
	p.layOut()
	p.of, p.users, p.keep = nil, nil, nil
	return p
}

// reachable returns every node that the outputs depend on; all others are dead.
func reachable(outputs []*node) []*node {
	var list []*node
	seen := make(map[*node]bool)
	stack := slices.Clone(outputs)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		list = append(list, n)
		stack = append(stack, n.in...)
	}
	return list
}

// slot returns where a node's value is, after planning the steps that put it there.
func (p *plan) slot(n *node) slot {
	if s, ok := p.of[n]; ok {
		return s
	}
	var s slot
	if better := p.poolFirst(n); better != nil {
		s = p.slot(better)
	} else {
		s = p.place(n)
	}
	p.of[n] = s
	return s
}

func (p *plan) place(n *node) slot {
	switch {
	case n.op == compute.OpTypeParameter:
		return p.add(storage{place: fromInput, index: n.parameter})
	case n.constant != nil:
		return p.add(storage{place: fromConstant, constant: n.constant})
	case n.alias:
		return p.slot(n.in[0])
	case n.view != nil:
		return p.copyView(n)
	case n.kernel != nil:
		return p.fuse(n)
	}
	n.lower(p)
	return p.of[n]
}

func (p *plan) add(s storage) slot {
	s.born = -1
	p.slots = append(p.slots, s)
	return slot(len(p.slots) - 1)
}

// temporary reserves memory in the arena.
func (p *plan) temporary(size int) slot { return p.add(storage{place: fromArena, size: size}) }

// result reserves memory for the value of a node that is being lowered.
func (p *plan) result(n *node) slot {
	s := p.temporary(byteSize(n.shape))
	p.of[n] = s
	return s
}

// do appends a step. touches lists every slot that it reads or writes.
func (p *plan) do(units, grain int, work func(r *run, s *scratch, lo, hi int), touches ...slot) {
	if units == 0 {
		return
	}
	p.steps = append(p.steps, step{work: work, units: units, grain: max(1, grain), touches: touches})
}

// output makes a value the i-th result: in place if it is computed in the arena, and
// else (an input, a constant, the same value twice) by a copy.
func (p *plan) output(i int, s slot, shape shapes.Shape) {
	if from := &p.slots[s]; from.place == fromArena {
		from.place, from.index = toOutput, i
		p.outputs = append(p.outputs, s)
		return
	}
	dst := p.add(storage{place: toOutput, index: i})
	size := byteSize(shape)
	p.do(size, 1<<16, func(r *run, _ *scratch, lo, hi int) {
		copy(unsafe.Slice((*byte)(r.at[dst]), size)[lo:hi], unsafe.Slice((*byte)(r.at[s]), size)[lo:hi])
	}, dst, s)
	p.outputs = append(p.outputs, dst)
}

// layOut gives each slot of the arena a place that no other slot has while it is alive.
// Large ones first, each at the lowest free offset: greedy, but close to the peak.
func (p *plan) layOut() {
	for i, st := range p.steps {
		for _, s := range st.touches {
			if p.slots[s].born < 0 {
				p.slots[s].born = i
			}
			p.slots[s].dies = i
		}
	}
	var order []slot
	for i, s := range p.slots {
		if s.place == fromArena {
			order = append(order, slot(i))
		}
	}
	slices.SortStableFunc(order, func(a, b slot) int { return p.slots[b].size - p.slots[a].size })
	var placed []*storage // by offset
	for _, id := range order {
		s := &p.slots[id]
		size, offset := lines(s.size), 0
		for _, other := range placed {
			if other.dies < s.born || s.dies < other.born {
				continue
			}
			if offset+size <= other.offset {
				break
			}
			offset = max(offset, other.offset+lines(other.size))
		}
		s.offset = offset
		p.arena = max(p.arena, offset+size)
		at, _ := slices.BinarySearchFunc(placed, offset, func(o *storage, offset int) int { return o.offset - offset })
		placed = slices.Insert(placed, at, s)
	}
}

// elements is how many elements of simple work are worth handing to another worker.
const elements = 8192

func slice[T any](r *run, s slot, n int) []T { return unsafe.Slice((*T)(r.at[s]), n) }

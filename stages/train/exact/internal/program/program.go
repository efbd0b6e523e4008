// Package program runs lists of steps over tensors whose memory is planned beforehand.
//
// A Builder collects slots, which are places of tensors, and steps, which read and write
// them; Build decides where each slot lies. A Program may be run from many goroutines at
// a time, each run on an arena of its own, which is kept for the next.
package program

import (
	"slices"
	"sync"
	"unsafe"
)

// Slot is a place in a program that holds a tensor.
type Slot int

// place says where a slot's memory comes from.
type place int

const (
	fromInput    place = iota // the caller's
	fromConstant              // the program's
	fromArena                 // the run's arena, shared with slots that are not alive at the same time
	toOutput                  // the caller's
)

type storage struct {
	place    place
	index    int    // of the input or the output
	constant *Chunk // of a constant
	size     int    // bytes
	offset   int    // in the arena
	born     int    // the first step that mentions it
	dies     int    // the last
}

// Work does the units lo to hi of a step. Units may be done at once and in any order,
// because no two of them write the same element.
type Work func(r *Run, s *Scratch, lo, hi int)

type step struct {
	work    Work
	units   int
	grain   int // units that are worth handing to another worker
	touches []Slot
}

// Builder collects the slots and steps of a program.
type Builder struct {
	slots   []storage
	steps   []step
	outputs []Slot
	last    Band
}

// Band says that the last step computes a tensor in order: unit i is its elements
// i·Elements to (i+1)·Elements, the last one up to Total.
type Band struct {
	Slot            Slot
	Elements, Total int
}

func (b *Builder) add(s storage) Slot {
	s.born = -1
	b.slots = append(b.slots, s)
	return Slot(len(b.slots) - 1)
}

// Input returns the slot of the i-th input. It is to be called once for each.
func (b *Builder) Input(i int) Slot { return b.add(storage{place: fromInput, index: i}) }

// Constant returns the slot of a constant.
func (b *Builder) Constant(c *Chunk) Slot { return b.add(storage{place: fromConstant, constant: c}) }

// Temporary returns the slot of a tensor of size bytes.
func (b *Builder) Temporary(size int) Slot { return b.add(storage{place: fromArena, size: size}) }

// Do appends a step. touches lists every slot that it reads or writes.
func (b *Builder) Do(units, grain int, work Work, touches ...Slot) {
	if units == 0 {
		return
	}
	b.steps = append(b.steps, step{work: work, units: units, grain: max(1, grain), touches: touches})
	b.last = Band{}
}

// DoBand is Do for a step that computes a tensor band by band.
func (b *Builder) DoBand(band Band, units, grain int, work Work, touches ...Slot) {
	b.Do(units, grain, work, touches...)
	if units > 0 {
		b.last = band
	}
}

// Follow makes the last step do more to each of its bands, while it is in the cache:
// work gets the elements of the band. It says no, and does nothing, unless the last step
// computes from, in bands. to is the slot that the work computes, element by element.
func (b *Builder) Follow(from, to Slot, work Work, touches ...Slot) bool {
	if b.last.Elements == 0 || b.last.Slot != from {
		return false
	}
	last, size, total := &b.steps[len(b.steps)-1], b.last.Elements, b.last.Total
	first := last.work
	last.work = func(r *Run, s *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			first(r, s, i, i+1)
			work(r, s, i*size, min((i+1)*size, total))
		}
	}
	last.touches = append(last.touches, touches...)
	b.last.Slot = to
	return true
}

// Output makes a tensor of size bytes the next output: in place if it is computed in the
// arena, and else (an input, a constant, the same tensor twice) by a copy.
func (b *Builder) Output(s Slot, size int) {
	i := len(b.outputs)
	if from := &b.slots[s]; from.place == fromArena {
		from.place, from.index = toOutput, i
		b.outputs = append(b.outputs, s)
		return
	}
	dst := b.add(storage{place: toOutput, index: i})
	b.Do(size, 1<<16, func(r *Run, _ *Scratch, lo, hi int) {
		copy(unsafe.Slice((*byte)(r.At(dst)), size)[lo:hi], unsafe.Slice((*byte)(r.At(s)), size)[lo:hi])
	}, dst, s)
	b.outputs = append(b.outputs, dst)
}

// Program is a list of steps that is ready to run.
type Program struct {
	slots   []storage
	steps   []step
	inputs  map[int]Slot // none for inputs that no step reads
	outputs []Slot
	arena   int // bytes

	memory *Memory
	pool   *Pool

	mu   sync.Mutex // guards idle
	idle []*Run     // runs that are not being executed
}

// Build lays the slots out. The program takes its arenas from memory and its helpers
// from pool.
func (b *Builder) Build(memory *Memory, pool *Pool) *Program {
	p := &Program{slots: b.slots, steps: b.steps, outputs: b.outputs, inputs: make(map[int]Slot), memory: memory, pool: pool}
	for i, slot := range b.slots {
		if slot.place == fromInput {
			p.inputs[slot.index] = Slot(i)
		}
	}
	p.layOut()
	return p
}

// Steps returns how many steps there are.
func (p *Program) Steps() int { return len(p.steps) }

// Arena returns the size of the arena of a run in bytes.
func (p *Program) Arena() int { return p.arena }

// layOut gives each slot of the arena a place that no other slot has while it is alive.
// Large ones first, each at the lowest free offset: greedy, but close to the peak.
func (p *Program) layOut() {
	for i, st := range p.steps {
		for _, s := range st.touches {
			if p.slots[s].born < 0 {
				p.slots[s].born = i
			}
			p.slots[s].dies = i
		}
	}
	var order []Slot
	for i, s := range p.slots {
		if s.place == fromArena && s.born >= 0 {
			order = append(order, Slot(i))
		}
	}
	slices.SortStableFunc(order, func(a, b Slot) int { return p.slots[b].size - p.slots[a].size })
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

// Run is one execution at a time: an arena, and the jobs of the steps.
type Run struct {
	at      []unsafe.Pointer // memory of each slot
	arena   *Chunk
	scratch Scratch
	jobs    []*job
}

// At returns the memory of a slot.
func (r *Run) At(s Slot) unsafe.Pointer { return r.at[s] }

// Values returns the n elements of a slot.
func Values[T any](r *Run, s Slot, n int) []T { return unsafe.Slice((*T)(r.at[s]), n) }

// Start takes an idle run, or makes one. Its inputs and outputs are to be set; End it.
func (p *Program) Start() *Run {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		r := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return r
	}
	p.mu.Unlock()
	r := &Run{at: make([]unsafe.Pointer, len(p.slots)), arena: p.memory.Take(p.arena)}
	for i, s := range p.slots {
		switch s.place {
		case fromConstant:
			r.at[i] = s.constant.base
		case fromArena:
			r.at[i] = unsafe.Add(r.arena.base, s.offset)
		}
	}
	for _, st := range p.steps {
		r.jobs = append(r.jobs, newJob(r, st))
	}
	return r
}

// SetInput says where the i-th input lies.
func (p *Program) SetInput(r *Run, i int, at unsafe.Pointer) {
	if s, ok := p.inputs[i]; ok {
		r.at[s] = at
	}
}

// SetOutput says where the i-th output is to be written.
func (p *Program) SetOutput(r *Run, i int, at unsafe.Pointer) { r.at[p.outputs[i]] = at }

// Do takes all steps.
func (p *Program) Do(r *Run) {
	for _, j := range r.jobs {
		p.pool.do(j, &r.scratch)
	}
}

// End makes the run idle. The inputs' and outputs' memory is the caller's again.
func (p *Program) End(r *Run) {
	for _, s := range p.inputs {
		r.at[s] = nil
	}
	for _, s := range p.outputs {
		r.at[s] = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, r)
}

// Close gives the arenas back. Nothing may run any more.
func (p *Program) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.idle {
		p.memory.Give(r.arena)
	}
	p.idle = nil
}

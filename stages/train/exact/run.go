package exact

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

// executable is a compiled graph. It may be executed from many goroutines.
type executable struct {
	backend *Backend
	name    string
	plan    *plan
	names   []string
	inputs  []shapes.Shape
	outputs []shapes.Shape

	mu   sync.Mutex // guards idle
	idle []*run     // runs that are not being executed
}

var _ compute.Executable = (*executable)(nil)

// run is one execution at a time: an arena, and the jobs of the steps.
type run struct {
	at      []unsafe.Pointer // memory of each slot
	arena   *chunk
	scratch scratch
	jobs    []*job
}

func newExecutable(b *builder) (compute.Executable, error) {
	if b.backend.IsFinalized() {
		return nil, errFinalized
	}
	e := &executable{backend: b.backend, name: b.name, names: b.main.names, plan: newPlan(b.backend, b.main.outputs)}
	for _, n := range b.main.parameters {
		e.inputs = append(e.inputs, n.shape)
	}
	for _, n := range b.main.outputs {
		e.outputs = append(e.outputs, n.shape)
	}
	return e, nil
}

// Finalize lets the memory between runs go.
func (e *executable) Finalize() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.idle {
		e.backend.memory.give(r.arena)
	}
	e.idle = nil
}

func (e *executable) Inputs() ([]string, []shapes.Shape) {
	return slices.Clone(e.names), slices.Clone(e.inputs)
}

func (e *executable) Outputs() []shapes.Shape { return slices.Clone(e.outputs) }

// Execute implements compute.Executable. A donated buffer is given back to the
// backend when the execution ends.
func (e *executable) Execute(inputs []compute.Buffer, donate []bool, _ compute.DeviceNum) ([]compute.Buffer, error) {
	if e.backend.IsFinalized() {
		return nil, errFinalized
	}
	buffers, err := e.check(inputs, donate)
	if err != nil {
		return nil, fmt.Errorf("exact backend: execute %s: %w", e.name, err)
	}
	outputs := make([]compute.Buffer, len(e.outputs))
	r := e.start()
	for i, shape := range e.outputs {
		out := e.backend.newBuffer(shape)
		outputs[i] = out
		r.at[e.plan.outputs[i]] = out.chunk.Load().base
	}
	for i := range e.plan.slots {
		if s := &e.plan.slots[i]; s.place == fromInput {
			r.at[i] = buffers[s.index].base
		}
	}
	for _, j := range r.jobs {
		e.backend.pool.run(j, &r.scratch)
	}
	e.end(r)
	for i, d := range donate {
		if d {
			_ = inputs[i].Finalize() // a buffer of ours, which never fails
		}
	}
	return outputs, nil
}

// check returns the memory of the inputs.
func (e *executable) check(inputs []compute.Buffer, donate []bool) ([]*chunk, error) {
	if len(inputs) != len(e.inputs) || (donate != nil && len(donate) != len(inputs)) {
		return nil, fmt.Errorf("%d inputs and %d donations: want %d inputs", len(inputs), len(donate), len(e.inputs))
	}
	chunks := make([]*chunk, len(inputs))
	for i, in := range inputs {
		b, ok := in.(*buffer)
		if !ok || b.backend != e.backend {
			return nil, fmt.Errorf("input %s: %T is not a buffer of this backend", e.names[i], in)
		}
		if !b.shape.Equal(e.inputs[i]) {
			return nil, fmt.Errorf("input %s: shape %s, want %s", e.names[i], b.shape, e.inputs[i])
		}
		if chunks[i] = b.chunk.Load(); chunks[i] == nil {
			return nil, fmt.Errorf("input %s: %w", e.names[i], errGone)
		}
	}
	return chunks, nil
}

// start takes an idle run, or makes one.
func (e *executable) start() *run {
	e.mu.Lock()
	if last := len(e.idle) - 1; last >= 0 {
		r := e.idle[last]
		e.idle = e.idle[:last]
		e.mu.Unlock()
		return r
	}
	e.mu.Unlock()
	r := &run{at: make([]unsafe.Pointer, len(e.plan.slots)), arena: e.backend.memory.take(e.plan.arena)}
	for i, s := range e.plan.slots {
		switch s.place {
		case fromConstant:
			r.at[i] = s.constant.base
		case fromArena:
			r.at[i] = unsafe.Add(r.arena.base, s.offset)
		}
	}
	for _, st := range e.plan.steps {
		r.jobs = append(r.jobs, newJob(st.units, st.grain, func(s *scratch, lo, hi int) { st.work(r, s, lo, hi) }))
	}
	return r
}

func (e *executable) end(r *run) {
	for i, s := range e.plan.slots {
		if s.place == fromInput || s.place == toOutput {
			r.at[i] = nil // the caller's memory is the caller's again
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idle = append(e.idle, r)
}

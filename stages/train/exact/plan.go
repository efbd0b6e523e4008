package exact

import (
	"slices"

	"github.com/gomlx/compute"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// plan turns the nodes of a graph into a program.
type plan struct {
	steps.Plan

	of      map[*node]program.Slot
	users   map[*node][]*node
	keep    map[*node]bool         // outputs of the graph
	numbers map[*node]program.Slot // for a pooled operand: which element of each window is the largest
}

// newProgram plans what the outputs depend on; all other nodes are dead.
func newProgram(b *Backend, outputs []*node) *program.Program {
	p := &plan{
		Plan: steps.Plan{Builder: new(program.Builder), Kernels: &b.kernels, Workers: b.pool.Size()},
		of:   make(map[*node]program.Slot), users: make(map[*node][]*node),
		keep: make(map[*node]bool), numbers: make(map[*node]program.Slot),
	}
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
	for _, n := range outputs {
		p.Output(p.slot(n), byteSize(n.shape))
	}
	return p.Build(&b.memory, b.pool)
}

// reachable returns every node that the outputs depend on.
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
func (p *plan) slot(n *node) program.Slot {
	if s, ok := p.of[n]; ok {
		return s
	}
	var s program.Slot
	if better := p.poolFirst(n); better != nil {
		s = p.slot(better)
	} else {
		s = p.place(n)
	}
	p.of[n] = s
	return s
}

func (p *plan) place(n *node) program.Slot {
	switch {
	case n.op == compute.OpTypeParameter:
		return p.Input(n.parameter)
	case n.constant != nil:
		return p.Constant(n.constant)
	case n.alias:
		return p.slot(n.in[0])
	case n.view != nil:
		from, to := p.slot(n.in[0]), p.Temporary(byteSize(n.shape))
		steps.Copy(&p.Plan, n.shape, *n.view, from, to)
		return to
	case n.kernel != nil:
		return p.fuse(n)
	}
	n.lower(p)
	return p.of[n]
}

// result reserves memory for the value of a node that is being lowered.
func (p *plan) result(n *node) program.Slot {
	s := p.Temporary(byteSize(n.shape))
	p.of[n] = s
	return s
}

func (p *plan) slotsOf(nodes []*node) []program.Slot {
	list := make([]program.Slot, len(nodes))
	for i, n := range nodes {
		list[i] = p.slot(n)
	}
	return list
}

// planned says whether a node's value has a place already.
func (p *plan) planned(n *node) bool {
	_, ok := p.of[n]
	return ok
}

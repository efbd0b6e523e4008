package stages

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
)

// schedule calls do for each of the stages, after it has returned for those that the
// stage reads from: at most limit at once, and first the one that comes first. stages are
// in the order of a plan.
//
// After a failure no other stage begins, unless keepGoing: then only those do not that
// need the one that failed. What has begun is waited for. The failures are in the order
// of the stages; the error is the context's, when it ended before all had begun.
func schedule(ctx context.Context, stages []Stage, limit int, keepGoing bool, do func(context.Context, Stage) error) ([]*StageError, error) {
	type outcome struct {
		stage int
		err   error
	}
	g := newGraph(stages)
	outcomes := make(chan outcome)
	var failed []*StageError
	order := make(map[*StageError]int)
	var ended error
	for running := 0; ; running-- {
		for running < limit && len(g.ready) > 0 && ended == nil && (keepGoing || len(failed) == 0) {
			if ended = context.Cause(ctx); ended != nil {
				break
			}
			i := heap.Pop(&g.ready).(int)
			running++
			go func() { outcomes <- outcome{i, do(ctx, stages[i])} }()
		}
		if running == 0 {
			break
		}
		o := <-outcomes
		if o.err == nil {
			g.done(o.stage)
			continue
		}
		e := &StageError{Stage: stages[o.stage].Name, Err: o.err}
		order[e] = o.stage
		failed = append(failed, e)
	}
	slices.SortFunc(failed, func(a, b *StageError) int { return cmp.Compare(order[a], order[b]) })
	if len(failed) > 0 {
		return failed, nil
	}
	return nil, ended
}

// graph knows which stages may run. Stages are numbers: their places in the plan.
type graph struct {
	ready   numbers // those whose inputs are all there
	waits   []int   // for how many inputs each stage waits
	readers [][]int // which stages wait for each
}

func newGraph(stages []Stage) *graph {
	place := make(map[string]int, len(stages))
	g := &graph{waits: make([]int, len(stages)), readers: make([][]int, len(stages))}
	for i, s := range stages {
		place[s.Name] = i
		for _, in := range s.Inputs {
			if in.From != "" {
				g.waits[i]++
				g.readers[place[in.From]] = append(g.readers[place[in.From]], i)
			}
		}
		if g.waits[i] == 0 {
			g.ready = append(g.ready, i) // ascending, and so a heap
		}
	}
	return g
}

// done makes those ready that waited for a stage only.
func (g *graph) done(stage int) {
	for _, reader := range g.readers[stage] {
		g.waits[reader]--
		if g.waits[reader] == 0 {
			heap.Push(&g.ready, reader)
		}
	}
}

// numbers is a heap with the smallest number on top.
type numbers []int

func (n numbers) Len() int           { return len(n) }
func (n numbers) Less(i, j int) bool { return n[i] < n[j] }
func (n numbers) Swap(i, j int)      { n[i], n[j] = n[j], n[i] }

// Push implements heap.Interface.
func (n *numbers) Push(x any) { *n = append(*n, x.(int)) }

// Pop implements heap.Interface.
func (n *numbers) Pop() any {
	last := len(*n) - 1
	x := (*n)[last]
	*n = (*n)[:last]
	return x
}

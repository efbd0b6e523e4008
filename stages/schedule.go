package stages

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Limit is what a stage may take of the machine. It decides how a build runs and nothing
// of what it makes, so it is no part of any key.
type Limit struct {
	CPU    int   // goroutines that it may keep busy; 0 for all that the build has
	Memory int64 // bytes for what it works with; 0 for as much as it takes by itself
}

// room is what running stages share.
type room struct {
	cpu     int
	memory  int64
	endless bool // how much memory there is is not known
}

// room returns what the engine has to give.
func (e *Engine) room() room {
	return room{cpu: max(e.Workers, 1), memory: e.Memory, endless: e.Memory == 0}
}

// need returns what a stage takes of an empty room: never more cores than there are.
func (r room) need(l Limit) Limit {
	if l.CPU == 0 || l.CPU > r.cpu {
		l.CPU = r.cpu
	}
	return l
}

func (r room) fits(l Limit) bool { return l.CPU <= r.cpu && (r.endless || l.Memory <= r.memory) }

func (r *room) take(l Limit) { r.cpu, r.memory = r.cpu-l.CPU, r.memory-l.Memory }

func (r *room) giveBack(l Limit) { r.cpu, r.memory = r.cpu+l.CPU, r.memory+l.Memory }

// LimitError says that a stage is to have more memory than there is.
type LimitError struct {
	Stage       string
	Memory, Has int64 // bytes
}

func (e *LimitError) Error() string {
	const mib = 1 << 20
	return fmt.Sprintf("stage %s is to have %d MiB of memory, and %d MiB are free", e.Stage, e.Memory/mib, e.Has/mib)
}

// check finds a stage that would wait for ever.
func (r room) check(stages []Stage) error {
	for _, s := range stages {
		if need := r.need(s.Limit); !r.fits(need) {
			return &LimitError{Stage: s.Name, Memory: need.Memory, Has: r.memory}
		}
	}
	return nil
}

// schedule calls do for each of the stages, after it has returned for those that the
// stage reads from. What runs at once fits into the room together; of what could begin,
// the stage that comes first does, and what does not fit lets later ones by. Each of the
// stages fits by itself. stages are in the order of a plan.
//
// After a failure no other stage begins, unless keepGoing: then only those do not that
// need the one that failed. What has begun is waited for. The failures are in the order
// of the stages; the error is the context's, when it ended before all had begun.
func schedule(ctx context.Context, stages []Stage, free room, keepGoing bool, do func(context.Context, Stage) error) ([]*StageError, error) {
	type outcome struct {
		stage int
		err   error
	}
	whole := free
	need := func(stage int) Limit { return whole.need(stages[stage].Limit) }
	g := newGraph(stages)
	outcomes := make(chan outcome)
	var failed []*StageError
	order := make(map[*StageError]int)
	var ended error
	for running := 0; ; running-- {
		for ended == nil && (keepGoing || len(failed) == 0) {
			i, ok := -1, false
			if free.cpu > 0 { // or nothing fits, and none of thousands need be asked
				i, ok = g.next(func(stage int) bool { return free.fits(need(stage)) })
			}
			if !ok {
				break
			}
			if ended = context.Cause(ctx); ended != nil {
				break
			}
			free.take(need(i))
			running++
			go func() { outcomes <- outcome{i, do(ctx, stages[i])} }()
		}
		if running == 0 {
			break
		}
		o := <-outcomes
		free.giveBack(need(o.stage))
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
	ready   []int   // those whose inputs are all there, ascending
	waits   []int   // for how many inputs each stage waits
	readers [][]int // which stages wait for each
}

func newGraph(stages []Stage) *graph {
	place := make(map[string]int, len(stages))
	g := &graph{waits: make([]int, len(stages)), readers: make([][]int, len(stages))}
	for i, s := range stages {
		place[s.Name] = i
		for from := range s.needs() {
			g.waits[i]++
			g.readers[place[from]] = append(g.readers[place[from]], i)
		}
		if g.waits[i] == 0 {
			g.ready = append(g.ready, i)
		}
	}
	return g
}

// next takes the first of the ready stages that fits.
func (g *graph) next(fits func(stage int) bool) (stage int, ok bool) {
	at := slices.IndexFunc(g.ready, fits)
	if at < 0 {
		return 0, false
	}
	stage = g.ready[at]
	g.ready = slices.Delete(g.ready, at, at+1)
	return stage, true
}

// done makes those ready that waited for a stage only.
func (g *graph) done(stage int) {
	for _, reader := range g.readers[stage] {
		g.waits[reader]--
		if g.waits[reader] == 0 {
			at, _ := slices.BinarySearch(g.ready, reader)
			g.ready = slices.Insert(g.ready, at, reader)
		}
	}
}

package stages

import (
	"context"
	"fmt"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// UnstableError says that a stage ran twice on equal inputs and did not do the same.
type UnstableError struct {
	Kind          string // of the stage
	What          string // the first difference
	First, Second cas.TreeID
}

func (e *UnstableError) Error() string {
	return fmt.Sprintf("two runs differ: %s (the outputs are %s and %s)", e.What, e.First, e.Second)
}

// verify runs a stage that has a result once more, and compares. The other run has
// another number of workers, on which nothing may depend, and does all items anew.
func (r *run) verify(ctx context.Context, s Stage, inputs map[string]cas.Tree, step Step) error {
	r.observer.Observe(Started{Stage: s.Name, Action: step.Action, Why: []string{"once more, to compare"}})
	limit := r.room().need(s.Limit)
	if limit.CPU > 1 {
		limit.CPU--
	} else {
		limit.CPU++
	}
	again, err := runTask(ctx, s.Kind, r.task(s, inputs, limit, onlyProgress{r.observer}), r.environment(s))
	if err != nil {
		return err
	}
	what, err := resultDifference(ctx, r.Store, step.Result, again)
	if err != nil || what == "" {
		return err
	}
	return &UnstableError{Kind: s.Kind.Name(), What: what, First: step.Result.Tree, Second: again.Tree}
}

// resultDifference says in what the results of two runs differ; nothing if they do not.
func resultDifference(ctx context.Context, store cas.Store, first, second cas.Result) (string, error) {
	if first.Tree != second.Tree {
		changes, err := cas.Diff(ctx, cas.NewTree(store, first.Tree), cas.NewTree(store, second.Tree), 1)
		return changes.String(), err
	}
	for _, name := range union(first.Counters, second.Counters) {
		if a, b := first.Counters[name], second.Counters[name]; a != b {
			return fmt.Sprintf("counter %s is %d, then %d", name, a, b), nil
		}
	}
	for i := range max(len(first.Log), len(second.Log)) {
		if i >= len(first.Log) || i >= len(second.Log) || first.Log[i] != second.Log[i] {
			return fmt.Sprintf("line %d of what it tells", i+1), nil
		}
	}
	if first.Items != second.Items && !first.Items.IsZero() {
		return "what its items came to", nil
	}
	return "", nil
}

// onlyProgress is an observer of a run whose messages were heard before.
type onlyProgress struct{ next Observer }

func (o onlyProgress) Observe(e Event) {
	if p, ok := e.(Progress); ok {
		o.next.Observe(p)
	}
}

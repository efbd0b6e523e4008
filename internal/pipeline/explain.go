package pipeline

import (
	"context"
	"slices"
	"sync"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Explanation says why a stage would run, or why it ran when it made the result that is
// in the cache.
type Explanation struct {
	stages.Forecast
	Build *Record       // that ran the stage, when it is cached and that is remembered
	Work  []stages.Work // what that did
}

// Explain says of every stage why it would run, or ran. As Plan does, it fetches metadata
// and selects; it runs no other stage and writes no lock.
func Explain(ctx context.Context, p *Project, o Options) ([]Explanation, error) {
	var explanations []Explanation
	err := withSession(p, o, func(s *session) error {
		forecasts, _, err := s.preview(ctx)
		if err != nil {
			return err
		}
		records, err := History(ctx, o.Store, p.Manifest.Name)
		if err != nil {
			return err
		}
		for _, f := range forecasts {
			e := Explanation{Forecast: f}
			if f.Cached {
				var step RecordedStage
				e.Build, step = maker(records, f.Stage, f.Action)
				e.Why, e.Work = step.Why, step.Work
			}
			explanations = append(explanations, e)
		}
		return nil
	})
	return explanations, err
}

// maker returns the latest build that ran an action, and what became of it.
func maker(records []Record, stage string, action cas.Digest) (*Record, RecordedStage) {
	for i, r := range records {
		if s, ok := r.stage(stage); ok && !s.Cached && s.Action.Digest == action {
			return &records[i], s
		}
	}
	return nil, RecordedStage{}
}

// earlier returns what the engine compares actions with: those of the history, which is
// read when the first stage runs.
func (s *session) earlier() func(ctx context.Context, stage string) []cas.Digest {
	var once sync.Once
	var records []Record
	return func(ctx context.Context, stage string) []cas.Digest {
		once.Do(func() {
			// What cannot be read is not compared with.
			records, _ = History(ctx, s.options.Store, s.Manifest.Name)
		})
		var actions []cas.Digest
		for _, r := range records {
			if step, ok := r.stage(stage); ok && !slices.Contains(actions, step.Action.Digest) {
				actions = append(actions, step.Action.Digest)
			}
		}
		return actions
	}
}

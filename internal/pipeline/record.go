package pipeline

import (
	"context"
	"time"

	"github.com/sandwich-build/sandwich/internal/history"
)

// record writes down how the session's build ended, if it got as far as a stage, and also
// when it was interrupted. That it cannot be written is no reason for a build to fail.
func (s *session) record(ctx context.Context, began time.Time, outcome *Outcome, err error) {
	if s.options.Now == nil || s.built == nil {
		return
	}
	s.noteRoot(context.WithoutCancel(ctx))
	now := s.options.Now()
	r := history.Record{
		Time: now.UTC().Truncate(time.Millisecond), Seconds: now.Sub(began).Seconds(),
		Manifest: s.manifestPath(), Set: s.Settings, Stages: []history.Stage{},
	}
	if err != nil {
		r.Error = err.Error()
	}
	if outcome != nil {
		r.Package, r.Accuracy = outcome.Package, outcome.Accuracy
	}
	if r.Package != "" {
		r.Message = s.Manifest.Message
		r.Meta, _ = s.meta(outcome) // which the build has written once before
	}
	for _, step := range s.built.Steps {
		r.Stages = append(r.Stages, history.Stage{
			Stage: step.Stage, Action: history.Digest{Digest: step.Action}, Tree: history.Digest{Digest: step.Result.Tree.Digest()},
			Cached: step.Cached, Why: step.Why, Counters: step.Result.Counters, Work: step.Work, Seconds: step.Elapsed.Seconds(),
			Metrics: outcome.metricsOf(step.Stage),
		})
	}
	if err := history.Append(context.WithoutCancel(ctx), s.options.Store, s.Manifest.Name, r); err != nil {
		s.warn("this build is not in the history: %v", err)
	}
}

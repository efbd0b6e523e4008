package pipeline

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/evaluate"
)

// packageMeta is the metadata of a package, which registries show and search without
// reading a file of it.
type packageMeta struct {
	Sandwich struct {
		Version     int              `json:"version"` // of this form
		Labels      []string         `json:"labels"`
		Environment string           `json:"environment"` // its digest
		Commit      string           `json:"commit,omitempty"`
		Dirty       bool             `json:"dirty,omitempty"` // the sources had uncommitted changes
		Accuracy    float64          `json:"accuracy"`
		Counters    map[string]int64 `json:"counters"`
	} `json:"sandwich"`
}

// meta returns the metadata of the package that was built, as JSON.
func (s *session) meta(o *Outcome) ([]byte, error) {
	var m packageMeta
	m.Sandwich.Version = 1
	m.Sandwich.Labels = s.classes
	m.Sandwich.Environment = s.engine.Environment
	if code := s.lock.Code; code != nil {
		m.Sandwich.Commit, m.Sandwich.Dirty = code.Commit, code.Dirty
	}
	if o.Accuracy != nil {
		m.Sandwich.Accuracy = *o.Accuracy
	}
	m.Sandwich.Counters = map[string]int64{"dead": o.Dead, "quarantined": o.Quarantined}
	if step, ok := o.Build.Step(Quality); ok {
		m.Sandwich.Counters["crops"] = step.Result.Counters["crops"]
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("package metadata: %w", err)
	}
	return text, nil
}

// readMetrics returns what the evaluation measured, or nil when the build did not get
// that far.
func readMetrics(ctx context.Context, b *stages.Build) (*evaluate.Metrics, error) {
	if _, ok := b.Step(Evaluate); !ok {
		return nil, nil
	}
	text, err := b.Tree(Evaluate).ReadFile(ctx, evaluate.MetricsFile)
	if err != nil {
		return nil, err
	}
	m := new(evaluate.Metrics)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s: %w", evaluate.MetricsFile, err)
	}
	return m, nil
}

package stages

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Forecast says what a build would do with one stage.
type Forecast struct {
	Stage  string
	Action cas.Digest // zero when it depends on stages that would run first
	Cached bool
	From   string   // where a cached result came from; "" for this machine
	Why    []string // why it would run
	Result cas.Result

	// Differences are those from the nearest earlier action of the stage; empty when it is
	// cached, or no earlier one is known. Inputs that are not known yet are not compared.
	Differences []Difference
}

// Preview says what Build would do, without running a stage. Stages after the first
// that would run cannot be named by their action yet: their inputs are not known, and
// may turn out to be equal to what they were.
//
// The pinners of the plan decide what they do here; one that must not touch the world
// fails, and its error becomes the reason why the stage would run.
func (e *Engine) Preview(ctx context.Context, p *Plan) ([]Forecast, *Build, error) {
	r := e.newRun(p)
	forecasts := make([]Forecast, 0, len(p.stages))
	for _, s := range p.stages {
		f, err := r.forecast(ctx, s)
		if err != nil {
			return nil, nil, &StageError{Stage: s.Name, Err: err}
		}
		forecasts = append(forecasts, f)
	}
	return forecasts, newBuild(p, e.Store, r.steps), nil
}

func (r *run) forecast(ctx context.Context, s Stage) (Forecast, error) {
	f := Forecast{Stage: s.Name}
	var first []string
	for _, in := range s.Inputs {
		if _, known := r.step(in.From); in.From != "" && !known {
			first = append(first, "stage "+in.From+" runs first")
		}
	}
	if len(first) > 0 {
		var err error
		if f.Differences, err = r.ownDifferences(ctx, s); err != nil {
			return f, err
		}
		f.Why = append(told(f.Differences), first...)
		return f, nil
	}
	act, _, err := r.action(ctx, s)
	var open *NotPinnedError
	if errors.As(err, &open) {
		f.Why = []string{open.Error()}
		return f, nil
	}
	if err != nil {
		return f, err
	}
	if f.Action, err = act.put(ctx, r.Store); err != nil {
		return f, err
	}
	f.Result, err = r.known(ctx, s.Name, f.Action)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Why, f.Differences = r.why(ctx, s.Name, act)
	case err != nil:
		return f, err
	default:
		f.Cached, f.From = true, r.from(true, f.Action)
		r.add(Step{Stage: s.Name, Action: f.Action, Cached: true, Result: f.Result})
	}
	return f, nil
}

// ownDifferences returns in what a stage differs from its nearest earlier action, besides
// its inputs, which are not known yet.
func (r *run) ownDifferences(ctx context.Context, s Stage) ([]Difference, error) {
	act, err := newAction(s.Kind, nil, r.environment(s))
	if err != nil {
		return nil, err
	}
	differences, _ := r.explain(ctx, s.Name, act)
	return slices.DeleteFunc(differences, func(d Difference) bool { return strings.HasPrefix(d.Field, inputField) }), nil
}

// NotPinnedError is returned by a Pinner that may not touch the world when the lock does
// not hold all it needs.
type NotPinnedError struct {
	What []string // what the lock lacks, a line each
}

func (e *NotPinnedError) Error() string {
	if len(e.What) == 1 {
		return "not in the lock: " + e.What[0]
	}
	return "not in the lock: " + e.What[0] + " and more"
}

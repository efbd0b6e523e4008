package pipeline

import (
	"context"
	"errors"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Forecast says what a build would do.
type Forecast struct {
	Stages []stages.Forecast
	Boxes  int64 // selected
	Images int64 // selected
	Moved  int64 // boxes that went to a more specific label than one that was asked for
	Funnel openimages.Funnel

	Unpinned int64    // selected photos that the lock does not pin yet
	Bytes    int64    // to download for them, as far as the metadata tell
	Drift    []string // how the lock would change, a line each
}

// Plan says what Build would do. It fetches the metadata files that are not here yet
// and selects boxes, since nothing else can tell how many there are; it downloads no
// photo, runs no other stage and writes no lock.
func Plan(ctx context.Context, p *Project, o Options) (*Forecast, error) {
	var forecast *Forecast
	err := withSession(p, o, func(s *session) (err error) {
		forecast, err = s.forecast(ctx)
		return err
	})
	return forecast, err
}

func (s *session) forecast(ctx context.Context) (*Forecast, error) {
	forecasts, build, err := s.preview(ctx)
	if err != nil {
		return nil, err
	}
	return s.describe(ctx, build, forecasts)
}

// preview says what a build would do with each stage, and returns the build of the
// selection, without which nothing can be said of what follows it.
func (s *session) preview(ctx context.Context) ([]stages.Forecast, *stages.Build, error) {
	plan, err := s.prepare(ctx, func() stages.Pinner { return unpinned{s.lockedPinner()} })
	if err != nil {
		return nil, nil, err
	}
	selecting, err := plan.Until(Select)
	if err != nil {
		return nil, nil, err
	}
	if plan, err = s.narrow(plan); err != nil {
		return nil, nil, err
	}
	// What would run is asked before the selection is made, and again with it.
	before, _, err := s.engine.Preview(ctx, plan)
	if err != nil {
		return nil, nil, err
	}
	engine := s.engine
	engine.Observer, engine.Force, engine.Verify = ranOnly{s.options.Observer}, nil, false
	build, err := engine.Build(ctx, selecting)
	if err != nil {
		return nil, nil, err
	}
	after, _, err := s.engine.Preview(ctx, plan)
	if err != nil {
		return nil, nil, err
	}
	known := min(len(build.Steps), len(before))
	return append(before[:known], after[known:]...), build, nil
}

// ranOnly passes on what happens in stages that run. That the others are cached is what
// the forecast itself says.
type ranOnly struct{ next stages.Observer }

func (o ranOnly) Observe(e stages.Event) {
	if f, ok := e.(stages.Finished); ok && f.Cached {
		return
	}
	o.next.Observe(e)
}

// describe counts what was selected and what of it is not pinned yet.
func (s *session) describe(ctx context.Context, build *stages.Build, forecasts []stages.Forecast) (*Forecast, error) {
	step, _ := build.Step(Select)
	f := &Forecast{Stages: forecasts, Boxes: step.Result.Counters["boxes"], Images: step.Result.Counters["images"]}
	funnel, err := build.Tree(Select).Open(ctx, openimages.FunnelFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = funnel.Close() }() // nothing was written
	if f.Funnel, err = openimages.ReadFunnel(funnel, openimages.FunnelFile); err != nil {
		return nil, err
	}
	for _, move := range f.Funnel.Moved {
		f.Moved += move.Boxes
	}
	gap, err := pin.Compare(ctx, build.Tree(Select), s.Manifest.Dataset.Places(), s.lock.Photos)
	if err != nil {
		return nil, err
	}
	f.Unpinned, f.Bytes = gap.Photos, gap.Bytes
	if s.lock.disk == nil {
		return f, nil // everything is new; the counts above say it
	}
	var need []string
	for _, source := range s.lock.Sources {
		need = append(need, source.URL)
	}
	changes := slices.Concat(lock.DriftCode(s.lock.disk.Code, s.lock.Code), lock.DriftImage(s.lock.disk.Image, s.lock.Image), lock.DriftInputs(s.lock.disk.Inputs, s.lock.Inputs),
		lock.DriftPython(s.lock.disk.Python, s.lock.Python), lock.DriftWheels(s.lock.disk.Wheels, s.lock.Wheels),
		lock.DriftConda(s.lock.disk.Platform, s.lock.disk.Conda, s.lock.Platform, s.lock.Conda), lock.DriftSources(s.lock.disk.Sources, need), gap.Drift)
	for _, change := range changes {
		f.Drift = append(f.Drift, change.String())
	}
	return f, nil
}

// unpinned is a pinner that never touches the world. What the lock lacks is the reason
// why a stage would run, not an error.
type unpinned struct{ locked stages.Pinner }

func (u unpinned) Pin(ctx context.Context, t *stages.Task, upstream cas.Tree) (cas.Tree, error) {
	tree, err := u.locked.Pin(ctx, t, upstream)
	var drift *pin.DriftError
	if !errors.As(err, &drift) {
		return tree, err
	}
	open := &stages.NotPinnedError{}
	for _, c := range drift.Changes {
		open.What = append(open.What, c.String())
	}
	return cas.Tree{}, open
}

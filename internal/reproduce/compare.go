package reproduce

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// few is how many files that differ are named and kept of each stage.
const few = 10

// errDiffers ends a build at the first stage that differs.
var errDiffers = errors.New("a stage differs")

// attempt builds the package, as far as it is the same or as it is to go.
func (r *rerun) attempt(ctx context.Context) (*Report, error) {
	building, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &watching{next: r.Build.Observer, rerun: r, seen: map[string]seen{}}
	if !r.KeepGoing {
		w.differs = func() { stop(errDiffers) }
	}
	o := r.Build
	o.Observer, o.Shared = w, r.store
	outcome, rev, err := pipeline.Rebuild(building, r.project, o, r.remains)
	if err != nil && !errors.Is(context.Cause(building), errDiffers) {
		return nil, err
	}
	report, err := r.compare(ctx, w.seen)
	if err != nil {
		return nil, err
	}
	if outcome == nil || rev.Files == nil {
		return report, nil
	}
	report.Whole = true
	return report, r.compareWhole(ctx, report, rev, outcome.Build.Tree(pipeline.Pack))
}

// seen is how far a stage came.
type seen struct {
	action cas.Digest
	output cas.TreeID // zero when it did not end
}

// watching is an observer that compares each stage with what the package says of it.
type watching struct {
	next    stages.Observer
	rerun   *rerun
	seen    map[string]seen
	differs func() // is called for a stage that is not the same; may be nil
}

func (w *watching) Observe(e stages.Event) {
	switch e := e.(type) {
	case stages.Started:
		w.see(e.Stage, seen{action: e.Action})
	case stages.Finished:
		if e.Err == nil {
			w.see(e.Stage, seen{action: e.Action, output: e.Result.Tree})
		} else if why := w.rerun.mayTake(e.Stage, e.Err); why != "" {
			// It does not fail for that: the next attempt takes its output from the package.
			w.next.Observe(stages.Message{Stage: e.Stage, Line: cas.Line{Text: why}})
			return
		}
	}
	w.next.Observe(e)
}

func (w *watching) see(stage string, now seen) {
	was, ok := w.rerun.stage(stage)
	if !ok {
		return
	}
	w.seen[stage] = now
	same := now.action == was.Action.Digest && (now.output.IsZero() || now.output == was.Result().Tree)
	if !same && w.differs != nil {
		w.differs()
	}
}

// compare says what became of each stage.
func (r *rerun) compare(ctx context.Context, found map[string]seen) (*Report, error) {
	report := &Report{}
	for _, was := range r.recorded {
		s := Stage{Stage: was.Stage, Verdict: Unreached, Was: was.Result().Tree}
		is, reached := found[was.Stage]
		s.Is = is.output
		switch {
		case !reached:
		case is.action != was.Action.Digest:
			now, err := stages.Describe(ctx, r.Build.Store, is.action)
			if err != nil {
				return nil, err
			}
			s.Verdict = Differs
			for _, d := range now.Differences(was.Description()) {
				s.Why = append(s.Why, d.String())
			}
		case is.output == s.Was && r.taken[was.Stage] != "":
			s.Verdict, s.Why = Taken, []string{r.taken[was.Stage]}
		case is.output == s.Was:
			s.Verdict = Identical
		case !is.output.IsZero():
			s.Verdict = Differs
		}
		if s.Verdict == Differs && !s.Is.IsZero() && s.Is != s.Was && r.listed[s.Was] {
			var err error
			if s.Changes, err = cas.Diff(ctx, cas.NewTree(r.Build.Store, s.Was), cas.NewTree(r.Build.Store, s.Is), few); err != nil {
				return nil, err
			}
			if err := r.keep(ctx, report, was.Stage, s.Changes); err != nil {
				return nil, err
			}
		}
		report.Stages = append(report.Stages, s)
	}
	return report, nil
}

// compareWhole compares what was built with the package itself.
func (r *rerun) compareWhole(ctx context.Context, report *Report, rev registry.Revision, built cas.Tree) error {
	pkg, err := rev.Package(ctx)
	if err != nil {
		return err
	}
	// A registry may have required a workflow, of which the header tells.
	pkg.Header = quilt.NewHeader(rev.Meta, r.content.Header.Get("workflow"), rev.Message)
	top, err := pkg.TopHash()
	if err != nil {
		return err
	}
	report.Rebuilt = top.String()
	if report.Files, err = cas.Diff(ctx, r.files, built, few); err != nil {
		return err
	}
	return r.keep(ctx, report, pipeline.Pack, report.Files)
}

// keep writes the files that differ to the folder for them, those of the package beside
// those that were built.
func (r *rerun) keep(ctx context.Context, report *Report, stage string, changes cas.Changes) error {
	for _, c := range changes.First {
		for side, d := range map[string]cas.Digest{"package": c.Old, "rebuilt": c.New} {
			if d.IsZero() {
				continue
			}
			err := r.write(ctx, filepath.Join(r.kept, stage, side, filepath.FromSlash(c.Path)), d)
			if errors.Is(err, fs.ErrNotExist) { // the package does not hold it
				continue
			}
			if err != nil {
				return err
			}
			report.Kept = r.kept
		}
	}
	return nil
}

func (r *rerun) write(ctx context.Context, name string, d cas.Digest) (err error) {
	in, err := r.Build.Store.Open(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

package pipeline_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/history"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/crop"
)

// buildMatrix builds the variants of a project, and returns the stages that ran for each.
func (p *project) buildMatrix(t *testing.T, change func(*pipeline.Options)) (*pipeline.MatrixOutcome, [][]string, error) {
	t.Helper()
	opened, options := p.open(t)
	if change != nil {
		change(&options)
	}
	m, err := pipeline.BuildMatrix(t.Context(), opened, options)
	var all [][]string
	for _, v := range m.Variants {
		if v.Outcome == nil {
			all = append(all, nil)
			continue
		}
		all = append(all, ran(v.Outcome))
	}
	return m, all, err
}

// revisions counts the pushes of the package.
func (p *project) revisions(t *testing.T, name string) []registry.LogEntry {
	t.Helper()
	r, err := registry.Open(t.Context(), filepath.Join(p.dir, "registry"), registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := r.Log(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestMatrix holds that variants share what they can, that the best one is the latest
// revision, and that each can be built alone.
func TestMatrix(t *testing.T) {
	w := newSmallOrchard(t, small)
	text := w.manifest(t, "seed: 7\n", "seed: 7\nmatrix: {model.optimizer.learning_rate: [0.0005, 0.05], crop.pad: [0, 0.1]}\n")
	p := newProject(t, text)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	latest := make(map[string]bool) // revisions that were the latest when something was told
	withClock := func(o *pipeline.Options) {
		o.Now = func() time.Time { now = now.Add(time.Second); return now }
		o.Observer = observer(func(stages.Event) {
			pointer, err := os.ReadFile(filepath.Join(p.dir, "registry", ".quilt", "named_packages", "orchard", "fruit", "latest"))
			if err == nil {
				latest[string(pointer)] = true
			}
		})
	}
	m, stagesRan, err := p.buildMatrix(t, withClock)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"metadata", "select", "download", "crop", "quality", "split", "train", "evaluate", "report", "pack"}
	want := [][]string{all, all[3:], all[6:], all[6:]}
	if diff := cmp.Diff(want, stagesRan); diff != "" {
		t.Errorf("the stages that ran (-want +got)\n%s", diff)
	}

	// The latest is the best of the validation pictures.
	best := m.Variants[0]
	for _, v := range m.Variants[1:] {
		if v.Outcome.Validation.Better(best.Outcome.Validation) {
			best = v
		}
	}
	_, bestHash, _ := strings.Cut(best.Outcome.Package, "@")
	delete(latest, bestHash)
	if len(latest) > 0 {
		t.Errorf("for a while, %v were the latest revision", latest)
	}
	entries := p.revisions(t, "orchard/fruit")
	if len(entries) != 4 {
		t.Errorf("%d revisions, want 4: %+v", len(entries), entries)
	}
	for _, e := range entries {
		if e.Latest != ("orchard/fruit@"+e.TopHash.String() == best.Outcome.Package) {
			t.Errorf("revision %s is the latest: %v; the best is %s", e.TopHash, e.Latest, best.Title())
		}
	}
	_, options := p.open(t)
	records, err := history.Read(t.Context(), options.Store, "orchard/fruit")
	if err != nil || len(records) != 4 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		i := slices.IndexFunc(m.Variants, func(v pipeline.VariantOutcome) bool { return slices.Equal(v.Set, r.Set) })
		if i < 0 || r.Package != m.Variants[i].Outcome.Package || r.Ran() != m.Variants[i].Outcome.Ran || r.Error != "" {
			t.Errorf("record %+v", r)
		}
	}

	// Again: nothing runs, and nothing is pushed.
	again, stagesRan, err := p.buildMatrix(t, nil)
	if err != nil || len(slices.Concat(stagesRan...)) > 0 || len(p.revisions(t, "orchard/fruit")) != 4 {
		t.Errorf("again: %v ran, %d revisions, %v", stagesRan, len(p.revisions(t, "orchard/fruit")), err)
	}
	for i, v := range again.Variants {
		if v.Outcome.Package != m.Variants[i].Outcome.Package || v.Outcome.Created {
			t.Errorf("again: %s is %+v", v.Title(), v.Outcome)
		}
	}

	// What several variants need is forced once.
	_, stagesRan, err = p.buildMatrix(t, func(o *pipeline.Options) { o.Force = []string{pipeline.Split} })
	if diff := cmp.Diff([][]string{{"split"}, {"split"}, {}, {}}, stagesRan); diff != "" || err != nil {
		t.Errorf("forced: %v\n%s", err, diff)
	}

	// The package's manifest builds alone to the same package.
	for _, v := range m.Variants {
		r, pkg := p.pkg(t, v.Outcome)
		alone := newProject(t, "")
		for _, name := range []string{"manifest.yaml", "manifest.lock"} {
			data, err := r.ReadFile(t.Context(), pkg, name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(alone.dir, name), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if pkg.Content.Message() != "Apples and oranges ("+v.Title()+")" {
			t.Errorf("the message is %q", pkg.Content.Message())
		}
		alone.cache = p.cache
		if got := alone.build(t); got.Package != v.Outcome.Package || got.Ran != 0 {
			t.Errorf("%s alone: %s, %d stages ran, want %s", v.Title(), got.Package, got.Ran, v.Outcome.Package)
		}
	}
}

// TestMatrixKeepsGoing has a variant in the middle that fails.
func TestMatrixKeepsGoing(t *testing.T) {
	w := newSmallOrchard(t, small)
	text := w.manifest(t, "seed: 7\n", "seed: 7\nmatrix: {dataset.boxes.min_side: [0, 9000, 1]}\n")
	p := newProject(t, text)
	check := func(keepGoing bool, built []bool) {
		t.Helper()
		m, _, err := p.buildMatrix(t, func(o *pipeline.Options) { o.KeepGoing = keepGoing })
		var failed *pipeline.MatrixError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Title() != "dataset.boxes.min_side=9000" {
			t.Fatalf("got %v", err)
		}
		if _, ok := errors.AsType[*crop.LostLabelsError](err); !ok || !strings.HasPrefix(err.Error(), "variant dataset.boxes.min_side=9000: crop: ") {
			t.Errorf("the cause is lost: %v", err)
		}
		for i, want := range built {
			if o := m.Variants[i].Outcome; (o != nil && o.Package != "") != want {
				t.Errorf("keep going %v: variant %d is %+v", keepGoing, i, o)
			}
		}
	}
	check(false, []bool{true, false, false})
	check(true, []bool{true, false, true})
}

// TestMatrixTellsWhereItIs: the story names the variant before its stages.
func TestMatrixTellsWhereItIs(t *testing.T) {
	w := newSmallOrchard(t, small)
	p := newProject(t, w.manifest(t, "seed: 7\n", "matrix: {seed: [1, 2]}\n"))
	var told []string
	_, _, err := p.buildMatrix(t, func(o *pipeline.Options) {
		o.Until = pipeline.Select
		o.Observer = observer(func(e stages.Event) {
			if m, ok := e.(stages.Message); ok && m.Stage == "matrix" {
				told = append(told, m.Line.Text)
			}
		})
	})
	if diff := cmp.Diff([]string{"variant 1 of 2: seed=1", "variant 2 of 2: seed=2"}, told); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

package pipeline_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/stages"
)

// small is how many photos the orchard of a test has that builds often.
const small = 14

// errCut is why a build was ended.
var errCut = errors.New("cut")

// TestCutAndResumed ends builds at many points. Each is resumed, and must then come to
// the package of a build that nobody disturbed.
func TestCutAndResumed(t *testing.T) {
	w := newSmallOrchard(t, small)
	manifest := w.manifest(t)
	want := newProject(t, manifest).build(t).Package
	requests := w.Total()

	// Each point says whether an event, or a request for an address, is where to cut.
	type point struct {
		name  string
		event func(stages.Event) bool
		asked string
	}
	started := func(stage string) func(stages.Event) bool {
		return func(e stages.Event) bool {
			s, ok := e.(stages.Started)
			return ok && s.Stage == stage
		}
	}
	progressed := func(stage string, least int64) func(stages.Event) bool {
		return func(e stages.Event) bool {
			p, ok := e.(stages.Progress)
			return ok && p.Stage == stage && p.Done >= least
		}
	}
	points := []point{
		{name: "first request", asked: classesURL},
		{name: "reading boxes", asked: boxesURL},
		{name: "reading images", asked: imagesURL},
		{name: "asking for a photo", asked: w.url(small/2, pinfile.Original)},
		{name: "some photos pinned", event: progressed(pipeline.Download, 5)},
		{name: "in crop", event: progressed(pipeline.Crop, 5)},
		{name: "in train", event: progressed(pipeline.Train, 1)},
		{name: "before evaluate", event: started(pipeline.Evaluate)},
		{name: "before pack", event: started(pipeline.Pack)},
		{name: "before the first byte is pushed", event: progressed("push", 0)},
		{name: "while pushing", event: progressed("push", 64<<10)},
	}
	for _, stage := range []string{pipeline.Metadata, pipeline.Select, pipeline.Download, pipeline.Crop, pipeline.Split, pipeline.Train} {
		points = append(points, point{name: "before " + stage, event: started(stage)})
	}
	for i, at := range points {
		if testing.Short() && i%3 != 0 {
			continue
		}
		t.Run(at.name, func(t *testing.T) {
			p := newProject(t, manifest)
			ctx, cut := context.WithCancelCause(t.Context())
			defer cut(nil)
			w.Observe(func(hostAndPath string) {
				if at.asked != "" && strings.HasSuffix(at.asked, "://"+hostAndPath) {
					cut(errCut)
				}
			})
			p.options.Observer = observer(func(e stages.Event) {
				if at.event != nil && at.event(e) {
					cut(errCut)
				}
			})
			before := w.Total()
			opened, options := p.open(t)
			if _, err := pipeline.Build(ctx, opened, options); err == nil || context.Cause(ctx) == nil {
				t.Fatalf("got %v; the build was not cut", err)
			}
			w.Observe(nil)
			p.options.Observer = nil
			outcome := p.build(t)
			if outcome.Package != want {
				t.Errorf("got %s, want %s", outcome.Package, want)
			}
			if asked := w.Total() - before; asked > 2*requests {
				t.Errorf("%d requests, want at most twice the %d of an undisturbed build", asked, requests)
			}
			if again := p.build(t); again.Ran != 0 || again.Created {
				t.Errorf("a third build had to do something: %+v", again)
			}
		})
	}
}

// TestPinnedPhotosAreKept cuts a build while it pins photos. Those that were pinned are
// not asked for again, although the lock was not written yet.
func TestPinnedPhotosAreKept(t *testing.T) {
	w := newSmallOrchard(t, small)
	p := newProject(t, w.manifest(t))
	ctx, cut := context.WithCancelCause(t.Context())
	defer cut(nil)
	var pinned atomic.Int64
	p.options.Observer = observer(func(e stages.Event) {
		if progress, ok := e.(stages.Progress); ok && progress.Unit == "photos pinned" {
			pinned.Store(progress.Done)
			if progress.Done == small/2 {
				cut(errCut)
			}
		}
	})
	opened, options := p.open(t)
	if _, err := pipeline.Build(ctx, opened, options); !errors.Is(err, errCut) {
		t.Fatalf("got %v, want the cut", err)
	}
	p.options.Observer = nil
	p.build(t)
	once := 0
	for i := range w.images {
		if w.requestsFor(i) == 1 {
			once++
		}
	}
	if once < small/2 {
		t.Errorf("%d photos were asked for once, want the %d at least that were pinned before the cut", once, small/2)
	}
}

// TestCoresDoNotMatter builds in empty caches on one core and on two.
func TestCoresDoNotMatter(t *testing.T) {
	w := newSmallOrchard(t, small)
	manifest := w.manifest(t, "epochs: 1", "epochs: 2\n  augment: {rotation: 20, shift: 0.1, flip: horizontal}")
	had := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(had)
	var packages []string
	for _, cores := range []int{1, 2} {
		runtime.GOMAXPROCS(cores)
		packages = append(packages, newProject(t, manifest).build(t).Package)
	}
	if packages[0] != packages[1] {
		t.Errorf("one core made %s, two made %s", packages[0], packages[1])
	}
}

// TestLimitOnlyAdds raises the limit of photos per label.
func TestLimitOnlyAdds(t *testing.T) {
	w := newSmallOrchard(t, 40)
	p := newProject(t, w.manifest(t, "min_side: 0}", "min_side: 0}\n  limit: 8"))
	few := selectedIDs(t, p.build(t))
	if len(few) != 16 || w.photoRequests() != 16 {
		t.Fatalf("selected %d photos with %d requests, want 8 for each of 2 labels", len(few), w.photoRequests())
	}
	before := w.Total()
	p.write(t, w.manifest(t, "min_side: 0}", "min_side: 0}\n  limit: 11"))
	more := selectedIDs(t, p.build(t))
	if len(more) != 22 {
		t.Errorf("selected %d photos, want 11 for each of 2 labels", len(more))
	}
	for id := range few {
		if !more[id] {
			t.Errorf("photo %s was given up", id)
		}
	}
	for i := range w.images {
		want := 0
		if more[w.id(i)] {
			want = 1
		}
		if got := w.requestsFor(i); got != want {
			t.Errorf("photo %s: %d requests, want %d", w.id(i), got, want)
		}
	}
	if got := w.Total() - before; got != 6 {
		t.Errorf("%d requests, want one for each new photo", got)
	}
}

func selectedIDs(t *testing.T, o *pipeline.Outcome) map[string]bool {
	t.Helper()
	ids := make(map[string]bool)
	for _, photo := range tableOf(t, o.Build.Tree(pipeline.Download), pinfile.PhotosFile, pinfile.Photos) {
		ids[string(photo.ImageID)] = true
	}
	return ids
}

// TestTwoBuildsAtOnce builds a project twice at the same time, in one cache. Each stage
// runs in one of the two builds, while the other waits for it.
func TestTwoBuildsAtOnce(t *testing.T) {
	w := newSmallOrchard(t, small)
	p := newProject(t, w.manifest(t))
	var outcomes [2]*pipeline.Outcome
	var errs [2]error
	var group sync.WaitGroup
	for i := range outcomes {
		opened, options := p.open(t)
		group.Go(func() { outcomes[i], errs[i] = pipeline.Build(t.Context(), opened, options) })
	}
	group.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if outcomes[0].Package != outcomes[1].Package {
		t.Errorf("one build made %s, the other %s", outcomes[0].Package, outcomes[1].Package)
	}
	if together := outcomes[0].Ran + outcomes[1].Ran; together != outcomes[0].Stages {
		t.Errorf("%d stages ran in both builds together, want each of %d once", together, outcomes[0].Stages)
	}
}

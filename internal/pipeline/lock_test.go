package pipeline_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/crop"
	"github.com/sandwich-build/sandwich/stages/download"
)

// TestLockedBuild builds with a lock from elsewhere, as a colleague does.
func TestLockedBuild(t *testing.T) {
	w := newSmallOrchard(t, small)
	p := newProject(t, w.manifest(t))
	first := p.build(t)
	before := w.Total()

	p.options.Locked = true
	p.freshCache(t)
	outcome := p.build(t)
	if outcome.Package != first.Package || outcome.LockChanged || outcome.Created {
		t.Errorf("got %+v, want %s again", outcome, first.Package)
	}
	if got, want := w.Total()-before, 4+small; got != want {
		t.Errorf("%d requests, want %d: one for each metadata file and photo", got, want)
	}
}

// TestLockedBuildToldOfDrift asks for more than the lock has. That is an error, and
// neither the lock changes nor is anybody asked.
func TestLockedBuildToldOfDrift(t *testing.T) {
	w := newSmallOrchard(t, 40)
	limit := func(n string) string { return w.manifest(t, "min_side: 0}", "min_side: 0}\n  limit: "+n) }
	p := newProject(t, limit("8"))
	p.options.Locked = true

	if err := p.wantDrift(t); len(err.Changes) != 4 {
		t.Errorf("without a lock the changes are %q, want the 4 metadata files", err.Changes)
	}
	if got := w.Total(); got != 0 {
		t.Errorf("%d requests without a lock", got)
	}

	p.options.Locked = false
	p.build(t)
	p.options.Locked = true
	written, requests := readFile(t, p.lockPath()), w.Total()
	tests := []struct {
		name, manifest string
		changes        int
		example        string
	}{
		{"more photos", limit("9"), 2, "missing"},
		{"fewer photos", limit("7"), 2, "unneeded"},
		{"another place", strings.Replace(limit("8"), "[original, thumbnail, cvdf]", "[thumbnail, cvdf]", 1), 16, "pinned at original, allowed: thumbnail, cvdf"},
	}
	for _, test := range tests {
		p.write(t, test.manifest)
		err := p.wantDrift(t)
		if len(err.Changes) != test.changes || !strings.Contains(err.Changes[0], test.example) {
			t.Errorf("%s: the changes are %q, want %d like %q", test.name, err.Changes, test.changes, test.example)
		}
	}
	p.write(t, limit("8"))
	if o := p.build(t); o.Ran != 0 {
		t.Errorf("with the manifest of the lock, %v ran", ran(o))
	}
	if !bytes.Equal(readFile(t, p.lockPath()), written) {
		t.Error("the lock was changed")
	}
	if got := w.Total() - requests; got != 0 {
		t.Errorf("%d requests, want none", got)
	}
}

// wantDrift builds, and fails the test unless that ends with a *DriftError.
func (p *project) wantDrift(t *testing.T) *pipeline.DriftError {
	t.Helper()
	_, err := p.tryBuild(t)
	drift, ok := errors.AsType[*pipeline.DriftError](err)
	if !ok {
		t.Fatalf("got %v, want a *DriftError", err)
	}
	return drift
}

// TestPinsHold changes the world after the lock was written: a build has the bytes of
// the lock, or it fails and says whose are gone.
func TestPinsHold(t *testing.T) {
	w := newSmallOrchard(t, small)
	p := newProject(t, w.manifest(t))
	first := p.build(t)
	written := readFile(t, p.lockPath())

	w.Break(w.url(2, pinfile.Original), mirrortest.Body("image/jpeg", w.get(t, w.url(3, pinfile.Original))))
	w.Break(w.url(5, pinfile.Original), mirrortest.Status(404))
	if o := p.build(t); o.Package != first.Package || o.Ran != 0 {
		t.Errorf("with the cache: got %+v, want %s again", o, first.Package)
	}
	for _, p.options.Locked = range []bool{false, true} {
		p.freshCache(t)
		_, err := p.tryBuild(t)
		failed, ok := errors.AsType[*download.FailedError](err)
		if !ok || failed.Gone() != 2 || string(failed.Failures[0].Photo.ImageID) != w.id(2) {
			t.Errorf("without the cache: got %v, want that photos 2 and 5 are gone", err)
		}
	}
	w.Break(imagesURL, mirrortest.Body("text/csv", []byte("ImageID,Subset\n")))
	p.freshCache(t)
	if _, err := p.tryBuild(t); !fetch.Definite(err) {
		t.Errorf("got %v, want that the metadata is not what it was", err)
	}
	if !bytes.Equal(readFile(t, p.lockPath()), written) {
		t.Error("the lock was changed")
	}
	w.AssertFaultsHit(t)
}

// TestTombstones follows a photo that is dead and comes back.
func TestTombstones(t *testing.T) {
	w := newSmallOrchard(t, small)
	const lost = 4
	for _, place := range []pinfile.Place{pinfile.Original, pinfile.Thumbnail} {
		w.DeletePhoto(w.url(lost, place))
	}
	onlyTwo := w.manifest(t, "[original, thumbnail, cvdf]", "[original, thumbnail]")
	p := newProject(t, onlyTwo)
	dead := func(want int64, reason string) {
		t.Helper()
		o := p.build(t)
		all := p.pins(t).Photos
		i := slices.IndexFunc(all, func(p lock.Photo) bool { return p.ID == w.id(lost) })
		if i < 0 {
			t.Fatalf("photo %d is not in the lock", lost)
		}
		pinned := all[i]
		if o.Dead != want || pinned.Dead != reason {
			t.Errorf("%d photos are dead, want %d; the lock says %+v, want %q", o.Dead, want, pinned, reason)
		}
	}
	const tombstone = "original: deleted on Flickr; thumbnail: deleted on Flickr"
	dead(1, tombstone)
	w.AssertFaultsHit(t)

	// It comes back. The lock says that it is dead, and nobody asks.
	w.Repair(w.url(lost, pinfile.Original))
	before := w.Total()
	dead(1, tombstone)
	if got := w.Total() - before; got != 0 {
		t.Errorf("%d requests for what the lock knows", got)
	}
	p.options.Retry = true
	dead(0, "")
	if got := w.Total() - before; got != 1 {
		t.Errorf("%d requests, want one for the dead photo", got)
	}

	// A tombstone does not speak for a place that was not asked.
	w.DeletePhoto(w.url(lost, pinfile.Original))
	fresh := newProject(t, onlyTwo)
	fresh.build(t)
	p = fresh
	p.write(t, w.manifest(t))
	before = w.Requests(w.url(lost, pinfile.CVDF))
	dead(0, "")
	if got := w.Requests(w.url(lost, pinfile.CVDF)) - before; got != 1 {
		t.Errorf("%d requests for the new place, want one", got)
	}
}

// TestWholeLabelLost has no photo of one of the labels.
func TestWholeLabelLost(t *testing.T) {
	w := newSmallOrchard(t, small)
	const orange = "/m/0cyhj_"
	for i, image := range w.images {
		for _, b := range w.boxes {
			if b.ImageID == image.ImageID && b.LabelID == orange {
				w.Break(w.url(i, pinfile.Original), mirrortest.Status(404))
			}
		}
	}
	p := newProject(t, w.manifest(t, "[original, thumbnail, cvdf]", "[original]"))
	_, err := p.tryBuild(t)
	lost, ok := errors.AsType[*crop.LostLabelsError](err)
	if !ok || !slices.Equal(lost.Labels, []string{"Orange"}) {
		t.Errorf("got %v, want that Orange is lost", err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "registry")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a registry, %v, although nothing was built", err)
	}
	w.AssertFaultsHit(t)
}

// TestUnreachablePhoto has a server that does not get well. What it has is neither
// pinned nor dead, and the next build asks for nothing else.
func TestUnreachablePhoto(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a server four times")
	}
	w := newSmallOrchard(t, small)
	w.Break(w.url(1, pinfile.Original), mirrortest.Status(503))
	w.Break(w.url(6, pinfile.Original), mirrortest.Cut(1000))
	p := newProject(t, w.manifest(t))
	_, err := p.tryBuild(t)
	unreachable, ok := errors.AsType[*pin.UnreachableError](err)
	if !ok || unreachable.Photos != 2 || unreachable.Offline {
		t.Fatalf("got %v, want that photos 1 and 6 could not be reached", err)
	}
	if _, err := os.Stat(p.lockPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a lock, %v, although it is not complete", err)
	}
	w.AssertFaultsHit(t)
	for _, i := range []int{1, 6} {
		w.Repair(w.url(i, pinfile.Original))
	}
	before := w.Total()
	if o := p.build(t); o.Dead != 0 || !o.LockChanged {
		t.Errorf("got %+v, want no dead photo", o)
	}
	if got := w.Total() - before; got != 2 {
		t.Errorf("%d requests, want those for the photos that were left", got)
	}
}

// TestLockThenBuild pins first: the build then asks for nothing.
func TestLockThenBuild(t *testing.T) {
	w := newSmallOrchard(t, small)
	w.Break(w.url(3, pinfile.Original), mirrortest.HTML())
	w.Break(w.url(8, pinfile.Original), mirrortest.Status(404))
	p := newProject(t, w.manifest(t, "[original, thumbnail, cvdf]", "[original]"))

	opened, options := p.open(t)
	forecast, err := pipeline.Plan(t.Context(), opened, options)
	if err != nil {
		t.Fatal(err)
	}
	var bytesToCome int64
	for _, image := range w.images {
		bytesToCome += image.OriginalSize
	}
	all := make([]int, small)
	for i := range all {
		all[i] = i
	}
	got := []int64{forecast.Boxes, forecast.Images, forecast.Unpinned, forecast.Bytes, int64(len(forecast.Drift))}
	if diff := cmp.Diff([]int64{w.boxesOn(all...), small, small, bytesToCome, 0}, got); diff != "" {
		t.Errorf("boxes, images, unpinned, bytes and drift (none without a lock) of the plan (-want +got):\n%s", diff)
	}
	if w.photoRequests() != 0 {
		t.Error("the plan asked for photos")
	}
	if _, err := os.Stat(p.lockPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the plan wrote a lock: %v", err)
	}

	report, err := pipeline.Lock(t.Context(), opened, options)
	if err != nil || !report.Changed || report.Photos != small-2 || report.Dead != 2 {
		t.Fatalf("got %+v, %v; want a new lock with 2 dead photos", report, err)
	}
	if w.Total() != 4+small {
		t.Errorf("%d requests, want one for each metadata file and photo", w.Total())
	}
	opened, options = p.open(t)
	if report, err := pipeline.Lock(t.Context(), opened, options); err != nil || report.Changed {
		t.Errorf("got %+v, %v; want the same lock again", report, err)
	}
	p.options.Locked = true
	if o := p.build(t); o.Dead != 2 || o.LockChanged {
		t.Errorf("got %+v, want the 2 dead photos and the same lock", o)
	}
	if w.Total() != 4+small {
		t.Errorf("%d requests after the build, want no new ones", w.Total())
	}
	w.AssertFaultsHit(t)
}

// TestPackageWithoutOriginals leaves the photos out and nothing else.
func TestPackageWithoutOriginals(t *testing.T) {
	w := newSmallOrchard(t, small)
	p := newProject(t, w.manifest(t))
	_, with := p.pkg(t, p.build(t))
	p.write(t, w.manifest(t, "originals: true", "originals: false"))
	outcome := p.build(t)
	if diff := cmp.Diff([]string{pipeline.Pack}, ran(outcome)); diff != "" {
		t.Errorf("stages that ran (-want +got):\n%s", diff)
	}
	_, without := p.pkg(t, outcome)
	var want, got []string
	photos := 0
	for _, e := range with.Content.Entries {
		if strings.HasPrefix(e.Key, "data/photos/") {
			photos++
			continue
		}
		want = append(want, e.Key)
	}
	for _, e := range without.Content.Entries {
		got = append(got, e.Key)
	}
	if diff := cmp.Diff(want, got); diff != "" || photos != small {
		t.Errorf("of %d files left out %d photos; the others (-want +got):\n%s", len(with.Content.Entries), photos, diff)
	}
}

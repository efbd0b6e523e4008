package sharedcache_test

import (
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/sharedcache"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/castest"
)

// counting is a shared cache whose requests are counted.
func counting(inner blob.Conditional) *blobtest.Faulty {
	return blobtest.Intercept(inner, func(blobtest.Call) *blobtest.Fault { return nil })
}

// wantRuns compares how often the stages of a sample ran.
func wantRuns(t *testing.T, s sample, want string) {
	t.Helper()
	if got := s.runs.String(); got != want {
		t.Errorf("stages ran: %s, want %s", got, want)
	}
}

func wantSilence(t *testing.T, machines ...*machine) {
	t.Helper()
	for _, m := range machines {
		for _, w := range m.warnings() {
			t.Errorf("warned: %s", w)
		}
	}
}

// A colleague with an empty disk runs no stage, and gets no byte that nobody reads.
func TestColleagueRunsNothing(t *testing.T) {
	store := counting(dir.New(t.TempDir()))
	first, s := newMachine(t, store), newSample()
	built := first.build(s)
	wantRuns(t, s, "photos 1, crops 1, pack 1")
	if n := len(store.Calls()); n > 30 {
		t.Errorf("uploading made %d requests", n)
	}

	other := newMachine(t, store)
	before := len(store.Calls())
	again := other.build(s)
	wantRuns(t, s, "photos 1, crops 1, pack 1")
	if n := len(store.Calls()) - before; n != 3 {
		t.Errorf("looking up 3 results made %d requests", n)
	}
	for i, step := range again.Steps {
		if want := built.Steps[i]; !step.Cached || step.From != "s3://team/cache" || step.Result.Tree != want.Result.Tree {
			t.Errorf("step %+v, want the result of %+v", step, want)
		}
	}
	if got := other.cache.Traffic(); got.Results != 3 || got.Blobs != 0 || got.Uploaded != 0 {
		t.Errorf("traffic = %+v", got)
	}
	if got := again.Steps[0].Result.Counters["photos"]; got != 40 {
		t.Errorf("counter = %d", got)
	}

	before = len(store.Calls())
	if files, size := other.read(again.Steps[2].Result.Tree); files != 83 || size < 40*4000+700_000 {
		t.Errorf("read %d files of %d bytes", files, size)
	}
	if n := len(store.Calls()) - before; n > 10 {
		t.Errorf("reading 83 files made %d requests", n)
	}
	wantSilence(t, first, other)
}

// What this machine has learnt is not asked again, by later processes either.
func TestSecondBuildAsksNothing(t *testing.T) {
	store := counting(new(mem.Store))
	first, s := newMachine(t, store), newSample()
	first.build(s)
	other := newMachine(t, store)
	other.build(s)
	for m, from := range map[*machine]string{first: "", other: "s3://team/cache"} {
		m = m.restart(store)
		before := len(store.Calls())
		b := m.build(s)
		if calls := store.Calls()[before:]; len(calls) > 0 {
			t.Errorf("a build of nothing made requests: %v", calls)
		}
		if b.Steps[1].From != from {
			t.Errorf("from %q, want %q", b.Steps[1].From, from)
		}
	}
	wantRuns(t, s, "photos 1, crops 1, pack 1")
}

// A stage that runs on a machine which has its inputs in the shared cache only fetches what it
// reads, and its result, of which some blobs are there only, is whole in the next process.
func TestStageOverRemoteInputs(t *testing.T) {
	store := counting(new(mem.Store))
	s := newSample()
	newMachine(t, store).build(s)

	for _, mode := range []string{"read-write", "read-only"} {
		t.Run(mode, func(t *testing.T) {
			s := s
			s.seed, s.runs = len(mode), new(runs)
			other := newMachine(t, store, func(o *sharedcache.Options) { o.ReadOnly = mode == "read-only" })
			built := other.build(s)
			wantRuns(t, s, "photos 0, crops 1, pack 1")

			other = other.restart(store, func(o *sharedcache.Options) { o.ReadOnly = mode == "read-only" })
			again := other.build(s)
			wantRuns(t, s, "photos 0, crops 1, pack 1")
			if again.Steps[2].Result.Tree != built.Steps[2].Result.Tree {
				t.Error("another package")
			}
			other.read(again.Steps[2].Result.Tree)
			wantSilence(t, other)
		})
	}
}

// Blobs that the shared cache has are not uploaded again: not for another result of the stage,
// from another machine with an empty disk.
func TestBlobsAreUploadedOnce(t *testing.T) {
	store := counting(new(mem.Store))
	s := newSample()
	s.photos, s.size, s.large = 200, 30_000, 0
	newMachine(t, store).build(s)
	size := stored(t, store)

	s.seed = 7
	other := newMachine(t, store)
	other.build(s)
	if grown := stored(t, store) - size; grown > 20*10_000+100_000 {
		t.Errorf("another tenth of the crops are %d bytes more, of %d", grown, size)
	}
	third := newMachine(t, store)
	b := third.build(s)
	third.read(b.Steps[2].Result.Tree)
	wantRuns(t, s, "photos 1, crops 2, pack 2")
	wantSilence(t, other, third)
}

func stored(t *testing.T, store blob.Store) (size int64) {
	t.Helper()
	for info, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size
	}
	return size
}

// In read-only mode nothing is written.
func TestReadOnly(t *testing.T) {
	store := counting(new(mem.Store))
	m, s := newMachine(t, store, readOnly), newSample()
	m.build(s)
	if n := store.Count(blobtest.Put, "") + store.Count(blobtest.PutIf, ""); n > 0 {
		t.Errorf("%d objects were written", n)
	}
	wantSilence(t, m)
}

// What was interrupted before it was uploaded is uploaded by the next build, which runs
// nothing.
func TestUploadGoesOn(t *testing.T) {
	store := new(mem.Store)
	m, s := newMachine(t, store, readOnly), newSample()
	m.build(s)
	m = m.restart(store)
	m.build(s)
	other := newMachine(t, store)
	other.read(other.build(s).Steps[2].Result.Tree)
	wantRuns(t, s, "photos 1, crops 1, pack 1")
}

// The blobs of the last result of a stage are found before a stage of another action asks for
// them.
func TestNeighbour(t *testing.T) {
	store := new(mem.Store)
	s := newSample()
	newMachine(t, store).build(s)
	other := newMachine(t, store, readOnly)
	photo := cas.Sum(noise(3, s.size+3))
	if missing, err := other.cache.Missing(t.Context(), []cas.Digest{photo}); err != nil || len(missing) != 1 {
		t.Errorf("Missing = %v, %v", missing, err)
	}
	if _, err := other.cache.Latest(t.Context(), "team/sample\x00photos"); err != nil {
		t.Fatal(err)
	}
	if missing, err := other.cache.Missing(t.Context(), []cas.Digest{photo}); err != nil || len(missing) != 0 {
		t.Errorf("Missing = %v, %v", missing, err)
	}
}

// Another machine says in what its action differs from that of the team.
func TestOtherMachineExplains(t *testing.T) {
	store := new(mem.Store)
	s := newSample()
	newMachine(t, store).build(s)
	s.seed = 3
	b := newMachine(t, store).build(s)
	if why := strings.Join(b.Steps[1].Why, "; "); why != "0: 3, was 0" {
		t.Errorf("why = %q", why)
	}
}

// The cache is a store of blobs and results like any other.
func TestSuite(t *testing.T) {
	castest.Run(t, func(t *testing.T) castest.Store { return newMachine(t, new(mem.Store)).cache })
}

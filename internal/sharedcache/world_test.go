package sharedcache_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandwich-build/sandwich/internal/sharedcache"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// machine is a disk of its own with the shared cache behind it, and the process that uses
// both.
type machine struct {
	t        testing.TB
	local    sharedcache.Local
	disk     *disk.Store // nil for one whose local cache is in memory
	cache    *sharedcache.Cache
	observer stages.Observer

	mu     sync.Mutex // guards warned
	warned []string
}

// newMachine starts a process on a machine that has nothing yet.
func newMachine(t testing.TB, shared blob.Store, change ...func(*sharedcache.Options)) *machine {
	t.Helper()
	return start(t, cas.NewMemory(), shared, change...)
}

// onDisk starts a process on a machine with a disk.
func onDisk(t testing.TB, dir string, shared blob.Store, change ...func(*sharedcache.Options)) *machine {
	t.Helper()
	store, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := start(t, store, shared, change...)
	m.disk = store
	return m
}

func start(t testing.TB, local sharedcache.Local, shared blob.Store, change ...func(*sharedcache.Options)) *machine {
	t.Helper()
	m := &machine{t: t, local: local}
	o := sharedcache.Options{Location: "s3://team/cache", Prefix: "cache/", Warn: func(text string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.warned = append(m.warned, text)
	}}
	for _, c := range change {
		c(&o)
	}
	m.cache = sharedcache.New(context.WithoutCancel(t.Context()), local, shared, o)
	t.Cleanup(m.stop)
	return m
}

// stop ends the process without waiting for uploads.
func (m *machine) stop() {
	m.cache.Close()
	if m.disk != nil {
		if err := m.disk.Close(); err != nil {
			m.t.Error(err)
		}
		m.disk = nil
	}
}

// restart ends the process and starts another one on the same machine.
func (m *machine) restart(shared blob.Store, change ...func(*sharedcache.Options)) *machine {
	m.cache.Close()
	return start(m.t, m.local, shared, change...)
}

func readOnly(o *sharedcache.Options) { o.ReadOnly = true }

func (m *machine) warnings() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.warned...)
}

// finish waits for the uploads.
func (m *machine) finish() {
	m.t.Helper()
	if err := m.cache.Finish(m.t.Context(), func(int64, int64) {}); err != nil {
		m.t.Error(err)
	}
}

// build builds the sample and waits for the uploads.
func (m *machine) build(s sample) *stages.Build {
	m.t.Helper()
	b, err := m.tryBuild(s)
	if err != nil {
		m.t.Fatal(err)
	}
	m.finish()
	return b
}

func (m *machine) tryBuild(s sample) (*stages.Build, error) {
	m.t.Helper()
	e := stages.Engine{Store: m.cache, Cache: m.cache, Environment: "test", Workers: 2, Observer: m.observer}
	return e.Build(m.t.Context(), s.plan(m.t))
}

// read reads every file of a tree and returns how many there are.
func (m *machine) read(id cas.TreeID) (files int, size int64) {
	m.t.Helper()
	for f, err := range cas.NewTree(m.cache, id).Files(m.t.Context()) {
		if err != nil {
			m.t.Fatal(err)
		}
		data, err := cas.ReadBlob(m.t.Context(), m.cache, f.Digest)
		if err != nil {
			m.t.Fatal(err)
		}
		files, size = files+1, size+int64(len(data))
	}
	return files, size
}

// sample is a build of three stages: photos, crops of them, and a package of both.
type sample struct {
	photos int
	size   int   // bytes of a photo, about
	large  int64 // bytes of one more photo; 0 for none
	seed   int   // of the crops: another one gives others
	runs   *runs
}

// runs counts which stages ran.
type runs struct{ photos, crops, pack atomic.Int64 }

func (r *runs) String() string {
	return fmt.Sprintf("photos %d, crops %d, pack %d", r.photos.Load(), r.crops.Load(), r.pack.Load())
}

func newSample() sample { return sample{photos: 40, size: 3000, large: 700_000, runs: new(runs)} }

func (s sample) plan(t testing.TB) *stages.Plan {
	t.Helper()
	plan, err := s.stages()
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (s sample) stages() (*stages.Plan, error) {
	return stages.NewPlan("team/sample", []stages.Stage{
		{Name: "photos", Kind: kind{"photos", []int{s.photos, s.size, int(s.large)}, &s.runs.photos, s.makePhotos}},
		{Name: "crops", Kind: kind{"crops", []int{s.seed}, &s.runs.crops, s.makeCrops}, Inputs: []stages.Input{{Name: "photos", From: "photos"}}},
		{Name: "pack", Kind: kind{"pack", nil, &s.runs.pack, makePack}, Inputs: []stages.Input{{Name: "photos", From: "photos"}, {Name: "crops", From: "crops"}}},
	})
}

func (s sample) makePhotos(ctx context.Context, t *stages.Task) error {
	for i := range s.photos {
		if err := t.Out().PutBytes(ctx, fmt.Sprintf("photos/%06d.jpg", i), noise(uint64(i), s.size+i%7)); err != nil {
			return err
		}
	}
	t.Count("photos", int64(s.photos))
	if s.large == 0 {
		return nil
	}
	return t.Out().Put(ctx, "large.bin", io.LimitReader(rand.NewChaCha8([32]byte{1}), s.large))
}

// makeCrops makes one of each photo. Only every tenth depends on the seed, as the crops of a
// build to which a label was added mostly are those of before.
func (s sample) makeCrops(ctx context.Context, t *stages.Task) error {
	i := 0
	for f, err := range t.Input("photos").Files(ctx) {
		if err != nil {
			return err
		}
		data, err := t.Input("photos").ReadFile(ctx, f.Path)
		if err != nil {
			return err
		}
		crop := append([]byte("crop"), data[:len(data)/3]...)
		if i%10 == 0 {
			crop = fmt.Append(crop, s.seed)
		}
		if err := t.Out().PutBytes(ctx, fmt.Sprintf("crops/%d/%06d", i%3, i), crop); err != nil {
			return err
		}
		i++
	}
	return nil
}

func makePack(ctx context.Context, t *stages.Task) error {
	for _, name := range []string{"photos", "crops"} {
		if err := t.Out().AddTree(ctx, name, t.Input(name)); err != nil {
			return err
		}
	}
	return t.Out().PutBytes(ctx, "README.md", []byte("photos and crops\n"))
}

func noise(seed uint64, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 7}).Read(data)
	return data
}

type kind struct {
	name   string
	params []int
	ran    *atomic.Int64
	run    func(context.Context, *stages.Task) error
}

func (k kind) Name() string { return k.name }
func (kind) Version() int   { return 1 }
func (k kind) Params() any  { return k.params }

func (k kind) Run(ctx context.Context, t *stages.Task) error {
	k.ran.Add(1)
	return k.run(ctx, t)
}

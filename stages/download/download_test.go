package download_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/download"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// world serves real photos and has their pins.
type world struct {
	*mirrortest.Server
	photos []pinfile.Photo
}

func newWorld(tb testing.TB, n int) *world {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(shared.Dir(tb), "data", "openimages", "apple-orange", "*", "*.jpg"))
	if err != nil || len(files) < n {
		tb.Fatalf("got %d photos, %v; want %d", len(files), err, n)
	}
	w := &world{Server: mirrortest.Start(tb)}
	for i, file := range files[:n] {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		id := strings.TrimSuffix(filepath.Base(file), ".jpg")
		w.add(pinfile.Photo{
			ImageID: openimages.ImageID(id), Place: pinfile.Original,
			URL: fmt.Sprintf("https://farm%d.staticflickr.com/%s_o.jpg", 1+i%9, id),
		}, data)
	}
	slices.SortFunc(w.photos, func(a, b pinfile.Photo) int { return strings.Compare(string(a.ImageID), string(b.ImageID)) })
	return w
}

func (w *world) add(p pinfile.Photo, data []byte) {
	p.Digest = cas.Sum(data)
	w.photos = append(w.photos, p)
	w.Put(p.URL, data)
}

func (w *world) kind(tb testing.TB, store cas.Store, o fetch.Options) download.Kind {
	tb.Helper()
	o.Mirrors = w.Mirrors()
	if o.Wait == 0 {
		o.Wait = time.Millisecond
	}
	c, err := fetch.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return download.Kind{Fetcher: pin.Blobs{Client: c, Store: store}, Parallel: c.Parallel()}
}

func (w *world) pins(tb testing.TB, store cas.Store, dead ...pinfile.Dead) cas.Tree {
	tb.Helper()
	var photoRows, deadRows bytes.Buffer
	if err := pinfile.WritePhotos(&photoRows, slices.Values(w.photos)); err != nil {
		tb.Fatal(err)
	}
	if err := pinfile.WriteDead(&deadRows, slices.Values(dead)); err != nil {
		tb.Fatal(err)
	}
	b := cas.NewBuilder(store)
	if err := errors.Join(
		b.PutBytes(tb.Context(), pinfile.PinsFile, photoRows.Bytes()),
		b.PutBytes(tb.Context(), pinfile.DeadFile, deadRows.Bytes()),
	); err != nil {
		tb.Fatal(err)
	}
	tree, err := b.Commit(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return tree
}

func TestOutput(t *testing.T) {
	w := newWorld(t, 20)
	store := cas.NewMemory()
	dead := pinfile.Dead{ImageID: "0000", Reason: "original: 404 Not Found"}
	w.Plan(w.photos[3].URL, mirrortest.Status(500), mirrortest.Cut(1000))
	tree, result := stagetest.Run(t, store, w.kind(t, store, fetch.Options{}), map[string]cas.Tree{"pins": w.pins(t, store, dead)})
	for _, p := range w.photos {
		d, err := tree.Lookup(t.Context(), "photos/"+string(p.ImageID)+".jpg")
		if err != nil || d != p.Digest {
			t.Errorf("photo %s: got %v, %v", p.ImageID, d, err)
		}
		want := 1
		if p == w.photos[3] {
			want = 3
		}
		if got := w.Requests(p.URL); got != want {
			t.Errorf("photo %s: got %d requests in two runs, want %d", p.ImageID, got, want)
		}
	}
	var size int64
	for _, p := range w.photos {
		size += p.Digest.Size()
	}
	if diff := cmp.Diff(map[string]int64{"images": 20, "bytes": size, "dead": 1}, result.Counters); diff != "" {
		t.Error(diff)
	}
	if got := stagetest.Read(t, tree, pinfile.DeadFile); got != "ImageID,Reason\n0000,original: 404 Not Found\n" {
		t.Errorf("got %q", got)
	}
	if got, want := stagetest.Read(t, tree, pinfile.PhotosFile), stagetest.Read(t, w.pins(t, store), pinfile.PinsFile); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.AssertFaultsHit(t)
}

func run(t *testing.T, k download.Kind, store cas.Store, pins cas.Tree) error {
	t.Helper()
	return runWith(t.Context(), k, store, pins)
}

func runWith(ctx context.Context, k download.Kind, store cas.Store, pins cas.Tree) error {
	_, err := stages.RunKind(ctx, store, k, map[string]cas.Tree{"pins": pins}, 2, stages.Discard)
	return err
}

// What changed after the lock is told for each photo, after all others have arrived.
func TestWorldChangedAfterTheLock(t *testing.T) {
	w := newWorld(t, 10)
	store := cas.NewMemory()
	w.Break(w.photos[2].URL, mirrortest.Status(404))
	w.Break(w.photos[5].URL, mirrortest.Body("image/jpeg", []byte("something else")))
	w.Break(w.photos[7].URL, mirrortest.Status(503))
	err := run(t, w.kind(t, store, fetch.Options{}), store, w.pins(t, store))
	failed, ok := errors.AsType[*download.FailedError](err)
	if !ok || len(failed.Failures) != 3 || failed.Gone() != 2 {
		t.Fatalf("got %v", err)
	}
	for i, photo := range []int{2, 5, 7} {
		if failed.Failures[i].Photo != w.photos[photo] {
			t.Errorf("failure %d is of %s, want %s", i, failed.Failures[i].Photo.ImageID, w.photos[photo].ImageID)
		}
	}
	for _, part := range []string{string(w.photos[2].ImageID), w.photos[2].URL, "any more as it was locked", "and 2 more"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	for _, p := range w.photos {
		w.Repair(p.URL)
	}
	before := w.Total()
	if err := run(t, w.kind(t, store, fetch.Options{}), store, w.pins(t, store)); err != nil || w.Total() != before+3 {
		t.Errorf("repaired: got %v after %d requests, want 3", err, w.Total()-before)
	}
}

// offline is a network without anybody.
type offline struct{ requests atomic.Int32 }

func (o *offline) RoundTrip(*http.Request) (*http.Response, error) {
	o.requests.Add(1)
	return nil, errors.New("network is unreachable")
}

func TestGivesUpWhenNobodyAnswers(t *testing.T) {
	w := newWorld(t, 0)
	for i := range 1000 {
		id := openimages.ImageID(fmt.Sprintf("%04d", i))
		w.add(pinfile.Photo{ImageID: id, Place: pinfile.CVDF, URL: "https://a.com/" + string(id)}, []byte(id))
	}
	store := cas.NewMemory()
	network := &offline{}
	err := run(t, w.kind(t, store, fetch.Options{Transport: network, Attempts: 1}), store, w.pins(t, store))
	if failed, ok := errors.AsType[*download.FailedError](err); !ok || failed.Gone() != 0 {
		t.Errorf("got %v", err)
	}
	if n := network.requests.Load(); n > 2*64 {
		t.Errorf("%d requests before it gave up", n)
	}
}

// broken is a disk that is full.
type broken struct{ *cas.Memory }

var errFull = errors.New("no space left on device")

func (broken) FetchBlob(context.Context, string, cas.Digest) error { return errFull }

func TestLocalTroubleIsNotThePhotos(t *testing.T) {
	w := newWorld(t, 3)
	store := cas.NewMemory()
	err := run(t, download.Kind{Fetcher: broken{store}}, store, w.pins(t, store))
	if _, ok := errors.AsType[*download.FailedError](err); ok || !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

// A download that is cancelled while any request is open ends at once and goes on where
// it was.
func TestCancelledAtEveryRequest(t *testing.T) {
	const photos = 12
	for n := 1; n <= photos; n++ {
		w := newWorld(t, photos)
		store, err := disk.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		pins := w.pins(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		requests := 0
		var once atomic.Int32
		w.Observe(func(string) {
			if once.Add(1) == int32(n) {
				cancel()
			}
		})
		start := time.Now()
		err = runWith(ctx, w.kind(t, store, fetch.Options{PerHost: 3}), store, pins)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cut at request %d: got %v", n, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("cut at request %d: took %v", n, took)
		}
		cancel()
		w.Observe(nil)
		arrived := map[string]int{}
		for _, p := range w.photos {
			if missing, err := store.Missing(t.Context(), []cas.Digest{p.Digest}); err == nil && len(missing) == 0 {
				arrived[p.URL] = w.Requests(p.URL)
				requests++
			}
		}
		if err := run(t, w.kind(t, store, fetch.Options{}), store, pins); err != nil {
			t.Fatalf("cut at request %d, then again: %v", n, err)
		}
		for url, before := range arrived {
			if w.Requests(url) != before {
				t.Errorf("cut at request %d: %s had arrived and was asked for again", n, url)
			}
		}
		for _, p := range w.photos {
			if data, err := cas.ReadBlob(t.Context(), store, p.Digest); err != nil || cas.Sum(data) != p.Digest {
				t.Errorf("cut at request %d: photo %s: %v", n, p.ImageID, err)
			}
		}
	}
}

// BenchmarkLoopback downloads real photos of some 270 kB, where the cost is that of
// bytes, and pictures of 4 kB, where it is that of requests and files.
func BenchmarkLoopback(b *testing.B) {
	small := newWorld(b, 0)
	for i := range 2000 {
		id := fmt.Sprintf("%04d", i)
		small.add(pinfile.Photo{
			ImageID: openimages.ImageID(id), Place: pinfile.CVDF, URL: "https://a.com/" + id,
		}, bytes.Repeat([]byte(id), 1000))
	}
	disk := func(b *testing.B) cas.Store {
		store, err := disk.Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		return store
	}
	memory := func(*testing.B) cas.Store { return cas.NewMemory() }
	photos := newWorld(b, 107)
	b.Run("real/disk", func(b *testing.B) { benchmark(b, photos, disk) })
	b.Run("real/memory", func(b *testing.B) { benchmark(b, photos, memory) })
	b.Run("small/disk", func(b *testing.B) { benchmark(b, small, disk) })
	b.Run("small/memory", func(b *testing.B) { benchmark(b, small, memory) })
}

func benchmark(b *testing.B, w *world, newStore func(*testing.B) cas.Store) {
	var size int64
	for _, p := range w.photos {
		size += p.Digest.Size()
	}
	b.SetBytes(size)
	photos := 0
	for b.Loop() {
		b.StopTimer()
		store := newStore(b)
		k, pins := w.kind(b, store, fetch.Options{}), w.pins(b, store)
		b.StartTimer()
		if err := runWith(b.Context(), k, store, pins); err != nil {
			b.Fatal(err)
		}
		photos += len(w.photos)
	}
	b.ReportMetric(float64(photos)/b.Elapsed().Seconds(), "photos/s")
}

func TestSuite(t *testing.T) {
	w := newWorld(t, 20)
	store := cas.NewMemory()
	pins := w.pins(t, store, pinfile.Dead{ImageID: "0000", Reason: "original: 404 Not Found"})
	stagetest.Suite(t, store, w.kind(t, store, fetch.Options{}), map[string]cas.Tree{"pins": pins}, stagetest.Golden{Version: 2, Tree: "sha256:2ddfac2abd123dce812768e24a749137b1b29e03c9e8e334613a4a95ea51af81"})
}

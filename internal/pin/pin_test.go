package pin_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

func TestPhotoAtEachPlace(t *testing.T) {
	gone := mirrortest.Status(404)
	for _, tt := range []struct {
		name                      string
		original, thumbnail, cvdf []mirrortest.Fault // nil: healthy
		always                    bool               // the last fault goes on for ever
		place                     string
		dead                      string
	}{
		{name: "healthy", place: "original"},
		{name: "overloaded", original: []mirrortest.Fault{mirrortest.Status(500), mirrortest.Status(503)}, place: "original"},
		{name: "told to wait", original: []mirrortest.Fault{mirrortest.RetryAfter(429, "0")}, place: "original"},
		{name: "cut", original: []mirrortest.Fault{mirrortest.Cut(5000), mirrortest.Cut(5000)}, place: "original"},
		{name: "silent", original: []mirrortest.Fault{mirrortest.Hang()}, place: "original"},
		{name: "stalled", original: []mirrortest.Fault{mirrortest.Stall(100)}, place: "original"},
		{name: "not found", original: []mirrortest.Fault{gone}, place: "thumbnail"},
		{name: "page", original: []mirrortest.Fault{mirrortest.HTML()}, thumbnail: []mirrortest.Fault{mirrortest.HTML()}, place: "cvdf"},
		{
			name: "other photo", original: []mirrortest.Fault{mirrortest.Body("image/jpeg", []byte("\xff\xd8\xff\xe0 not the one"))},
			place: "thumbnail",
		},
		{
			name: "dead everywhere", always: true,
			original: []mirrortest.Fault{mirrortest.Redirect(mirrortest.PlaceholderURL)}, thumbnail: []mirrortest.Fault{mirrortest.Status(410)},
			cvdf: []mirrortest.Fault{mirrortest.Body("application/xml", []byte(`<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`))},
			dead: "original: deleted on Flickr; thumbnail: 410 Gone; cvdf: not a photo: text/xml",
		},
		{
			name: "dead in other ways", always: true,
			original:  []mirrortest.Fault{mirrortest.Body("image/jpeg", nil)},
			thumbnail: []mirrortest.Fault{mirrortest.Body("image/jpeg", []byte(`{"stat":"fail"}`))},
			cvdf:      []mirrortest.Fault{mirrortest.Redirect("https://c1.staticflickr.com/nowhere.jpg")},
			dead:      "original: empty; thumbnail: not a photo: text/plain; cvdf: 404 Not Found",
		},
		{
			name: "wrong and empty", always: true,
			original:  []mirrortest.Fault{mirrortest.Body("image/jpeg", []byte("\xff\xd8\xff\xe0 not the one"))},
			thumbnail: []mirrortest.Fault{mirrortest.Body("image/jpeg", nil)},
			cvdf:      []mirrortest.Fault{mirrortest.Redirect("ftp://a.com/x.jpg")},
			dead:      "original: other content: wrong size; thumbnail: empty; cvdf: unusable URL",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.Put(mirrortest.PlaceholderURL, mirrortest.Placeholder())
			for place, faults := range map[pinfile.Place][]mirrortest.Fault{
				pinfile.Original: tt.original, pinfile.Thumbnail: tt.thumbnail, pinfile.CVDF: tt.cvdf,
			} {
				if tt.always {
					w.Break(w.url(0, place), faults[0])
				} else {
					w.Plan(w.url(0, place), faults...)
				}
			}
			r := w.resolver(t)
			r.Client = w.client(t, fetch.Options{Header: 300 * time.Millisecond, Idle: 300 * time.Millisecond})
			pins, err := pinAll(t.Context(), r, w.images, allPlaces, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := find(t, pins, w.images[0].ImageID)
			if p.Place != tt.place || p.Dead != tt.dead {
				t.Errorf("got place %q, dead %q; want %q, %q", p.Place, p.Dead, tt.place, tt.dead)
			}
			if tt.dead == "" {
				checkBlob(t, w, r.Store, p)
			}
			w.AssertFaultsHit(t)
		})
	}
}

// checkBlob checks that the store has just the bytes of the pin.
func checkBlob(t *testing.T, w *world, store cas.Store, p lock.Photo) {
	t.Helper()
	d, err := cas.NewDigest(p.Digest.Encoded(), p.Size)
	if err != nil {
		t.Fatal(err)
	}
	data, err := cas.ReadBlob(t.Context(), store, d)
	if err != nil {
		t.Fatal(err)
	}
	for i, image := range w.images {
		if string(image.ImageID) != p.ID {
			continue
		}
		resp, err := http.Get(w.URL(w.url(i, pinfile.Place(p.Place)))) //nolint:noctx // ends with the test's server
		if err != nil {
			t.Fatal(err)
		}
		served, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, served) {
			t.Errorf("photo %s: the store has other bytes than the place %s", p.ID, p.Place)
		}
	}
}

// The official rows of 2017 and the bytes of today: no original is what its row says,
// and that is noticed for each.
func TestRealRows(t *testing.T) {
	w := newRealRows(t)
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := w.resolver(t)
	r.Store = store
	pins, err := pinAll(t.Context(), r, w.images, allPlaces, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pins {
		if p.Place != "thumbnail" {
			t.Errorf("photo %s: got place %q, dead %q; want thumbnail", p.ID, p.Place, p.Dead)
		}
		checkBlob(t, w, store, p)
	}
	only, err := pinAll(t.Context(), r, w.images, []string{"original"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range only {
		if p.Dead != "original: other content: wrong size" {
			t.Errorf("photo %s: got %+v", p.ID, p)
		}
	}
}

// A pinning that is killed while any request is open goes on where it was: what had
// arrived is not asked for again, and the pins are those of an undisturbed one.
func TestKilledAtEveryRequest(t *testing.T) {
	const photos = 6
	w := newRealRows(t)
	places := []string{"original", "thumbnail"} // all originals are wrong: two requests a photo
	want, err := pinAll(t.Context(), w.resolver(t), w.images[:photos], places, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2*photos; n++ {
		w := newRealRows(t)
		r := w.resolver(t)
		r.Client = w.client(t, fetch.Options{Total: 4})
		path := filepath.Join(t.TempDir(), "journal")
		if r.Journal, err = pin.OpenJournal(path); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var requests atomic.Int32
		w.Observe(func(string) {
			if int(requests.Add(1)) == n {
				cancel()
			}
		})
		if _, err := pinAll(ctx, r, w.images[:photos], places, nil, nil); !errors.Is(err, context.Canceled) {
			t.Fatalf("cut at request %d: got %v", n, err)
		}
		cancel()
		w.Observe(nil)
		arrived := map[string]int{}
		for _, url := range journalled(t, path) {
			arrived[url] = w.Requests(url)
		}
		// The killed process closed nothing.
		if r.Journal, err = pin.OpenJournal(path); err != nil {
			t.Fatal(err)
		}
		got, err := pinAll(t.Context(), r, w.images[:photos], places, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut at request %d: %s", n, diff)
		}
		for url, before := range arrived {
			if after := w.Requests(url); after != before {
				t.Errorf("cut at request %d: %s had arrived and was asked for again", n, url)
			}
		}
		if err := r.Journal.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the journal is still there: %v", err)
		}
	}
}

func journalled(t *testing.T, path string) []string {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var urls []string
	for text := range strings.Lines(string(readFile(t, path))) {
		if _, rest, ok := strings.Cut(text, `"url":"`); ok {
			url, _, _ := strings.Cut(rest, `"`)
			urls = append(urls, url)
		}
	}
	return urls
}

// What only cannot be reached is neither pinned elsewhere nor buried.
func TestUnreachable(t *testing.T) {
	w := newWorld(t, 5)
	broken := w.url(2, pinfile.Original)
	w.Break(broken, mirrortest.Status(503))
	r := w.resolver(t)
	var err error
	if r.Journal, err = pin.OpenJournal(filepath.Join(t.TempDir(), "new", "journal")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Journal.Remove() }()
	var missed []pin.Failure
	r.Missed = func(f pin.Failure) { missed = append(missed, f) }
	_, err = pinAll(t.Context(), r, w.images, allPlaces, nil, nil)
	e, ok := errors.AsType[*pin.UnreachableError](err)
	if !ok || e.Photos != 1 || e.Total != 5 || e.Offline {
		t.Fatalf("got %v", err)
	}
	want := []pin.Failure{{
		ImageID: w.images[2].ImageID, Place: pinfile.Original, URL: broken,
		Reason: "503 Service Unavailable", Attempts: w.Requests(broken), Unreached: true,
	}}
	if diff := cmp.Diff(want, missed); diff != "" || w.Requests(broken) < 2 {
		t.Errorf("missed: %s", diff)
	}
	if diff := cmp.Diff(want, e.Some); diff != "" {
		t.Errorf("in the error: %s", diff)
	}
	if !strings.Contains(err.Error(), string(w.images[2].ImageID)) || !strings.Contains(err.Error(), "run again") {
		t.Errorf("message does not help: %v", err)
	}

	r.GiveUp = true
	pins, err := pinAll(t.Context(), r, w.images, allPlaces, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := find(t, pins, w.images[2].ImageID); p.Place != "thumbnail" {
		t.Errorf("given up: got %+v, want the thumbnail", p)
	}
	pins, err = pinAll(t.Context(), r, w.images, []string{"original"}, nil, nil)
	if p := find(t, pins, w.images[2].ImageID); err != nil || p.Dead != "original: unreachable" {
		t.Errorf("given up: got %+v, %v", p, err)
	}

	r.GiveUp = false
	w.Repair(broken)
	before := w.Total() + 1 // for the one that is left
	pins, err = pinAll(t.Context(), r, w.images, allPlaces, nil, nil)
	if p := find(t, pins, w.images[2].ImageID); err != nil || p.Place != "original" || w.Total() != before {
		t.Errorf("repaired: got %+v, %v after %d requests, want %d", p, err, w.Total(), before)
	}
}

// dead is a network without anybody.
type dead struct{ requests atomic.Int32 }

func (d *dead) RoundTrip(*http.Request) (*http.Response, error) {
	d.requests.Add(1)
	return nil, errors.New("network is unreachable")
}

func (d *dead) Open(context.Context, string, string, int64) (io.ReadCloser, error) {
	d.requests.Add(1)
	return nil, &fetch.NoAnswerError{Err: errors.New("network is unreachable")}
}

func (d *dead) List(context.Context, string, string) iter.Seq2[fetch.Object, error] { return nil }

func TestOffline(t *testing.T) {
	w := newWorld(t, 100)
	for _, giveUp := range []bool{false, true} {
		for _, photos := range []int{1, 100} {
			network := &dead{}
			r := &pin.Resolver{GiveUp: giveUp, Blobs: pin.Blobs{
				Client: newClient(t, fetch.Options{Transport: network, Buckets: network, Wait: time.Millisecond, Attempts: 2, Total: 8}),
				Store:  cas.NewMemory(),
			}}
			_, err := pinAll(t.Context(), r, w.images[:photos], allPlaces, nil, nil)
			e, ok := errors.AsType[*pin.UnreachableError](err)
			if !ok || !e.Offline {
				t.Errorf("give up %v, %d photos: got %v", giveUp, photos, err)
			}
			// Eight in a row, and those that were already asking.
			if n := network.requests.Load(); n > 2*(8+8) {
				t.Errorf("give up %v, %d photos: %d requests before the outage was noticed", giveUp, photos, n)
			}
		}
	}
}

func TestLockIsHonoured(t *testing.T) {
	w := newWorld(t, 4)
	for i := range 2 {
		for _, place := range allPlaces {
			w.Break(w.url(i, pinfile.Place(place)), mirrortest.Status(404))
		}
	}
	r := w.resolver(t)
	pins, err := pinAll(t.Context(), r, w.images, allPlaces, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		set      func(r *pin.Resolver)
		places   []string
		requests int
	}{
		{"as it is", func(*pin.Resolver) {}, allPlaces, 0},
		{"fewer places, other order", func(*pin.Resolver) {}, []string{"thumbnail", "original"}, 0},
		{"pinned elsewhere", func(*pin.Resolver) {}, []string{"cvdf"}, 2},
		{"retry", func(r *pin.Resolver) { r.Retry = true }, allPlaces, 6},
		{"repin, all there", func(r *pin.Resolver) { r.Repin = true }, allPlaces, 0},
		{"repin, nothing there", func(r *pin.Resolver) { r.Repin, r.Store = true, cas.NewMemory() }, allPlaces, 2},
	} {
		r := *r
		tt.set(&r)
		before := w.Total()
		if _, err := pinAll(t.Context(), &r, w.images, tt.places, pins, nil); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := w.Total() - before; got != tt.requests {
			t.Errorf("%s: got %d requests, want %d", tt.name, got, tt.requests)
		}
	}

	// A tombstone speaks for the places that it names.
	first, err := pinAll(t.Context(), r, w.images, []string{"original"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := w.Total()
	if _, err := pinAll(t.Context(), r, w.images, allPlaces, first, nil); err != nil || w.Total() != before+6 {
		t.Errorf("more places: got %v and %d requests, want 6", err, w.Total()-before)
	}

	// The world moved on after the lock, and its bytes are lost here.
	w.Break(w.url(3, pinfile.Original), mirrortest.Status(410))
	r.Store, r.Repin = cas.NewMemory(), true
	again, err := pinAll(t.Context(), r, w.images, allPlaces, pins, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := find(t, again, w.images[3].ImageID); p.Place != "thumbnail" {
		t.Errorf("repin of a lost photo: got %+v", p)
	}
	if diff := cmp.Diff(pins[:3], again[:3]); diff != "" {
		t.Errorf("repin changed other pins: %s", diff)
	}
}

func TestSources(t *testing.T) {
	w := newWorld(t, 1)
	classes := []byte("/m/0cdn1,Hamburger\n")
	sum := md5.Sum(classes)
	const url = "https://storage.googleapis.com/openimages/classes.csv"
	w.Put(url, classes)
	local := filepath.Join(t.TempDir(), "boxes.csv")
	if err := os.WriteFile(local, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	files := []manifest.SourceFile{
		{Role: manifest.Classes, URL: url, OfficialMD5: hex.EncodeToString(sum[:]), OfficialSize: int64(len(classes))},
		{Role: manifest.BoxRows, Subset: "train", URL: local},
		{Role: manifest.ImageRows, Subset: "train", URL: local},
	}
	r := w.resolver(t)
	path := filepath.Join(t.TempDir(), "journal")
	var err error
	if r.Journal, err = pin.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	pins, err := r.Sources(t.Context(), files, nil)
	if err != nil || len(pins) != 2 || pins[0].MD5 != files[0].OfficialMD5 || pins[1].Size != 3 {
		t.Fatalf("got %v, %v", pins, err)
	}

	// Again, from the journal and from the lock: nothing is read over the network.
	if r.Journal, err = pin.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	for _, have := range [][]lock.Source{nil, pins} {
		again, err := r.Sources(t.Context(), files, have)
		if diff := cmp.Diff(pins, again); err != nil || diff != "" || w.Requests(url) != 1 {
			t.Errorf("got %v, %d requests: %s", err, w.Requests(url), diff)
		}
	}
	if err := r.Journal.Remove(); err != nil {
		t.Fatal(err)
	}
	r.Journal = nil

	// The user's own file is followed, a published one is not.
	if err := os.WriteFile(local, []byte("three"), 0o644); err != nil {
		t.Fatal(err)
	}
	edited, err := r.Sources(t.Context(), files, pins)
	if err != nil || edited[1].Size != 5 || edited[0] != pins[0] {
		t.Errorf("edited: got %v, %v", edited, err)
	}
	w.Put(url, []byte("/m/0cdn1,Cheeseburger\n"))
	if _, err := r.Sources(t.Context(), files, pins); err != nil {
		t.Errorf("the store has it: %v", err)
	}
	r.Store = cas.NewMemory()
	for _, have := range [][]lock.Source{nil, pins} {
		_, err := r.Sources(t.Context(), files, have)
		if _, ok := errors.AsType[*fetch.MismatchError](err); !ok {
			t.Errorf("published file changed: got %v, want a mismatch", err)
		}
	}
}

func TestFetchBlob(t *testing.T) {
	w := newWorld(t, 1)
	r := w.resolver(t)
	want := cas.Sum([]byte("bread"))
	const url = "https://a.com/bread"
	w.Put(url, []byte("bread"))
	b := pin.Blobs{Client: w.client(t, fetch.Options{}), Store: r.Store}
	for range 2 {
		if err := b.FetchBlob(t.Context(), url, want); err != nil {
			t.Fatal(err)
		}
	}
	if w.Requests(url) != 1 {
		t.Errorf("got %d requests, want 1", w.Requests(url))
	}
	w.Put(url, []byte("toast"))
	b.Store = cas.NewMemory()
	if err := b.FetchBlob(t.Context(), url, want); !fetch.Definite(err) {
		t.Errorf("got %v, want a mismatch", err)
	}
	for _, d := range []cas.Digest{want, cas.Sum([]byte("toast"))} {
		if missing, err := b.Store.Missing(t.Context(), []cas.Digest{d}); err != nil || len(missing) != 1 {
			t.Errorf("the store has %s, %v", d, err)
		}
	}
}

func selection(t *testing.T, store cas.Store, images []openimages.Image) cas.Tree {
	t.Helper()
	var rows bytes.Buffer
	err := openimages.WriteImages(&rows, func(yield func(openimages.Image) bool) {
		for _, image := range images {
			if !yield(image) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return stagetest.Tree(t, store, map[string]string{openimages.SelectedImagesFile: rows.String()})
}

func TestPinner(t *testing.T) {
	w := newWorld(t, 3)
	w.Break(w.url(1, pinfile.Original), mirrortest.Status(404))
	r := w.resolver(t)
	tree := selection(t, r.Store, w.images)
	var saved [][]lock.Photo
	p := &pin.Pinner{Resolver: r, Places: []string{"original"}, Keep: func(pins lock.Photos) (lock.Photos, error) {
		all, err := collect(pins)
		saved = append(saved, all)
		return listed(all), err
	}}
	run := func(p stages.Pinner) (cas.Tree, error) {
		return stages.RunPinner(t.Context(), r.Store, p, tree, 1, stages.Discard)
	}
	pinsTree, err := run(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := stagetest.Read(t, pinsTree, "dead.csv"), "ImageID,Reason\n"+string(w.images[1].ImageID)+",original: 404 Not Found\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	rows := strings.Split(stagetest.Read(t, pinsTree, "pins.csv"), "\n")
	if want := string(w.images[0].ImageID) + ",original," + w.images[0].OriginalURL + ","; len(rows) != 4 || !strings.HasPrefix(rows[1], want) {
		t.Errorf("got %q, want %q", rows, want)
	}

	// Nothing is left to do or to save; and the lock alone gives the same tree.
	requests := w.Total()
	again, err := run(p)
	if err != nil || again.ID() != pinsTree.ID() || len(saved) != 1 || w.Total() != requests {
		t.Errorf("again: got %v, %v, saved %d times, %d more requests", again.ID(), err, len(saved), w.Total()-requests)
	}
	locked, err := run(&pin.Locked{Places: p.Places, Have: listed(saved[0])})
	if err != nil || locked.ID() != pinsTree.ID() {
		t.Errorf("locked: got %v, %v; want %v", locked.ID(), err, pinsTree.ID())
	}
	_, err = run(&pin.Locked{Places: p.Places, Have: listed(saved[0][1:])})
	drift, ok := errors.AsType[*pin.DriftError](err)
	want := []lock.Change{{Subject: lock.PhotoLine, Kind: lock.Missing, Name: string(w.images[0].ImageID)}}
	if !ok || cmp.Diff(want, drift.Changes) != "" {
		t.Errorf("locked with a photo less: got %v", err)
	}
}

// TestManyChanges compares a selection with a lock that has none of its photos: the first are named, and the
// others counted.
func TestManyChanges(t *testing.T) {
	store := cas.NewMemory()
	images := make([]openimages.Image, 2500)
	for i := range images {
		images[i] = openimages.Image{Subset: "train", ImageID: openimages.ImageID(fmt.Sprintf("%016x", i)), OriginalURL: "https://example.org/a.jpg", OriginalSize: 10}
	}
	gap, err := pin.Compare(t.Context(), selection(t, store, images), []string{"original"}, listed(nil))
	if err != nil {
		t.Fatal(err)
	}
	if gap.Photos != 2500 || gap.Bytes != 25_000 || len(gap.Drift) != 1001 {
		t.Fatalf("%d photos of %d bytes, %d changes", gap.Photos, gap.Bytes, len(gap.Drift))
	}
	if first, last := gap.Drift[0].String(), gap.Drift[1000].String(); first != "photo missing: 0000000000000000" || last != "photo more: 1500" {
		t.Errorf("the changes are %q to %q", first, last)
	}
}

// TestPhotosOfSubsets has images of several subsets, each sorted by itself, and one of them
// in two.
func TestPhotosOfSubsets(t *testing.T) {
	w := newWorld(t, 6)
	r := w.resolver(t)
	slices.SortFunc(w.images, func(a, b openimages.Image) int { return strings.Compare(string(a.ImageID), string(b.ImageID)) })
	again := w.images[2]
	again.Subset, again.OriginalURL = "test", "https://a.com/elsewhere"
	rows := []openimages.Image{w.images[1], w.images[2], w.images[5], w.images[0], again, w.images[4], w.images[3]}
	tree := selection(t, r.Store, rows)
	p := &pin.Pinner{Resolver: r, Places: allPlaces, Keep: func(pins lock.Photos) (lock.Photos, error) {
		all, err := collect(pins)
		return listed(all), err
	}}
	pins, err := stages.RunPinner(t.Context(), r.Store, p, tree, 1, stages.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(stagetest.Read(t, pins, "pins.csv")), "\n")[1:] {
		got = append(got, strings.Join(strings.Split(line, ",")[:3], " "))
	}
	var want []string
	for _, image := range w.images {
		want = append(want, string(image.ImageID)+" original "+image.OriginalURL)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pins (-want +got):\n%s", diff)
	}
	if n := w.Requests(again.OriginalURL); n != 0 {
		t.Errorf("%d requests for the second row of an image", n)
	}
}

// TestPhotosAreLeft stops while photos are asked for: the others are not.
func TestPhotosAreLeft(t *testing.T) {
	w := newWorld(t, 60)
	byID := func(a, b openimages.Image) int { return strings.Compare(string(a.ImageID), string(b.ImageID)) }
	slices.SortFunc(w.images, byID)
	for i := range w.images[1:] {
		w.Break(w.url(1+i, pinfile.Original), mirrortest.Hang())
	}
	r := w.resolver(t)
	r.Client = w.client(t, fetch.Options{Total: 4})
	for _, err := range r.Photos(t.Context(), sequence(w.images), allPlaces, nil, nil) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if n := w.Total(); n == 60 {
		t.Error("all photos were asked for")
	}
}

func TestBoundsAndNoLeaks(t *testing.T) {
	w := newWorld(t, 60)
	before := runtime.NumGoroutine()
	client, err := fetch.New(fetch.Options{Mirrors: w.Mirrors(), PerHost: 5, Total: 16})
	if err != nil {
		t.Fatal(err)
	}
	r := w.resolver(t)
	r.Client = client
	var steps atomic.Int32
	pins, err := pinAll(t.Context(), r, w.images, allPlaces, nil, func() { steps.Add(1) })
	if err != nil || len(pins) != 60 || steps.Load() != 60 {
		t.Errorf("got %d pins, %d told, %v", len(pins), steps.Load(), err)
	}
	if w.MaxOpen() > 5 {
		t.Errorf("got %d open requests, want at most 5", w.MaxOpen())
	}
	client.Close()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

// BenchmarkLocked makes the pins of a million photos from a lock, and tells how much heap is
// in use meanwhile.
func BenchmarkLocked(b *testing.B) {
	const photos = 1_000_000
	store, err := disk.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	text, in := io.Pipe()
	go func() {
		_ = in.CloseWithError(openimages.WriteImages(in, func(yield func(openimages.Image) bool) {
			for i := range photos {
				id := openimages.ImageID(fmt.Sprintf("%016x", i))
				if !yield(openimages.Image{ImageID: id, Subset: "train", OriginalURL: "https://farm1.staticflickr.com/1/" + string(id) + "_o.jpg"}) {
					return
				}
			}
		}))
	}()
	selection := cas.NewBuilder(store)
	if err := selection.Put(b.Context(), openimages.SelectedImagesFile, text); err != nil {
		b.Fatal(err)
	}
	tree, err := selection.Commit(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), lock.FileName)
	if _, err := lock.Write(path, &lock.Lock{Photos: func(yield func(lock.Photo, error) bool) {
		for i := range photos {
			digest := digest.FromString(strconv.Itoa(i))
			if !yield(lock.Photo{ID: fmt.Sprintf("%016x", i), Place: "original", Digest: digest, Size: 300_000}, nil) {
				return
			}
		}
	}}); err != nil {
		b.Fatal(err)
	}
	file, err := lock.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	var heap uint64
	have := func(yield func(lock.Photo, error) bool) {
		n := 0
		for p, err := range file.Photos {
			if n++; n%100_000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heap = max(heap, m.HeapInuse)
			}
			if !yield(p, err) {
				return
			}
		}
	}
	for b.Loop() {
		pinner := &pin.Locked{Places: []string{"original"}, Have: have}
		if _, err := stages.RunPinner(b.Context(), store, pinner, tree, 1, stages.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap)/1e6, "MB-heap")
}

package metadata_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/metadata"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

const boxHeader = "ImageID,LabelName,XMin,XMax,YMin,YMax\n"

// web is a Fetcher that has some pages.
type web struct {
	store cas.Store
	pages map[string]string // by URL

	mu      sync.Mutex // guards the field below
	fetched []string
}

var errNotFound = errors.New("404 not found")

func (w *web) FetchBlob(ctx context.Context, url string, _ cas.Digest) error {
	page, ok := w.pages[url]
	if !ok {
		return errNotFound
	}
	w.mu.Lock()
	w.fetched = append(w.fetched, url)
	w.mu.Unlock()
	_, err := w.store.Put(ctx, strings.NewReader(page))
	return err
}

func TestRunFetchesOnlyWhatIsMissing(t *testing.T) {
	store := cas.NewMemory()
	const boxes = boxHeader + "1a,/m/1,0.25,0.5,0.25,0.75\n"
	w := &web{store: store, pages: map[string]string{"https://x/classes": "/m/1,One\n", "https://x/boxes": boxes}}
	present := "{}"
	if _, err := store.Put(t.Context(), strings.NewReader(present)); err != nil {
		t.Fatal(err)
	}
	kind := metadata.Kind{Fetcher: w, Files: []metadata.File{
		{Path: "classes.csv", URL: "https://x/classes", Digest: cas.Sum([]byte("/m/1,One\n"))},
		{Path: "hierarchy.json", URL: "https://x/gone", Digest: cas.Sum([]byte(present))},
		{Path: "boxes/train.csv", URL: "https://x/boxes", Digest: cas.Sum([]byte(boxes))},
		{Path: "boxes/test.csv", URL: "https://x/boxes", Digest: cas.Sum([]byte(boxes))},
	}}
	tree, _ := stagetest.Run(t, store, kind, nil)
	for path, want := range map[string]string{
		"classes.csv": "/m/1,One\n", "hierarchy.json": present,
		"labels.json": `{"subsets":[` +
			`{"subset":"train","boxes":1,"labels":[{"id":"/m/1","boxes":1,"images":1,"yes":[0,0,0,0,0],"unknown":[1,1,1,1,1]}]},` +
			`{"subset":"test","boxes":1,"labels":[{"id":"/m/1","boxes":1,"images":1,"yes":[0,0,0,0,0],"unknown":[1,1,1,1,1]}]}]}` + "\n",
	} {
		if got := stagetest.Read(t, tree, path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"boxes/train/m_1.parquet", "boxes/test/m_1.parquet"} {
		for box, err := range boxindex.Boxes([]byte(stagetest.Read(t, tree, path))) {
			if err != nil || box.ImageID != "1a" || box.YMax != "0.75" {
				t.Errorf("%s: got %+v, %v", path, box, err)
			}
		}
	}
	if len(w.fetched) != 2 {
		t.Errorf("fetched %v, want the class list and the box file once each", w.fetched)
	}
}

func TestRunSaysWhichFileIsNotThere(t *testing.T) {
	store := cas.NewMemory()
	kind := metadata.Kind{Fetcher: &web{store: store}, Files: []metadata.File{
		{Path: "images/train.csv", URL: "https://x/images", Digest: cas.Sum([]byte("x"))},
	}}
	_, err := stages.RunKind(t.Context(), store, kind, nil, 1, stages.Discard)
	if !errors.Is(err, errNotFound) || !strings.Contains(err.Error(), "images/train.csv") {
		t.Errorf("got %v", err)
	}
}

// TestParams holds that content decides: neither the place nor the order of files does.
func TestParams(t *testing.T) {
	a := metadata.File{Path: "a", URL: "https://x/a", Digest: cas.Sum([]byte("a"))}
	b := metadata.File{Path: "b", URL: "https://x/b", Digest: cas.Sum([]byte("b"))}
	elsewhere := b
	elsewhere.URL = "https://mirror/b"
	one := metadata.Kind{Files: []metadata.File{a, b}}.Params()
	two := metadata.Kind{Files: []metadata.File{elsewhere, a}}.Params()
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
	changed := a
	changed.Digest = b.Digest
	if cmp.Equal(one, metadata.Kind{Files: []metadata.File{changed, b}}.Params()) {
		t.Error("a file's digest does not change the parameters")
	}
}

// A fault of a box file is told with its place, and leaves nothing.
func TestFaultyBoxes(t *testing.T) {
	store := cas.NewMemory()
	text := boxHeader + "1a,/m/1,0.25,0.5,0.25,75\n"
	d, err := store.Put(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kind := metadata.Kind{Files: []metadata.File{{Path: "boxes/train.csv", Digest: d}}}
	var fault *openimages.RowError
	if err := stagetest.Fails(t, store, kind, nil); !errors.As(err, &fault) || fault.File != "boxes/train.csv" || fault.Line != 2 || fault.Column != "YMax" {
		t.Errorf("got %v", err)
	}
}

// flaky is a store of which a blob is damaged the first time that it is read.
type flaky struct {
	cas.Store
	damaged cas.Digest
	times   int
}

func (f *flaky) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	if d == f.damaged && f.times > 0 {
		f.times--
		return nil, &cas.BlobError{Digest: d, Err: cas.ErrDamaged}
	}
	return f.Store.Open(ctx, d)
}

func TestDamagedBoxesAreFetchedAgain(t *testing.T) {
	memory := cas.NewMemory()
	boxes := boxHeader + "1a,/m/1,0.25,0.5,0.25,0.75\n"
	w := &web{store: memory, pages: map[string]string{"https://x/boxes": boxes}}
	kind := metadata.Kind{Fetcher: w, Files: []metadata.File{{Path: "boxes/train.csv", URL: "https://x/boxes", Digest: cas.Sum([]byte(boxes))}}}
	store := &flaky{Store: memory, damaged: cas.Sum([]byte(boxes)), times: 1}
	if _, err := stages.RunKind(t.Context(), store, kind, nil, 1, stages.Discard); err != nil || len(w.fetched) != 2 {
		t.Errorf("%v, %d fetched", err, len(w.fetched))
	}
	store.times = 2
	var lost *cas.BlobError
	if err := stagetest.Fails(t, store, kind, nil); !errors.As(err, &lost) {
		t.Errorf("damaged for ever: %v", err)
	}
}

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	boxes := boxHeader + strings.Repeat("1a,/m/1,0.25,0.5,0.25,0.75\n1b,/m/2,0.25,0.5,0.25,0.75\n", 1000)
	w := &web{store: store, pages: map[string]string{"https://x/classes": "/m/1,One\n", "https://x/boxes": boxes}}
	kind := metadata.Kind{Fetcher: w, Files: []metadata.File{
		{Path: "classes.csv", URL: "https://x/classes", Digest: cas.Sum([]byte("/m/1,One\n"))},
		{Path: "boxes/train.csv", URL: "https://x/boxes", Digest: cas.Sum([]byte(boxes))},
	}}
	stagetest.Suite(t, store, kind, nil, stagetest.Golden{Version: 2, Tree: "sha256:12939248d9f261e158f8b0e7d80b777515ed4a0493d680b589634d6af17627cb"})
}

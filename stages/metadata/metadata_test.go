package metadata_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/metadata"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

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
	const boxes = "ImageID,LabelName\n"
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
		"classes.csv": "/m/1,One\n", "hierarchy.json": present, "boxes/train.csv": boxes, "boxes/test.csv": boxes,
	} {
		if got := stagetest.Read(t, tree, path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
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

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	w := &web{store: store, pages: map[string]string{"https://x/classes": "/m/1,One\n", "https://x/boxes": "ImageID\n"}}
	kind := metadata.Kind{Fetcher: w, Files: []metadata.File{
		{Path: "classes.csv", URL: "https://x/classes", Digest: cas.Sum([]byte("/m/1,One\n"))},
		{Path: "boxes/train.csv", URL: "https://x/boxes", Digest: cas.Sum([]byte("ImageID\n"))},
	}}
	stagetest.Suite(t, store, kind, nil, stagetest.Golden{Version: 1, Tree: "sha256:a443b434aca0435a1c8c9adf4d78a4524a0af4ece65ba3378feb54aaa99ae8a8"})
}

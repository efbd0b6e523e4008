package examples

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	godigest "github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// The files that open-images/v4 is read from, below the bucket.
const (
	bucket    = "https://storage.googleapis.com/openimages/"
	classes   = "2018_04/class-descriptions-boxable.csv"
	hierarchy = "2018_04/bbox_labels_600_hierarchy.json"
	boxes     = "2018_04/train/train-annotations-bbox.csv"
	images    = "2018_04/train/train-images-boxable-with-rotation.csv"
	// slice is where the tests have the rows of a part of the photos. The official file
	// has a published size and sum, which the lock insists on and no part of it has.
	slice = "slice/train-images.csv"
)

// photos are the 1,348 hamburgers and sandwiches of the training set whose rows are
// known here: one box each, counted with awk in the box file.
const (
	hamburgers, sandwiches = 773, 575
	photos                 = hamburgers + sandwiches
)

// official is the source that the example names, file by file; sliced is the same with
// the rows of a part of the photos.
const (
	official = "source: open-images/v4 "
	sliced   = "source: {classes: " + bucket + classes + ", hierarchy: " + bucket + hierarchy +
		", boxes: " + bucket + boxes + ", images: " + bucket + slice + "}"
)

// web is a folder that stands for the hosts that the example reads from.
type web struct{ dir string }

// newWeb fills the folder with the real class list and hierarchy of V4 and the real
// rows of hamburgers and sandwiches.
func newWeb(t *testing.T) web {
	t.Helper()
	w := web{t.TempDir()}
	data := filepath.Join(shared.Dir(t), "data", "metadata")
	for name, file := range map[string]string{
		classes:   "v4/class-descriptions-boxable.csv",
		hierarchy: "v4/bbox_labels_600_hierarchy.json",
		boxes:     "derived-hamburger-sandwich/train-annotations-bbox.csv",
		images:    "derived-hamburger-sandwich/train-images-with-rotation.csv",
		slice:     "derived-hamburger-sandwich/train-images-with-rotation.csv",
	} {
		text, err := os.ReadFile(filepath.Join(data, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		w.put(t, bucket+name, text)
	}
	return w
}

// put keeps data under a URL, with its query as part of the name as wget does it.
func (w web) put(t *testing.T, rawURL string, data []byte) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(w.dir, u.Host, filepath.FromSlash(u.Path))
	if u.RawQuery != "" {
		name += "?" + u.RawQuery
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// open opens the example, edited, with the folder as the mirror of all hosts.
func (w web) open(t *testing.T, dir string, edits ...string) *pipeline.Project {
	t.Helper()
	text, err := os.ReadFile("open_sandwiches/manifest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		if !bytes.Contains(text, []byte(edits[i])) {
			t.Fatalf("the manifest has no %q to edit", edits[i])
		}
		text = bytes.Replace(text, []byte(edits[i]), []byte(edits[i+1]), 1)
	}
	path := filepath.Join(dir, "manifest.yaml")
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Manifest.Mirrors = map[string]string{}
	for _, host := range []string{"storage.googleapis.com", "s3.amazonaws.com", "c1.staticflickr.com", "c2.staticflickr.com",
		"c3.staticflickr.com", "c4.staticflickr.com", "c5.staticflickr.com", "c6.staticflickr.com", "c7.staticflickr.com", "c8.staticflickr.com"} {
		folder := filepath.Join(w.dir, host)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		p.Manifest.Mirrors["https://"+host] = folder
	}
	return p
}

func options(t *testing.T) pipeline.Options {
	t.Helper()
	store, err := disk.Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return pipeline.Options{Store: store, Workers: 2}
}

// TestOpenSandwichesPlan plans the example, and variants of its labels. The numbers
// follow from those of the box file and from what the hierarchy says: Hamburger and
// Submarine sandwich, of which there is no box here, are below Sandwich.
func TestOpenSandwichesPlan(t *testing.T) {
	w := newWeb(t)
	const exact = "labels: [Sandwich, Hamburger]"
	o := options(t)
	for _, test := range []struct {
		name   string
		labels string
		boxes  int64
		moved  []openimages.Move
		counts map[string]int
	}{
		{"as it is", exact, photos, nil, map[string]int{"Sandwich": sandwiches, "Hamburger": hamburgers}},
		{"any case, and ids", "labels: [sandWICH, /m/0cdn1]", photos, nil, map[string]int{"Sandwich": sandwiches, "Hamburger": hamburgers}},
		{
			"descendants", "labels: [{name: Sandwich, descendants: true}, Hamburger]", photos,
			[]openimages.Move{{From: "Sandwich", To: "Hamburger", Boxes: hamburgers}},
			map[string]int{"Sandwich": sandwiches, "Hamburger": hamburgers},
		},
		{
			"descendants without hamburgers", "labels: [{name: Sandwich, descendants: true, except: [Hamburger]}, Hamburger]", photos,
			nil, map[string]int{"Sandwich": sandwiches, "Hamburger": hamburgers},
		},
		{
			"a label that nothing is below", "labels: [{name: Sandwich, as: bread}, {name: Hamburger, as: bun, descendants: true}]", photos,
			nil, map[string]int{"bread": sandwiches, "bun": hamburgers},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := w.open(t, t.TempDir(), official, sliced+" ", exact, test.labels)
			f, err := pipeline.Plan(t.Context(), p, o)
			if err != nil {
				t.Fatal(err)
			}
			if f.Boxes != test.boxes || f.Images != test.boxes || f.Unpinned != test.boxes {
				t.Errorf("%d boxes on %d photos, %d of them not pinned; want %d", f.Boxes, f.Images, f.Unpinned, test.boxes)
			}
			want := openimages.Funnel{Moved: test.moved}
			for _, rule := range []string{"label", "empty", "unlisted", "limit", "duplicate"} {
				want.Rules = append(want.Rules, openimages.FunnelRule{Rule: rule, Boxes: photos, Images: photos})
			}
			if diff := cmp.Diff(want, f.Funnel); diff != "" {
				t.Errorf("funnel (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.counts, boxesByClass(t, p, o)); diff != "" {
				t.Errorf("boxes of each class (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(p.LockPath); err == nil {
				t.Error("the plan wrote a lock")
			}
		})
	}
}

// boxesByClass selects the boxes and counts those of each class.
func boxesByClass(t *testing.T, p *pipeline.Project, o pipeline.Options) map[string]int {
	t.Helper()
	o.Until = pipeline.Select
	outcome, err := pipeline.Build(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := outcome.Build.Tree(pipeline.Select).Open(t.Context(), openimages.SelectedBoxesFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	count := map[string]int{}
	for b, err := range openimages.SelectedBoxes(r, openimages.SelectedBoxesFile) {
		if err != nil {
			t.Fatal(err)
		}
		count[b.Label]++
	}
	return count
}

// TestOpenSandwichesIsPinnedToOfficialSums builds the example as it is from the web that
// has other rows than the official ones. Class list, hierarchy and boxes have no
// published sum; the rows of the photos have, and cannot be replaced.
func TestOpenSandwichesIsPinnedToOfficialSums(t *testing.T) {
	p := newWeb(t).open(t, t.TempDir())
	_, err := pipeline.Plan(t.Context(), p, options(t))
	wrong, ok := errors.AsType[*fetch.MismatchError](err)
	if !ok || wrong.What != "size" || !strings.Contains(err.Error(), bucket+images) {
		t.Errorf("got %v, want that %s has the wrong size", err, images)
	}
}

// TestOpenSandwichesUnknownLabel misspells a label. That is told with the place in the
// manifest and the nearest names, before the boxes are fetched.
func TestOpenSandwichesUnknownLabel(t *testing.T) {
	w := newWeb(t)
	for _, name := range []string{boxes, images} {
		if err := os.Remove(filepath.Join(w.dir, "storage.googleapis.com", "openimages", filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	p := w.open(t, t.TempDir(), "labels: [Sandwich, Hamburger]", "labels: [Sandwich, Hamburgr]")
	_, err := pipeline.Plan(t.Context(), p, options(t))
	faults, ok := errors.AsType[*manifest.Faults](err)
	if !ok || len(*faults) != 1 {
		t.Fatalf("got %v, want one fault", err)
	}
	before, _, _ := strings.Cut(string(p.Source), "Hamburgr")
	line, column := 1+strings.Count(before, "\n"), len(before)-strings.LastIndex(before, "\n")
	f := (*faults)[0]
	if f.Line != line || f.Column != column || f.Path != "dataset.labels[1]" || !strings.Contains(f.Message, `"Hamburgr"`) {
		t.Errorf("got %+v, want dataset.labels[1] at %d:%d", f, line, column)
	}
	names, ok := strings.CutPrefix(f.Hint, "the nearest are ")
	if near := strings.Split(names, ", "); !ok || len(near) != 3 || near[0] != "Hamburger" {
		t.Errorf("hint %q, want the three nearest labels, Hamburger first", f.Hint)
	}
}

// TestOpenSandwichesLock pins the example. The photos themselves are not here, and a
// lock does not look into them: what stands for each is a few bytes that begin like a
// JPEG, at its real thumbnail URL, or for some without one at CVDF's.
func TestOpenSandwichesLock(t *testing.T) {
	w := newWeb(t)
	f, err := os.Open(filepath.Join(w.dir, "storage.googleapis.com", "openimages", filepath.FromSlash(slice)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var want []lock.Photo
	count := map[string]int{}
	for image, err := range openimages.SelectedImages(f, slice) {
		if err != nil {
			t.Fatal(err)
		}
		id := string(image.ImageID)
		stand := []byte("\xff\xd8\xff\xe0 stands for " + id)
		pinned := lock.Photo{ID: id, Place: "thumbnail", Digest: godigest.FromBytes(stand), Size: int64(len(stand))}
		switch {
		case image.Thumbnail300KURL != "":
			w.put(t, image.Thumbnail300KURL, stand)
		case count["cvdf"] <= count["dead"]:
			pinned.Place = "cvdf"
			w.put(t, "https://s3.amazonaws.com/open-images-dataset/train/"+id+".jpg", stand)
		default:
			pinned = lock.Photo{ID: id, Place: "dead", Dead: "original: no URL; thumbnail: no URL; cvdf: 404 Not Found"}
		}
		count[pinned.Place]++
		if pinned.Dead != "" {
			pinned.Place = ""
		}
		want = append(want, pinned)
	}
	if diff := cmp.Diff(map[string]int{"thumbnail": photos - 34, "cvdf": 17, "dead": 17}, count); diff != "" {
		t.Fatalf("places (-want +got):\n%s", diff)
	}
	slices.SortFunc(want, func(a, b lock.Photo) int { return strings.Compare(a.ID, b.ID) })

	p := w.open(t, t.TempDir(), official, sliced+" ")
	o := options(t)
	report, err := pipeline.Lock(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Changed || report.Photos != photos-17 || report.Dead != 17 {
		t.Errorf("got %+v, want a new lock with 17 dead photos", report)
	}
	got, err := lock.Open(p.LockPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }() // it was only read
	var pinned []lock.Photo
	for photo, err := range got.Photos.All() {
		if err != nil {
			t.Fatal(err)
		}
		pinned = append(pinned, photo)
	}
	if diff := cmp.Diff(want, pinned); diff != "" {
		t.Errorf("photos of the lock (-want +got):\n%s", diff)
	}
	var sources []string
	for _, s := range got.Sources {
		sources = append(sources, strings.TrimPrefix(s.URL, bucket))
	}
	if diff := cmp.Diff([]string{hierarchy, classes, boxes, slice}, sources); diff != "" {
		t.Errorf("sources of the lock (-want +got):\n%s", diff)
	}

	o.Locked = true
	plan, err := pipeline.Plan(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Unpinned != 0 || len(plan.Drift) != 0 {
		t.Errorf("%d photos are not pinned, and the lock would change in %q", plan.Unpinned, plan.Drift)
	}
}

package pipeline_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// Where the metadata of the tests is. Class list, hierarchy and boxes have their
// official URLs. The rows of the photos do not: the lock knows the official sums of
// those files, which a part of one cannot have.
const (
	bucket       = "https://storage.googleapis.com/openimages/"
	classesURL   = bucket + "2018_04/class-descriptions-boxable.csv"
	hierarchyURL = bucket + "2018_04/bbox_labels_600_hierarchy.json"
	boxesURL     = bucket + "2018_04/validation/validation-annotations-bbox.csv"
	imagesURL    = "https://images.test/validation/validation-images-with-rotation.csv"
)

// world is a web with real photos and metadata at their URLs.
type world struct {
	*mirrortest.Server
	images []openimages.Image // sorted by id
	boxes  []openimages.Box   // of the images
	served map[string][]byte  // what a sound server has at each URL
}

// newWorld serves the real class list and hierarchy and the box file, and nothing of
// the photos yet.
func newWorld(t testing.TB, boxes []byte) *world {
	t.Helper()
	w := &world{Server: mirrortest.Start(t), served: make(map[string][]byte)}
	v4 := filepath.Join(shared.Dir(t), "data", "metadata", "v4")
	w.Put(classesURL, readFile(t, filepath.Join(v4, "class-descriptions-boxable.csv")))
	w.Put(hierarchyURL, readFile(t, filepath.Join(v4, "bbox_labels_600_hierarchy.json")))
	w.Put(boxesURL, boxes)
	for row, err := range openimages.Boxes(bytes.NewReader(boxes), "boxes.csv") {
		if err != nil {
			t.Fatal(err)
		}
		w.boxes = append(w.boxes, row.Box())
	}
	// Manifests name the mirror of each host, and are part of packages: all hosts are
	// known before the first manifest is written.
	w.Put(mirrortest.PlaceholderURL, mirrortest.Placeholder())
	return w
}

// Put serves data at a URL.
func (w *world) Put(url string, data []byte) {
	w.served[url] = data
	w.Server.Put(url, data)
}

// get returns what a sound server has at a URL.
func (w *world) get(t testing.TB, url string) []byte {
	t.Helper()
	data, ok := w.served[url]
	if !ok {
		t.Fatalf("nothing is served at %s", url)
	}
	return data
}

// list serves the rows of the photos, and forgets the boxes on others.
func (w *world) list(t testing.TB, images []openimages.Image) {
	t.Helper()
	slices.SortFunc(images, func(a, b openimages.Image) int { return strings.Compare(string(a.ImageID), string(b.ImageID)) })
	w.images = images
	var file bytes.Buffer
	if err := openimages.WriteImages(&file, slices.Values(images)); err != nil {
		t.Fatal(err)
	}
	w.Put(imagesURL, file.Bytes())
	w.boxes = slices.DeleteFunc(w.boxes, func(b openimages.Box) bool {
		return !slices.ContainsFunc(images, func(i openimages.Image) bool { return i.ImageID == b.ImageID })
	})
}

// newOrchard serves all photos of apple-orange.
func newOrchard(t testing.TB) *world {
	t.Helper()
	return newFruit(t, 107, filepath.Join("openimages", "apple-orange"), "validation-annotations-bbox.csv", "*/*.jpg")
}

// newSmallOrchard serves the first n of 40 of these photos, by id, scaled down, so that
// a test can build often. The box file has boxes on all 40.
func newSmallOrchard(t testing.TB, n int) *world {
	t.Helper()
	return newFruit(t, n, filepath.Join("embed-candidates", "apple-orange-40"), "annotations-bbox.csv", "images/*.jpg")
}

// newFruit serves n photos of apples and oranges.
//
// The boxes, titles, pages, licences and thumbnail URLs of these photos are the
// official ones; where an original was, and its size and sum, is not known here. So
// the rows say that the original is the file that we have. Its copies are the same
// picture with a few more bytes, so that a pin tells which of them it is.
func newFruit(t testing.TB, n int, folder, boxes, photos string) *world {
	t.Helper()
	data := filepath.Join(shared.Dir(t), "data")
	w := newWorld(t, readFile(t, filepath.Join(data, folder, boxes)))
	credits := readCredits(t, filepath.Join(data, "openimages", "apple-orange", "ATTRIBUTION.tsv"))
	files, err := filepath.Glob(filepath.Join(data, folder, filepath.FromSlash(photos)))
	if err != nil || len(files) < n {
		t.Fatalf("%s has %d photos, %v; want %d", folder, len(files), err, n)
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	var images []openimages.Image
	for i, file := range files[:n] {
		data := readFile(t, file)
		id := strings.TrimSuffix(filepath.Base(file), ".jpg")
		sum := md5.Sum(data)
		image := openimages.Image{
			ImageID: openimages.ImageID(id), Subset: "validation",
			OriginalURL:        fmt.Sprintf("https://farm%d.staticflickr.com/%d/%s_o.jpg", 1+i%9, i, id),
			OriginalLandingURL: credits[id]["flickr_photo_page"],
			License:            credits[id]["licence"],
			Title:              credits[id]["title"],
			OriginalSize:       int64(len(data)),
			OriginalMD5:        base64.StdEncoding.EncodeToString(sum[:]),
			Thumbnail300KURL:   credits[id]["thumbnail_url"],
		}
		w.Put(image.OriginalURL, data)
		w.putCopies(image, data)
		images = append(images, image)
	}
	w.list(t, images)
	return w
}

// putCopies serves the thumbnail and CVDF's copy of a photo. What follows the end of a
// JPEG is not part of the picture.
func (w *world) putCopies(image openimages.Image, data []byte) {
	for _, place := range []pinfile.Place{pinfile.Thumbnail, pinfile.CVDF} {
		if url := pin.PhotoURL(&image, place); url != "" {
			w.Put(url, slices.Concat(data, []byte(place)))
		}
	}
}

// readCredits reads what is known about the photos: id -> column -> text.
func readCredits(t testing.TB, file string) map[string]map[string]string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(readFile(t, file))), "\n")
	header := strings.Split(lines[0], "\t")
	credits := make(map[string]map[string]string)
	for _, line := range lines[1:] {
		row := make(map[string]string)
		for i, text := range strings.Split(line, "\t") {
			row[header[i]] = text
		}
		credits[row["ImageID"]] = row
	}
	return credits
}

func (w *world) url(i int, place pinfile.Place) string { return pin.PhotoURL(&w.images[i], place) }
func (w *world) id(i int) string                       { return string(w.images[i].ImageID) }

// boxesOn counts the boxes on the numbered photos.
func (w *world) boxesOn(photos ...int) int64 {
	var n int64
	for _, b := range w.boxes {
		for _, i := range photos {
			if b.ImageID == w.images[i].ImageID {
				n++
			}
		}
	}
	return n
}

// photoRequests counts the requests for photos, at whatever place.
func (w *world) photoRequests() int {
	n := 0
	for i := range w.images {
		n += w.requestsFor(i)
	}
	return n
}

func (w *world) requestsFor(photo int) int {
	n := 0
	for _, place := range []pinfile.Place{pinfile.Original, pinfile.Thumbnail, pinfile.CVDF} {
		if url := w.url(photo, place); url != "" {
			n += w.Requests(url)
		}
	}
	return n
}

// manifest is a manifest that builds from this world, with a network that learns next
// to nothing in no time. edits are pairs of an old and a new text.
func (w *world) manifest(t testing.TB, edits ...string) string {
	t.Helper()
	text := `version: 1
name: orchard/fruit
message: Apples and oranges
dataset:
  source:
    classes: ` + classesURL + `
    hierarchy: ` + hierarchyURL + `
    boxes: ` + strings.ReplaceAll(boxesURL, "validation", "{subset}") + `
    images: ` + strings.ReplaceAll(imagesURL, "validation", "{subset}") + `
  subsets: [validation]
  labels: [Apple, Orange]
  images: [original, thumbnail, cvdf]
  boxes: {min_side: 0}
crop: {shape: stretch, size: 16}
quality: {min_contrast: 0}
split: {train: 0.6, validation: 0.2, test: 0.2, by: image}
model:
  layers:
    - conv: {filters: 2, kernel: 3, activation: relu}
    - max_pool: 4
    - flatten
  batch: 16
  epochs: 1
  early_stopping: none
seed: 7
package: {originals: true}
registry: ./registry
mirrors:
`
	mirrors := w.Mirrors()
	for _, from := range slices.Sorted(maps.Keys(mirrors)) {
		text += "  " + from + ": " + mirrors[from] + "\n"
	}
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the manifest has no %q to edit", edits[i])
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	return text
}

// project is a folder with a manifest, and a cache of its own.
type project struct {
	dir      string
	cache    *disk.Store
	options  pipeline.Options // but for the store
	registry string           // to push to, instead of the manifest's
}

func newProject(t testing.TB, manifest string) *project {
	t.Helper()
	p := &project{dir: t.TempDir(), options: pipeline.Options{Workers: runtime.GOMAXPROCS(0)}}
	p.write(t, manifest)
	p.freshCache(t)
	return p
}

func (p *project) write(t testing.TB, manifest string) {
	t.Helper()
	if err := os.WriteFile(p.path(), []byte(manifest), 0o666); err != nil {
		t.Fatal(err)
	}
}

func (p *project) freshCache(t testing.TB) {
	t.Helper()
	cache, err := disk.Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	p.cache = cache
}

func (p *project) path() string     { return filepath.Join(p.dir, "manifest.yaml") }
func (p *project) lockPath() string { return filepath.Join(p.dir, "manifest.lock") }

// open reads the project, as each command does.
func (p *project) open(t testing.TB) (*pipeline.Project, pipeline.Options) {
	t.Helper()
	opened, err := pipeline.Open(p.path())
	if err != nil {
		t.Fatal(err)
	}
	if p.registry != "" {
		opened.Manifest.Registry = p.registry
	}
	options := p.options
	options.Store = p.cache
	return opened, options
}

func (p *project) tryBuild(t testing.TB) (*pipeline.Outcome, error) {
	t.Helper()
	opened, options := p.open(t)
	return pipeline.Build(t.Context(), opened, options)
}

func (p *project) build(t testing.TB) *pipeline.Outcome {
	t.Helper()
	outcome, err := p.tryBuild(t)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// pkg loads what a build pushed.
func (p *project) pkg(t testing.TB, o *pipeline.Outcome) (*registry.Registry, *registry.Package) {
	t.Helper()
	location := p.registry
	if location == "" {
		location = filepath.Join(p.dir, "registry")
	}
	r, err := registry.Open(t.Context(), location, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseRef(o.Package)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := r.Load(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return r, loaded
}

// pins are what a lock file holds.
type pins struct {
	Sources []lock.Source
	Photos  []lock.Photo
}

// pins reads the project's lock.
func (p *project) pins(t testing.TB) pins {
	t.Helper()
	f, err := lock.Open(p.lockPath())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	all := pins{Sources: f.Sources}
	for photo, err := range f.Photos.All() {
		if err != nil {
			t.Fatal(err)
		}
		all.Photos = append(all.Photos, photo)
	}
	return all
}

// ran lists the stages that had to run.
func ran(o *pipeline.Outcome) []string {
	names := []string{}
	for _, s := range o.Build.Steps {
		if !s.Cached {
			names = append(names, s.Stage)
		}
	}
	return names
}

// observer makes an Observer of a function.
type observer func(stages.Event)

func (o observer) Observe(e stages.Event) { o(e) }

// tableOf reads a table of a stage's output.
func tableOf[T any](t testing.TB, tree cas.Tree, name string, read func(io.Reader, string) iter.Seq2[T, error]) []T {
	t.Helper()
	data, err := tree.ReadFile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var rows []T
	for row, err := range read(bytes.NewReader(data), name) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// records reads a CSV file as maps from column to text.
func records(t testing.TB, data []byte) []map[string]string {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, record := range all[1:] {
		row := make(map[string]string)
		for i, text := range record {
			row[all[0][i]] = text
		}
		rows = append(rows, row)
	}
	return rows
}

func digestOf(data []byte) digest.Digest { return digest.FromBytes(data) }

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

package pipeline_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/manifest/lock"
)

// newOfficial serves the photos of full-metadata-23 under their official rows, as they
// are. The files here are not the originals that the rows describe, but copies of at
// most 1,024 pixels a side; so the original place of each serves other bytes than its
// row promises, as an edited photo does, and the copies are where copies belong.
//
// The boxes are the official ones of the first 7 photos, of all labels, and those of
// people on the other 16.
func newOfficial(t *testing.T) *world {
	t.Helper()
	dir := filepath.Join(shared.Dir(t), "data", "openimages", "full-metadata-23")
	verbatim := readFile(t, filepath.Join(dir, "annotations-human-bbox.csv"))
	boxes := slices.Clone(verbatim)
	for line := range strings.Lines(string(readFile(t, filepath.Join(dir, "person-boxes.csv")))) {
		id, _, _ := strings.Cut(line, ",")
		if !bytes.Contains(verbatim, []byte(id)) {
			boxes = append(boxes, line...)
		}
	}
	w := newWorld(t, boxes)
	rows := readFile(t, filepath.Join(dir, "images.csv"))
	for image, err := range openimages.SelectedImages(bytes.NewReader(rows), "images.csv") {
		if err != nil {
			t.Fatal(err)
		}
		data := readFile(t, filepath.Join(dir, "images", string(image.ImageID)+".jpg"))
		w.Put(image.OriginalURL, data)
		w.putCopies(image, data)
		w.images = append(w.images, image)
	}
	w.Put(imagesURL, rows)
	return w
}

// onlyExcluded are the photos all of whose boxes are depictions or occluded.
var onlyExcluded = map[string]bool{"006f87bf928f9ba3": true, "011417767312812e": true}

// TestBuildOfficialRows builds from official rows, of which every original has changed.
func TestBuildOfficialRows(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes 21 photos of full size")
	}
	w := newOfficial(t)
	const deleted, gone = 4, 9
	w.DeletePhoto(w.url(deleted, pinfile.Thumbnail))
	for _, place := range []pinfile.Place{pinfile.Thumbnail, pinfile.CVDF} {
		w.Break(w.url(gone, place), mirrortest.Status(403))
	}
	p := newProject(t, w.manifest(t,
		"labels: [Apple, Orange]", "labels: [Person, {name: Clothing, descendants: true}]",
		"boxes: {min_side: 0}", "boxes: {exclude: [depiction, occluded], min_side: 0}"))
	outcome := p.build(t)
	w.AssertFaultsHit(t)

	want := make([]lock.Photo, 0, len(w.images))
	for i := range w.images {
		if onlyExcluded[w.id(i)] {
			continue
		}
		place := pinfile.Thumbnail
		switch i {
		case deleted:
			place = pinfile.CVDF
		case gone:
			want = append(want, lock.Photo{
				ID: w.id(i), Dead: "original: other content: wrong size; thumbnail: 403 Forbidden; cvdf: 403 Forbidden",
			})
			continue
		}
		data := w.get(t, w.url(i, place))
		want = append(want, lock.Photo{ID: w.id(i), Place: string(place), Digest: digestOf(data), Size: int64(len(data))})
	}
	if diff := cmp.Diff(want, p.pins(t).Photos); diff != "" {
		t.Errorf("pins (-want +got):\n%s", diff)
	}
	if outcome.Dead != 1 || outcome.Quarantined != 0 {
		t.Errorf("got %+v, want one dead photo", outcome)
	}
	checkSplit(t, outcome)
	checkOfficialFunnel(t, outcome)
	checkRectangles(t, w, outcome, w.id(gone))

	reg, pkg := p.pkg(t, outcome)
	data, err := reg.ReadFile(t.Context(), pkg, "data/attribution.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows := records(t, data)
	if len(rows) != len(want)-1 {
		t.Errorf("attribution.csv has %d rows, want %d", len(rows), len(want)-1)
	}
	first := map[string]string{
		"ImageID": "00075905539074f2", "Author": "Don O'Brien", "AuthorProfileURL": "https://www.flickr.com/people/dok1/",
		"Title": "Phillips 66", "License": "https://creativecommons.org/licenses/by/2.0/",
		"LandingURL":  "https://www.flickr.com/photos/dok1/21452126474",
		"OriginalURL": "https://farm3.staticflickr.com/568/21452126474_ab12789b36_o.jpg",
	}
	if diff := cmp.Diff(first, rows[0]); diff != "" {
		t.Errorf("attribution.csv (-want +got):\n%s", diff)
	}
	checkInstalled(t, reg, pkg)
}

// checkOfficialFunnel compares with numbers that a script of another language counted in
// the box files, with the labels below Clothing found in the hierarchy.
func checkOfficialFunnel(t *testing.T, o *pipeline.Outcome) {
	t.Helper()
	want := openimages.Funnel{Rules: []openimages.FunnelRule{
		{Rule: "label", Boxes: 56, Images: 23, DroppedBoxes: 54},
		{Rule: "occluded", Boxes: 53, Images: 22, DroppedBoxes: 3, DroppedImages: 1},
		{Rule: "depiction", Boxes: 44, Images: 21, DroppedBoxes: 9, DroppedImages: 1},
		{Rule: "empty", Boxes: 44, Images: 21},
		{Rule: "unlisted", Boxes: 44, Images: 21},
		{Rule: "limit", Boxes: 44, Images: 21},
		{Rule: "duplicate", Boxes: 44, Images: 21},
	}}
	if diff := cmp.Diff(want, funnelOf(t, o, pipeline.Select)); diff != "" {
		t.Errorf("funnel of select (-want +got):\n%s", diff)
	}
}

// checkRectangles computes the rectangle of each crop again: from the box, outwards to
// whole pixels, on the photo as it is. Photo dead has none.
func checkRectangles(t *testing.T, w *world, o *pipeline.Outcome, dead string) {
	t.Helper()
	type key struct {
		image openimages.ImageID
		box   openimages.BoxID
	}
	crops := make(map[key]image.Rectangle)
	for _, c := range tableOf(t, o.Build.Tree(pipeline.Crop), cropfile.CropsFile, cropfile.Crops) {
		crops[key{c.ImageID, c.Box}] = image.Rect(c.Left, c.Top, c.Right, c.Bottom)
	}
	want := make(map[key]image.Rectangle)
	for _, b := range tableOf(t, o.Build.Tree(pipeline.Select), openimages.SelectedBoxesFile, openimages.SelectedBoxes) {
		if string(b.ImageID) == dead {
			continue
		}
		i := slices.IndexFunc(w.images, func(i openimages.Image) bool { return i.ImageID == b.ImageID })
		size, err := jpeg.DecodeConfig(bytes.NewReader(w.get(t, w.images[i].OriginalURL)))
		if err != nil {
			t.Fatal(err)
		}
		at := func(f openimages.Fraction, side int) float64 {
			v, err := strconv.ParseFloat(string(f), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v * float64(side)
		}
		want[key{b.ImageID, b.ID}] = image.Rect(
			int(math.Floor(at(b.XMin, size.Width))), int(math.Floor(at(b.YMin, size.Height))),
			int(math.Ceil(at(b.XMax, size.Width))), int(math.Ceil(at(b.YMax, size.Height))))
	}
	if diff := cmp.Diff(want, crops); diff != "" {
		t.Errorf("rectangles of the crops (-want +got):\n%s", diff)
	}
}

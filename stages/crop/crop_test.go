package crop_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/crop"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// picture is a photo of a test, as select and download would hand it on.
type picture struct {
	id       openimages.ImageID
	data     []byte // nil when the photo is dead
	place    pinfile.Place
	rotation openimages.Rotation
	boxes    []openimages.SelectedBox
}

// box makes a selected box.
func box(label, xmin, xmax, ymin, ymax string) openimages.SelectedBox {
	b := openimages.SelectedBox{
		Box: openimages.Box{
			LabelID: "/m/1", XMin: openimages.Fraction(xmin), XMax: openimages.Fraction(xmax),
			YMin: openimages.Fraction(ymin), YMax: openimages.Fraction(ymax),
		},
		LabelName: label, Label: label,
	}
	b.ID = openimages.BoxID(b.Digest()[:openimages.BoxIDDigits])
	return b
}

// inputs stores the two trees that the stage reads.
func inputs(tb testing.TB, store cas.Store, pictures []picture) map[string]cas.Tree {
	tb.Helper()
	ctx := tb.Context()
	slices.SortFunc(pictures, func(a, b picture) int { return strings.Compare(string(a.id), string(b.id)) })
	selection, photos := cas.NewBuilder(store), cas.NewBuilder(store)
	var boxes []openimages.SelectedBox
	var images []openimages.Image
	var found []pinfile.Photo
	for _, p := range pictures {
		for _, b := range p.boxes {
			b.ImageID, b.Subset = p.id, "train"
			boxes = append(boxes, b)
		}
		images = append(images, openimages.Image{ImageID: p.id, Subset: "train", OriginalURL: "https://example.com/" + string(p.id), Rotation: p.rotation})
		if p.data != nil {
			check(tb, photos.PutBytes(ctx, "photos/"+string(p.id), p.data))
			found = append(found, pinfile.Photo{ImageID: p.id, Place: p.place, Digest: cas.Sum(p.data)})
		}
	}
	file := func(b *cas.Builder, name string, write func(io.Writer) error) {
		var buf bytes.Buffer
		check(tb, write(&buf))
		check(tb, b.Put(ctx, name, &buf))
	}
	file(selection, openimages.SelectedBoxesFile, func(w io.Writer) error {
		return openimages.WriteSelectedBoxes(w, slices.Values(boxes))
	})
	file(selection, openimages.SelectedImagesFile, func(w io.Writer) error { return openimages.WriteImages(w, slices.Values(images)) })
	file(photos, pinfile.PhotosFile, func(w io.Writer) error { return pinfile.WritePhotos(w, slices.Values(found)) })
	trees := map[string]cas.Tree{}
	for name, b := range map[string]*cas.Builder{crop.Selection: selection, crop.Photos: photos} {
		tree, err := b.Commit(ctx)
		check(tb, err)
		trees[name] = tree
	}
	return trees
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// crops returns crops.csv.
func crops(t *testing.T, tree cas.Tree) []cropfile.Crop {
	t.Helper()
	var all []cropfile.Crop
	for c, err := range cropfile.Crops(strings.NewReader(stagetest.Read(t, tree, cropfile.CropsFile)), cropfile.CropsFile) {
		check(t, err)
		all = append(all, c)
	}
	return all
}

func decode(t *testing.T, tree cas.Tree, path string) image.Image {
	t.Helper()
	img, err := jpeg.Decode(strings.NewReader(stagetest.Read(t, tree, path)))
	check(t, err)
	return img
}

// quadrants is a photo whose quarters are red, green (right), blue (below) and white.
func quadrants(width, height int) *image.NRGBA {
	img := imaging.New(width, height, color.White)
	half := image.Point{X: width / 2, Y: height / 2}
	img = imaging.Paste(img, imaging.New(half.X, half.Y, color.NRGBA{R: 255, A: 255}), image.Point{})
	img = imaging.Paste(img, imaging.New(width-half.X, half.Y, color.NRGBA{G: 255, A: 255}), image.Point{X: half.X})
	return imaging.Paste(img, imaging.New(half.X, height-half.Y, color.NRGBA{B: 255, A: 255}), image.Point{Y: half.Y})
}

func encodeJPEG(tb testing.TB, img image.Image) []byte {
	tb.Helper()
	var buf bytes.Buffer
	check(tb, jpeg.Encode(&buf, img, &jpeg.Options{Quality: 95}))
	return buf.Bytes()
}

// withEXIF adds an EXIF orientation to a JPEG.
func withEXIF(data []byte, orientation byte) []byte {
	segment := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" +
		string(orientation) + "\x00\x00\x00\x00\x00\x00"
	return slices.Concat(data[:2], []byte(segment), data[2:])
}

// nearest names the colour of the middle of a picture.
func nearest(img image.Image, x, y int) string {
	c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
	name := ""
	for i, v := range []uint8{c.R, c.G, c.B} {
		if v > 132 {
			name += string("rgb"[i])
		}
	}
	return name
}

// TestUpright cuts the red quarter and its green neighbour's out of one photo that
// reaches the stage in all the ways that photos do.
func TestUpright(t *testing.T) {
	stored := quadrants(80, 40) // as the camera stored it; upright after a turn to the left
	jpg := encodeJPEG(t, stored)
	// The top half of the stored photo: red at its left, green at its right.
	top := box("Thing", "0", "1", "0", "0.5")
	const unknown = openimages.RotationUnknown
	tests := []struct {
		name     string
		data     []byte
		place    pinfile.Place
		rotation openimages.Rotation
		want     string // position on the upright photo, its size, and colours from top left to bottom right
	}{
		{"nothing known", jpg, pinfile.Original, unknown, "(0,0)-(80,20) of 80x40: r g"},
		{"rotation 0", jpg, pinfile.Original, 0, "(0,0)-(80,20) of 80x40: r g"},
		{"rotation 90", jpg, pinfile.Original, 90, "(0,0)-(20,80) of 40x80: g r"},
		{"rotation 180", jpg, pinfile.CVDF, 180, "(0,20)-(80,40) of 80x40: g r"},
		{"rotation 270", jpg, pinfile.CVDF, 270, "(20,0)-(40,80) of 40x80: r g"},
		{"EXIF says 90", withEXIF(jpg, 8), pinfile.Original, unknown, "(0,0)-(20,80) of 40x80: g r"},
		{"EXIF is mirrored", withEXIF(jpg, 2), pinfile.Original, unknown, "(0,0)-(80,20) of 80x40: g r"},
		{"rotation goes before EXIF", withEXIF(jpg, 8), pinfile.Original, 270, "(20,0)-(40,80) of 40x80: r g"},
		{"thumbnail", jpg, pinfile.Thumbnail, unknown, "(0,0)-(80,20) of 80x40: r g"},
		{"turned thumbnail", encodeJPEG(t, imaging.Rotate90(stored)), pinfile.Thumbnail, 90, "(0,0)-(20,80) of 40x80: g r"},
		{"thumbnail upside down", encodeJPEG(t, imaging.Rotate180(stored)), pinfile.Thumbnail, 180, "(0,20)-(80,40) of 80x40: g r"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := cas.NewMemory()
			in := inputs(t, store, []picture{{"p", test.data, test.place, test.rotation, []openimages.SelectedBox{top}}})
			tree, _ := stagetest.Run(t, store, crop.New(manifest.Crop{Shape: "keep"}, manifest.Boxes{}), in)
			c := crops(t, tree)[0]
			img := decode(t, tree, c.Path)
			size := img.Bounds().Size()
			got := fmt.Sprintf("(%d,%d)-(%d,%d) of %dx%d: %s %s", c.Left, c.Top, c.Right, c.Bottom, c.PhotoWidth, c.PhotoHeight,
				nearest(img, size.X/4, size.Y/4), nearest(img, size.X*3/4, size.Y*3/4))
			if got != test.want || size != (image.Point{X: c.Right - c.Left, Y: c.Bottom - c.Top}) {
				t.Errorf("got %s, a crop of %v\nwant %s", got, size, test.want)
			}
		})
	}
}

// TestShapes looks at the size of the crop of a wide box at the photo's right edge, and
// where it is black.
func TestShapes(t *testing.T) {
	photo := encodeJPEG(t, imaging.New(100, 50, color.White))
	wide := box("Thing", "0.6", "1", "0.4", "0.6")   // 40x10
	huge := box("Thing", "0.1", "0.9", "0.4", "0.6") // 80x10, wider than the photo is high
	tests := []struct {
		crop  manifest.Crop
		box   openimages.SelectedBox
		at    image.Rectangle
		size  image.Point
		black bool // at the top
	}{
		{manifest.Crop{Shape: "keep"}, wide, image.Rect(60, 20, 100, 30), image.Pt(40, 10), false},
		{manifest.Crop{Shape: "keep", Size: 20}, wide, image.Rect(60, 20, 100, 30), image.Pt(20, 5), false},
		{manifest.Crop{Shape: "keep", Size: 80}, wide, image.Rect(60, 20, 100, 30), image.Pt(80, 20), false},
		{manifest.Crop{Shape: "keep", Pad: 0.5}, wide, image.Rect(40, 15, 100, 35), image.Pt(60, 20), false},
		{manifest.Crop{Shape: "stretch", Size: 32}, wide, image.Rect(60, 20, 100, 30), image.Pt(32, 32), false},
		{manifest.Crop{Shape: "stretch"}, wide, image.Rect(60, 20, 100, 30), image.Pt(40, 10), false},
		{manifest.Crop{Shape: "square", Size: 32}, wide, image.Rect(60, 5, 100, 45), image.Pt(32, 32), false},
		{manifest.Crop{Shape: "square"}, wide, image.Rect(60, 5, 100, 45), image.Pt(40, 40), false},
		{manifest.Crop{Shape: "square", Size: 40}, huge, image.Rect(10, 0, 90, 50), image.Pt(40, 40), true},
		{manifest.Crop{Shape: "letterbox", Size: 32}, wide, image.Rect(60, 20, 100, 30), image.Pt(32, 32), true},
		{manifest.Crop{Shape: "letterbox"}, wide, image.Rect(60, 20, 100, 30), image.Pt(40, 40), true},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%+v", test.crop), func(t *testing.T) {
			store := cas.NewMemory()
			in := inputs(t, store, []picture{{"p", photo, pinfile.Original, 0, []openimages.SelectedBox{test.box}}})
			tree, _ := stagetest.Run(t, store, crop.New(test.crop, manifest.Boxes{}), in)
			c := crops(t, tree)[0]
			if got := image.Rect(c.Left, c.Top, c.Right, c.Bottom); got != test.at {
				t.Errorf("cut at %v, want %v", got, test.at)
			}
			img := decode(t, tree, c.Path)
			if got := img.Bounds().Size(); got != test.size {
				t.Errorf("size %v, want %v", got, test.size)
			}
			if got := nearest(img, img.Bounds().Dx()/2, 0) == ""; got != test.black {
				t.Errorf("black at the top: %t, want %t", got, test.black)
			}
			if got := nearest(img, img.Bounds().Dx()/2, img.Bounds().Dy()/2); got != "rgb" {
				t.Errorf("the middle is %q, not white", got)
			}
		})
	}
}

// TestFunnel drops a box by every rule.
func TestFunnel(t *testing.T) {
	jpg := encodeJPEG(t, quadrants(100, 100))
	whole, tiny, none := box("A b/c", "0.01", "0.99", "0.01", "0.99"), box("A b/c", "0.1", "0.15", "0.01", "0.99"), box("A b/c", "0.5", "0.5", "0", "1")
	long, small := box("A b/c", "0.1", "0.9", "0.1", "0.28"), box("A b/c", "0.1", "0.25", "0.1", "0.25")
	edge, all := box("A b/c", "0", "0.5", "0.1", "0.6"), box("A b/c", "0", "1", "0", "1")
	pictures := []picture{
		{"dead", nil, "", 0, []openimages.SelectedBox{whole, tiny}},
		{"good", jpg, pinfile.Original, 0, []openimages.SelectedBox{whole, tiny, small, long, edge, all}},
		{"html", []byte("<!DOCTYPE html>"), pinfile.Original, 0, []openimages.SelectedBox{whole}},
		{"part", jpg[:len(jpg)/2], pinfile.Original, 0, []openimages.SelectedBox{whole}},
		{"tiny", jpg, pinfile.Original, 0, []openimages.SelectedBox{tiny}},
	}
	store := cas.NewMemory()
	rules := manifest.Boxes{MinSide: 10, MinArea: 0.03, MaxArea: 0.98, MaxAspect: 4, Margin: 0.01}
	tree, result := stagetest.Run(t, store, crop.New(manifest.Crop{Shape: "keep"}, rules), inputs(t, store, pictures))
	example := func(image string, b openimages.SelectedBox) string {
		return fmt.Sprintf(`{"image":"%s","box":"%s","label":"A b/c","at":["%s","%s","%s","%s"]}`, image, b.ID, b.XMin, b.XMax, b.YMin, b.YMax)
	}
	dead := []string{example("dead", whole), example("dead", tiny)}
	if whole.ID > tiny.ID {
		slices.Reverse(dead)
	}
	want := map[string]string{
		cropfile.CropsFile: "Crop,Label,ImageID,Subset,Box,Left,Top,Right,Bottom,PhotoWidth,PhotoHeight\n" +
			"crops/A_b_c/good_" + string(whole.ID) + ".jpg,A b/c,good,train," + string(whole.ID) + ",1,1,99,99,100,100\n",
		cropfile.QuarantineFile: "ImageID,Reason\nhtml,not an image: HTML\npart,truncated\n",
		openimages.FunnelFile: `{"rules":[` +
			`{"rule":"photo missing","boxes":9,"images":4,"dropped_boxes":2,"dropped_images":1,"examples":[` + strings.Join(dead, ",") + `]},` +
			`{"rule":"photo quarantined","boxes":7,"images":2,"dropped_boxes":2,"dropped_images":2,"examples":[` + example("html", whole) + "," + example("part", whole) + `]},` +
			`{"rule":"min_side","boxes":5,"images":1,"dropped_boxes":2,"dropped_images":1,"examples":[` + example("good", tiny) + "," + example("tiny", tiny) + `]},` +
			`{"rule":"empty","boxes":5,"images":1,"dropped_boxes":0,"dropped_images":0},` +
			`{"rule":"min_area","boxes":4,"images":1,"dropped_boxes":1,"dropped_images":0,"examples":[` + example("good", small) + `]},` +
			`{"rule":"max_area","boxes":3,"images":1,"dropped_boxes":1,"dropped_images":0,"examples":[` + example("good", all) + `]},` +
			`{"rule":"max_aspect","boxes":2,"images":1,"dropped_boxes":1,"dropped_images":0,"examples":[` + example("good", long) + `]},` +
			`{"rule":"margin","boxes":1,"images":1,"dropped_boxes":1,"dropped_images":0,"examples":[` + example("good", edge) + `]}]}` + "\n",
	}
	for name, want := range want {
		if diff := cmp.Diff(want, stagetest.Read(t, tree, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(map[string]int64{"photos": 5, "crops": 1, "quarantined": 2}, result.Counters); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]cas.Line{{Warning: true, Text: "photos quarantined: 1, not an image: HTML"}, {Warning: true, Text: "photos quarantined: 1, truncated"}}, result.Log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}

	_, err := stages.RunKind(t.Context(), store, crop.New(manifest.Crop{Shape: "keep"}, manifest.Boxes{}),
		inputs(t, store, []picture{{"none", jpg, pinfile.Original, 0, []openimages.SelectedBox{none}}, pictures[0]}), 1, stages.Discard)
	var lost *crop.LostLabelsError
	if !errors.As(err, &lost) || !slices.Equal(lost.Labels, []string{"A b/c"}) {
		t.Errorf("got %v, want the label lost", err)
	}
}

// TestTruncatedFiles cuts a photo of which the lower half did not arrive.
func TestTruncatedFiles(t *testing.T) {
	jpg := encodeJPEG(t, quadrants(160, 160))
	upper, lower := box("A", "0", "1", "0", "0.25"), box("A", "0", "1", "0.75", "1")
	store := cas.NewMemory()
	in := inputs(t, store, []picture{
		{"part", jpg[:len(jpg)*6/10], pinfile.Original, 0, []openimages.SelectedBox{upper, lower}},
		{"whole", jpg, pinfile.Original, 0, []openimages.SelectedBox{upper}},
	})
	dropped, _ := stagetest.Run(t, store, crop.New(manifest.Crop{Shape: "keep", TruncatedFiles: "drop"}, manifest.Boxes{}), in)
	if n := len(crops(t, dropped)); n != 1 {
		t.Errorf("%d crops, want that of the whole photo", n)
	}
	preview := decode(t, dropped, "quarantine/part.jpg")
	if got := nearest(preview, 10, 10) + " " + nearest(preview, 118, 10); got != "r g" || preview.Bounds().Size() != image.Pt(128, 128) {
		t.Errorf("the picture of the quarantined photo has %s, size %v", got, preview.Bounds())
	}
	kept, result := stagetest.Run(t, store, crop.New(manifest.Crop{Shape: "keep", TruncatedFiles: "keep"}, manifest.Boxes{}), in)
	if result.Counters["quarantined"] != 0 {
		t.Error("the photo is quarantined")
	}
	for _, c := range crops(t, kept) {
		img := decode(t, kept, c.Path)
		want := "r g"
		if c.Box == lower.ID {
			want = " " // grey
		}
		if got := nearest(img, 10, 10) + " " + nearest(img, 150, 10); got != want {
			t.Errorf("%s has %q, want %q", c.Path, got, want)
		}
	}
}

func TestFolderClash(t *testing.T) {
	jpg := encodeJPEG(t, quadrants(10, 10))
	store := cas.NewMemory()
	in := inputs(t, store, []picture{{"p", jpg, pinfile.Original, 0, []openimages.SelectedBox{box("a b", "0", "1", "0", "1"), box("A/b", "0", "1", "0", "0.5")}}})
	_, err := stages.RunKind(t.Context(), store, crop.New(manifest.Crop{Shape: "keep"}, manifest.Boxes{}), in, 1, stages.Discard)
	if want := "labels \"A/b\" and \"a b\" would share the folder \"a_b\": give one of them another name with `as`"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCancel(t *testing.T) {
	store := cas.NewMemory()
	in := inputs(t, store, []picture{{"p", encodeJPEG(t, quadrants(10, 10)), pinfile.Original, 0, []openimages.SelectedBox{box("A", "0", "1", "0", "1")}}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stages.RunKind(ctx, store, crop.New(manifest.Crop{Shape: "keep"}, manifest.Boxes{}), in, 1, stages.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestNasty sends all of nasty-images through the stage: every photo is cropped or
// quarantined, and the build goes on.
func TestNasty(t *testing.T) {
	var pictures []picture
	files, err := filepath.Glob(filepath.Join(shared.Dir(t), "data", "nasty-images", "*", "*"))
	check(t, err)
	for i, file := range files {
		data, err := os.ReadFile(file)
		check(t, err)
		pictures = append(pictures, picture{
			openimages.ImageID(fmt.Sprintf("%03d", i)), data, pinfile.Original, openimages.RotationUnknown,
			[]openimages.SelectedBox{box("Thing", "0.1", "0.9", "0.2", "1"), box("Thing", "0", "1", "0", "1")},
		})
	}
	store := cas.NewMemory()
	kind := crop.New(manifest.Crop{Shape: "letterbox", Size: 32}, manifest.Boxes{})
	result, err := stages.RunKind(t.Context(), store, kind, inputs(t, store, pictures), 2, stages.Discard)
	check(t, err)
	tree := cas.NewTree(store, result.Tree)
	if got, want := result.Counters["crops"], 2*(result.Counters["photos"]-result.Counters["quarantined"]); got != want {
		t.Errorf("%d crops, want %d", got, want)
	}
	if len(files) != 117 || result.Counters["quarantined"] != 30 {
		t.Errorf("%d of %d photos quarantined, want 30 of 117", result.Counters["quarantined"], len(files))
	}
	for _, c := range crops(t, tree) {
		if got := decode(t, tree, c.Path).Bounds().Size(); got != image.Pt(32, 32) {
			t.Errorf("%s: size %v", c.Path, got)
		}
	}
}

// appleOrange is the real photos of apple-orange with their official boxes.
func appleOrange(tb testing.TB) []picture {
	tb.Helper()
	dir := filepath.Join(shared.Dir(tb), "data", "openimages", "apple-orange")
	names := map[openimages.LabelID]string{"/m/014j1m": "Apple", "/m/0cyhj_": "Orange"}
	byID := map[openimages.ImageID]*picture{}
	f, err := os.Open(filepath.Join(dir, "validation-annotations-bbox.csv"))
	check(tb, err)
	defer func() { check(tb, f.Close()) }()
	for row, err := range openimages.Boxes(f, f.Name()) {
		check(tb, err)
		b := openimages.SelectedBox{Box: row.Box()}
		b.Label = names[b.LabelID]
		b.LabelName = b.Label
		b.ID = openimages.BoxID(b.Digest()[:openimages.BoxIDDigits])
		p := byID[b.ImageID]
		if p == nil {
			data, err := os.ReadFile(filepath.Join(dir, b.Label, string(b.ImageID)+".jpg"))
			check(tb, err)
			p = &picture{id: b.ImageID, data: data, place: pinfile.CVDF, rotation: openimages.RotationUnknown}
			byID[b.ImageID] = p
		}
		p.boxes = append(p.boxes, b)
	}
	var all []picture
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		all = append(all, *byID[id])
	}
	return all
}

// TestGolden holds the bytes of crops of real photos, digested in the order of their
// paths. They are the same on every machine and with every version of Go, and may not
// change without raising the version of the kind.
func TestGolden(t *testing.T) {
	tests := []struct {
		crop   manifest.Crop
		digest string
	}{
		{manifest.Crop{Shape: "stretch", Size: 128}, "c410826db85a2b76"},
		{manifest.Crop{Shape: "keep"}, "09fe565ae10fd949"},
		{manifest.Crop{Shape: "square", Size: 64, Pad: 0.1}, "dae47e312a0014fb"},
	}
	store := cas.NewMemory()
	in := inputs(t, store, appleOrange(t)[:6])
	for _, test := range tests {
		tree, result := stagetest.Run(t, store, crop.New(test.crop, manifest.Boxes{MinSide: 32}), in)
		sum := sha256.New()
		all := crops(t, tree)
		for _, c := range all {
			sum.Write([]byte(stagetest.Read(t, tree, c.Path)))
		}
		if got := hex.EncodeToString(sum.Sum(nil)[:8]); got != test.digest {
			t.Errorf("%+v: %d crops of %d photos with digest %s, want %s", test.crop, len(all), result.Counters["photos"], got, test.digest)
		}
	}
}

func BenchmarkCrop(b *testing.B) {
	store := cas.NewMemory()
	pictures := appleOrange(b)
	in := inputs(b, store, pictures)
	for _, size := range []int{0, 128} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := stages.RunKind(b.Context(), store, crop.New(manifest.Crop{Shape: "stretch", Size: size}, manifest.Boxes{MinSide: 32}), in, 1, stages.Discard)
				check(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(pictures)), "ns/photo")
		})
	}
}

// TestSuite's golden digest holds the tables and the crops.
func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	kind := crop.New(manifest.Crop{Shape: "letterbox", Size: 32, Pad: 0.05}, manifest.Boxes{MinSide: 10})
	stagetest.Suite(t, store, kind, inputs(t, store, appleOrange(t)[:3]), stagetest.Golden{Version: 3, Tree: "sha256:80227e3c9bcc8a2e7d582e9b7bfab4582abddf4ce22a195eda6511e3142d158d"})
}

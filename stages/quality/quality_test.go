package quality_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/quality"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// painted is a picture of a crop: random coloured blocks of a side, of an amplitude. What
// lies outside of the rectangle is black.
func painted(seed uint64, size image.Point, inner image.Rectangle, block, amplitude int, grey bool) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	img := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			img.Set(x, y, color.Black)
		}
	}
	for y := inner.Min.Y; y < inner.Max.Y; y += block {
		for x := inner.Min.X; x < inner.Max.X; x += block {
			v := func() uint8 { return uint8(128 - amplitude + r.IntN(2*amplitude+1)) }
			c := color.NRGBA{v(), v(), v(), 255}
			if grey {
				c.G, c.B = c.R, c.R
			}
			for by := y; by < min(y+block, inner.Max.Y); by++ {
				for bx := x; bx < min(x+block, inner.Max.X); bx++ {
					img.Set(bx, by, c)
				}
			}
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// crop is a crop of a test, with its picture.
type crop struct {
	cropfile.Crop
	picture []byte
}

func newCrop(label string, id openimages.ImageID, box openimages.BoxID, size image.Point, picture []byte) crop {
	left := 10
	if label == "B" {
		left = 110
	}
	return crop{cropfile.Crop{
		Path: fmt.Sprintf("crops/%s/%s_%s.jpg", label, id, box), Label: label, ImageID: id, Subset: "train", Box: box,
		Left: left, Top: 20, Right: left + size.X, Bottom: 20 + size.Y, PhotoWidth: 200, PhotoHeight: 400,
	}, picture}
}

// world is six crops of four photos: some are sharp, one is blurred, one is nearly uniform,
// one is grey.
func world() []crop {
	whole := image.Rect(0, 0, 32, 32)
	of := func(seed uint64, block, amplitude int, grey bool) []byte {
		return painted(seed, whole.Max, whole, block, amplitude, grey)
	}
	return []crop{
		newCrop("A", "1", "aa", whole.Max, of(1, 2, 100, false)),
		newCrop("A", "1", "bb", whole.Max, of(2, 32, 60, false)),
		newCrop("A", "2", "cc", whole.Max, of(3, 2, 1, false)),
		newCrop("A", "3", "dd", whole.Max, of(4, 2, 100, true)),
		newCrop("B", "1", "ee", whole.Max, of(5, 2, 100, false)),
		newCrop("B", "4", "ff", whole.Max, of(6, 4, 90, false)),
	}
}

func inputs(t *testing.T, store cas.Store, crops []crop) map[string]cas.Tree {
	t.Helper()
	var rows []cropfile.Crop
	files := map[string]string{}
	for _, c := range crops {
		rows = append(rows, c.Crop)
		files[c.Path] = string(c.picture)
	}
	var buf bytes.Buffer
	if err := cropfile.WriteCrops(&buf, slices.Values(rows)); err != nil {
		t.Fatal(err)
	}
	files[cropfile.CropsFile] = buf.String()
	return map[string]cas.Tree{
		quality.Crops:     stagetest.Tree(t, store, files),
		quality.Photos:    photos(t, store, crops),
		quality.Selection: stagetest.Tree(t, store, map[string]string{openimages.SelectedImagesFile: images}),
	}
}

// images says of one photo how it was turned.
const images = "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation\n" +
	"4,train,,,,,,,,,,90.0\n"

// photos has a photo for each that a crop names, whose pixels its id decides.
func photos(t *testing.T, store cas.Store, crops []crop) cas.Tree {
	t.Helper()
	files := map[string]string{}
	var rows []pinfile.Photo
	for _, c := range crops {
		if _, ok := files["photos/"+string(c.ImageID)]; ok {
			continue
		}
		size := image.Pt(64, 48)
		data := painted(uint64(c.ImageID[0]), size, image.Rectangle{Max: size}, 8, 100, false)
		files["photos/"+string(c.ImageID)] = string(data)
		rows = append(rows, pinfile.Photo{ImageID: c.ImageID, Place: pinfile.Original, Digest: cas.Sum(data)})
	}
	slices.SortFunc(rows, func(a, b pinfile.Photo) int { return strings.Compare(string(a.ImageID), string(b.ImageID)) })
	var buf bytes.Buffer
	if err := pinfile.WritePhotos(&buf, slices.Values(rows)); err != nil {
		t.Fatal(err)
	}
	files[pinfile.PhotosFile] = buf.String()
	return stagetest.Tree(t, store, files)
}

func read[T any](t *testing.T, tree cas.Tree, name string, rows func(string) ([]T, error)) []T {
	t.Helper()
	all, err := rows(stagetest.Read(t, tree, name))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRules drops one crop by each rule, and shows it.
func TestRules(t *testing.T) {
	store := cas.NewMemory()
	rules := manifest.Quality{MinSharpness: 1, MinContrast: 3, MinColour: 2}
	tree, result := stagetest.Run(t, store, quality.New(rules, "stretch"), inputs(t, store, world()))
	kept := read(t, tree, cropfile.CropsFile, func(s string) (paths []string, err error) {
		for c, fault := range cropfile.Crops(strings.NewReader(s), "") {
			paths, err = append(paths, c.Path), fault
		}
		return paths, err
	})
	if diff := cmp.Diff([]string{"crops/A/1_aa.jpg", "crops/B/1_ee.jpg", "crops/B/4_ff.jpg"}, kept); diff != "" {
		t.Errorf("kept (-want +got)\n%s", diff)
	}
	dropped := map[string]string{}
	for m, err := range cropfile.Measures(strings.NewReader(stagetest.Read(t, tree, cropfile.MeasuresFile)), "") {
		if err != nil {
			t.Fatal(err)
		}
		dropped[m.Path] = m.Dropped
	}
	want := map[string]string{
		"crops/A/1_aa.jpg": "", "crops/A/1_bb.jpg": "min_sharpness", "crops/A/2_cc.jpg": "min_contrast",
		"crops/A/3_dd.jpg": "min_colour", "crops/B/1_ee.jpg": "", "crops/B/4_ff.jpg": "",
	}
	if diff := cmp.Diff(want, dropped); diff != "" {
		t.Errorf("dropped (-want +got)\n%s\n%s", diff, stagetest.Read(t, tree, cropfile.MeasuresFile))
	}
	example := func(id, box string) string {
		return `"examples":[{"image":"` + id + `","box":"` + box + `","label":"A","at":["0.050000","0.210000","0.050000","0.130000"],"crop":"crops/A/` + id + "_" + box + `.jpg"}]`
	}
	funnel := `{"rules":[` +
		`{"rule":"min_sharpness","boxes":5,"images":4,"dropped_boxes":1,"dropped_images":0,` + example("1", "bb") + `},` +
		`{"rule":"min_contrast","boxes":4,"images":3,"dropped_boxes":1,"dropped_images":1,` + example("2", "cc") + `},` +
		`{"rule":"min_colour","boxes":3,"images":2,"dropped_boxes":1,"dropped_images":1,` + example("3", "dd") + `}]}` + "\n"
	if diff := cmp.Diff(funnel, stagetest.Read(t, tree, openimages.FunnelFile)); diff != "" {
		t.Errorf("funnel (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"crops": 3, "dropped": 3, "duplicates": 0, "contradictions": 0}, result.Counters); diff != "" {
		t.Errorf("counters (-want +got)\n%s", diff)
	}
}

// TestBlackBesideThePicture holds that the bars of a letterbox are not part of what is
// measured.
func TestBlackBesideThePicture(t *testing.T) {
	store := cas.NewMemory()
	measure := func(shape string, c crop) cropfile.Measured {
		tree, _ := stagetest.Run(t, store, quality.New(manifest.Quality{}, shape), inputs(t, store, []crop{c}))
		for m, err := range cropfile.Measures(strings.NewReader(stagetest.Read(t, tree, cropfile.MeasuresFile)), "") {
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		return cropfile.Measured{}
	}
	// A uniform picture, twice as wide as high, between bars.
	size := image.Pt(64, 64)
	boxed := newCrop("A", "1", "aa", image.Pt(80, 40), painted(1, size, image.Rect(0, 16, 64, 48), 64, 0, false))
	if m := measure("letterbox", boxed); m.Contrast > 2 || m.Sharpness > 2 {
		t.Errorf("between bars: %+v, want a uniform picture", m)
	}
	if m := measure("stretch", boxed); m.Contrast < 50 {
		t.Errorf("stretched, black is part of the picture: %+v", m)
	}
}

func TestLostLabels(t *testing.T) {
	store := cas.NewMemory()
	_, err := stages.RunKind(t.Context(), store, quality.New(manifest.Quality{MinSharpness: 1e6}, "stretch"), inputs(t, store, world()), 1, stages.Discard)
	var lost *quality.LostLabelsError
	if !errors.As(err, &lost) || !slices.Equal(lost.Labels, []string{"A", "B"}) {
		t.Errorf("got %v, want A and B lost", err)
	}
}

// TestOnlyWhatDiffers holds that a rule decodes nothing, and a new crop itself alone.
func TestOnlyWhatDiffers(t *testing.T) {
	store := cas.NewMemory()
	build := func(name string, q manifest.Quality, shape string, crops []crop) stagetest.Case {
		return stagetest.Case{Name: name, Kind: quality.New(q, shape), Inputs: inputs(t, store, crops)}
	}
	other := world()
	other[3].picture = other[0].picture
	renamed := world()
	renamed[5].Label, renamed[5].Path = "C", "crops/C/4_ff.jpg"
	narrow := world()
	narrow[0].Right -= 16
	first := build("first", manifest.Quality{}, "letterbox", world())
	cases := []struct {
		stagetest.Case
		measured, known, photos int64
	}{
		{build("min_sharpness", manifest.Quality{MinSharpness: 1}, "letterbox", world()), 0, 6, 4},
		{build("min_contrast", manifest.Quality{MinContrast: 3}, "letterbox", world()), 0, 6, 4},
		{build("min_colour", manifest.Quality{MinColour: 2}, "letterbox", world()), 0, 6, 4},
		{build("shape", manifest.Quality{}, "stretch", world()), 6, 0, 4},
		{build("a picture", manifest.Quality{}, "letterbox", other), 1, 5, 4},
		{build("a label", manifest.Quality{}, "letterbox", renamed), 0, 6, 4},
		{build("what is cut out", manifest.Quality{}, "letterbox", narrow), 1, 5, 4},
		{build("fewer", manifest.Quality{}, "letterbox", world()[:5]), 0, 5, 3},
	}
	all := []stagetest.Case{first}
	for _, c := range cases {
		all = append(all, c.Case)
		builds := stagetest.NewBuilds(store)
		builds.Build(t, first)
		step := builds.Build(t, c.Case)
		if diff := cmp.Diff([]stages.Work{
			{Unit: "crops", Verb: "measured", Done: c.measured, Reused: c.known}, {Unit: "photos", Verb: "read", Reused: c.photos},
		}, step.Work); diff != "" {
			t.Errorf("%s: work (-want +got)\n%s", c.Name, diff)
		}
	}
	stagetest.Items(t, store, all...)
}

func TestMemory(t *testing.T) {
	store := cas.NewMemory()
	c := stagetest.Case{Kind: quality.New(manifest.Quality{}, "stretch"), Inputs: inputs(t, store, world()), Limit: stages.Limit{Memory: 100 << 20}}
	_, err := stagetest.NewBuilds(store).Try(t.Context(), c)
	if want := "quality: a photo may take 192 MiB to decode, and the stage is to have 100: raise its limit of memory"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	kind := quality.New(manifest.Quality{MinContrast: 3}, "stretch")
	stagetest.Suite(t, store, kind, build(t, store, gallery(t)), stagetest.Golden{Version: 1, Tree: "sha256:3b24e84e5f9cdb0b1fd78cc0aa26921c84c34bf0c100bd619311ec497b606f0f"})
}

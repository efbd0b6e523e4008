package quality_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/quality"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// scene is a photo of a test with its crops.
type scene struct {
	id       openimages.ImageID
	picture  image.Image
	place    pinfile.Place
	rotation string
	crops    []cut
	broken   bool // the photo cannot be decoded, although crops of it could be made
}

// cut is a crop by its place on the upright photo.
type cut struct {
	label string
	box   openimages.BoxID
	at    image.Rectangle
}

func jpegOf(t *testing.T, img image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// soft is a photo of soft spots.
func soft(t *testing.T, seed uint64) image.Image {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(painted(seed, image.Pt(16, 12), image.Rect(0, 0, 16, 12), 2, 100, false)))
	if err != nil {
		t.Fatal(err)
	}
	return imaging.Resize(img, 320, 240, imaging.CatmullRom)
}

// build stores scenes as the stages before would.
func build(t *testing.T, store cas.Store, scenes []scene) map[string]cas.Tree {
	t.Helper()
	var crops []cropfile.Crop
	var found []pinfile.Photo
	files, photos := map[string]string{}, map[string]string{}
	rows := strings.SplitAfter(images, "\n")[0]
	for _, s := range scenes {
		stored := s.picture
		if s.rotation == "90.0" && s.place != pinfile.Thumbnail {
			stored = imaging.Rotate270(s.picture)
		}
		data := jpegOf(t, stored, 85)
		if s.broken {
			data = data[:len(data)/2]
		}
		photos["photos/"+string(s.id)] = string(data)
		found = append(found, pinfile.Photo{ImageID: s.id, Place: s.place, Digest: cas.Sum(data)})
		rows += fmt.Sprintf("%s,train,,,,,,,,,,%s\n", s.id, s.rotation)
		for _, c := range s.crops {
			crop := cropfile.Crop{
				Path: fmt.Sprintf("crops/%s/%s_%s.jpg", c.label, s.id, c.box), Label: c.label, ImageID: s.id, Subset: "train", Box: c.box,
				Left: c.at.Min.X, Top: c.at.Min.Y, Right: c.at.Max.X, Bottom: c.at.Max.Y,
				PhotoWidth: s.picture.Bounds().Dx(), PhotoHeight: s.picture.Bounds().Dy(),
			}
			crops = append(crops, crop)
			files[crop.Path] = string(jpegOf(t, imaging.Resize(imaging.Crop(s.picture, c.at), 64, 64, imaging.Box), 90))
		}
	}
	slices.SortFunc(crops, func(a, b cropfile.Crop) int { return strings.Compare(a.Path, b.Path) })
	var cropRows, photoRows bytes.Buffer
	if err := cropfile.WriteCrops(&cropRows, slices.Values(crops)); err != nil {
		t.Fatal(err)
	}
	if err := pinfile.WritePhotos(&photoRows, slices.Values(found)); err != nil {
		t.Fatal(err)
	}
	files[cropfile.CropsFile], photos[pinfile.PhotosFile] = cropRows.String(), photoRows.String()
	return map[string]cas.Tree{
		quality.Crops: stagetest.Tree(t, store, files), quality.Photos: stagetest.Tree(t, store, photos),
		quality.Selection: stagetest.Tree(t, store, map[string]string{openimages.SelectedImagesFile: rows}),
	}
}

// gallery is nine photos: a and b have the same bytes, c and d show the same in another
// size and colour, e and f have a part in common, g lies on its side and shows the same as
// h, which a thumbnail shows upright, i is like none, and j is a's second half missing. The labels of c and d, e and f,
// and of two boxes of i contradict each other.
func gallery(t *testing.T) []scene {
	left, right := image.Rect(20, 40, 140, 200), image.Rect(180, 30, 300, 210)
	of := func(id openimages.ImageID, img image.Image, crops ...cut) scene {
		return scene{id: id, picture: img, place: pinfile.Original, rotation: "0.0", crops: crops}
	}
	twice := soft(t, 1)
	big := soft(t, 2)
	small := imaging.AdjustBrightness(imaging.AdjustSaturation(imaging.Resize(big, 160, 120, imaging.Box), -60), 10)
	poster := soft(t, 3)
	wall := imaging.Paste(soft(t, 4), imaging.Crop(poster, left), right.Min)
	side := soft(t, 5)
	tilted, upright := of("g", side, cut{"A", "77", left}), of("h", imaging.Resize(side, 240, 180, imaging.Box), cut{"A", "88", image.Rect(100, 30, 220, 170)})
	tilted.rotation, upright.rotation, upright.place = "90.0", "90.0", pinfile.Thumbnail
	return []scene{
		of("a", twice, cut{"A", "11", left}), of("b", twice, cut{"A", "22", right}),
		of("c", big, cut{"A", "33", left}), of("d", small, cut{"B", "44", image.Rect(10, 20, 70, 100)}),
		of("e", poster, cut{"A", "55", left}), of("f", wall, cut{"B", "66", image.Rectangle{Min: right.Min, Max: right.Min.Add(left.Size())}}),
		tilted, upright,
		of("i", soft(t, 6), cut{"A", "99", left}, cut{"B", "aa", left.Add(image.Pt(4, 3))}, cut{"B", "bb", right}),
		{id: "j", picture: twice, place: pinfile.Original, rotation: "0.0", crops: []cut{{"A", "cc", image.Rect(100, 20, 200, 100)}}, broken: true},
	}
}

// TestGallery finds what shows the same, and what contradicts itself.
func TestGallery(t *testing.T) {
	store := cas.NewMemory()
	tree, result := stagetest.Run(t, store, quality.New(manifest.Quality{}, "stretch"), build(t, store, gallery(t)))
	var found []string
	for d, err := range cropfile.Duplicates(strings.NewReader(stagetest.Read(t, tree, cropfile.DuplicatesFile)), "") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, fmt.Sprint(d.Group, " ", d.ImageID, d.Like, " ", d.How))
	}
	if diff := cmp.Diff([]string{"a ab bytes", "c cd photo", "e ef crop", "g gh photo"}, found); diff != "" {
		t.Errorf("duplicates (-want +got)\n%s", diff)
	}
	want := "ImageA,ImageB,CropA,CropB,LabelA,LabelB,How\n" +
		"c,d,crops/A/c_33.jpg,crops/B/d_44.jpg,A,B,crop\n" +
		"e,f,crops/A/e_55.jpg,crops/B/f_66.jpg,A,B,crop\n" +
		"i,i,crops/A/i_99.jpg,crops/B/i_aa.jpg,A,B,overlap\n"
	if diff := cmp.Diff(want, stagetest.Read(t, tree, cropfile.ContradictionsFile)); diff != "" {
		t.Errorf("contradictions (-want +got)\n%s", diff)
	}
	log := []cas.Line{
		{Text: "photos that show the same: 8 in 4 groups"},
		{Warning: true, Text: "pairs that show the same and have different labels: 3, see report/contradictions.csv"},
	}
	if diff := cmp.Diff(log, result.Log); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

// TestContradictingPhotos holds that photos that show the same, of which boxes of different
// things were drawn, must have a label in common.
func TestContradictingPhotos(t *testing.T) {
	store := cas.NewMemory()
	big := soft(t, 2)
	scenes := []scene{
		{id: "c", picture: big, place: pinfile.Original, rotation: "0.0", crops: []cut{{"A", "33", image.Rect(0, 0, 100, 100)}}},
		{id: "d", picture: imaging.Resize(big, 160, 120, imaging.Box), place: pinfile.Original, rotation: "0.0", crops: []cut{{"B", "44", image.Rect(100, 60, 160, 120)}}},
	}
	tree, _ := stagetest.Run(t, store, quality.New(manifest.Quality{}, "stretch"), build(t, store, scenes))
	want := "ImageA,ImageB,CropA,CropB,LabelA,LabelB,How\nc,d,,,A,B,photo\n"
	if diff := cmp.Diff(want, stagetest.Read(t, tree, cropfile.ContradictionsFile)); diff != "" {
		t.Errorf("contradictions (-want +got)\n%s", diff)
	}
	scenes[1].crops = append(scenes[1].crops, cut{"A", "55", image.Rect(60, 0, 160, 50)})
	tree, _ = stagetest.Run(t, store, quality.New(manifest.Quality{}, "stretch"), build(t, store, scenes))
	if got := stagetest.Read(t, tree, cropfile.ContradictionsFile); strings.Count(got, "\n") != 1 {
		t.Errorf("with a label in common\n%s", got)
	}
}

package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/report"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// picture is a JPEG of one colour.
func picture(t *testing.T, width, height int, c color.Color) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, imaging.New(width, height, c), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// evil is a label that would be markup where it is not escaped.
const evil = `<b>&"'`

// inputs is a build of three photos: 1 and 2 show the same, and 3 is not there. Of each of
// the first two there is a crop, of which the second is mistaken and contradicts the first.
func inputs(t *testing.T, store cas.Store, accuracy string) map[string]cas.Tree {
	t.Helper()
	tree := func(files map[string]string) cas.Tree { return stagetest.Tree(t, store, files) }
	red, blue := picture(t, 400, 200, color.NRGBA{R: 200, A: 255}), picture(t, 50, 300, color.NRGBA{B: 200, A: 255})
	var photos, crops, duplicates, contradictions bytes.Buffer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(pinfile.WritePhotos(&photos, slices.Values([]pinfile.Photo{
		{ImageID: "1", Place: pinfile.Original, Digest: cas.Sum(red)}, {ImageID: "2", Place: pinfile.Original, Digest: cas.Sum(blue)},
	})))
	rows := []cropfile.Crop{
		{Path: "crops/A/1_aa.jpg", Label: "A", ImageID: "1", Subset: "train", Box: "aa", Left: 100, Right: 300, Bottom: 100, PhotoWidth: 400, PhotoHeight: 200},
		{Path: "crops/_b_/2_bb.jpg", Label: evil, ImageID: "2", Subset: "train", Box: "bb", Right: 300, Bottom: 50, PhotoWidth: 300, PhotoHeight: 50},
	}
	must(cropfile.WriteCrops(&crops, slices.Values(rows)))
	must(cropfile.WriteDuplicates(&duplicates, slices.Values([]cropfile.Duplicate{{Group: "1", ImageID: "1", Like: "2", How: cropfile.SamePhoto, Alike: 0.9}})))
	must(cropfile.WriteContradictions(&contradictions, slices.Values([]cropfile.Contradiction{
		{A: "1", B: "2", CropA: rows[0].Path, CropB: rows[1].Path, LabelA: "A", LabelB: evil, How: cropfile.SamePhoto},
	})))
	funnel := func(rule, examples string) string {
		return `{"rules":[{"rule":"` + rule + `","boxes":2,"images":2,"dropped_boxes":1,"dropped_images":1,"examples":[` + examples + `]}]}`
	}
	small := string(picture(t, 32, 32, color.White))
	return map[string]cas.Tree{
		report.Selection: tree(map[string]string{
			openimages.LabelsFile: `{"labels":["A","<b>&\"'"]}`,
			openimages.SelectedImagesFile: "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation\n" +
				"1,train,,,,,,,,,,0.0\n2,train,,,,,,,,,,90.0\n",
			openimages.FunnelFile: funnel("group_of", `{"image":"2","box":"cccccccc","label":"A","at":["0","0.5","0","0.25"]}`),
		}),
		report.Photos: tree(map[string]string{"photos/1": string(red), "photos/2": string(blue), pinfile.PhotosFile: photos.String()}),
		report.Crops: tree(map[string]string{
			rows[0].Path: small, rows[1].Path: small, cropfile.CropsFile: crops.String(),
			cropfile.QuarantineFile: "ImageID,Reason\n4,truncated\n",
			openimages.FunnelFile:   funnel("photo missing", `{"image":"3","box":"dddddddd","label":"A","at":["0","1","0","1"]}`),
		}),
		report.Quality: tree(map[string]string{
			cropfile.CropsFile: crops.String(), cropfile.DuplicatesFile: duplicates.String(), cropfile.ContradictionsFile: contradictions.String(),
			openimages.FunnelFile: funnel("min_sharpness", `{"image":"1","box":"aa","label":"A","at":["0","1","0","1"],"crop":"crops/A/1_aa.jpg"}`),
		}),
		report.Split: tree(map[string]string{
			cropfile.SplitFile: "Crop,Label,ImageID,Set\ncrops/A/1_aa.jpg,A,1,test\n" + "crops/_b_/2_bb.jpg,\"<b>&\"\"'\",2,test\n",
			cropfile.AuditFile: `{"photos":2,"groups":1,"duplicates":2,"would_cross":1,"cross":0}`,
		}),
		report.Evaluation: tree(map[string]string{
			"metrics.json": `{"pictures":2,"accuracy":{"correct":1,"value":` + accuracy + `,"low":0.1,"high":0.9},"classes":[{"label":"A","precision":0.5,"recall":1,"f1":0.667,"support":1},` +
				`{"label":"<b>&\"'","precision":0,"recall":0,"f1":0,"support":1}],"confusion":[[1,0],[1,0]]}`,
			"predictions.csv":    "Crop,Label,Predicted,P(A),\"P(<b>&\"\"')\"\ncrops/A/1_aa.jpg,A,A,0.8,0.2\n" + "crops/_b_/2_bb.jpg,\"<b>&\"\"'\",A,0.75,0.25\n",
			"learning-curve.svg": `<svg xmlns="http://www.w3.org/2000/svg"/>`,
		}),
	}
}

func TestPage(t *testing.T) {
	store := cas.NewMemory()
	tree, result := stagetest.Run(t, store, report.New(), inputs(t, store, "0.5"))
	page := stagetest.Read(t, tree, report.PageFile)
	for _, want := range []string{
		"50.0 % right: 1 of 2 test pictures", "2 of them are in 1 groups that show the same", "1 groups would have crossed the sets; 0 do.",
		"1 pairs show the same and have different labels", "&lt;b&gt;&amp;&#34;&#39;", "<td class=\"text\">min_sharpness</td>", "<code>3 dddddddd</code>",
		"<td><code>4</code></td><td class=\"text\">truncated</td>", "data:image/svg&#43;xml;base64,", "default-src 'none'",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, bad := range []string{"<b>", "http:", "https:", "src=\"s", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	var sheets []string
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(f.Path, "sheets/") {
			sheets = append(sheets, f.Path)
		}
	}
	want := []string{"sheets/contradictions.png", "sheets/crops-01.png", "sheets/crops-02.png", "sheets/dropped.png", "sheets/duplicates.png", "sheets/mistakes.png", "sheets/originals.png"}
	slices.Sort(sheets)
	if diff := cmp.Diff(want, sheets); diff != "" || result.Counters["sheets"] != int64(len(want)) {
		t.Errorf("sheets (-want +got)\n%s", diff)
	}
}

// TestBoxes looks for the outlines of boxes: that of a crop, and that of a dropped one on a
// photo which was turned.
func TestBoxes(t *testing.T) {
	store := cas.NewMemory()
	tree, _ := stagetest.Run(t, store, report.New(), inputs(t, store, "0.5"))
	sheet := func(name string) func(x, y int) string {
		img, err := png.Decode(strings.NewReader(stagetest.Read(t, tree, name)))
		if err != nil {
			t.Fatal(err)
		}
		return func(x, y int) string {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			return fmt.Sprintf("%02x%02x%02x", c.R, c.G, c.B)
		}
	}
	// A tile has 160 pixels, and a photo of 2:1 lies in its middle. Sheets have a margin of 8
	// and headings of 26. Of the two photos, that of the smaller digest comes first.
	one, two := sha256.Sum256([]byte("1")), sha256.Sum256([]byte("2"))
	left := 8
	if bytes.Compare(one[:], two[:]) > 0 {
		left += 168
	}
	const label = "d62728" // of A
	at := sheet("sheets/originals.png")
	top := 8 + 26 + 40
	if got := at(left+40, top+20); got != label {
		t.Errorf("the left edge of the box is %s", got)
	}
	if got := at(left+60, top+39); got != label {
		t.Errorf("the lower edge of the box is %s", got)
	}
	if got := at(left+60, top+20); got == label {
		t.Error("the box is filled")
	}
	// The first dropped box is on the upper left quarter of a photo that is then turned to
	// the left: it is below, on the left, of 160x27 pixels.
	at = sheet("sheets/dropped.png")
	top = 8 + 26 + (160-27)/2
	if got := at(8+20, top+26); got != label {
		t.Errorf("the lower edge of the dropped box is %s", got)
	}
	if got := at(8+39, top+20); got != label {
		t.Errorf("the right edge of the dropped box is %s", got)
	}
	if got := at(8+60, top+26); got == label {
		t.Error("the dropped box is too wide")
	}
}

// TestOnlyWhatDiffers holds that other metrics decode nothing.
func TestOnlyWhatDiffers(t *testing.T) {
	store := cas.NewMemory()
	builds := stagetest.NewBuilds(store)
	first := builds.Build(t, stagetest.Case{Name: "first", Kind: report.New(), Inputs: inputs(t, store, "0.5")})
	if diff := cmp.Diff([]stages.Work{{Unit: "photos", Verb: "scaled", Done: 2}, {Unit: "crops", Verb: "scaled", Done: 4}}, first.Work); diff != "" {
		t.Errorf("work (-want +got)\n%s", diff)
	}
	second := builds.Build(t, stagetest.Case{Name: "metrics", Kind: report.New(), Inputs: inputs(t, store, "0.6")})
	if diff := cmp.Diff([]stages.Work{{Unit: "photos", Verb: "scaled", Reused: 2}, {Unit: "crops", Verb: "scaled", Reused: 4}}, second.Work); diff != "" {
		t.Errorf("work (-want +got)\n%s", diff)
	}
	turned := inputs(t, store, "0.5")
	selection := maps.Collect(func(yield func(string, string) bool) {
		for _, name := range []string{openimages.LabelsFile, openimages.SelectedImagesFile, openimages.FunnelFile} {
			if !yield(name, strings.Replace(stagetest.Read(t, turned[report.Selection], name), "90.0", "270.0", 1)) {
				return
			}
		}
	})
	turned[report.Selection] = stagetest.Tree(t, store, selection)
	stagetest.Items(t, store,
		stagetest.Case{Name: "first", Kind: report.New(), Inputs: inputs(t, store, "0.5")},
		stagetest.Case{Name: "metrics", Kind: report.New(), Inputs: inputs(t, store, "0.6")},
		stagetest.Case{Name: "a rotation", Kind: report.New(), Inputs: turned},
	)
}

// TestGolden pins the sheets and the page.
func TestGolden(t *testing.T) {
	store := cas.NewMemory()
	tree, _ := stagetest.Run(t, store, report.New(), inputs(t, store, "0.5"))
	got := map[string]string{}
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(stagetest.Read(t, tree, f.Path)))
		got[f.Path] = hex.EncodeToString(sum[:4])
	}
	want := map[string]string{
		"report.html":               "d61a3672",
		"sheets/contradictions.png": "21d93201",
		"sheets/crops-01.png":       "539e964c",
		"sheets/crops-02.png":       "4860fd64",
		"sheets/dropped.png":        "bc62b3e7",
		"sheets/duplicates.png":     "3b594a68",
		"sheets/mistakes.png":       "6ba84e0e",
		"sheets/originals.png":      "30c3100d",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("digests (-want +got)\n%s", diff)
	}
}

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	stagetest.Suite(t, store, report.New(), inputs(t, store, "0.5"), stagetest.Golden{Version: 1, Tree: "sha256:a40a195bcf07d5ad57407340349552f4874f868ec421d41bdcc551808aa21b60"})
}

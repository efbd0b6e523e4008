package pack_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/pack"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

const (
	boxes = `Box,ImageID,Subset,Source,LabelID,LabelName,Label,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
63f7646e,0001,train,xclick,/m/0cdn1,Hamburger,Hamburger,1,0.100000,0.5,0.2,0.900000,0,1,0,0,0
5cc3dab7,0001,train,xclick,/m/0l515,Sandwich,Sandwich,1,0.5,0.9,0.2,0.9,-1,-1,-1,-1,-1
1a5b22e4,0002,train,activemil,/m/0l515,Sandwich,Sandwich,1,0,1,0,1,0,0,0,0,0
`
	images = `ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation
0001,train,https://farm1.staticflickr.com/1/11_a_o.jpg,https://flickr.com/p/11,https://creativecommons.org/licenses/by/2.0/,https://flickr.com/u/ann,"O&#x27;Brien, Ann",Lunch,5,,,0.0
0002,train,https://farm1.staticflickr.com/1/22_b_o.jpg,https://flickr.com/p/22,https://creativecommons.org/licenses/by/2.0/,https://flickr.com/u/bob,Bob,Gone,6,,,
`
	funnel = `{"rules":[]}`
)

// inputs is a build of two photos, one of them dead, with three boxes, one of which
// gave a crop.
func inputs(t *testing.T, store cas.Store) map[string]cas.Tree {
	tree := func(files map[string]string) cas.Tree { return stagetest.Tree(t, store, files) }
	const crop = "crops/Hamburger/0001_63f7646e.jpg"
	return map[string]cas.Tree{
		pack.Metadata: tree(map[string]string{"classes.csv": "/m/0cdn1,Hamburger\n", "boxes/train.csv": boxes, "images/train.csv": images}),
		pack.Selection: tree(map[string]string{
			"boxes.csv": boxes, "images.csv": images, "labels.json": `{"labels":["Hamburger","Sandwich"]}`, "funnel.json": funnel,
		}),
		pack.Photos: tree(map[string]string{
			"photos/0001": "photo",
			"photos.csv":  "ImageID,Place,URL,SHA256,Size\n0001,original,https://farm1.staticflickr.com/1/11_a_o.jpg," + cas.Sum([]byte("photo")).Hex() + ",5\n",
			"dead.csv":    "ImageID,Reason\n0002,original: 404\n",
		}),
		pack.Crops: tree(map[string]string{crop: "jpeg", "crops/Hamburger/0001_grey.jpg": "grey", "crops.csv": "", "quarantine.csv": "ImageID,Reason\n", "funnel.json": funnel}),
		pack.Quality: tree(map[string]string{
			"crops.csv": "Crop,Label,ImageID,Subset,Box,Left,Top,Right,Bottom,PhotoWidth,PhotoHeight\n" +
				crop + ",Hamburger,0001,train,63f7646e,1,2,5,9,10,10\n",
			"measures.csv": "", "duplicates.csv": "", "contradictions.csv": "", "funnel.json": funnel,
		}),
		pack.Split:      tree(map[string]string{"split.csv": "Crop,Label,ImageID,Set\n" + crop + ",Hamburger,0001,test\n", "audit.json": "{}"}),
		pack.Model:      tree(map[string]string{"model.json": "{}", "model.safetensors": "weights", "history.csv": ""}),
		pack.Evaluation: tree(map[string]string{"report.txt": "accuracy 0.73\n", "metrics.json": "{}"}),
		pack.Report:     tree(map[string]string{"report.html": "<html>", "sheets/originals.png": "png"}),
		pack.Project: tree(map[string]string{
			"manifest.yaml": "version: 1\n", "manifest.lock": "sandwich lock 1\n",
			"code/modules.txt": "", "environment/environment.json": "{}",
		}),
	}
}

func run(t *testing.T, p pack.Params) cas.Tree {
	t.Helper()
	store := cas.NewMemory()
	tree, _ := stagetest.Run(t, store, pack.New(p), inputs(t, store))
	return tree
}

func TestPackage(t *testing.T) {
	tree := run(t, pack.Params{Package: "quilt/open_images", Message: "Lunch", Originals: true})
	var got []string
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Path)
	}
	want := []string{
		"README.md",
		"code/modules.txt",
		"data/X_meta.csv", "data/attribution.csv", "data/attribution.html", "data/boxes.csv", "data/crops.csv",
		"data/crops/test/Hamburger/0001_63f7646e.jpg",
		"data/dead.csv", "data/images.csv", "data/labels.json", "data/metadata/classes.csv", "data/photos.csv", "data/photos/0001", "data/split.csv",
		"environment/environment.json",
		"manifest.lock", "manifest.yaml",
		"model/history.csv", "model/model.json", "model/model.safetensors",
		"provenance/outputs.csv",
		"report/audit.json", "report/contradictions.csv", "report/duplicates.csv",
		"report/crops.csv", "report/dropped/Hamburger/0001_grey.jpg",
		"report/funnel-crop.json", "report/funnel-quality.json", "report/funnel-select.json", "report/measures.csv", "report/metrics.json", "report/quarantine.csv",
		"report/report.html", "report/report.txt", "report/sheets/originals.png",
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
}

func TestMetaHasTheArticlesForm(t *testing.T) {
	tree := run(t, pack.Params{})
	want := "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside,OriginalURL,ImageCropURL\n" +
		"0001,xclick,Hamburger,1,0.100000,0.5,0.2,0.900000,0,1,0,0,0,11_a_o.jpg,0001_63f7646e.jpg\n"
	if got := stagetest.Read(t, tree, "data/X_meta.csv"); got != want {
		t.Errorf("X_meta.csv is\n%swant\n%s", got, want)
	}
}

func TestAttributionCoversThePhotosThereAre(t *testing.T) {
	tree := run(t, pack.Params{})
	want := "ImageID,Author,AuthorProfileURL,Title,License,LandingURL,OriginalURL\n" +
		`0001,"O'Brien, Ann",https://flickr.com/u/ann,Lunch,https://creativecommons.org/licenses/by/2.0/,https://flickr.com/p/11,https://farm1.staticflickr.com/1/11_a_o.jpg` + "\n"
	if got := stagetest.Read(t, tree, "data/attribution.csv"); got != want {
		t.Errorf("attribution.csv is\n%swant\n%s", got, want)
	}
}

// TestOutputsAreListed: what each stage wrote can be told from the package, also what it does
// not hold.
func TestOutputsAreListed(t *testing.T) {
	store := cas.NewMemory()
	in := inputs(t, store)
	tree, _ := stagetest.Run(t, store, pack.New(pack.Params{}), in)
	fresh := cas.NewMemory()
	listed, err := provenance.RestoreOutputs(t.Context(), strings.NewReader(stagetest.Read(t, tree, provenance.OutputsFile)), fresh)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range in {
		if name == pack.Project {
			continue
		}
		if !listed[want.ID()] {
			t.Errorf("the files of %s are not listed", name)
			continue
		}
		changes, err := cas.Diff(t.Context(), want, cas.NewTree(fresh, want.ID()), 1)
		if err != nil || changes.Added+changes.Removed+changes.Changed != 0 {
			t.Errorf("%s: %s, %v", name, changes, err)
		}
	}
}

// TestAttributionPage: what the source says of a photo is shown, and does nothing.
func TestAttributionPage(t *testing.T) {
	page := stagetest.Read(t, run(t, pack.Params{Package: "quilt/open_images"}), "data/attribution.html")
	for _, want := range []string{
		`<tr id="0001"><td><a href="https://flickr.com/p/11">Lunch</a></td><td><a href="https://flickr.com/u/ann">O&#39;Brien, Ann</a></td>`,
		`<td><a href="https://creativecommons.org/licenses/by/2.0/">CC BY 2.0</a></td>`, `11_a_o.jpg</a></td></tr>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %s:\n%s", want, page)
		}
	}
	store := cas.NewMemory()
	in := inputs(t, store)
	hostile := "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title\n" +
		`0001,train,"javascript:alert(1)","javascript:alert(2)",<b>mine</b>,"data:text/html,x","<script>alert(3)</script>","&lt;img src=x onerror=alert(4)&gt;"` + "\n"
	files := map[string]string{}
	for f, err := range in[pack.Selection].Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		files[f.Path] = stagetest.Read(t, in[pack.Selection], f.Path)
	}
	files["images.csv"] = hostile
	in[pack.Selection] = stagetest.Tree(t, store, files)
	tree, _ := stagetest.Run(t, store, pack.New(pack.Params{Package: "a/<b>"}), in)
	page = stagetest.Read(t, tree, "data/attribution.html")
	for _, bad := range []string{"<script", "<img", "<b>", `"javascript:`, `"data:`} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s:\n%s", bad, page)
		}
	}
	for _, outside := range []string{"<link", "@import", "url("} {
		if strings.Contains(page, outside) {
			t.Errorf("the page needs something else than itself: %s", outside)
		}
	}
}

func TestCard(t *testing.T) {
	card := stagetest.Read(t, run(t, pack.Params{Package: "quilt/open_images", Message: "Lunch", Originals: true}), "README.md")
	for _, want := range []string{
		"# quilt/open_images\n", "\nLunch\n", "| Hamburger | 0 | 0 | 1 |", "accuracy 0.73",
		"The 1 photos are in `data/photos/`", "| https://creativecommons.org/licenses/by/2.0/ | 1 |",
	} {
		if !strings.Contains(card, want) {
			t.Errorf("the card does not say %q:\n%s", want, card)
		}
	}
}

func TestOriginalsCanBeLeftOut(t *testing.T) {
	tree := run(t, pack.Params{})
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(f.Path, "data/photos/") {
			t.Errorf("the package has %s", f.Path)
		}
	}
	if card := stagetest.Read(t, tree, "README.md"); !strings.Contains(card, "are not in this package") {
		t.Errorf("the card does not say so:\n%s", card)
	}
}

func TestSplitOfAnotherCrop(t *testing.T) {
	store := cas.NewMemory()
	in := inputs(t, store)
	in[pack.Split] = stagetest.Tree(t, store, map[string]string{"split.csv": "Crop,Label,ImageID,Set\ncrops/x.jpg,Hamburger,0001,test\n", "audit.json": "{}"})
	err := stagetest.Fails(t, store, pack.New(pack.Params{}), in)
	if !strings.Contains(err.Error(), "crops/x.jpg") {
		t.Errorf("the error is %v", err)
	}
}

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	kind := pack.New(pack.Params{Package: "quilt/open_images", Message: "Lunch", Originals: true})
	stagetest.Suite(t, store, kind, inputs(t, store), stagetest.Golden{Version: 4, Tree: "sha256:ae2794e6695e291de14bd57d22e5047f9ced82b74661f6084b3e4e8fd3a2bdf1"})
}

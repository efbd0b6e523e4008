package pipeline_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"image"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/stages/evaluate"
)

// The faults of the orchard, each on a photo of its own. Photos that are not named are
// served as they should be.
const (
	photoGone       = 3 + iota // original: 404
	photoDeleted               // original: redirect to Flickr's placeholder
	photoOtherSize             // original: another photo
	photoOtherBytes            // original: as long as it should be, but not the same
	photoPage                  // original: a web page, status 200
	photoForbidden             // original: 403
	photoCut                   // original: the first answer breaks off
	photoSlow                  // original: in pieces
	photoBusy                  // original: 500, then the photo
	photoThrottled             // original: 429 with Retry-After, then the photo
	photoNoRange               // original: breaks off, and cannot be continued
	photoOnlyCVDF              // original: 404, thumbnail: deleted
	photoDead                  // no place has it
	photoBroken                // the original always was half a JPEG
	photoEnd
)

// spoil plans the faults.
func spoil(t *testing.T, w *world) {
	t.Helper()
	w.halve(t, photoBroken)
	for i := photoGone; i < photoEnd; i++ {
		if w.images[i].Thumbnail300KURL == "" {
			t.Fatalf("photo %d has no thumbnail to fall back to", i)
		}
	}
	at := func(photo int, place pinfile.Place) string { return w.url(photo, place) }
	w.Break(at(photoGone, pinfile.Original), mirrortest.Status(404))
	w.DeletePhoto(at(photoDeleted, pinfile.Original))
	w.Break(at(photoOtherSize, pinfile.Original), mirrortest.Body("image/jpeg", []byte("\xff\xd8\xff\xe0 of something else")))
	w.Break(at(photoOtherBytes, pinfile.Original), mirrortest.Body("image/jpeg",
		append([]byte("\xff\xd8\xff\xe0"), make([]byte, w.images[photoOtherBytes].OriginalSize-4)...)))
	w.Break(at(photoPage, pinfile.Original), mirrortest.HTML())
	w.Break(at(photoForbidden, pinfile.Original), mirrortest.Status(403))
	w.Plan(at(photoCut, pinfile.Original), mirrortest.Cut(10_000))
	w.Break(at(photoSlow, pinfile.Original), mirrortest.Slow(32<<10, 10*time.Millisecond))
	w.Plan(at(photoBusy, pinfile.Original), mirrortest.Status(500))
	w.Plan(at(photoThrottled, pinfile.Original), mirrortest.RetryAfter(429, "1"))
	w.Plan(at(photoNoRange, pinfile.Original), mirrortest.Cut(20_000), mirrortest.NoRange())
	w.Break(at(photoOnlyCVDF, pinfile.Original), mirrortest.Status(404))
	w.DeletePhoto(at(photoOnlyCVDF, pinfile.Thumbnail))
	w.Break(at(photoDead, pinfile.Original), mirrortest.Status(410))
	w.DeletePhoto(at(photoDead, pinfile.Thumbnail))
	w.Break(at(photoDead, pinfile.CVDF), mirrortest.HTML())
}

// halve makes the original of a photo half a JPEG, and its row say so.
func (w *world) halve(t *testing.T, photo int) {
	t.Helper()
	images := slices.Clone(w.images)
	data := w.get(t, images[photo].OriginalURL)
	data = data[:len(data)/2]
	sum := md5.Sum(data)
	images[photo].OriginalSize, images[photo].OriginalMD5 = int64(len(data)), base64.StdEncoding.EncodeToString(sum[:])
	w.Put(images[photo].OriginalURL, data)
	w.list(t, images)
}

// TestBuildOrchard builds a package of all real photos of apple-orange from a web with
// every kind of fault, and looks at all of it.
func TestBuildOrchard(t *testing.T) {
	// Boxes and photos were counted in the box files with sort, cut and uniq.
	w, boxes, photos := (*world)(nil), int64(277), int64(107)
	if testing.Short() {
		w, boxes, photos = newSmallOrchard(t, 40), 152, 40
	} else {
		w = newOrchard(t)
	}
	spoil(t, w)
	p := newProject(t, w.manifest(t))
	outcome := p.build(t)
	w.AssertFaultsHit(t)

	if outcome.Dead != 1 || outcome.Quarantined != 1 || !outcome.Created || !outcome.LockChanged || outcome.Ran != outcome.Stages {
		t.Errorf("got %+v; want all stages run, one dead photo, one quarantined, a new revision and a new lock", outcome)
	}
	t.Run("lock", func(t *testing.T) { checkOrchardLock(t, w, p) })
	t.Run("tables", func(t *testing.T) { checkOrchardTables(t, w, outcome) })
	t.Run("funnel", func(t *testing.T) { checkOrchardFunnel(t, w, outcome, boxes, photos) })
	t.Run("split", func(t *testing.T) { checkSplit(t, outcome) })
	reg, pkg := p.pkg(t, outcome)
	t.Run("package", func(t *testing.T) { checkOrchardPackage(t, w, p, reg, pkg) })
	t.Run("install", func(t *testing.T) { checkInstalled(t, reg, pkg) })
	t.Run("again", func(t *testing.T) { checkBuiltAgain(t, w, p, outcome) })
	t.Run("changes", func(t *testing.T) { checkChanges(t, w, p) })
}

// deadReason is the tombstone of photoDead.
const deadReason = "original: 410 Gone; thumbnail: deleted on Flickr; cvdf: not a photo: text/html"

// orchardPlace is where a photo of the spoilt orchard is found.
func orchardPlace(photo int) pinfile.Place {
	switch photo {
	case photoGone, photoDeleted, photoOtherSize, photoOtherBytes, photoPage, photoForbidden:
		return pinfile.Thumbnail
	case photoOnlyCVDF:
		return pinfile.CVDF
	}
	return pinfile.Original
}

func checkOrchardLock(t *testing.T, w *world, p *project) {
	var want pins
	for _, url := range []string{classesURL, hierarchyURL, boxesURL, imagesURL} {
		data := w.get(t, url)
		want.Sources = append(want.Sources, lock.Source{URL: url, Digest: digestOf(data), Size: int64(len(data))})
	}
	for i := range w.images {
		pinned := lock.Photo{ID: w.id(i), Dead: deadReason}
		if i != photoDead {
			place := orchardPlace(i)
			data := w.get(t, w.url(i, place))
			pinned = lock.Photo{ID: w.id(i), Place: string(place), Digest: digestOf(data), Size: int64(len(data))}
		}
		want.Photos = append(want.Photos, pinned)
	}
	slices.SortFunc(want.Sources, func(a, b lock.Source) int { return strings.Compare(a.URL, b.URL) })
	if diff := cmp.Diff(want, p.pins(t)); diff != "" {
		t.Errorf("lock (-want +got):\n%s", diff)
	}
}

func checkOrchardTables(t *testing.T, w *world, o *pipeline.Outcome) {
	photos := tableOf(t, o.Build.Tree(pipeline.Download), pinfile.PhotosFile, pinfile.Photos)
	if len(photos) != len(w.images)-1 {
		t.Errorf("%s has %d rows, want %d", pinfile.PhotosFile, len(photos), len(w.images)-1)
	}
	dead := tableOf(t, o.Build.Tree(pipeline.Download), pinfile.DeadFile, pinfile.DeadPhotos)
	if diff := cmp.Diff([]pinfile.Dead{{ImageID: w.images[photoDead].ImageID, Reason: deadReason}}, dead); diff != "" {
		t.Errorf("%s (-want +got):\n%s", pinfile.DeadFile, diff)
	}
	quarantine := tableOf(t, o.Build.Tree(pipeline.Crop), cropfile.QuarantineFile, cropfile.Quarantine)
	if diff := cmp.Diff([]cropfile.Quarantined{{ImageID: w.images[photoBroken].ImageID, Reason: "truncated"}}, quarantine); diff != "" {
		t.Errorf("%s (-want +got):\n%s", cropfile.QuarantineFile, diff)
	}
	// The boxes of a crop are those of the box file, on the photo as it is.
	crops := tableOf(t, o.Build.Tree(pipeline.Crop), cropfile.CropsFile, cropfile.Crops)
	want := len(w.boxes) - int(w.boxesOn(photoDead, photoBroken))
	if len(crops) != want {
		t.Errorf("%s has %d rows, want %d", cropfile.CropsFile, len(crops), want)
	}
	for _, c := range crops {
		if c.ImageID == w.images[photoDead].ImageID || c.ImageID == w.images[photoBroken].ImageID {
			t.Errorf("%s is a crop of a photo that cannot be used", c.Path)
		}
		if c.Left < 0 || c.Top < 0 || c.Right > c.PhotoWidth || c.Bottom > c.PhotoHeight || max(c.PhotoWidth, c.PhotoHeight) > 1024 {
			t.Errorf("%s: %+v is not inside of a photo of at most 1,024 pixels", c.Path, c)
		}
	}
}

// checkOrchardFunnel compares with the numbers of boxes and photos that there are.
func checkOrchardFunnel(t *testing.T, w *world, o *pipeline.Outcome, boxes, images int64) {
	want := openimages.Funnel{Rules: []openimages.FunnelRule{
		{Rule: "label", Boxes: boxes, Images: images},
		{Rule: "empty", Boxes: boxes, Images: images},
		{Rule: "unlisted", Boxes: boxes, Images: images},
		{Rule: "limit", Boxes: boxes, Images: images},
		{Rule: "duplicate", Boxes: boxes, Images: images},
	}}
	if diff := cmp.Diff(want, funnelOf(t, o, pipeline.Select)); diff != "" {
		t.Errorf("funnel of select (-want +got):\n%s", diff)
	}
	dead, broken := w.boxesOn(photoDead), w.boxesOn(photoBroken)
	if dead == 0 || broken == 0 {
		t.Fatalf("the dead photo has %d boxes and the broken one %d, which tests nothing", dead, broken)
	}
	left := boxes - dead - broken
	want = openimages.Funnel{Rules: []openimages.FunnelRule{
		{Rule: "photo missing", Boxes: boxes - dead, Images: images - 1, DroppedBoxes: dead, DroppedImages: 1},
		{Rule: "photo quarantined", Boxes: left, Images: images - 2, DroppedBoxes: broken, DroppedImages: 1},
		{Rule: "min_side", Boxes: left, Images: images - 2},
		{Rule: "empty", Boxes: left, Images: images - 2},
	}}
	if diff := cmp.Diff(want, funnelOf(t, o, pipeline.Crop)); diff != "" {
		t.Errorf("funnel of crop (-want +got):\n%s", diff)
	}
}

// checkSplit fails when a photo has crops in two sets, a crop has no set or a set has
// no crop.
func checkSplit(t *testing.T, o *pipeline.Outcome) {
	crops := tableOf(t, o.Build.Tree(pipeline.Crop), cropfile.CropsFile, cropfile.Crops)
	split := tableOf(t, o.Build.Tree(pipeline.Split), cropfile.SplitFile, cropfile.Split)
	if len(split) != len(crops) {
		t.Errorf("%d crops have a set, want all %d", len(split), len(crops))
	}
	setOf := make(map[openimages.ImageID]cropfile.Set)
	count := make(map[cropfile.Set]int)
	for _, a := range split {
		if other, ok := setOf[a.ImageID]; ok && other != a.Set {
			t.Errorf("photo %s has crops for %s and for %s", a.ImageID, other, a.Set)
		}
		setOf[a.ImageID] = a.Set
		count[a.Set]++
	}
	for _, set := range cropfile.Sets() {
		if count[set] == 0 {
			t.Errorf("no crop is for %s", set)
		}
	}
}

func checkOrchardPackage(t *testing.T, w *world, p *project, reg *registry.Registry, pkg *registry.Package) {
	report, err := reg.VerifyObjects(t.Context(), pkg, nil)
	if err != nil || !report.OK(false) {
		t.Errorf("objects of the package: %+v, %v", report, err)
	}
	file := func(key string) []byte {
		data, err := reg.ReadFile(t.Context(), pkg, key)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if !bytes.Equal(file("manifest.yaml"), readFile(t, p.path())) || !bytes.Equal(file("manifest.lock"), readFile(t, p.lockPath())) {
		t.Error("manifest or lock of the package are not those of the project")
	}
	var want []map[string]string
	for i, image := range w.images {
		if i == photoDead {
			continue
		}
		want = append(want, map[string]string{
			"ImageID": w.id(i), "Author": "", "AuthorProfileURL": "", "Title": openimages.PlainText(image.Title),
			"License": image.License, "LandingURL": image.OriginalLandingURL, "OriginalURL": image.OriginalURL,
		})
		if data := w.get(t, w.url(i, orchardPlace(i))); !bytes.Equal(file("data/photos/"+w.id(i)+".jpg"), data) {
			t.Errorf("photo %s of the package is not that of its place", w.id(i))
		}
	}
	if diff := cmp.Diff(want, records(t, file("data/attribution.csv"))); diff != "" {
		t.Errorf("attribution.csv (-want +got):\n%s", diff)
	}
	if meta, crops := records(t, file("data/X_meta.csv")), records(t, file("data/crops.csv")); len(meta) != len(crops) {
		t.Errorf("X_meta.csv has %d rows for %d crops", len(meta), len(crops))
	}
}

// checkInstalled installs a package and uses it as it is: what the model says of the
// test crops is what the report says.
func checkInstalled(t *testing.T, reg *registry.Registry, pkg *registry.Package) {
	dest := filepath.Join(t.TempDir(), "installed")
	if _, err := reg.Install(t.Context(), pkg, dest, registry.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	report, err := folder.Verify(t.Context(), pkg.Content, dest, nil)
	if err != nil || !report.OK(false) {
		t.Errorf("installed package: %+v, %v", report, err)
	}
	m, err := model.Load(t.Context(), os.DirFS(filepath.Join(dest, "model")))
	if err != nil {
		t.Fatal(err)
	}
	rows := records(t, readFile(t, filepath.Join(dest, "report", evaluate.PredictionsFile)))
	if len(rows) == 0 {
		t.Fatal("the report has no predictions")
	}
	correct := 0
	for _, row := range rows {
		label, probability := predict(t, m, filepath.Join(dest, "data", "crops", "test", strings.TrimPrefix(row["Crop"], "crops/")))
		reported, err := strconv.ParseFloat(row["P("+label+")"], 32)
		// One picture alone and one among others take other paths through the
		// arithmetic, which may differ in the last bit.
		if err != nil || label != row["Predicted"] || math.Abs(reported-float64(probability)) > 1e-6 {
			t.Errorf("%s: the model says %s with %v, the report %v", row["Crop"], label, probability, row)
		}
		if label == row["Label"] {
			correct++
		}
	}
	var metrics evaluate.Metrics
	if err := json.Unmarshal(readFile(t, filepath.Join(dest, "report", evaluate.MetricsFile)), &metrics); err != nil {
		t.Fatal(err)
	}
	if metrics.Accuracy.Correct != correct || metrics.Pictures != len(rows) {
		t.Errorf("metrics tell of %d of %d right, predictions of %d of %d", metrics.Accuracy.Correct, metrics.Pictures, correct, len(rows))
	}
}

func predict(t *testing.T, m *model.Model, file string) (label string, probability float32) {
	t.Helper()
	picture, err := photo.Decode(t.Context(), readFile(t, file), photo.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	predictor, err := neural.NewPredictor(m, neural.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer predictor.Close()
	probabilities, err := predictor.Predict(t.Context(), []image.Image{picture})
	if err != nil {
		t.Fatal(err)
	}
	best := model.Largest(probabilities[0])
	return m.Network.Labels()[best], probabilities[0][best]
}

// checkBuiltAgain builds what is built.
func checkBuiltAgain(t *testing.T, w *world, p *project, first *pipeline.Outcome) {
	before := w.Total()
	again := p.build(t)
	if got := w.Total() - before; got != 0 {
		t.Errorf("the second build made %d requests", got)
	}
	if again.Package != first.Package || again.Ran != 0 || again.Created || again.LockChanged {
		t.Errorf("got %+v; want the package of the first build, and nothing done", again)
	}
}

// checkChanges changes the manifest of what is built: only what depends on the change
// runs, and nothing is downloaded.
func checkChanges(t *testing.T, w *world, p *project) {
	requests := w.Total()
	for _, test := range []struct {
		name  string
		edits []string
		want  []string
	}{
		{"epochs", []string{"epochs: 1", "epochs: 2"}, []string{"train", "evaluate", "report", "pack"}},
		{"crop", []string{"shape: stretch", "shape: letterbox"}, []string{"crop", "quality", "split", "train", "evaluate", "report", "pack"}},
		{"min_side", []string{"min_side: 0", "min_side: 40"}, []string{"crop", "quality", "split", "train", "evaluate", "report", "pack"}},
		{"quality", []string{"quality: {min_contrast: 0}", "quality: {min_contrast: 1}"}, []string{"quality", "split", "report", "pack"}},
		{"split", []string{"train: 0.6, validation: 0.2", "train: 0.5, validation: 0.3"}, []string{"split", "train", "evaluate", "report", "pack"}},
		{"message", []string{"message: Apples and", "message: Only apples and"}, []string{"pack"}},
		{"back", nil, []string{}},
	} {
		p.write(t, w.manifest(t, test.edits...))
		o := p.build(t)
		if diff := cmp.Diff(test.want, ran(o)); diff != "" {
			t.Errorf("%s: stages that ran (-want +got):\n%s", test.name, diff)
		}
		if o.LockChanged {
			t.Errorf("%s: the lock was written", test.name)
		}
	}
	if got := w.Total() - requests; got != 0 {
		t.Errorf("%d requests, want none", got)
	}
}

// funnelOf returns the funnel of a stage, without its examples, of which each rule must have
// ten if it dropped as many.
func funnelOf(t *testing.T, o *pipeline.Outcome, stage string) openimages.Funnel {
	t.Helper()
	data, err := o.Build.Tree(stage).ReadFile(t.Context(), openimages.FunnelFile)
	if err != nil {
		t.Fatal(err)
	}
	f, err := openimages.ReadFunnel(bytes.NewReader(data), path.Join(stage, openimages.FunnelFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Rules {
		r := &f.Rules[i]
		if want := int(min(10, r.DroppedBoxes)); r.Rule != "label" && len(r.Examples) != want {
			t.Errorf("%s: rule %s dropped %d boxes and shows %d", stage, r.Rule, r.DroppedBoxes, len(r.Examples))
		}
		r.Examples = nil
	}
	return f
}

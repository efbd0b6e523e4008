package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// pictures is a project with a copy of the first pictures of examples/folders.
type pictures struct {
	dir   string
	store *disk.Store
}

func newPictures(t *testing.T, source string) *pictures {
	t.Helper()
	dir := t.TempDir()
	for _, class := range []string{"Hamburger", "Sandwich"} {
		if err := os.MkdirAll(filepath.Join(dir, "photos", class), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= 5; i++ {
			name := filepath.Join("photos", class, fmt.Sprintf("%02d.jpg", i))
			write(t, filepath.Join(dir, name), readFile(t, filepath.Join("../../examples/folders", name)))
		}
	}
	write(t, filepath.Join(dir, "manifest.yaml"), []byte("version: 1\nname: a/b\ndataset:\n  labels: all\n"+source))
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &pictures{dir, store}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// lock pins the project's photos, and returns what there is of each.
func (p *pictures) lock(t *testing.T, o pipeline.Options) (*pipeline.LockReport, error) {
	t.Helper()
	project, err := pipeline.Open(filepath.Join(p.dir, "manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	o.Store = p.store
	return pipeline.Lock(t.Context(), project, o)
}

// TestFolders takes the pictures of folders, and notices what changes in them.
func TestFolders(t *testing.T) {
	p := newPictures(t, "  source: {folders: photos}\n")
	first, err := p.lock(t, pipeline.Options{})
	if err != nil || first.Photos != 10 || first.Dead != 0 {
		t.Fatalf("got %+v, %v; want 10 photos", first, err)
	}
	if again, err := p.lock(t, pipeline.Options{Locked: true}); err != nil || again.Changed {
		t.Errorf("again: got %+v, %v", again, err)
	}

	// One picture is another now, one is gone, one is new and is none.
	photos := filepath.Join(p.dir, "photos")
	write(t, filepath.Join(photos, "Sandwich", "01.jpg"), readFile(t, "../../examples/folders/photos/Sandwich/30.jpg"))
	if err := os.Remove(filepath.Join(photos, "Sandwich", "02.jpg")); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(photos, "Hamburger", "odd.jpg")
	write(t, odd, []byte("<html>"))
	_, err = p.lock(t, pipeline.Options{Locked: true})
	if drift, ok := errors.AsType[*pipeline.DriftError](err); !ok || !strings.HasPrefix(drift.Changes[0], "source changed: photos/") {
		t.Errorf("under the lock: got %v", err)
	}
	changed, err := p.lock(t, pipeline.Options{})
	if err != nil || !changed.Changed || changed.Photos != 9 || changed.Dead != 1 {
		t.Errorf("changed: got %+v, %v; want 9 photos, one that is none", changed, err)
	}
	write(t, odd, readFile(t, "../../examples/folders/photos/Hamburger/30.jpg"))
	if mended, err := p.lock(t, pipeline.Options{}); err != nil || mended.Photos != 10 || mended.Dead != 0 {
		t.Errorf("mended: got %+v, %v; want 10 photos", mended, err)
	}

	if err := os.Symlink("01.jpg", filepath.Join(photos, "Hamburger", "link.jpg")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.lock(t, pipeline.Options{}); err == nil || !strings.Contains(err.Error(), "photos/Hamburger/link.jpg: want files and folders; links are not followed") {
		t.Errorf("a link: got %v", err)
	}
}

// TestOneClass: with one class there is nothing to tell apart, which only the folder tells.
func TestOneClass(t *testing.T) {
	p := newPictures(t, "  source: {folders: photos}\n")
	if err := os.RemoveAll(filepath.Join(p.dir, "photos", "Sandwich")); err != nil {
		t.Fatal(err)
	}
	_, err := p.lock(t, pipeline.Options{})
	var faults *manifest.Faults
	if !errors.As(err, &faults) || (*faults)[0].Line != 4 || !strings.Contains(err.Error(), "the data set has one class, Hamburger") {
		t.Errorf("got %v", err)
	}
}

// TestOtherForms takes the same pictures through each of the other forms, and from a
// bucket.
func TestOtherForms(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, false)
	store, err := s3.New(t.Context(), bucket, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	annotations := struct {
		Images      []map[string]any `json:"images"`
		Annotations []map[string]any `json:"annotations"`
		Categories  []map[string]any `json:"categories"`
	}{Categories: []map[string]any{{"id": 1, "name": "Hamburger"}, {"id": 2, "name": "Sandwich"}}}
	table := "url,label\n"
	classes := []string{"Hamburger", "Sandwich"}
	texts := map[string]string{"names.txt": "Hamburger\nSandwich\n"}
	var names []string
	for class, name := range classes {
		for i := 1; i <= 5; i++ {
			below := fmt.Sprintf("%s/%02d.jpg", name, i)
			names = append(names, below)
			id := len(names)
			annotations.Images = append(annotations.Images, map[string]any{"id": id, "file_name": below, "width": 50, "height": 50})
			annotations.Annotations = append(annotations.Annotations, map[string]any{"id": id, "image_id": id, "category_id": class + 1, "bbox": []int{1, 2, 40, 40}})
			table += "s3://" + bucket + "/photos/" + below + "," + name + "\n"
			stem := strings.TrimSuffix(below, ".jpg")
			texts["yolo/"+stem+".txt"] = fmt.Sprintf("%d 0.5 0.5 0.5 0.5\n", class)
			texts["voc/"+stem+".xml"] = fmt.Sprintf("<annotation><filename>%s</filename><object><name>%s</name></object></annotation>", filepath.Base(below), name)
			data := readFile(t, filepath.Join("../../examples/folders/photos", below))
			if err := store.Put(t.Context(), "photos/"+below, blob.Bytes(data)); err != nil {
				t.Fatal(err)
			}
			if err := store.Put(t.Context(), "voc/"+stem+".xml", blob.Bytes([]byte(texts["voc/"+stem+".xml"]))); err != nil {
				t.Fatal(err)
			}
		}
	}
	coco, err := json.Marshal(annotations)
	if err != nil {
		t.Fatal(err)
	}
	texts["coco.json"], texts["table.csv"] = string(coco), table
	server.Publish(t, bucket)
	// The bucket is read by somebody whom the server does not know.
	t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
	var first []string
	for _, source := range []string{
		"{folders: photos}",
		"{folders: s3://" + bucket + "/photos}",
		"{coco: {annotations: coco.json, images: photos}}",
		"{voc: {annotations: voc, images: photos}}",
		"{voc: {annotations: s3://" + bucket + "/voc, images: s3://" + bucket + "/photos}}",
		"{yolo: {classes: names.txt, labels: yolo, images: photos}}",
		"{urls: {table: table.csv}}",
	} {
		t.Run(source, func(t *testing.T) {
			p := newPictures(t, "  source: "+source+"\n")
			for name, text := range texts {
				write(t, filepath.Join(p.dir, filepath.FromSlash(name)), []byte(text))
			}
			report, err := p.lock(t, pipeline.Options{})
			if err != nil || report.Photos != len(names) || report.Dead != 0 {
				t.Fatalf("got %+v, %v; want %d photos", report, err, len(names))
			}
			pr := &project{dir: p.dir}
			var digests []string
			for _, photo := range pr.pins(t).Photos {
				digests = append(digests, photo.Digest.String())
			}
			slices.Sort(digests)
			if first == nil {
				first = digests
			}
			if !slices.Equal(digests, first) {
				t.Errorf("got the photos %v, want %v", digests, first)
			}
			if again, err := p.lock(t, pipeline.Options{Locked: true}); err != nil || again.Changed {
				t.Errorf("again: got %+v, %v", again, err)
			}
		})
	}
}

// TestLabelsAndOutdatedOfForms: what tells of labels and of upstream's changes knows other
// forms too.
func TestLabelsAndOutdatedOfForms(t *testing.T) {
	p := newPictures(t, "  source: {folders: photos}\n")
	if _, err := p.lock(t, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	project, err := pipeline.Open(filepath.Join(p.dir, "manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, counts := range []bool{false, true} {
		if labels, err := pipeline.ReadLabels(t.Context(), project, pipeline.Options{Store: p.store}, counts); err != nil || labels.Catalog == nil {
			t.Errorf("labels: %v", err)
		}
	}
	if now, err := pipeline.Outdated(t.Context(), project, pipeline.Options{Store: p.store}); err != nil || len(now.Sources) != 0 {
		t.Errorf("unchanged: got %+v, %v", now, err)
	}
	write(t, filepath.Join(p.dir, "photos", "Sandwich", "99.jpg"), readFile(t, "../../examples/folders/photos/Sandwich/30.jpg"))
	if now, err := pipeline.Outdated(t.Context(), project, pipeline.Options{Store: p.store}); err != nil || len(now.Sources) != 1 || len(now.Boxes) != 1 {
		t.Errorf("one picture more: got %+v, %v", now, err)
	}
}

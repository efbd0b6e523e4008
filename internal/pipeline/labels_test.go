package pipeline_test

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/synthetic"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// kept is a file of a data set that is written into memory.
type kept struct{ bytes.Buffer }

func (*kept) Close() error { return nil }

// TestLabelsOfASource reads the labels of a data set that no manifest is about. The second
// time it asks nobody.
func TestLabelsOfASource(t *testing.T) {
	world := mirrortest.Start(t)
	boxes := int64(0)
	for _, subset := range []string{"train", "validation", "test"} {
		files := map[string]*kept{}
		d := synthetic.Dataset{Seed: 1, Photos: 40 + len(subset), Shape: synthetic.Official, Subset: subset}
		err := d.WriteMetadata(t.Context(), func(name string) (io.WriteCloser, error) {
			files[name] = &kept{}
			return files[name], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, file := range files {
			world.Put("https://labels.example/"+strings.Replace(name, "-boxable-with", "-with", 1), file.Bytes())
			if strings.HasSuffix(name, "bbox.csv") {
				boxes += int64(bytes.Count(file.Bytes(), []byte("\n")) - 1)
			}
		}
	}
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const folder = "https://labels.example/openimages/2018_04/"
	read := func(store *disk.Store, index string) *pipeline.Labels {
		t.Helper()
		p, err := pipeline.OpenSource("open-images/v4", store.Root())
		if err != nil {
			t.Fatal(err)
		}
		p.Manifest.Mirrors = world.Mirrors()
		p.Manifest.Dataset.Source = manifest.Source{
			Classes: folder + "class-descriptions-boxable.csv", Hierarchy: folder + "bbox_labels_600_hierarchy.json",
			Boxes: folder + "{subset}/{subset}-annotations-bbox.csv", Images: folder + "{subset}/{subset}-images-with-rotation.csv",
		}
		l, err := pipeline.ReadLabels(t.Context(), p, pipeline.Options{Store: store, Workers: 2, Backend: "exact", Index: index}, true)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := read(store, "")
	sum := int64(0)
	for class := range l.Classes.All() {
		sum += l.Total(class.ID).Boxes
	}
	if len(l.Counts) != 3 || sum != boxes || l.BoxesBelow(l.Hierarchy.Root()) != boxes {
		t.Errorf("%d subsets, %d boxes, %d below the root, want %d", len(l.Counts), sum, l.BoxesBelow(l.Hierarchy.Root()), boxes)
	}
	asked := world.Total()
	if asked != 8 {
		t.Errorf("%d requests, want one for each file: 8", asked)
	}
	again := read(store, "")
	if world.Total() != asked || again.Tree.ID() != l.Tree.ID() {
		t.Errorf("the second time there were %d more requests", world.Total()-asked)
	}

	// On another machine that has the index, the three box files are not fetched.
	index := filepath.Join(t.TempDir(), "index")
	if err := pipeline.ExportIndex(t.Context(), l, index); err != nil {
		t.Fatal(err)
	}
	other, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	asked = world.Total()
	if there := read(other, index); there.Tree.ID() != l.Tree.ID() || world.Total()-asked != 5 {
		t.Errorf("with the index, the tree is %s, want %s; %d requests, want 5", there.Tree.ID(), l.Tree.ID(), world.Total()-asked)
	}
}

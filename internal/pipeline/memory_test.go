package pipeline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// TestBuildOfNothingLooksAtNoPhoto takes away every photo, every crop and lists of them. A
// build that has nothing to do must not notice: what it opens does not grow with the
// photos. That it does not read the list of images either is TestPinsAreRemembered's.
func TestBuildOfNothingLooksAtNoPhoto(t *testing.T) {
	p := newProject(t, newSmallOrchard(t, small).manifest(t))
	first := p.build(t)
	hits := map[string]func(name string) bool{
		pipeline.Select:   named("boxes.csv"),
		pipeline.Download: func(name string) bool { return strings.HasPrefix(name, "photos/") },
		pipeline.Crop:     func(name string) bool { return strings.HasPrefix(name, "crops/") },
		pipeline.Pack: func(name string) bool {
			return strings.HasPrefix(name, "data/crops/") || strings.HasSuffix(name, "meta.csv")
		},
	}
	var blobs []disk.Location
	for stage, hit := range hits {
		blobs = append(blobs, blobsOf(t, p, first, stage, hit)...)
	}
	for _, blob := range blobs {
		remove(t, blob)
	}
	again := p.build(t)
	if again.Ran != 0 || again.Created || again.Package != first.Package {
		t.Errorf("ran %v, created %v, package %s; want nothing and %s", ran(again), again.Created, again.Package, first.Package)
	}
	for _, blob := range blobs {
		if !blob.Packed() {
			t.Fatalf("%s is larger than the test expects", blob.Digest)
		}
		if data := readFile(t, blob.File); len(bytes.Trim(data[blob.Offset:blob.Offset+blob.Digest.Size()], "\x00")) > 0 {
			t.Fatalf("%s is there again", blob.Digest)
		}
		if missing, err := p.cache.Missing(t.Context(), []cas.Digest{blob.Digest}); err != nil || len(missing) > 0 {
			t.Fatalf("%s was missed: %v", blob.Digest, err)
		}
	}
}

// TestWhatIsRememberedIsNotBelieved changes what remembered facts depend on. Each build
// must see it.
func TestWhatIsRememberedIsNotBelieved(t *testing.T) {
	p := newProject(t, newSmallOrchard(t, small).manifest(t))
	first := p.build(t)
	if again := p.build(t); again.Created {
		t.Error("the same package was pushed again")
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "registry")); err != nil {
		t.Fatal(err)
	}
	if again := p.build(t); !again.Created || again.Package != first.Package {
		t.Errorf("into an empty registry: created %v, package %s", again.Created, again.Package)
	}
}

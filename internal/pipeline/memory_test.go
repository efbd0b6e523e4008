package pipeline_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pipeline"
)

// TestBuildOfNothingLooksAtNoPhoto takes away every photo, every crop and lists of them. A
// build that has nothing to do must not notice: what it opens does not grow with the
// photos. That it does not read the list of images either is TestPinsAreRemembered's.
func TestBuildOfNothingLooksAtNoPhoto(t *testing.T) {
	p := newProject(t, newSmallOrchard(t, small).manifest(t))
	first := p.build(t)
	var files []string
	hits := map[string]func(name string) bool{
		pipeline.Select:   named("boxes.csv"),
		pipeline.Download: func(name string) bool { return strings.HasPrefix(name, "photos/") },
		pipeline.Crop:     func(name string) bool { return strings.HasPrefix(name, "crops/") },
		pipeline.Pack: func(name string) bool {
			return strings.HasPrefix(name, "data/crops/") || strings.HasSuffix(name, "meta.csv")
		},
	}
	for stage, hit := range hits {
		files = append(files, blobFiles(t, p, first, stage, hit)...)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	again := p.build(t)
	if again.Ran != 0 || again.Created || again.Package != first.Package {
		t.Errorf("ran %v, created %v, package %s; want nothing and %s", ran(again), again.Created, again.Package, first.Package)
	}
	for _, file := range files {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s is there again: %v", file, err)
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

package pipeline_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// TestDamagedCacheHeals damages the cache of a finished build in many ways. The next
// build must come to the same package, in a registry that has nothing of it yet.
func TestDamagedCacheHeals(t *testing.T) {
	w := newSmallOrchard(t, small)
	manifest := w.manifest(t)
	built := newProject(t, manifest)
	first := built.build(t)

	every := func(string) bool { return true }
	tests := []struct {
		name   string
		hits   func(file string) bool // of a stage's output
		stage  string                 // empty: all blobs of the cache, trees and actions included
		damage func(t *testing.T, blob disk.Location)
	}{
		{"one photo removed", onlyFirst(), pipeline.Download, remove},
		{"one photo cut", onlyFirst(), pipeline.Download, truncate},
		{"one photo with a wrong byte", photosOnly(onlyFirst()), pipeline.Download, flip},
		{"all photos with a wrong byte", photosOnly(every), pipeline.Download, flip},
		{"metadata with wrong bytes", every, pipeline.Metadata, flip},
		{"selection with wrong bytes", every, pipeline.Select, flip},
		{"all crops with a wrong byte", every, pipeline.Crop, flip},
		{"weights removed", every, pipeline.Train, remove},
		{"card of the package removed", named("README.md"), pipeline.Pack, remove},
		{"card of the package with a wrong byte", named("README.md"), pipeline.Pack, flip},
		{"lock of the package with a wrong byte", named("manifest.lock"), pipeline.Pack, flip},
		{"the whole package with wrong bytes", every, pipeline.Pack, flip},
		{"every blob removed", every, "", remove},
		{"every blob cut", every, "", truncate},
		{"every blob with a wrong byte", every, "", flip},
	}
	for i, test := range tests {
		if testing.Short() && i%3 != 0 {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			p := *built
			p.options.Locked = true
			p.registry = t.TempDir()
			cache := filepath.Join(t.TempDir(), "cache")
			if err := os.CopyFS(cache, os.DirFS(built.cache.Root())); err != nil {
				t.Fatal(err)
			}
			var err error
			if p.cache, err = disk.Open(cache); err != nil {
				t.Fatal(err)
			}
			blobs := blobsOf(t, &p, first, test.stage, test.hits)
			if len(blobs) == 0 {
				t.Fatal("nothing is damaged")
			}
			for _, blob := range blobs {
				test.damage(t, blob)
			}
			outcome := p.build(t)
			if outcome.Package != first.Package {
				t.Errorf("got %s, want %s", outcome.Package, first.Package)
			}
			reg, pkg := p.pkg(t, outcome)
			report, err := reg.VerifyObjects(t.Context(), pkg, nil)
			if err != nil || !report.OK(false) {
				t.Errorf("the pushed package: %+v, %v", report, err)
			}
			if again := p.build(t); again.Ran != 0 || again.Package != first.Package {
				t.Errorf("the build after that ran %v and made %s", ran(again), again.Package)
			}
		})
	}
}

// blobsOf are the blobs, in the cache of p, of a stage's output.
func blobsOf(t *testing.T, p *project, o *pipeline.Outcome, stage string, hits func(string) bool) []disk.Location {
	t.Helper()
	wanted := make(map[cas.Digest]bool)
	if stage != "" {
		for f, err := range o.Build.Tree(stage).Files(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			wanted[f.Digest] = wanted[f.Digest] || f.Digest.Size() > 0 && hits(f.Path)
		}
	}
	var blobs []disk.Location
	for l, err := range p.cache.Blobs(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if stage == "" || wanted[l.Digest] {
			blobs = append(blobs, l)
		}
	}
	return blobs
}

func named(name string) func(string) bool { return func(file string) bool { return file == name } }

// onlyFirst hits the first file that it is asked about.
func onlyFirst() func(string) bool {
	asked := false
	return func(string) bool {
		hit := !asked
		asked = true
		return hit
	}
}

func photosOnly(hits func(string) bool) func(string) bool {
	return func(file string) bool { return filepath.Dir(file) == "photos" && hits(file) }
}

// remove takes a blob away; in a pack it leaves zeros.
func remove(t *testing.T, l disk.Location) {
	t.Helper()
	if l.Packed() {
		rewrite(t, l, func([]byte) []byte { return nil })
	} else if err := os.Remove(l.File); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, l disk.Location) {
	t.Helper()
	rewrite(t, l, func(data []byte) []byte { return data[:len(data)/2] })
}

// flip changes a byte and leaves the size, so that only reading the blob tells.
func flip(t *testing.T, l disk.Location) {
	t.Helper()
	rewrite(t, l, func(data []byte) []byte {
		if len(data) > 0 {
			data[len(data)/2] ^= 1
		}
		return data
	})
}

// rewrite changes the bytes of a blob where they are. In a pack, zeros stand for what it
// loses.
func rewrite(t *testing.T, l disk.Location, change func([]byte) []byte) {
	t.Helper()
	if err := os.Chmod(l.File, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(l.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	blob := make([]byte, l.Digest.Size())
	_, err = f.ReadAt(blob, l.Offset)
	if err == nil {
		changed := change(blob)
		if l.Packed() {
			changed = append(changed, make([]byte, len(blob)-len(changed))...)
		} else {
			err = f.Truncate(int64(len(changed)))
		}
		_, failed := f.WriteAt(changed, l.Offset)
		err = errors.Join(err, failed)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

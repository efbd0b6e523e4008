package pipeline_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/stages/cas"
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
		damage func(t *testing.T, file string)
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
			p.cache = linkCache(t, built.cache)
			files := blobFiles(t, &p, first, test.stage, test.hits)
			if len(files) == 0 {
				t.Fatal("nothing is damaged")
			}
			for _, file := range files {
				test.damage(t, file)
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

// linkCache returns a cache with the files of another one. They are linked: a store
// never writes to a file that is there, and no damage here does.
func linkCache(t *testing.T, from *cas.Disk) *cas.Disk {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	err := filepath.WalkDir(from.Root(), func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from.Root(), file)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(dir, name), 0o777)
		}
		return os.Link(file, filepath.Join(dir, name))
	})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := cas.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// blobFiles are the files, in the cache of p, of a stage's output.
func blobFiles(t *testing.T, p *project, o *pipeline.Outcome, stage string, hits func(string) bool) []string {
	t.Helper()
	var files []string
	blobs := filepath.Join(p.cache.Root(), "blobs")
	if stage == "" {
		err := filepath.WalkDir(blobs, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	seen := make(map[string]bool)
	for f, err := range o.Build.Tree(stage).Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(blobs, f.Digest.Hex()[:2], f.Digest.Hex()[2:])
		if f.Digest.Size() > 0 && !seen[file] && hits(f.Path) {
			seen[file] = true
			files = append(files, file)
		}
	}
	return files
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

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, file string) {
	t.Helper()
	rewrite(t, file, func(data []byte) []byte { return data[:len(data)/2] })
}

// flip changes a byte and leaves the size, so that only reading the blob tells.
func flip(t *testing.T, file string) {
	t.Helper()
	rewrite(t, file, func(data []byte) []byte {
		if len(data) > 0 {
			data[len(data)/2] ^= 1
		}
		return data
	})
}

func rewrite(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	data := change(readFile(t, file))
	if err := os.Remove(file); err != nil { // blobs are read-only
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o444); err != nil {
		t.Fatal(err)
	}
}

package pipeline_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/download"
)

// TestPhotosFromElsewhere loses the cache after links have died. The photos come from the
// registry, or from a package that is installed; and not from files that are something else.
func TestPhotosFromElsewhere(t *testing.T) {
	w := newSmallOrchard(t, small)
	p := newProject(t, w.manifest(t))
	first := p.build(t)
	reg, pkg := p.pkg(t, first)
	dest := filepath.Join(t.TempDir(), "lunch")
	if _, err := reg.Install(t.Context(), pkg, dest, registry.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	w.Break(w.url(2, pinfile.Original), mirrortest.Status(404))
	w.Break(w.url(5, pinfile.Original), mirrortest.Status(404))
	p.options.Locked = true
	again := func(where string) {
		t.Helper()
		if o := p.build(t); o.Package != first.Package {
			t.Errorf("from %s: got %s, want %s", where, o.Package, first.Package)
		}
	}
	p.freshCache(t)
	again("the registry")

	p.registry = t.TempDir()
	p.freshCache(t)
	if err := disk.AddRoot(p.cache.Root(), disk.Root{Path: dest, Package: first.Package, Name: pkg.Name}); err != nil {
		t.Fatal(err)
	}
	again("an installed package")

	p.registry = t.TempDir()
	p.freshCache(t)
	err := filepath.WalkDir(dest, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(name, "photos") && !strings.Contains(name, "originals") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil || len(data) == 0 {
			return err
		}
		data[len(data)/2] ^= 1
		return errors.Join(os.Remove(name), os.WriteFile(name, data, 0o666))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.AddRoot(p.cache.Root(), disk.Root{Path: dest, Package: first.Package, Name: pkg.Name}); err != nil {
		t.Fatal(err)
	}
	_, err = p.tryBuild(t)
	if failed, ok := errors.AsType[*download.FailedError](err); !ok || failed.Gone() != 2 {
		t.Errorf("from files that are something else: %v", err)
	}
}

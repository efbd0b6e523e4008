package folder_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/registry/folder"
)

// A folder to push lacks what its .quiltignore leaves out, and symbolic links among that
// do no harm.
func TestOpenIgnores(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(shared.Dir(t), "vectors", "quilt", "quiltignore.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Rules       string
		Files, Kept []string
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, vec := range vectors {
		dir := t.TempDir()
		for _, name := range append(vec.Files, ".quiltignore") {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(vec.Rules), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f, err := folder.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, file := range f.Files() {
			got = append(got, file.Key)
		}
		less := cmpopts.SortSlices(func(a, b string) bool { return a < b })
		if diff := cmp.Diff(vec.Kept, got, less, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", vec.Rules, diff)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenIgnoresLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if f, err := folder.Open(t.Context(), dir); err == nil {
		t.Errorf("Open = %v", f)
	}
	if err := os.WriteFile(filepath.Join(dir, ".quiltignore"), []byte("link\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := folder.Open(t.Context(), dir)
	if err != nil || len(f.Files()) != 1 {
		t.Fatal(f, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

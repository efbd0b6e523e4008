package photo_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/shared"
)

// update rewrites the golden files: go test ./internal/photo -run Nasty with
// UPDATE=1.
var update = os.Getenv("UPDATE") != ""

// nastyFiles returns the hostile and odd pictures, sorted, relative to the folder.
func nastyFiles(tb testing.TB) (dir string, names []string) {
	tb.Helper()
	dir = filepath.Join(shared.Dir(tb), "data", "nasty-images")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return dir, names
}

// verdict decodes a picture and says in a line what became of it.
func verdict(ctx context.Context, data []byte) string {
	var rejection *photo.RejectedError
	f, err := photo.Open(data, photo.DefaultLimits())
	if errors.As(err, &rejection) {
		return "rejected: " + rejection.Reason
	}
	img, err := f.Decode(ctx)
	if errors.As(err, &rejection) {
		return "rejected: " + rejection.Reason
	}
	return fmt.Sprintf("%s %dx%d orientation %d %T", f.Format, f.Width, f.Height, f.Orientation, img)
}

// TestNasty holds the verdict on every picture of nasty-images, and on those of YCCK, of
// which it has none.
func TestNasty(t *testing.T) {
	dir, names := nastyFiles(t)
	var got strings.Builder
	list := func(dir, name string) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s: %s\n", name, verdict(t.Context(), data))
	}
	for _, name := range names {
		list(dir, name)
	}
	for _, name := range yCCK {
		list("testdata", name)
	}
	golden := filepath.Join("testdata", "nasty.txt")
	if update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

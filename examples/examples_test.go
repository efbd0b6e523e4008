package examples

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/synthetic"
	"github.com/sandwich-build/sandwich/manifest"
)

const mirror = "quickstart/mirror"

// TestMirrorIsGenerated draws the quickstart's data again and compares it, byte by byte,
// with what is checked in. It also fails when a Go release encodes JPEGs otherwise:
// run go generate with that release then, and commit the mirror.
func TestMirrorIsGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("draws 240 photos")
	}
	want := map[string]string{}
	err := fs.WalkDir(os.DirFS(mirror), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(mirror, filepath.FromSlash(name)))
		want[name] = digest(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = synthetic.Quickstart().Write(t.Context(), func(name string) (io.WriteCloser, error) {
		return &file{done: func(data []byte) { got[name] = digest(data) }}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not what go generate ./examples/... makes (-checked in +generated):\n%s", mirror, diff)
	}
}

// TestFoldersAreGenerated does the same with the pictures of folders.
func TestFoldersAreGenerated(t *testing.T) {
	got := 0
	for picture, err := range synthetic.Folders() {
		if err != nil {
			t.Fatal(err)
		}
		got++
		want, err := os.ReadFile(filepath.Join("folders", "photos", filepath.FromSlash(picture.Name)))
		if err != nil || !bytes.Equal(want, picture.JPEG) {
			t.Errorf("%s is not what go generate ./examples/... makes (%v)", picture.Name, err)
		}
	}
	files, err := filepath.Glob("folders/photos/*/*.jpg")
	if err != nil || len(files) != got {
		t.Errorf("there are %d pictures, %v; want %d", len(files), err, got)
	}
}

// file keeps what is written until it is closed.
type file struct {
	bytes.Buffer
	done func(data []byte)
}

func (f *file) Close() error {
	f.done(f.Bytes())
	return nil
}

func digest(data []byte) string {
	return fmt.Sprintf("%d bytes, sha256 %x", len(data), sha256.Sum256(data))
}

func TestMirrorIsSmall(t *testing.T) {
	const limit = 3 << 20 // a clone should not be slowed down by it
	var total int64
	err := filepath.WalkDir(mirror, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > limit {
		t.Errorf("the mirror has %d bytes, want at most %d", total, limit)
	}
}

// Every picture and folder that a README shows must be there.
func TestReadmeLinks(t *testing.T) {
	files, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, name := range append(files, "README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllSubmatch(text, -1) {
			target := string(link[1])
			if strings.Contains(target, "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), target)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if links < 5 {
		t.Errorf("found %d links, want those of all READMEs", links)
	}
}

func TestManifestsAreSound(t *testing.T) {
	files, err := filepath.Glob("*/manifest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatalf("found the manifests %q, want those of all examples", files)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := manifest.Decode(name, src); err != nil {
			t.Errorf("%v", err)
		}
	}
}

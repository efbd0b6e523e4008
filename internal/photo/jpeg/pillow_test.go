package jpeg_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
	"github.com/sandwich-build/sandwich/internal/shared"
)

// TestPillow holds that all samples of luma, and those of chroma that libjpeg-turbo hands
// out as they are stored, are equal to ours: of testdata, and of real photos.
func TestPillow(t *testing.T) {
	python := shared.Pillow(t)
	dir := t.TempDir()
	all := samples(t)
	for _, name := range []string{"cmyk", "rgb"} {
		delete(all, name) // libjpeg-turbo converts them
	}
	photos, err := filepath.Glob(filepath.Join(shared.Dir(t), "data", "openimages", "apple-orange", "Apple", "*.jpg"))
	if err != nil || len(photos) < 12 {
		t.Fatalf("no photos: %v", err)
	}
	nasty := filepath.Join(shared.Dir(t), "data", "nasty-images")
	photos = append(photos[:12],
		filepath.Join(nasty, "go-std", "video-001.progressive.jpeg"),
		filepath.Join(nasty, "go-std", "video-001.restart2.jpeg"),
		filepath.Join(nasty, "go-std", "video-001.separate.dc.progression.progressive.jpeg"),
		filepath.Join(nasty, "libjpeg-turbo", "testimgint.jpg"),
		filepath.Join(nasty, "image-rs", "jpg-progressive-cat.jpg"))
	for _, path := range photos {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all["photo "+filepath.Base(path)] = data
	}
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(dir, name+".jpg"), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	img := picture(64, 48)
	if err := os.WriteFile(filepath.Join(dir, "encoded.grey"), img.Y, 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), python, "testdata/planes.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("planes.py: %v\n%s", err, out)
	}
	for name, data := range all {
		want, err := os.ReadFile(filepath.Join(dir, name+".planes"))
		if err != nil {
			t.Fatal(err)
		}
		f := parse(t, data)
		got := bytes.Join(decode(t, f, whole(f, 1)), nil)
		if len(want) < f.Width*f.Height || len(want) > len(got) || !bytes.Equal(got[:len(want)], want) {
			t.Errorf("%s: libjpeg-turbo has other samples", name)
		}
	}
	theirs, err := os.ReadFile(filepath.Join(dir, "encoded.grey.out"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := jpeg.Encode(nil, img, 90)
	if err != nil {
		t.Fatal(err)
	}
	f, g := parse(t, ours), parse(t, theirs)
	if !bytes.Equal(decode(t, f, whole(f, 1))[0], decode(t, g, whole(g, 1))[0]) {
		t.Error("libjpeg-turbo encodes luma otherwise")
	}
}

package crop

import (
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/shared"
)

// TestVectors holds the article's rectangle arithmetic.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(shared.Dir(t), "vectors", "quilt", "crop.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Cases []struct {
			Width      int     `json:"image_width"`
			Height     int     `json:"image_height"`
			XMin       float64 `json:"XMin"`
			XMax       float64 `json:"XMax"`
			YMin       float64 `json:"YMin"`
			YMax       float64 `json:"YMax"`
			Left       int     `json:"left"`
			Right      int     `json:"right_exclusive"`
			Top        int     `json:"top"`
			Bottom     int     `json:"bottom_exclusive"`
			CropWidth  int     `json:"crop_width"`
			CropHeight int     `json:"crop_height"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Cases) == 0 {
		t.Fatal("no cases")
	}
	fraction := func(v float64) openimages.Fraction { return openimages.Fraction(strconv.FormatFloat(v, 'f', -1, 64)) }
	for _, c := range vectors.Cases {
		b := openimages.Box{XMin: fraction(c.XMin), XMax: fraction(c.XMax), YMin: fraction(c.YMin), YMax: fraction(c.YMax)}
		got := pixels(&b, image.Pt(c.Width, c.Height), 0)
		want := image.Rectangle{Min: image.Pt(c.Left, c.Top), Max: image.Pt(c.Right, c.Bottom)}
		if got != want || got.Size() != image.Pt(c.CropWidth, c.CropHeight) {
			t.Errorf("%+v: got %v, want %v", c, got, want)
		}
	}
}

// FuzzRegion holds that whatever a box says, what is cut lies on the photo.
func FuzzRegion(f *testing.F) {
	f.Add("0.1", "0.9", "0.2", "0.8", 0.5, uint16(640), uint16(480))
	f.Add("0.9", "0.1", "1", "0", 0.0, uint16(1), uint16(1))
	f.Add("x", "1.0000001", "-1e-9", "1e-300", 1e300, uint16(65535), uint16(1))
	f.Fuzz(func(t *testing.T, xmin, xmax, ymin, ymax string, pad float64, width, height uint16) {
		if !(pad >= 0) || width == 0 || height == 0 {
			return
		}
		b := openimages.Box{
			XMin: openimages.Fraction(xmin), XMax: openimages.Fraction(xmax),
			YMin: openimages.Fraction(ymin), YMax: openimages.Fraction(ymax),
		}
		size := image.Pt(int(width), int(height))
		photo := image.Rectangle{Max: size}
		bare, padded := pixels(&b, size, 0), pixels(&b, size, pad)
		if bare.Empty() {
			return
		}
		if !bare.In(padded) || !padded.In(photo) {
			t.Errorf("%v, padded %v, on %v", bare, padded, photo)
		}
		if sq := square(padded, size); !padded.In(sq) || !sq.In(photo) {
			t.Errorf("%v, square %v, on %v", padded, sq, photo)
		}
	})
}

func TestFolders(t *testing.T) {
	labels := []string{"Sandwich", "Hot dog", "a/b", `c\d:*?"<>|e`, "Æble", "..", "", ".hidden", "dot.", "nul\x00", "bad\xff", "\u202egnp"}
	want := map[string]string{
		"Sandwich": "Sandwich", "Hot dog": "Hot_dog", "a/b": "a_b", `c\d:*?"<>|e`: "c_d_______e", "Æble": "Æble",
		"..": "_", "": "_", ".hidden": "_hidden", "dot.": "_dot", "nul\x00": "nul_", "bad\xff": "bad_", "\u202egnp": "_gnp",
	}
	for _, label := range labels {
		if got := folder(label); got != want[label] {
			t.Errorf("%q: %q, want %q", label, got, want[label])
		}
	}
	long := folder(strings.Repeat("é", 200))
	if len(long) != maxFolder {
		t.Errorf("a long label's folder has %d bytes", len(long))
	}
	if got, err := folders([]string{"Hot dog", "Sandwich"}); err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(map[string]string{"Hot dog": "Hot_dog", "Sandwich": "Sandwich"}, got); diff != "" {
		t.Error(diff)
	}
	for _, pair := range [][]string{{"Hot dog", "Hot_dog"}, {"apple", "Apple"}} {
		if _, err := folders(pair); err == nil {
			t.Errorf("%q share a folder without an error", pair)
		}
	}
}

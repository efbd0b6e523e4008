package sheet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/disintegration/imaging"
)

func sample() *Sheet {
	return &Sheet{Columns: 2, Side: 40, Sections: []Section{
		{Title: "first", Tiles: []Tile{
			{Picture: imaging.New(40, 20, color.NRGBA{R: 200, A: 255}), Boxes: []Box{{0.25, 0, 2, 1, Palette[1]}}, Caption: []string{"a", "much too long a line"}},
			{Caption: []string{"none"}},
			{Picture: imaging.New(10, 40, color.Black)},
		}},
		{Title: "empty"},
	}}
}

// TestGolden pins the drawing and, for this version of Go, the PNG.
func TestGolden(t *testing.T) {
	got, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(got)
	if digest, want := hex.EncodeToString(sum[:8]), "518760806ceefe1f"; digest != want {
		t.Errorf("digest %s, want %s", digest, want)
	}
	img, err := png.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	// Two rows of tiles, the captions of two lines, two headings.
	if want := image.Pt(8+2*48, 8+26+2*(40+2*14+8)+26); img.Bounds().Size() != want {
		t.Errorf("size %v, want %v", img.Bounds().Size(), want)
	}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(img.At(x, y)).(color.RGBA) }
	const left, top = 8, 8 + 26
	for _, test := range []struct {
		what string
		x, y int
		want color.RGBA
	}{
		{"beside the box", left + 5, top + 20, color.RGBA{200, 0, 0, 255}},
		{"the box's left", left + 11, top + 20, Palette[1]},
		{"the box's right, at the picture's edge", left + 39, top + 20, Palette[1]},
		{"within the box", left + 20, top + 20, color.RGBA{200, 0, 0, 255}},
		{"above a low picture", left + 20, top + 5, color.RGBA{0xf0, 0xf0, 0xf0, 255}},
		{"between tiles", left + 43, top + 20, color.RGBA{255, 255, 255, 255}},
		{"the second row", left + 20, top + 76 + 20, color.RGBA{0, 0, 0, 255}},
	} {
		if got := at(test.x, test.y); got != test.want {
			t.Errorf("%s: %v, want %v", test.what, got, test.want)
		}
	}
}

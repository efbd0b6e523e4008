package photo_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/photo"
)

// jpegSamples are files of package jpeg's testdata, of 117×83 pixels.
func jpegSample(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("jpeg", "testdata", name+".jpg"))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func open(tb testing.TB, data []byte) *photo.File {
	tb.Helper()
	f, err := photo.Open(data, photo.DefaultLimits())
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// cut returns the pictures of cuts.
func cut(tb testing.TB, f *photo.File, cuts []photo.Cut) []*image.YCbCr {
	tb.Helper()
	var all []*image.YCbCr
	err := f.Cut(tb.Context(), cuts, func(_ int, img *image.YCbCr, damage error) error {
		if damage != nil {
			tb.Error(damage)
		}
		c := *img
		c.Y, c.Cb, c.Cr = bytes.Clone(img.Y), bytes.Clone(img.Cb), bytes.Clone(img.Cr)
		all = append(all, &c)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func pngOf(tb testing.TB, img image.Image) []byte {
	tb.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// kinds are files of every kind that Cut treats in its own way, with the same picture.
func kinds(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := map[string][]byte{}
	for _, name := range []string{"420", "420-progressive", "422-optimized", "444-restart", "grey", "cmyk", "rgb"} {
		all[name] = jpegSample(tb, name)
	}
	img, err := open(tb, all["444-restart"]).Decode(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	all["png"] = pngOf(tb, imaging.Clone(img))
	few := image.NewPaletted(img.Bounds(), color.Palette{color.Black, color.White, color.NRGBA{R: 200, A: 255}})
	for y := range 83 {
		for x := range 117 {
			few.Set(x, y, img.At(x, y))
		}
	}
	all["palette"] = pngOf(tb, few)
	return all
}

var cuts = []photo.Cut{
	{Region: image.Rect(0, 0, 117, 83), Size: image.Pt(117, 83)},
	{Region: image.Rect(0, 0, 117, 83), Size: image.Pt(29, 21)},
	{Region: image.Rect(13, 7, 114, 80), Size: image.Pt(40, 29)},
	{Region: image.Rect(21, 33, 52, 64), Size: image.Pt(31, 31)},
	{Region: image.Rect(5, 6, 25, 16), Size: image.Pt(50, 20)},
	{Region: image.Rect(116, 82, 117, 83), Size: image.Pt(1, 1)},
	{Region: image.Rect(1, 2, 116, 3), Size: image.Pt(10, 1)},
}

// TestCut compares cuts with those made of the whole picture, by another library. At a
// scale, blocks of coefficients are cut off where that filters, so there is a difference.
func TestCut(t *testing.T) {
	for name, data := range kinds(t) {
		f := open(t, data)
		img, err := f.Decode(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range cut(t, f, cuts) {
			want := imaging.Resize(imaging.Crop(img, cuts[i].Region), cuts[i].Size.X, cuts[i].Size.Y, imaging.CatmullRom)
			if p := likeness(want, got); p < 24 {
				t.Errorf("%s, %+v: %.1f dB", name, cuts[i], p)
			}
		}
	}
}

// likeness is the peak signal-to-noise ratio of two pictures.
func likeness(a, b image.Image) float64 {
	x, y := imaging.Clone(a), imaging.Clone(b)
	if x.Rect.Size() != y.Rect.Size() {
		return 0
	}
	sum := 0.0
	for i := range x.Pix {
		d := float64(x.Pix[i]) - float64(y.Pix[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(x.Pix))/max(sum, 1e-3))
}

// TestCutAlone holds that a cut does not depend on those that are made with it.
func TestCutAlone(t *testing.T) {
	for name, data := range kinds(t) {
		f := open(t, data)
		for i, got := range cut(t, f, cuts) {
			want := cut(t, f, cuts[i:i+1])[0]
			if !bytes.Equal(want.Y, got.Y) || !bytes.Equal(want.Cb, got.Cb) || !bytes.Equal(want.Cr, got.Cr) {
				t.Errorf("%s, %+v: alone it is another", name, cuts[i])
			}
		}
	}
}

// goldenCuts are digests of all cuts, the same on every machine.
var goldenCuts = map[string]string{
	"420":             "3798abbd23a3d01d",
	"420-progressive": "3798abbd23a3d01d",
	"422-optimized":   "b6bc28cf559a9cb9",
	"444-restart":     "e676aabc61ee0c9a",
	"cmyk":            "20ad8f0b51217ad6", // the same, but for the black that it does not have
	"grey":            "0f3df7d2a1347730",
	"palette":         "ea3c0e3eda0e0786",
	"png":             "b86b330415564b50",
	"rgb":             "20ad8f0b51217ad6",
}

func TestGoldenCuts(t *testing.T) {
	got := map[string]string{}
	for name, data := range kinds(t) {
		h := sha256.New()
		for _, img := range cut(t, open(t, data), cuts) {
			h.Write(img.Y)
			h.Write(img.Cb)
			h.Write(img.Cr)
		}
		got[name] = fmt.Sprintf("%x", h.Sum(nil)[:8])
	}
	if diff := cmp.Diff(goldenCuts, got); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
}

// TestTurnPlanes compares with the turns of another library.
func TestTurnPlanes(t *testing.T) {
	img := cut(t, open(t, jpegSample(t, "444-restart")), cuts[:1])[0]
	for o := photo.Upright; o <= photo.Rotate90; o++ {
		want, got := imaging.Clone(o.Turn(img)), imaging.Clone(o.TurnPlanes(img))
		if want.Rect != got.Rect || !bytes.Equal(want.Pix, got.Pix) {
			t.Errorf("orientation %d is turned otherwise", o)
		}
	}
}

// TestCutMemory refuses what would take too much, before it is decoded.
func TestCutMemory(t *testing.T) {
	limits := photo.DefaultLimits()
	limits.Memory = 2 << 20
	f, err := photo.Open(jpegSample(t, "420-progressive"), limits)
	if err != nil {
		t.Fatal(err)
	}
	large := []photo.Cut{{Region: image.Rect(0, 0, 117, 83), Size: image.Pt(2000, 2000)}}
	err = f.Cut(t.Context(), large, func(int, *image.YCbCr, error) error { return nil })
	wantReason(t, err)
	cut(t, f, cuts)
}

// TestResize brings pictures of all types to a size, as a whole and as a part of another.
func TestResize(t *testing.T) {
	for name, data := range kinds(t) {
		img, err := open(t, data).Decode(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		part := img.(interface {
			SubImage(r image.Rectangle) image.Image
		}).SubImage(image.Rect(10, 20, 110, 80))
		for _, img := range []image.Image{img, part, imaging.Clone(img)} {
			for _, size := range []image.Point{{40, 30}, {150, 90}} {
				got := photo.Resize(img, size)
				if p := likeness(imaging.Resize(img, size.X, size.Y, imaging.CatmullRom), got); p < 24 {
					t.Errorf("%s, %T to %v: %.1f dB", name, img, size, p)
				}
			}
		}
	}
}

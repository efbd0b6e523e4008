package luma

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"
)

// noise is a picture of random pixels, in each of the types that photos decode to.
func noise(width, height int) map[string]image.Image {
	r := rand.New(rand.NewPCG(uint64(width), uint64(height)))
	bounds := image.Rect(0, 0, width, height)
	all := map[string]image.Image{
		"YCbCr": image.NewYCbCr(bounds, image.YCbCrSubsampleRatio420), "Gray": image.NewGray(bounds),
		"RGBA": image.NewRGBA(bounds), "Paletted": image.NewPaletted(bounds, color.Palette{color.White, color.Black, color.RGBA{R: 255, A: 255}}),
		"NRGBA": image.NewNRGBA(bounds),
	}
	for y := range height {
		for x := range width {
			c := color.RGBA{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256)), 255}
			for _, img := range all {
				switch img := img.(type) {
				case *image.YCbCr:
					img.Y[img.YOffset(x, y)] = c.R
				case interface{ Set(x, y int, c color.Color) }:
					img.Set(x, y, c)
				}
			}
		}
	}
	return all
}

// TestShrink compares with the mean over the covered area, worked out in the plainest way.
func TestShrink(t *testing.T) {
	for _, size := range []image.Point{{7, 5}, {32, 32}, {33, 1}, {100, 64}, {3, 90}} {
		for kind, img := range noise(size.X, size.Y) {
			for _, to := range []image.Point{{1, 1}, {4, 3}, {32, 32}} {
				r := img.Bounds()
				if size.X > 4 && size.Y > 4 {
					r = image.Rect(2, 1, size.X-1, size.Y-2)
				}
				got := Shrink(img, r, to.X, to.Y)
				for y := range to.Y {
					for x := range to.X {
						want := mean(img, r, to, x, y)
						if diff := math.Abs(float64(got.Pix[y*to.X+x]) - want); diff > 0.5+1e-6 {
							t.Fatalf("%s of %v to %v at (%d, %d): got %d, want %f", kind, r, to, x, y, got.Pix[y*to.X+x], want)
						}
					}
				}
			}
		}
	}
}

func mean(img image.Image, r image.Rectangle, to image.Point, x, y int) float64 {
	cover := func(at, n, size, pixel int) float64 {
		scale := float64(size) / float64(n)
		return max(0, min(float64(at+1)*scale, float64(pixel+1))-max(float64(at)*scale, float64(pixel)))
	}
	var sum, weight float64
	for py := range r.Dy() {
		for px := range r.Dx() {
			w := cover(x, to.X, r.Dx(), px) * cover(y, to.Y, r.Dy(), py)
			sum += w * float64(color.YCbCrModel.Convert(img.At(r.Min.X+px, r.Min.Y+py)).(color.YCbCr).Y)
			weight += w
		}
	}
	return sum / weight
}

func TestWithin(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 200, 100))
	for side, want := range map[int]string{64: "64x32", 200: "200x100", 300: "200x100", 1: "1x1"} {
		if p := Within(img, img.Rect, side); fmt.Sprintf("%dx%d", p.Width, p.Height) != want {
			t.Errorf("within %d: %dx%d, want %s", side, p.Width, p.Height, want)
		}
	}
}

func TestMeasures(t *testing.T) {
	plane := func(width int, pix ...uint8) Plane { return Plane{width, len(pix) / width, pix} }
	flat, stripes := make([]uint8, 25), make([]uint8, 25)
	for i := range flat {
		flat[i], stripes[i] = 100, uint8(i%5%2*200)
	}
	for _, test := range []struct {
		name                 string
		p                    Plane
		deviation, sharpness float64
	}{
		{"flat", plane(5, flat...), 0, 0},
		{"stripes of two pixels", plane(5, stripes...), 97.9795897, 400 * 400 * 8.0 / 9},
		{"too small for a Laplacian", plane(2, 0, 200), 100, 0},
		{"one spot", plane(3, 0, 0, 0, 0, 90, 0, 0, 0, 0), 28.2842712, 0},
	} {
		if got := test.p.Deviation(); math.Abs(got-test.deviation) > 1e-6 {
			t.Errorf("%s: deviation %v, want %v", test.name, got, test.deviation)
		}
		if got := test.p.Sharpness(); math.Abs(got-test.sharpness) > 1 {
			t.Errorf("%s: sharpness %v, want %v", test.name, got, test.sharpness)
		}
	}
	colourful := image.NewYCbCr(image.Rect(0, 0, 4, 4), image.YCbCrSubsampleRatio420)
	for i := range colourful.Cb {
		colourful.Cb[i], colourful.Cr[i] = 118, 133
	}
	rgba := image.NewRGBA(image.Rect(0, 0, 2, 2))
	for name, test := range map[string]struct {
		img  image.Image
		want float64
	}{"grey": {image.NewGray(image.Rect(0, 0, 2, 2)), 0}, "coloured": {colourful, 15}, "black": {rgba, 0}} {
		if got := Colour(test.img, test.img.Bounds()); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

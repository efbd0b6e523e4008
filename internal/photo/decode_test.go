package photo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/shared"
)

// decodeNasty decodes one of the nasty pictures, upright.
func decodeNasty(t *testing.T, name string) image.Image {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared.Dir(t), "data", "nasty-images", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	img, err := photo.Decode(t.Context(), data, photo.DefaultLimits())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return img
}

// TestColours compares mean colours with those that Pillow 13 gives (transparency on
// white): an inverted CMYK, a wrong range or a lost alpha channel is off by dozens.
func TestColours(t *testing.T) {
	tests := []struct {
		name          string
		width, height int
		mean          [3]float64
	}{
		{"generated/cmyk.jpg", 96, 64, [3]float64{95.0, 94.5, 120.3}},
		{"go-std/video-001.cmyk.jpeg", 150, 103, [3]float64{96.4, 58.3, 50.5}},
		{"pillow/pil_sample_cmyk.jpg", 100, 100, [3]float64{30.2, 5.4, 7.4}},
		{"go-std/video-001.rgb.jpeg", 150, 103, [3]float64{144.6, 94.4, 70.5}},
		{"go-std/video-001.221212.jpeg", 150, 103, [3]float64{144.7, 94.6, 70.5}},
		{"go-std/video-005.gray.jpeg", 150, 103, [3]float64{125.6, 125.6, 125.6}},
		{"go-std/video-001.progressive.jpeg", 150, 103, [3]float64{144.8, 94.6, 70.3}},
		{"image-rs/png-16bpc-basn2c16.png", 32, 32, [3]float64{127.5, 127.5, 43.8}},
		{"image-rs/png-16bpc-basn6a16.png", 32, 32, [3]float64{215.2, 215.2, 195.2}},
		{"image-rs/png-16bpc-basi0g16.png", 32, 32, [3]float64{144.2, 144.2, 144.2}},
		{"libjpeg-turbo/monkey16.png", 149, 227, [3]float64{82.2, 98.5, 110.7}},
		{"pillow/hopper.webp", 128, 128, [3]float64{89.8, 80.1, 95.5}},
		{"pillow/transparent.webp", 200, 150, [3]float64{210.9, 202.7, 204.2}},
		{"image-rs/webp-lossless_2-color.webp", 300, 300, [3]float64{196.7, 188.3, 188.7}},
		{"pillow/hopper.gif", 128, 128, [3]float64{89.7, 80.1, 95.4}},
		{"pillow/l_trns.png", 64, 64, [3]float64{123.9, 123.9, 123.9}},
		{"image-rs/gif-anim-any-disposal.gif", 32, 32, [3]float64{255.0, 253.4, 228.2}},
		{"pillow/frame_size.mpo", 56, 70, [3]float64{137.2, 138.6, 135.1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			img := decodeNasty(t, test.name)
			if got := img.Bounds(); got != image.Rect(0, 0, test.width, test.height) {
				t.Errorf("bounds %v, want %dx%d", got, test.width, test.height)
			}
			got := mean(img)
			for c, want := range test.mean {
				if math.Abs(got[c]-want) > 1.5 {
					t.Errorf("mean colour %.1f, want %.1f", got, test.mean)
					break
				}
			}
		})
	}
}

// mean returns the mean of red, green and blue, 0 to 255.
func mean(img image.Image) (rgb [3]float64) {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)
			rgb[0] += float64(c.R)
			rgb[1] += float64(c.G)
			rgb[2] += float64(c.B)
		}
	}
	for c := range rgb {
		rgb[c] /= float64(b.Dx() * b.Dy())
	}
	return rgb
}

// yCCK are JPEGs of four inks in testdata, made by ycck.py there: as YCCK, without and with
// fewer samples of chroma.
var yCCK = []string{"ycck-420.jpg", "ycck.jpg"}

// TestYCCK compares with what libjpeg-turbo and Pillow read in the same files.
func TestYCCK(t *testing.T) {
	python, dir := shared.Pillow(t), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "ycck.py"), dir).CombinedOutput(); err != nil {
		t.Fatalf("ycck.py: %v\n%s", err, out)
	}
	for _, name := range yCCK {
		made, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(filepath.Join("testdata", name)); err != nil || !bytes.Equal(kept, made) {
			t.Errorf("%s is not what ycck.py makes, %v", name, err)
		}
		want, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(name, ".jpg")+".rgb"))
		if err != nil {
			t.Fatal(err)
		}
		img, err := photo.Decode(t.Context(), made, photo.DefaultLimits())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := img.(*image.RGBA)
		if 3*len(got.Pix) != 4*len(want) {
			t.Fatalf("%s: %v, want %d samples", name, got.Rect, len(want))
		}
		worst, sum := 0.0, 0.0
		for i, v := range want {
			d := math.Abs(float64(v) - float64(got.Pix[i/3*4+i%3]))
			worst, sum = max(worst, d), sum+d
		}
		t.Logf("%s: at most %.0f of 255 apart, %.2f in the mean", name, worst, sum/float64(len(want)))
		// Where chroma has fewer samples, libjpeg interpolates them.
		most := map[string]float64{"ycck-420.jpg": 12, "ycck.jpg": 1}[name]
		if worst > most {
			t.Errorf("%s: libjpeg-turbo is %.0f of 255 apart, want at most %.0f", name, worst, most)
		}
	}
}

// TestUpright turns one photo that is stored in all eight orientations: in JPEG (from
// a camera), and in WebP against JPEG.
func TestUpright(t *testing.T) {
	sets := [][]string{{"pillow/hopper.jpg", "pillow/hopper_orientation_6.webp"}, nil, {"pillow/hopper.jpg"}}
	for n := 1; n <= 8; n++ {
		sets[1] = append(sets[1], fmt.Sprintf("exif-orientation/Landscape_%d.jpg", n))
		if n > 1 {
			sets[2] = append(sets[2], fmt.Sprintf("pillow/hopper_orientation_%d.jpg", n))
		}
	}
	for _, set := range sets {
		want := thumbnail(decodeNasty(t, set[0]))
		for _, name := range set[1:] {
			if d := difference(want, thumbnail(decodeNasty(t, name))); d > 3 {
				t.Errorf("%s differs from %s by %.1f in the mean", name, set[0], d)
			}
		}
	}
}

func thumbnail(img image.Image) *image.NRGBA {
	size := img.Bounds().Size()
	return imaging.Resize(img, size.X/4, size.Y/4, imaging.Box)
}

// difference returns the mean difference of two pictures' samples; 255 when they are
// not of the same size.
func difference(a, b *image.NRGBA) float64 {
	if a.Rect != b.Rect {
		return 255
	}
	var sum float64
	for i := range a.Pix {
		sum += math.Abs(float64(a.Pix[i]) - float64(b.Pix[i]))
	}
	return sum / float64(len(a.Pix))
}

func encodePNG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestTransparencyIsWhite(t *testing.T) {
	straight := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	copy(straight.Pix, []uint8{100, 0, 200, 255, 100, 0, 200, 0, 100, 0, 200, 128})
	deep := image.NewNRGBA64(straight.Rect)
	draw.Draw(deep, deep.Rect, straight, image.Point{}, draw.Src)
	palette := image.NewPaletted(straight.Rect, color.Palette{straight.At(0, 0), straight.At(1, 0), straight.At(2, 0)})
	copy(palette.Pix, []uint8{0, 1, 2})
	want := []color.RGBA{{100, 0, 200, 255}, {255, 255, 255, 255}, {177, 127, 227, 255}}
	for _, img := range []image.Image{straight, deep, palette} {
		got, err := photo.Decode(t.Context(), encodePNG(t, img), photo.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		for x, want := range want {
			if got := color.RGBAModel.Convert(got.At(x, 0)); got != want {
				t.Errorf("%T, pixel %d: %v, want %v", img, x, got, want)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	data := encodePNG(t, image.NewNRGBA(image.Rect(0, 0, 300, 20)))
	tests := []struct {
		change func(*photo.Limits)
		reason string
	}{
		{func(l *photo.Limits) { l.Bytes = int64(len(data)) - 1 }, fmt.Sprintf("too many bytes: %d", len(data))},
		{func(l *photo.Limits) { l.Side = 299 }, "too long a side: 300x20"},
		{func(l *photo.Limits) { l.Pixels = 5999 }, "too many pixels: 300x20"},
		{func(l *photo.Limits) { l.Memory = 4 * 300 * 20 }, "too much memory to decode: 300x20 PNG"},
	}
	for _, test := range tests {
		limits := photo.DefaultLimits()
		test.change(&limits)
		_, err := photo.Open(data, limits)
		var rejection *photo.RejectedError
		if !errors.As(err, &rejection) || rejection.Reason != test.reason {
			t.Errorf("got %v, want %q", err, test.reason)
		}
	}
}

// TestWebPCanvas refuses a canvas that is larger than the picture on it: the decoder would allocate
// two gigabytes of transparency for a file of a kilobyte. Fuzzing found it.
func TestWebPCanvas(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(shared.Dir(t), "data", "nasty-images", "pillow", "transparent.webp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := photo.Open(data, photo.DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{24, 26, 27, 29} { // of the width and the height, 24 bits each
		data := bytes.Clone(data)
		data[at]++
		_, err := photo.Open(data, photo.DefaultLimits())
		var rejection *photo.RejectedError
		if !errors.As(err, &rejection) || rejection.Reason != "corrupt WebP" {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

// TestTruncated cuts a picture of every kind of JPEG at every byte.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"generated/jpeg-trailing-garbage.jpg", "image-rs/jpg-progressive-test.jpg", "go-std/video-001.restart2.jpeg"} {
		data, err := os.ReadFile(filepath.Join(shared.Dir(t), "data", "nasty-images", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		end := bytes.LastIndex(data, []byte("\xff\xd9")) + 2
		if _, err := photo.Decode(t.Context(), data[:end], photo.DefaultLimits()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := 2; n < end; n++ {
			_, err := photo.Open(data[:n], photo.DefaultLimits())
			var rejection *photo.RejectedError
			if !errors.As(err, &rejection) || rejection.Reason != "truncated" {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, end, err)
			}
		}
	}
}

// TestManyScans refuses what would keep a processor busy for hours: a progressive
// picture that goes over its blocks thousands of times.
func TestManyScans(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(shared.Dir(t), "data", "nasty-images", "image-rs", "jpg-progressive-test.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	scan := []byte{0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0x00}
	end := bytes.LastIndex(data, []byte("\xff\xd9"))
	data = append(data[:end:end], append(bytes.Repeat(scan, 200), 0xff, 0xd9)...)
	_, err = photo.Open(data, photo.DefaultLimits())
	var rejection *photo.RejectedError
	if !errors.As(err, &rejection) || rejection.Reason != "unsupported: JPEG of more than 100 scans" {
		t.Errorf("got %v", err)
	}
}

func TestDecodeEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	data := encodePNG(t, image.NewGray(image.Rect(0, 0, 9, 9)))
	if _, err := photo.Decode(ctx, data, photo.DefaultLimits()); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// FuzzDecode holds what callers rely on, for any bytes: an error is a rejection with a
// reason, a picture is opaque, of a promised type and of the size that its header said.
func FuzzDecode(f *testing.F) {
	limits := photo.Limits{Bytes: 1 << 16, Side: 512, Pixels: 1 << 16, Memory: 4 << 20}
	small := image.NewNRGBA(image.Rect(0, 0, 5, 3))
	small.Pix[3] = 200
	var j, p bytes.Buffer
	if err := errors.Join(jpeg.Encode(&j, small, nil), png.Encode(&p, small)); err != nil {
		f.Fatal(err)
	}
	f.Add(j.Bytes())
	f.Add(p.Bytes())
	dir, names := nastyFiles(f)
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	for _, name := range yCCK {
		names = append(names, filepath.Join("testdata", name))
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) <= 6<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := photo.Open(data, limits)
		if err != nil {
			wantReason(t, err)
			return
		}
		err = file.Cut(t.Context(), []photo.Cut{file.Fit(16)}, func(_ int, _ *image.YCbCr, damage error) error {
			if damage != nil {
				wantReason(t, damage)
			}
			return nil
		})
		if err != nil {
			wantReason(t, err)
		}
		img, err := file.Decode(t.Context())
		if err != nil {
			wantReason(t, err)
			return
		}
		if got := img.Bounds(); got != image.Rect(0, 0, file.Width, file.Height) {
			t.Errorf("bounds %v of a picture of %dx%d", got, file.Width, file.Height)
		}
		switch img := img.(type) {
		case *image.YCbCr, *image.Gray:
		case *image.RGBA:
			if !img.Opaque() {
				t.Error("not opaque")
			}
		case *image.Paletted:
			if len(img.Palette) != 256 || !img.Opaque() {
				t.Errorf("a palette of %d colours, opaque %t", len(img.Palette), img.Opaque())
			}
		default:
			t.Errorf("a %T", img)
		}
		imaging.Clone(file.Orientation.Turn(img)) // reads every pixel
	})
}

func wantReason(t *testing.T, err error) {
	t.Helper()
	var rejection *photo.RejectedError
	if !errors.As(err, &rejection) || rejection.Reason == "" {
		t.Errorf("got %#v, want a rejection with a reason", err)
	}
}

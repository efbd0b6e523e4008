package jpeg_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
)

// samples returns the files of testdata: pictures of 117×83 pixels in many kinds of JPEG,
// which Pillow 13 wrote.
func samples(tb testing.TB) map[string][]byte {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.jpg"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no samples: %v", err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".jpg")] = data
	}
	return all
}

func parse(tb testing.TB, data []byte) *jpeg.File {
	tb.Helper()
	f, err := jpeg.Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// whole needs all of each component.
func whole(f *jpeg.File, shrink int) []jpeg.Need {
	var needs []jpeg.Need
	for i, c := range f.Components {
		needs = append(needs, jpeg.Need{Component: i, Rect: image.Rect(0, 0, c.Width, c.Height), Shrink: shrink})
	}
	return needs
}

// plane copies what a need asked for, without what fills up blocks.
func plane(p *jpeg.Plane, n jpeg.Need) []byte {
	r := image.Rect(n.Rect.Min.X/n.Shrink, n.Rect.Min.Y/n.Shrink, (n.Rect.Max.X+n.Shrink-1)/n.Shrink, (n.Rect.Max.Y+n.Shrink-1)/n.Shrink)
	r = r.Intersect(image.Rectangle{Max: p.Size})
	var out []byte
	for y := r.Min.Y; y < r.Max.Y; y++ {
		at := (y-p.Rect.Min.Y)*p.Stride + r.Min.X - p.Rect.Min.X
		out = append(out, p.Pix[at:at+r.Dx()]...)
	}
	return out
}

// decode returns the samples of each need.
func decode(tb testing.TB, f *jpeg.File, needs []jpeg.Need) [][]byte {
	tb.Helper()
	planes, err := f.Decode(tb.Context(), needs)
	if err != nil {
		tb.Fatal(err)
	}
	defer planes.Release()
	var all [][]byte
	for _, n := range needs {
		all = append(all, plane(planes.Plane(n.Component, n.Shrink), n))
	}
	return all
}

// TestParts holds that a part is, to the byte, that part of the whole, whatever else is
// decoded with it.
func TestParts(t *testing.T) {
	for name, data := range samples(t) {
		t.Run(name, func(t *testing.T) {
			f := parse(t, data)
			wholes := map[int][][]byte{}
			for _, shrink := range []int{1, 2, 4, 8} {
				wholes[shrink] = decode(t, f, whole(f, shrink))
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				var needs []jpeg.Need
				for range 1 + random.IntN(5) {
					i := random.IntN(len(f.Components))
					c := &f.Components[i]
					x, y := random.IntN(c.Width), random.IntN(c.Height)
					r := image.Rect(x, y, x+1+random.IntN(c.Width-x), y+1+random.IntN(c.Height-y))
					needs = append(needs, jpeg.Need{Component: i, Rect: r, Shrink: 1 << random.IntN(4)})
				}
				for k, got := range decode(t, f, needs) {
					n := needs[k]
					c := &f.Components[n.Component]
					size := image.Pt((c.Width+n.Shrink-1)/n.Shrink, (c.Height+n.Shrink-1)/n.Shrink)
					full := &jpeg.Plane{Pix: wholes[n.Shrink][n.Component], Stride: size.X, Shrink: n.Shrink, Rect: image.Rectangle{Max: size}, Size: size}
					if want := plane(full, n); !bytes.Equal(got, want) {
						t.Fatalf("%+v differs from the whole, decoded with %+v", n, needs)
					}
				}
			}
		})
	}
}

// golden are digests of all samples at all scales, the same on every machine.
var golden = map[string]string{
	"420":                     "4a53ff05e16dbdef",
	"420-progressive":         "4a53ff05e16dbdef",
	"422-optimized":           "84de5bcb7bf9b74c",
	"444-progressive-restart": "d598d122dc5002a2",
	"444-restart":             "7ead924de3e33dad",
	"cmyk":                    "ffbc9c20d4ec617d",
	"encoded 100":             "f1cb70d527c760fa",
	"encoded 35":              "39813032655818f9",
	"encoded 90":              "a00f36c08468531d",
	"grey":                    "de5e1ec16b2642b7",
	"grey-progressive":        "141e3c15f9e50724",
	"rgb":                     "660f580d626c2580",
}

func TestGolden(t *testing.T) {
	got := map[string]string{}
	for name, data := range samples(t) {
		f := parse(t, data)
		h := sha256.New()
		for _, shrink := range []int{1, 2, 4, 8} {
			for _, p := range decode(t, f, whole(f, shrink)) {
				h.Write(p)
			}
		}
		got[name] = fmt.Sprintf("%x", h.Sum(nil)[:8])
	}
	for name, quality := range map[string]int{"encoded 90": 90, "encoded 35": 35, "encoded 100": 100} {
		data, err := jpeg.Encode(nil, picture(61, 47), quality)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = fmt.Sprintf("%x", sha256.Sum256(data))[:16]
	}
	if diff := cmp.Diff(golden, got); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
}

// picture is a picture with edges and gradients.
func picture(width, height int) *image.YCbCr {
	img := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio444)
	for y := range height {
		for x := range width {
			i := img.YOffset(x, y)
			img.Y[i], img.Cb[i], img.Cr[i] = uint8(x*3+y), uint8(128+(x*y>>3)%40), uint8(100+y)
			if (x/9+y/7)%3 == 0 {
				img.Y[i] = uint8(250 - x)
			}
		}
	}
	return img
}

func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/max(sum, 1e-9))
}

// TestStandardLibrary compares samples with those of package image/jpeg, which rounds
// otherwise.
func TestStandardLibrary(t *testing.T) {
	for _, name := range []string{"420", "420-progressive", "422-optimized", "444-restart", "444-progressive-restart", "grey", "grey-progressive"} {
		data := samples(t)[name]
		img, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		f := parse(t, data)
		needs := whole(f, 1)
		for i, got := range decode(t, f, needs) {
			var want []byte
			switch img := img.(type) {
			case *image.Gray:
				want = tight(img.Pix, img.Stride, needs[i].Rect)
			case *image.YCbCr:
				want = tight([][]byte{img.Y, img.Cb, img.Cr}[i], []int{img.YStride, img.CStride, img.CStride}[i], needs[i].Rect)
			}
			if p := psnr(want, got); p < 50 {
				t.Errorf("%s, component %d: %.1f dB from image/jpeg", name, i, p)
			}
		}
	}
}

func tight(pix []byte, stride int, r image.Rectangle) (out []byte) {
	for y := range r.Dy() {
		out = append(out, pix[y*stride:][:r.Dx()]...)
	}
	return out
}

// TestScales compares a scaled picture with the means of the samples of the whole.
func TestScales(t *testing.T) {
	for _, name := range []string{"420", "420-progressive", "grey"} {
		f := parse(t, samples(t)[name])
		full := decode(t, f, whole(f, 1))[0]
		for shrink, least := range map[int]float64{2: 27, 4: 27, 8: 45} {
			width, height := f.Width/shrink, f.Height/shrink
			var want []byte
			for y := range height {
				for x := range width {
					sum := 0
					for j := range shrink {
						for i := range shrink {
							sum += int(full[(y*shrink+j)*f.Width+x*shrink+i])
						}
					}
					want = append(want, byte((sum+shrink*shrink/2)/(shrink*shrink)))
				}
			}
			got := tight(decode(t, f, whole(f, shrink))[0], (f.Width+shrink-1)/shrink, image.Rect(0, 0, width, height))
			if p := psnr(want, got); p < least {
				t.Errorf("%s at 1/%d: %.1f dB from the means", name, shrink, p)
			}
		}
	}
}

// TestTruncated cuts files at every byte: what was decoded before the cut stays, and Parse
// knows that something is missing.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"420", "444-restart", "grey-progressive"} {
		data := samples(t)[name]
		whole := whole(parse(t, data), 1)
		want := decode(t, parse(t, data), whole)
		best := 0
		for n := 2; n < len(data); n++ {
			f, err := jpeg.Parse(data[:n])
			if err != nil {
				if !errors.Is(err, jpeg.ErrTruncated) {
					t.Fatalf("%s cut to %d bytes: %v", name, n, err)
				}
				continue
			}
			if !f.Truncated {
				t.Fatalf("%s cut to %d bytes is not truncated", name, n)
			}
			planes, err := f.Decode(t.Context(), whole[:1])
			if !errors.Is(err, jpeg.ErrTruncated) {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
			got := plane(planes.Plane(0, 1), whole[0])
			planes.Release()
			same := 0
			for same < len(got) && got[same] == want[0][same] {
				same++
			}
			best = max(best, same)
		}
		if best < len(want[0])*8/10 {
			t.Errorf("%s: at most %d of %d samples survive a cut", name, best, len(want[0]))
		}
	}
}

// TestManyTables refuses what would keep a processor busy with tables, or fill the memory
// with segments.
func TestManyTables(t *testing.T) {
	data := samples(t)["grey"]
	restart := bytes.Repeat([]byte{0xff, 0xdd, 0, 4, 0, 0}, 1<<20)
	_, err := jpeg.Parse(slices.Concat(data[:2], restart, data[2:]))
	var unsupported jpeg.UnsupportedError
	if !errors.As(err, &unsupported) {
		t.Errorf("a million segments: %v", err)
	}
	table := append([]byte{0, 1, 16: 0}, 0)
	segment := append([]byte{0xff, 0xc4, 0xff, 0x00}, bytes.Repeat(table, 0xfefe/len(table))...)
	segment = append(segment, make([]byte, 4+0xfefe-len(segment))...)
	f := parse(t, slices.Concat(data[:2], bytes.Repeat(segment, 100), data[2:]))
	if planes, err := f.Decode(t.Context(), whole(f, 1)); !errors.Is(err, jpeg.ErrCorrupt) {
		t.Errorf("hundreds of thousands of tables: %v", err)
	} else {
		planes.Release()
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	for name, data := range samples(t) {
		f := parse(t, data)
		if _, err := f.Decode(ctx, whole(f, 1)); !errors.Is(err, why) {
			t.Errorf("%s: got %v, want %v", name, err, why)
		}
	}
}

// TestRoundTrip encodes pictures of all small sizes and decodes them again.
func TestRoundTrip(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {7, 9}, {8, 8}, {15, 17}, {16, 16}, {33, 2}, {128, 96}} {
		img := picture(size.X, size.Y)
		data, err := jpeg.Encode(nil, img, 95)
		if err != nil {
			t.Fatal(err)
		}
		f := parse(t, data)
		if f.Truncated || f.Width != size.X || f.Height != size.Y || f.Model != jpeg.YCbCr {
			t.Errorf("%v came back as %dx%d", size, f.Width, f.Height)
		}
		got := decode(t, f, whole(f, 1))[0]
		if p := psnr(img.Y, got); p < 35 {
			t.Errorf("%v: %.1f dB", size, p)
		}
		if _, err := stdjpeg.Decode(bytes.NewReader(data)); err != nil {
			t.Errorf("%v: image/jpeg: %v", size, err)
		}
	}
	for _, bad := range []func() ([]byte, error){
		func() ([]byte, error) { return jpeg.Encode(nil, picture(0, 4), 90) },
		func() ([]byte, error) { return jpeg.Encode(nil, picture(4, 4), 0) },
		func() ([]byte, error) {
			return jpeg.Encode(nil, image.NewYCbCr(image.Rect(0, 0, 4, 4), image.YCbCrSubsampleRatio420), 90)
		},
	} {
		if _, err := bad(); err == nil {
			t.Error("something impossible was encoded")
		}
	}
}

// FuzzDecode holds that nothing panics (go test -fuzz FuzzDecode; what it found to be new ways
// through the code is in testdata/fuzz, thinned out), that a fault is one of those that are promised, and
// that a part of a sound picture is what the whole has there.
func FuzzDecode(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data, uint16(3), uint16(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, x, y uint16) {
		file, err := jpeg.Parse(data)
		if err != nil {
			wantFault(t, err)
			return
		}
		if file.Width*file.Height > 1<<18 || file.Width == 0 || file.Height == 0 {
			return
		}
		needs := whole(file, 1)
		planes, err := file.Decode(t.Context(), needs)
		if err != nil {
			wantFault(t, err)
			if planes != nil {
				planes.Release()
			}
			return
		}
		n := needs[0]
		all := plane(planes.Plane(0, 1), n)
		stride := n.Rect.Dx()
		planes.Release()
		n.Rect.Min = image.Pt(int(x)%n.Rect.Dx(), int(y)%n.Rect.Dy())
		part := []jpeg.Need{n, {Component: 0, Rect: n.Rect, Shrink: 4}}
		planes, err = file.Decode(t.Context(), part)
		if err != nil {
			t.Fatalf("the whole is sound, a part is not: %v", err)
		}
		defer planes.Release()
		want := tight(all[n.Rect.Min.Y*stride+n.Rect.Min.X:], stride, image.Rect(0, 0, n.Rect.Dx(), n.Rect.Dy()-1))
		if got := plane(planes.Plane(0, 1), n); !bytes.Equal(got[:len(want)], want) {
			t.Error("a part differs from the whole")
		}
	})
}

func wantFault(t *testing.T, err error) {
	t.Helper()
	var unsupported jpeg.UnsupportedError
	if !errors.Is(err, jpeg.ErrTruncated) && !errors.Is(err, jpeg.ErrCorrupt) && !errors.As(err, &unsupported) {
		t.Errorf("got %#v", err)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, side := range []int{128, 512} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			img := picture(side, side)
			b.SetBytes(int64(side * side))
			for b.Loop() {
				if _, err := jpeg.Encode(nil, img, 90); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

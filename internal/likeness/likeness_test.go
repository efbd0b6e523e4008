package likeness

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/disintegration/imaging"
	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sandwich-build/sandwich/internal/dice"
	"github.com/sandwich-build/sandwich/internal/drawing"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/shared"
)

// encoded is a picture after a JPEG encoder has been at it.
func encoded(img image.Image, quality int) image.Image {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		panic(err)
	}
	out, err := jpeg.Decode(&b)
	if err != nil {
		panic(err)
	}
	return out
}

// changes are what happens to copies of a photo.
var changes = []struct {
	name string
	make func(r *rand.Rand, img image.Image) image.Image
}{
	{"encoded", func(r *rand.Rand, img image.Image) image.Image { return encoded(img, 30+r.IntN(60)) }},
	{"resized", func(r *rand.Rand, img image.Image) image.Image { return encoded(resized(r, img), 80) }},
	{"cropped", func(r *rand.Rand, img image.Image) image.Image { return encoded(cropped(r, img), 80) }},
	{"recoloured", func(r *rand.Rand, img image.Image) image.Image { return encoded(recoloured(r, img), 80) }},
	{"all of it", func(r *rand.Rand, img image.Image) image.Image {
		return encoded(recoloured(r, cropped(r, resized(r, img))), 60)
	}},
}

// resized has from a quarter to five quarters of the size.
func resized(r *rand.Rand, img image.Image) image.Image {
	scale, size := 0.25+r.Float64(), img.Bounds().Size()
	return imaging.Resize(img, int(float64(size.X)*scale), int(float64(size.Y)*scale), imaging.Linear)
}

// cropped lacks up to a twentieth of the width on the left and on the right, and of the
// height above and below: up to a fifth of the area.
func cropped(r *rand.Rand, img image.Image) image.Image {
	b := img.Bounds()
	edge := func(n int) int { return int(r.Float64() * 0.05 * float64(n)) }
	return imaging.Crop(img, image.Rect(b.Min.X+edge(b.Dx()), b.Min.Y+edge(b.Dy()), b.Max.X-edge(b.Dx()), b.Max.Y-edge(b.Dy())))
}

// recoloured is grey, or of other hues, saturation, gamma or tint, and of another
// brightness and contrast.
func recoloured(r *rand.Rand, img image.Image) image.Image {
	switch r.IntN(5) {
	case 0:
		img = imaging.Grayscale(img)
	case 1:
		img = turnedHue(img, (2*r.Float64()-1)*40*math.Pi/180)
	case 2:
		img = imaging.AdjustSaturation(img, -80+130*r.Float64())
	case 3:
		img = imaging.AdjustGamma(img, 0.6+r.Float64())
	case 4:
		tint := [3]float64{0.75 + r.Float64()/2, 0.75 + r.Float64()/2, 0.75 + r.Float64()/2}
		img = imaging.AdjustFunc(img, func(c color.NRGBA) color.NRGBA {
			return color.NRGBA{clamp(float64(c.R) * tint[0]), clamp(float64(c.G) * tint[1]), clamp(float64(c.B) * tint[2]), 255}
		})
	}
	return imaging.AdjustContrast(imaging.AdjustBrightness(img, -20+40*r.Float64()), -25+50*r.Float64())
}

func turnedHue(img image.Image, by float64) image.Image {
	sin, cos := math.Sincos(by)
	return imaging.AdjustFunc(img, func(p color.NRGBA) color.NRGBA {
		y, cb, cr := color.RGBToYCbCr(p.R, p.G, p.B)
		u, v := float64(cb)-128, float64(cr)-128
		r, g, b := color.YCbCrToRGB(y, clamp(u*cos-v*sin+128), clamp(u*sin+v*cos+128))
		return color.NRGBA{r, g, b, 255}
	})
}

func clamp(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

// planted is a set of pictures some of which show the same.
type planted struct {
	pictures []Picture
	of       []int // the photo that each shows
	how      []string
}

// plant adds a photo and a copy of it for each change, if copies is set.
func (p *planted) plant(r *rand.Rand, n int, img image.Image, copies bool) {
	add := func(how string, img image.Image) {
		p.pictures = append(p.pictures, Picture{Name: fmt.Sprintf("%06d %s", n, how), Print: Of(img, img.Bounds(), photo.Upright)})
		p.of, p.how = append(p.of, n), append(p.how, how)
	}
	add("as it is", img)
	if copies {
		for _, c := range changes {
			add(c.name, c.make(r, img))
		}
	}
}

// check finds what was planted, and counts.
func (p *planted) check(t *testing.T) {
	t.Helper()
	links, err := Find(t.Context(), p.pictures, 2)
	if err != nil {
		t.Fatal(err)
	}
	groups := NewGroups(len(p.pictures))
	for _, l := range links {
		groups.Join(l.A, l.B)
		if p.of[l.A] != p.of[l.B] {
			t.Logf("wrong: %s is like %s, %.3f", p.pictures[l.A].Name, p.pictures[l.B].Name, l.Alike)
		}
	}
	// Pairs, which is what a leak is made of.
	var right, wrong, all int
	missed := map[string]int{}
	for i := range p.pictures {
		for j := range i {
			same, found := p.of[i] == p.of[j], groups.Same(i, j)
			switch {
			case same && found:
				right++
			case found:
				wrong++
			case same && p.how[j] == "as it is":
				missed[p.how[i]]++
			}
			if same {
				all++
			}
		}
	}
	recall, precision := float64(right)/float64(all), float64(right)/float64(right+wrong)
	t.Logf("%d pictures, %d pairs: recall %.4f, precision %.4f, missed %v", len(p.pictures), all, recall, precision, missed)
	if recall < 0.95 || precision < 0.99 {
		t.Errorf("recall %.4f and precision %.4f, want 0.95 and 0.99", recall, precision)
	}
}

// photosFor is how many photos are drawn: SANDWICH_LIKENESS_PHOTOS, or few.
func photosFor(t *testing.T) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("SANDWICH_LIKENESS_PHOTOS"), "60"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPlantedAmongDrawings plants copies of every third of photos that are much like each
// other: all show a table with bread on it.
func TestPlantedAmongDrawings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var p planted
	for i := range photosFor(t) {
		p.plant(r, i, drawing.Draw(dice.New(7).Fork("photo", i)).Image, i%3 == 0)
	}
	p.check(t)
}

// TestPlantedAmongPhotos does so among real ones.
func TestPlantedAmongPhotos(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(shared.Dir(t), "data", "openimages", "*", "*", "*.jpg"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d photos, %v", len(files), err)
	}
	if testing.Short() {
		files = files[:20]
	}
	r := rand.New(rand.NewPCG(3, 4))
	var p planted
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		img, err := photo.Decode(t.Context(), data, photo.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		p.plant(r, i, imaging.Fit(img, 256, 256, imaging.Box), i%5 == 0)
	}
	p.check(t)
}

// randomPrint is a print of a few soft spots.
func randomPrint(r *rand.Rand) *Print {
	img := image.NewGray(image.Rect(0, 0, 6, 6))
	for i := range img.Pix {
		img.Pix[i] = uint8(r.IntN(256))
	}
	return Of(imaging.Resize(img, 64, 64, imaging.CatmullRom), image.Rect(0, 0, 64, 64), photo.Upright)
}

// TestOrder holds that neither the order of the pictures nor the number of workers matters.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var pictures []Picture
	for i := range 300 {
		p := *randomPrint(r)
		for copies := range 1 + i%4 {
			for j := range p {
				p[j] = clamp(float64(p[j]) + float64(r.IntN(9)-4))
			}
			pictures = append(pictures, Picture{Name: fmt.Sprintf("%d-%d", i, copies), Bytes: fmt.Sprint(i, copies/2), Print: &p})
		}
	}
	find := func(workers int) []string {
		links, err := Find(t.Context(), pictures, workers)
		if err != nil {
			t.Fatal(err)
		}
		var named []string
		for _, l := range links {
			named = append(named, fmt.Sprintf("%s %s %v %.6f", pictures[l.A].Name, pictures[l.B].Name, l.Exact, l.Alike))
		}
		return named
	}
	want := find(1)
	if len(want) < 400 {
		t.Fatalf("%d links of 450", len(want))
	}
	for workers := range 4 {
		r.Shuffle(len(pictures), func(i, j int) { pictures[i], pictures[j] = pictures[j], pictures[i] })
		if diff := gocmp.Diff(want, find(1+3*workers)); diff != "" {
			t.Errorf("another order, %d workers (-want +got)\n%s", 1+3*workers, diff)
		}
	}
}

// TestIndex compares the index with looking at all hashes.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	hashes := make([]Hash, 3000)
	for i := range hashes {
		hashes[i] = Hash(r.Uint64())
		if i%10 > 0 { // a neighbour, at up to 16 bits; many then have a piece in common
			hashes[i] = hashes[i-1]
			for range i % 17 {
				hashes[i] ^= 1 << r.IntN(64)
			}
		}
	}
	x := newIndex(hashes)
	for i := 0; i < len(hashes)-views; i += views / 2 {
		given := [views]Hash(hashes[i:])
		type pair struct {
			number int32
			of     int
		}
		want, got := map[pair]int{}, map[pair]int{}
		for j, other := range hashes {
			for of, h := range given {
				if d := h.distance(other); d <= radius {
					want[pair{int32(j), of}] = d
				}
			}
		}
		x.within(&given, func(j int32, of, d int) { got[pair{j, of}] = d })
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("hashes from %d (-want +got)\n%s", i, diff)
		}
	}
}

// TestGroups joins at random, and compares with the plainest way.
func TestGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	g, colour := NewGroups(200), make([]int, 200)
	for i := range colour {
		colour[i] = i
	}
	for range 150 {
		i, j := r.IntN(200), r.IntN(200)
		from, to := colour[i], colour[j]
		if g.Join(i, j) != (from != to) {
			t.Fatalf("joining %d and %d", i, j)
		}
		for k := range colour {
			if colour[k] == from {
				colour[k] = to
			}
		}
	}
	for i := range colour {
		for j := range colour {
			if g.Same(i, j) != (colour[i] == colour[j]) {
				t.Fatalf("%d and %d", i, j)
			}
		}
	}
}

// TestFlat holds that empty pages are the same only when they are equal.
func TestFlat(t *testing.T) {
	var white, other Print
	for i := range white {
		white[i], other[i] = 250, uint8(250+i%2)
	}
	links, err := Find(t.Context(), []Picture{{Name: "a", Print: &white}, {Name: "b", Print: &other}, {Name: "c"}, {Name: "d", Bytes: "x"}, {Name: "e", Bytes: "x"}}, 1)
	if want := []Link{{A: 3, B: 4, Exact: true, Alike: 1}}; err != nil || !slices.Equal(links, want) {
		t.Errorf("%v, %v; want %v", links, err, want)
	}
	if alike, same := Like(&white, &other); same {
		t.Errorf("empty pages are alike, %v", alike)
	}
}

// TestHash pins the hashes: they must be the same on every machine.
func TestHash(t *testing.T) {
	p := randomPrint(rand.New(rand.NewPCG(11, 12)))
	h := p.hashes()
	if p.hash() != h[0] {
		t.Errorf("the hash of the whole is %016x, that of the first view %016x", p.hash(), h[0])
	}
	if got := fmt.Sprintf("%016x %016x", h[0], h[views-1]); got != "f335cefe4a4042ac 7a744fe34e4042ac" {
		t.Errorf("got %s", got)
	}
}

// BenchmarkFind compares 100,000 prints, of which each twentieth is a copy. They are made of
// real ones: two at a time are turned or mirrored and laid over each other, so that the result
// has of light and dark what photos have. What they were made of was decoded before.
func BenchmarkFind(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(shared.Dir(b), "data", "labelled", "cifar10-dev", "train", "*", "*.jpg"))
	if err != nil || len(files) < 5000 {
		b.Fatalf("%d pictures, %v", len(files), err)
	}
	var base []*Print
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		img, err := photo.Decode(b.Context(), data, photo.DefaultLimits())
		if err != nil {
			b.Fatal(err)
		}
		base = append(base, Of(img, img.Bounds(), photo.Upright))
	}
	r := rand.New(rand.NewPCG(13, 14))
	pictures := make([]Picture, 100_000)
	for i := range pictures {
		p := new(Print)
		if i%20 < 19 {
			one, other := turned(base[r.IntN(len(base))], r.IntN(8)), turned(base[r.IntN(len(base))], r.IntN(8))
			for j := range p {
				p[j] = uint8((int(one[j]) + int(other[j])) / 2)
			}
		} else {
			for j, v := range pictures[i-7].Print {
				p[j] = clamp(float64(v)*0.8 + float64(r.IntN(9)))
			}
		}
		pictures[i] = Picture{Name: fmt.Sprintf("%06d", i), Print: p}
	}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		links, err := Find(b.Context(), pictures, runtime.GOMAXPROCS(0))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(links)), "links")
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(used)/1e9/float64(b.N), "cpu-s/op")
}

// turned is a print, turned and mirrored in one of eight ways.
func turned(p *Print, how int) *Print {
	img := &image.Gray{Pix: p[:], Stride: side, Rect: image.Rect(0, 0, side, side)}
	return Of(img, img.Rect, photo.Orientation(how+1))
}

// BenchmarkOf makes the print of a photo of 1024×768 pixels that is decoded already.
func BenchmarkOf(b *testing.B) {
	img := image.NewYCbCr(image.Rect(0, 0, 1024, 768), image.YCbCrSubsampleRatio420)
	for b.Loop() {
		Of(img, img.Rect, photo.Upright)
	}
}

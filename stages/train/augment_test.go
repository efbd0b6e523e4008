package train

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

// testPixels is the picture that testdata/affine.json was made of.
func testPixels(side int) []byte {
	pixels := make([]byte, side*side*3)
	for i := range pixels {
		pixels[i] = byte(i*73 + 41*(i/3))
	}
	return pixels
}

// The golden values are those of keras-preprocessing 1.0.5's formulas, computed with
// scipy.ndimage.affine_transform (scipy 1.17, order=1, mode="nearest").
func TestTransformIsKeras(t *testing.T) {
	data, err := os.ReadFile("testdata/affine.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Side  int
		Cases []struct {
			Theta, Rows, Columns, Shear float64
			ZoomRows                    float64 `json:"zoom_rows"`
			ZoomColumns                 float64 `json:"zoom_columns"`
			Want                        []float64
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	g := augmenter{side: golden.Side}
	pixels := testPixels(golden.Side)
	for _, c := range golden.Cases {
		m := compose(c.Theta*math.Pi/180, c.Rows, c.Columns, c.Shear*math.Pi/180, c.ZoomRows, c.ZoomColumns, float64(golden.Side))
		got := make([]float32, len(pixels))
		g.transform(got, pixels, variant{turn: m, turned: true, light: 1, contrast: 1, saturation: 1})
		for i, want := range c.Want {
			if math.Abs(float64(got[i])-want) > 1e-5 {
				t.Errorf("theta %v, shift %v %v, shear %v, zoom %v %v: value %d is %v, want %v",
					c.Theta, c.Rows, c.Columns, c.Shear, c.ZoomRows, c.ZoomColumns, i, got[i], want)
				break
			}
		}
	}
}

func TestNoAugmentationLeavesPicturesAlone(t *testing.T) {
	g := augmenter{side: 6}
	pixels := testPixels(6)
	got := make([]float32, len(pixels))
	g.apply(got, pixels, random.New(random.Key{}))
	for i, p := range pixels {
		if want := float32(p) * (1.0 / 255); got[i] != want {
			t.Fatalf("value %d is %v, want %v", i, got[i], want)
		}
	}
}

func TestFlip(t *testing.T) {
	g := augmenter{side: 6, Augment: manifest.Augment{Flip: "horizontal"}}
	pixels := testPixels(6)
	plain, flipped := 0, 0
	for number := range 40 {
		got := make([]float32, len(pixels))
		g.apply(got, pixels, random.New(random.Key{Epoch: number}))
		switch {
		case got[0] == float32(pixels[0])*(1.0/255):
			plain++
		case got[0] == float32(pixels[5*3])*(1.0/255):
			flipped++
		}
	}
	if plain+flipped != 40 || plain < 10 || flipped < 10 {
		t.Errorf("of 40 pictures %d are plain and %d flipped", plain, flipped)
	}
}

func TestDrawsStayWithinTheirBounds(t *testing.T) {
	g := augmenter{side: 100, Augment: manifest.Augment{Rotation: 40, Shift: 0.2, Shear: 0.2, Zoom: 0.2, Flip: "none"}}
	pixels := make([]byte, 100*100*3)
	values := make([]float32, len(pixels))
	for number := range 200 {
		draws := random.New(random.Key{Stage: "bounds", Epoch: number})
		v := g.draw(draws)
		m := v.turn
		if v.flipX || v.flipY {
			t.Fatal("a picture was flipped though flip is none")
		}
		// The determinant is the product of both zooms, 0.64 … 1.44, and cos(shear).
		if det := m.a*m.d - m.b*m.c; det < 0.63 || det > 1.45 {
			t.Errorf("draw %d changes areas by %v", number, det)
		}
		if angle := math.Atan2(m.c, m.a) * 180 / math.Pi; math.Abs(angle) > 40 {
			t.Errorf("draw %d turns by %v degrees", number, angle)
		}
		g.apply(values, pixels, random.New(random.Key{Epoch: number}))
	}
	if slices.Max(values) != 0 {
		t.Error("a black picture became brighter")
	}
}

func TestVariantsDependOnTheKeyOnly(t *testing.T) {
	g := augmenter{side: 6, Augment: manifest.Augment{Rotation: 40, Shift: 0.2, Flip: "horizontal"}}
	pixels := testPixels(6)
	made := func(k random.Key) []float32 {
		values := make([]float32, len(pixels))
		g.apply(values, pixels, random.New(k))
		return values
	}
	key := random.Key{Seed: 1, Stage: "augment", Item: "a.jpg", Epoch: 2}
	other := key
	other.Epoch = 3
	if !slices.Equal(made(key), made(key)) || slices.Equal(made(key), made(other)) {
		t.Error("want the same variant for the same key, and another for another epoch")
	}
}

// still is a variant that changes nothing.
func still() variant { return variant{light: 1, contrast: 1, saturation: 1} }

func TestCropIsOfTheReflectedPicture(t *testing.T) {
	g := augmenter{side: 4}
	pixels := testPixels(4)
	v := still()
	v.down, v.right, v.flipY = -1, 2, true
	got := make([]float32, len(pixels))
	g.transform(got, pixels, v)
	rows, columns := []int{2, 3, 2, 1}, []int{2, 3, 2, 1} // upside down; from the third column on
	for row, y := range rows {
		for column, x := range columns {
			if want := float32(pixels[(y*4+x)*3]) * (1.0 / 255); got[(row*4+column)*3] != want {
				t.Errorf("pixel %d, %d is %v, want %v of %d, %d", row, column, got[(row*4+column)*3], want, y, x)
			}
		}
	}
}

// The values are those that torchvision's functional.adjust_… make of the same colours.
func TestColours(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(v *variant)
		of, want []float32
	}{
		"nothing":           {func(*variant) {}, []float32{0.1, 0.2, 0.3}, []float32{0.1, 0.2, 0.3}},
		"brightness":        {func(v *variant) { v.light = 1.5 }, []float32{0.2, 0.4, 0.8}, []float32{0.3, 0.6, 1}},
		"contrast":          {func(v *variant) { v.contrast = 0.5 }, []float32{0, 0, 0, 1, 1, 1}, []float32{0.25, 0.25, 0.25, 0.75, 0.75, 0.75}},
		"saturation":        {func(v *variant) { v.saturation = 0 }, []float32{1, 0, 0}, []float32{0.299, 0.299, 0.299}},
		"hue, red to green": {func(v *variant) { v.hue = 1. / 3 }, []float32{1, 0, 0}, []float32{0, 1, 0}},
		"hue, backwards":    {func(v *variant) { v.hue = -1. / 6 }, []float32{0.8, 0.2, 0.2}, []float32{0.8, 0.2, 0.8}},
		"hue of blue":       {func(v *variant) { v.hue = 0.5 }, []float32{0.1, 0.2, 0.7}, []float32{0.7, 0.6, 0.1}},
		"hue of grey":       {func(v *variant) { v.hue = 0.5 }, []float32{0.4, 0.4, 0.4}, []float32{0.4, 0.4, 0.4}},
	} {
		v := still()
		test.change(&v)
		got := slices.Clone(test.of)
		v.colour(got)
		for i := range got {
			if math.Abs(float64(got[i]-test.want[i])) > 1e-6 {
				t.Errorf("%s: %v becomes %v, want %v", name, test.of, got, test.want)
				break
			}
		}
	}
}

func TestCutout(t *testing.T) {
	g := augmenter{side: 8, Augment: manifest.Augment{Cutout: 0.5}}
	holes := make(map[int]bool)
	for number := range 30 {
		got := make([]float32, 8*8*3)
		g.apply(got, make([]byte, len(got)), random.New(random.Key{Epoch: number}))
		count := 0
		for _, x := range got {
			if x == 0.5 {
				count++
			}
		}
		if count > 4*4*3 || count < 2*2*3 {
			t.Errorf("%d values are cut out", count)
		}
		holes[count] = true
	}
	if !holes[4*4*3] || len(holes) < 3 {
		t.Errorf("holes of %v values: want whole ones and some at the edge", holes)
	}
}

func TestMixupAndLabels(t *testing.T) {
	n, err := model.New([]manifest.Layer{{Flatten: &manifest.Flatten{}}}, 2, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	a := &album{labels: []int{0, 1, 1}, rows: make([]cropfile.Assignment, 3), kept: [][]byte{make([]byte, 12), bytes.Repeat([]byte{255}, 12), bytes.Repeat([]byte{51}, 12)}}
	for i := range a.rows {
		a.rows[i].Path = string(rune('a' + i))
	}
	m := manifest.Model{Batch: 3, Smoothing: 0.1, ClassWeights: manifest.ClassWeights{Name: "balanced"}}
	prepare := func() *neural.Batch {
		b, err := newFeeder(n, a, newCourse(0, 3, 3), Params{Model: m, Labels: n.Labels()}, 2).prepare(t.Context(), 1, []int{0, 1, 2})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := prepare()
	if want := []float32{0.95, 0.05, 0.05, 0.95, 0.05, 0.95}; !near(plain.Targets, want) {
		t.Errorf("targets %v, want %v", plain.Targets, want)
	}
	if want := []float32{0.5, 0.25, 0.25}; !near(plain.Shares, want) { // 3 / (2 · count) / 3
		t.Errorf("shares %v, want %v", plain.Shares, want)
	}
	m.Augment.Mixup = 0.5
	mixed := prepare()
	for row := range 3 {
		next := (row + 1) % 3
		// The share that the pictures tell of is the targets' and the shares' too.
		x, y := plain.Picture(row)[0], plain.Picture(next)[0]
		share := (mixed.Picture(row)[0] - y) / (x - y)
		if share < 0 || share > 1 {
			t.Fatalf("picture %d is mixed by %v", row, share)
		}
		want := []float32{share*plain.Target(row)[0] + (1-share)*plain.Target(next)[0], share*plain.Target(row)[1] + (1-share)*plain.Target(next)[1], share*plain.Shares[row] + (1-share)*plain.Shares[next]}
		if got := append(slices.Clone(mixed.Target(row)), mixed.Shares[row]); !near(got, want) {
			t.Errorf("picture %d: targets and share %v, want %v", row, got, want)
		}
	}
}

func near(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x-y)) < 1e-5 })
}

// The mean of a beta distribution with equal parameters is ½, its variance 1 / (4 · (2a + 1)).
func TestBeta(t *testing.T) {
	for _, a := range []float64{0.2, 1} {
		var sum, squares float64
		const n = 4000
		for i := range n {
			x := beta(random.New(random.Key{Stage: "beta", Epoch: i}), a)
			sum, squares = sum+x, squares+x*x
		}
		mean := sum / n
		if variance, want := squares/n-mean*mean, 1/(4*(2*a+1)); math.Abs(mean-0.5) > 0.03 || math.Abs(variance-want) > 0.1*want {
			t.Errorf("a = %v: mean %v, variance %v, want ½ and %v", a, mean, variance, want)
		}
	}
}

func BenchmarkAugment128(b *testing.B) {
	g := augmenter{side: 128, Augment: manifest.Augment{Rotation: 40, Shift: 0.2, Shear: 0.2, Zoom: 0.2, Flip: "horizontal"}}
	pixels, values := testPixels(128), make([]float32, 128*128*3)
	for i := 0; b.Loop(); i++ {
		g.apply(values, pixels, random.New(random.Key{Epoch: i}))
	}
}

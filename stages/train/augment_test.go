package train

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

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
		g.transform(got, pixels, m, false)
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
		m, flip := g.draw(draws)
		if flip {
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
	variant := func(k random.Key) []float32 {
		values := make([]float32, len(pixels))
		g.apply(values, pixels, random.New(k))
		return values
	}
	key := random.Key{Seed: 1, Stage: "augment", Item: "a.jpg", Epoch: 2}
	other := key
	other.Epoch = 3
	if !slices.Equal(variant(key), variant(key)) || slices.Equal(variant(key), variant(other)) {
		t.Error("want the same variant for the same key, and another for another epoch")
	}
}

package model

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/manifest"
)

func tinyModel(tb testing.TB) *Model {
	tb.Helper()
	layers := []manifest.Layer{conv(2, 3, "same"), pool(2), dropout(0.25), flatten(), dense(3)}
	n := mustNew(tb, layers, 4, twoLabels)
	return &Model{Network: n, Input: Preparation{Shape: Stretch, Resize: CatmullRom}, Weights: n.Initial(5), Counts: Counts{Train: 8, Validation: 1, Epochs: 3, BestEpoch: 2}}
}

func encode(tb testing.TB, m *Model) (desc, weights []byte) {
	tb.Helper()
	desc, weights, err := m.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return desc, weights
}

const tinyDescription = `{
  "version": 2,
  "labels": [
    "Hamburger",
    "Sandwich"
  ],
  "input": {
    "height": 4,
    "width": 4,
    "channels": 3,
    "shape": "stretch",
    "resize": "catmull-rom",
    "scale": 0.00392156862745098
  },
  "layers": [
    {
      "conv": {
        "filters": 2,
        "kernel": 3,
        "stride": 1,
        "padding": "same",
        "dilation": 1,
        "groups": 1,
        "bias": true,
        "activation": "relu"
      }
    },
    {
      "max_pool": {
        "size": 2,
        "stride": 0,
        "padding": "valid"
      }
    },
    {
      "dropout": {
        "rate": 0.25
      }
    },
    {
      "flatten": {}
    },
    {
      "dense": {
        "units": 3,
        "activation": "relu"
      }
    }
  ],
  "output": "sigmoid",
  "parameters": 87,
  "trained": {
    "train": 8,
    "validation": 1,
    "epochs": 3,
    "best_epoch": 2
  }
}
`

func TestDescriptionBytes(t *testing.T) {
	desc, _ := encode(t, tinyModel(t))
	if diff := cmp.Diff(tinyDescription, string(desc)); diff != "" {
		t.Errorf("model.json (-want +got):\n%s", diff)
	}
}

func TestLoad(t *testing.T) {
	m := tinyModel(t)
	desc, weights := encode(t, m)
	loaded, err := Load(t.Context(), fstest.MapFS{DescriptionFile: {Data: desc}, WeightsFile: {Data: weights}})
	if err != nil {
		t.Fatal(err)
	}
	desc2, weights2 := encode(t, loaded)
	if !bytes.Equal(desc, desc2) || !bytes.Equal(weights, weights2) {
		t.Error("a model that is loaded and encoded again has other bytes")
	}
}

func TestLoadRefuses(t *testing.T) {
	desc, weights := encode(t, tinyModel(t))
	replace := func(old, new string) []byte {
		if !bytes.Contains(desc, []byte(old)) {
			t.Fatalf("model.json has no %q", old)
		}
		return bytes.Replace(desc, []byte(old), []byte(new), 1)
	}
	nan := tinyModel(t)
	nan.Weights[0].Data[1] = float32(math.NaN())
	_, nanWeights := encode(t, nan)
	missing := tinyModel(t)
	missing.Weights = missing.Weights[1:]
	_, missingWeights := encode(t, missing)
	extra := tinyModel(t)
	extra.Weights = append(extra.Weights, Tensor{Name: "more", Dims: []int{0}})
	_, extraWeights := encode(t, extra)

	tests := map[string]struct {
		desc, weights []byte
		want          string
	}{
		"another version":    {replace(`"version": 2`, `"version": 1`), weights, "version 1"},
		"unknown field":      {replace(`"version": 2`, `"version": 2, "x": 1`), weights, "unknown field"},
		"not JSON":           {[]byte("x"), weights, "model.json"},
		"more JSON":          {append(bytes.Clone(desc), "{}"...), weights, "something stands after"},
		"long":               {append(bytes.Clone(desc), make([]byte, maxDescription)...), weights, "longer than"},
		"not square":         {replace(`"width": 4`, `"width": 5`), weights, "want a square"},
		"shape":              {replace(`"stretch"`, `"wide"`), weights, `unknown shape "wide"`},
		"filter":             {replace(`"catmull-rom"`, `"lanczos"`), weights, `unknown resize "lanczos"`},
		"layer":              {replace(`"units": 3`, `"units": 0`), weights, "layer 5: want 1 to"},
		"output":             {replace(`"sigmoid"`, `"softmax"`), weights, "want output sigmoid"},
		"parameters":         {replace(`"parameters": 87`, `"parameters": 86`), weights, "87 parameters"},
		"NaN":                {desc, nanWeights, "conv1/kernel holds NaN"},
		"missing weights":    {desc, missingWeights, "conv1/kernel is missing"},
		"weights too many":   {desc, extraWeights, `no "more"`},
		"weights of another": {replace(`"units": 3`, `"units": 4`), weights, "parameters"},
		"cut weights":        {desc, weights[:len(weights)-1], "model.safetensors"},
		"padded weights":     {desc, append(bytes.Clone(weights), make([]byte, 2<<20)...), "longer than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(t.Context(), fstest.MapFS{DescriptionFile: {Data: test.desc}, WeightsFile: {Data: test.weights}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := Load(t.Context(), fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of an empty folder: error %v, want fs.ErrNotExist", err)
	}
}

func FuzzDecode(f *testing.F) {
	desc, weights := encode(f, tinyModel(f))
	f.Add(desc, weights)
	f.Add([]byte(strings.Replace(string(desc), `"filters": 2`, `"filters": 65536`, 1)), weights)
	f.Fuzz(func(t *testing.T, desc, weights []byte) {
		m, err := Decode(desc, weights)
		if err != nil {
			return
		}
		desc2, weights2, err := m.Encode()
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		if _, err := Decode(desc2, weights2); err != nil {
			t.Fatalf("decode what was encoded: %v\n%s", err, desc2)
		}
	})
}

func TestPixels(t *testing.T) {
	white, black := color.Gray{Y: 255}, color.Gray{}
	wide := image.NewGray(image.Rect(10, 10, 18, 14)) // white in the middle, black on both sides
	for y := 10; y < 14; y++ {
		for x := 12; x < 16; x++ {
			wide.Set(x, y, white)
		}
	}
	rows := func(pixels []byte, side int) string {
		var b strings.Builder
		for i := 0; i < len(pixels); i += 3 {
			switch {
			case pixels[i] != pixels[i+1] || pixels[i] != pixels[i+2]:
				b.WriteByte('?')
			case pixels[i] > 127:
				b.WriteByte('#')
			default:
				b.WriteByte('.')
			}
			if i/3%side == side-1 {
				b.WriteByte('\n')
			}
		}
		return b.String()
	}
	for shape, want := range map[Shape]string{
		Stretch:   ".##.\n.##.\n.##.\n.##.\n",
		Letterbox: "....\n.##.\n.##.\n....\n",
	} {
		pixels, err := Preparation{shape, CatmullRom}.Pixels(wide, 4)
		if err != nil {
			t.Fatal(err)
		}
		if got := rows(pixels, 4); got != want {
			t.Errorf("%s:\n%swant:\n%s", shape, got, want)
		}
	}

	exact := image.NewRGBA(image.Rect(0, 0, 2, 1))
	exact.Set(0, 0, color.NRGBA{R: 10, G: 20, B: 30, A: 255})
	exact.Set(1, 0, black)
	tall := image.NewRGBA(image.Rect(0, 0, 1, 2000))
	if pixels, err := (Preparation{Letterbox, Bilinear}).Pixels(tall, 3); err != nil || len(pixels) != 27 {
		t.Errorf("a very narrow picture: %d pixels, error %v", len(pixels)/3, err)
	}
	one := exact.SubImage(image.Rect(0, 0, 1, 1))
	if pixels, err := (Preparation{Stretch, CatmullRom}).Pixels(one, 1); err != nil || !bytes.Equal(pixels, []byte{10, 20, 30}) {
		t.Errorf("a picture of the right size: %v, %v", pixels, err)
	}
	for _, bad := range []struct {
		input Preparation
		img   image.Image
	}{{Preparation{Stretch, Nearest}, image.NewGray(image.Rectangle{})}, {Preparation{"wide", CatmullRom}, wide}, {Preparation{Stretch, "lanczos"}, wide}} {
		if _, err := bad.input.Pixels(bad.img, 4); err == nil {
			t.Errorf("%q of %v: no error", bad.input, bad.img.Bounds())
		}
	}
}

// The values are those of skimage.transform.resize(…, mode="edge", anti_aliasing=False),
// rounded, and of Pillow's NEAREST.
func TestResize(t *testing.T) {
	grey := func(width int, values ...byte) image.Image {
		img := image.NewGray(image.Rect(0, 0, width, len(values)/width))
		img.Pix = values
		return img
	}
	for name, test := range map[string]struct {
		resize Resize
		img    image.Image
		side   int
		want   []byte
	}{
		"bilinear, smaller":   {Bilinear, grey(4, 0, 40, 80, 120, 0, 40, 80, 120, 200, 200, 200, 200, 100, 100, 100, 100), 2, []byte{20, 100, 150, 150}},
		"bilinear, skipping":  {Bilinear, grey(5, 10, 20, 30, 40, 50), 1, []byte{30}},
		"bilinear, larger":    {Bilinear, grey(2, 0, 100, 0, 100), 4, []byte{0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100}},
		"nearest, smaller":    {Nearest, grey(3, 1, 2, 3, 4, 5, 6, 7, 8, 9), 2, []byte{1, 3, 7, 9}},
		"nearest, stretching": {Nearest, grey(4, 1, 2, 3, 4), 2, []byte{2, 4, 2, 4}},
	} {
		pixels, err := (Preparation{Stretch, test.resize}).Pixels(test.img, test.side)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range test.want {
			if pixels[3*i] != want {
				t.Errorf("%s: value %d of %v is %d, want %d", name, i, test.want, pixels[3*i], want)
			}
		}
	}
}

func TestScale(t *testing.T) {
	values := make([]float32, 3)
	Scale(values, []byte{0, 128, 255})
	if got := fmt.Sprint(values); got != "[0 0.5019608 1]" {
		t.Errorf("Scale = %s", got)
	}
}

func TestLargest(t *testing.T) {
	for want, p := range map[int][]float32{0: {0.5, 0.5}, 1: {0.1, 0.8, 0.1}, 2: {0.1, 0.2, 0.7}} {
		if got := Largest(p); got != want {
			t.Errorf("Largest(%v) = %d, want %d", p, got, want)
		}
	}
}

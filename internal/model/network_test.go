package model

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/manifest"
)

func conv(filters, kernel int, padding string) manifest.Layer {
	return manifest.Layer{Conv: &manifest.Conv{Filters: filters, Kernel: kernel, Stride: 1, Padding: padding, Dilation: 1, Groups: 1, Bias: true, Activation: "relu"}}
}

func pool(size int) manifest.Layer {
	return manifest.Layer{MaxPool: &manifest.Pool{Size: size, Padding: "valid"}}
}

func flatten() manifest.Layer { return manifest.Layer{Flatten: &manifest.Flatten{}} }

func dense(units int) manifest.Layer {
	return manifest.Layer{Dense: &manifest.Dense{Units: units, Activation: "relu"}}
}

func dropout(rate float64) manifest.Layer {
	return manifest.Layer{Dropout: &manifest.Dropout{Rate: rate}}
}

func block(layers ...manifest.Layer) manifest.Layer {
	return manifest.Layer{Residual: &manifest.Residual{Layers: layers, Activation: "none"}}
}

// article is the network of spec/original-pipeline.md 1.4.
func article() []manifest.Layer {
	return []manifest.Layer{
		conv(32, 3, "valid"), pool(2),
		conv(32, 3, "valid"), pool(2),
		conv(64, 3, "valid"), pool(2),
		flatten(), dense(64), dropout(0.5),
	}
}

var (
	twoLabels   = []string{"Hamburger", "Sandwich"}
	threeLabels = []string{"Hamburger", "Hot dog", "Sandwich"}
)

func mustNew(tb testing.TB, layers []manifest.Layer, side int, labels []string) *Network {
	tb.Helper()
	n, err := New(layers, side, labels)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestArticle(t *testing.T) {
	n := mustNew(t, article(), 128, twoLabels)
	if got, want := n.ParameterCount(), 831_585; got != want {
		t.Errorf("the article's network has %d parameters, want %d", got, want)
	}
	sizes := make(map[string]int)
	for _, p := range n.Parameters() {
		layer, _, _ := strings.Cut(p.Name, "/")
		sizes[layer] += p.Size()
	}
	want := map[string]int{"conv1": 896, "conv2": 9_248, "conv3": 18_496, "dense1": 802_880, "output": 65}
	if diff := cmp.Diff(want, sizes); diff != "" {
		t.Errorf("parameters of each layer (-want +got):\n%s", diff)
	}
	if got := mustNew(t, article(), 128, threeLabels).ParameterCount(); got != 831_585+130 {
		t.Errorf("with three labels: %d parameters", got)
	}
	if diff := cmp.Diff(article(), n.Described()); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		layers []manifest.Layer
		side   int
		labels []string
		want   string
	}{
		{"no side", article(), 0, twoLabels, "input: want a side"},
		{"one label", article(), 128, []string{"Sandwich"}, "labels: want 2"},
		{"unsorted labels", article(), 128, []string{"Sandwich", "Hamburger"}, "sorted and distinct"},
		{"equal labels", article(), 128, []string{"a", "a"}, "sorted and distinct"},
		{"too small", article(), 16, twoLabels, "layer 5: nothing is left of the picture, which is 2×2 pixels here"},
		{"pool too small", []manifest.Layer{pool(9)}, 8, twoLabels, "layer 1: nothing is left of the picture"},
		{"dense on a picture", []manifest.Layer{dense(4)}, 8, twoLabels, "layer 1: the layer reads a vector"},
		{"picture at the end", []manifest.Layer{conv(4, 3, "same")}, 8, twoLabels, "output layer: the layer reads a vector"},
		{"conv on a vector", []manifest.Layer{flatten(), conv(4, 3, "same")}, 8, twoLabels, "layer 2: the layer reads a picture"},
		{"pool on a vector", []manifest.Layer{flatten(), pool(2)}, 8, twoLabels, "layer 2: the layer reads a picture"},
		{"padding", []manifest.Layer{conv(4, 3, "full")}, 8, twoLabels, `want padding valid or same, got "full"`},
		{"dropout", []manifest.Layer{dropout(1)}, 8, twoLabels, "layer 1: want a rate"},
		{"NaN dropout", []manifest.Layer{dropout(math.NaN())}, 8, twoLabels, "layer 1: want a rate"},
		{"nothing", []manifest.Layer{{}}, 8, twoLabels, "exactly one sort of layer, got 0"},
		{"two at once", []manifest.Layer{{Flatten: &manifest.Flatten{}, Dropout: &manifest.Dropout{}}}, 8, twoLabels, "exactly one sort of layer, got 2"},
		{"norm", []manifest.Layer{{BatchNorm: &manifest.BatchNorm{Momentum: 1, Epsilon: 1}}}, 8, twoLabels, "layer 1: want a momentum"},
		{"activation", []manifest.Layer{{Activation: &manifest.Activation{Name: "x"}}}, 8, twoLabels, `unknown activation "x"`},
		{"global pool", []manifest.Layer{{GlobalPool: &manifest.GlobalPool{Of: "sum"}}}, 8, twoLabels, "want global_pool average or max"},
		{"empty block", []manifest.Layer{{Residual: &manifest.Residual{Activation: "relu"}}}, 8, twoLabels, "want at least one layer"},
		{"deep blocks", []manifest.Layer{block(block(block(block(block(conv(3, 3, "same"))))))}, 8, twoLabels, "residual blocks within 4 residual blocks"},
		{"no filters", []manifest.Layer{conv(0, 3, "same")}, 8, twoLabels, "filters"},
		{"no kernel", []manifest.Layer{conv(1, 0, "same")}, 8, twoLabels, "kernel"},
		{"no units", []manifest.Layer{flatten(), dense(0)}, 8, twoLabels, "units"},
		{"huge layer", []manifest.Layer{conv(1<<16, 1, "same")}, 4096, twoLabels, "above the limit"},
		{"huge network", []manifest.Layer{flatten(), dense(1 << 16)}, 1024, twoLabels, "parameters, the limit is"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.layers, test.side, test.labels)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New: error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestInitialIsGlorotUniform(t *testing.T) {
	n := mustNew(t, article(), 128, twoLabels)
	limits := map[string]float64{
		"conv1/kernel":  math.Sqrt(6.0 / (9*3 + 9*32)),
		"conv2/kernel":  math.Sqrt(6.0 / (9*32 + 9*32)),
		"conv3/kernel":  math.Sqrt(6.0 / (9*32 + 9*64)),
		"dense1/kernel": math.Sqrt(6.0 / (12544 + 64)),
		"output/kernel": math.Sqrt(6.0 / (64 + 1)),
	}
	for _, w := range n.Initial(42) {
		limit, kernel := limits[w.Name]
		var largest, squares float64
		for _, v := range w.Data {
			largest = math.Max(largest, math.Abs(float64(v)))
			squares += float64(v) * float64(v)
		}
		if !kernel {
			if largest != 0 {
				t.Errorf("%s does not start at 0", w.Name)
			}
			continue
		}
		if largest > limit || largest < 0.9*limit {
			t.Errorf("%s: largest value %v, want just below %v", w.Name, largest, limit)
		}
		// A uniform variable on ±limit has a variance of limit²/3.
		if len(w.Data) > 500 {
			if ratio := squares / float64(len(w.Data)) / (limit * limit / 3); math.Abs(ratio-1) > 0.15 {
				t.Errorf("%s: variance is %.2f of what it should be", w.Name, ratio)
			}
		}
	}
	small := mustNew(t, []manifest.Layer{conv(4, 3, "same"), flatten()}, 4, twoLabels)
	again, other := small.Initial(42)[0].Data, small.Initial(43)[0].Data
	if first := small.Initial(42)[0].Data; !slices.Equal(first, again) || slices.Equal(first, other) {
		t.Error("want the same weights for the same seed, and others for another")
	}
}

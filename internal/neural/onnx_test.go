package neural

import (
	"bytes"
	"encoding/binary"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

// findONNXRuntime returns a Python with the ONNX Runtime that .ci/run installs. Where it is
// missing the test is skipped, but fails in CI.
func findONNXRuntime(t *testing.T) string {
	t.Helper()
	python := os.Getenv("SANDWICH_ONNXRUNTIME")
	if cache, err := os.UserCacheDir(); python == "" && err == nil {
		python = filepath.Join(cache, "sandwich-ci", "onnxruntime-1.30.0", "bin", "python")
	}
	if _, err := os.Stat(python); err == nil {
		return python
	}
	const hint = "ONNX Runtime is not installed; set SANDWICH_ONNXRUNTIME to the python of a virtual environment with onnxruntime==1.30.0"
	if os.Getenv("CI") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

// TestONNXRuntimeAgrees compares the probabilities of every sort of layer with those that
// ONNX Runtime computes from the exported model.
func TestONNXRuntimeAgrees(t *testing.T) {
	python := findONNXRuntime(t)
	dir := t.TempDir()
	list := networks(t)
	list["article"] = network(t, manifest.ArticleLayers(), 32, twoLabels)
	list["slider"] = network(t, manifest.SliderLayers(), 21, threeLabels)
	want := make(map[string][][]float32)
	for name, n := range list {
		name = strings.ReplaceAll(name, " ", "-")
		m := &model.Model{Network: n, Input: model.Preparation{Shape: model.Stretch, Resize: model.CatmullRom}, Weights: weights(n)}
		encoded, err := m.ONNX()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := m.ONNX(); err != nil || !bytes.Equal(encoded, again) {
			t.Errorf("%s: exported again, the model has other bytes (%v)", name, err)
		}
		pictures, pixels := drawn(n.Side(), 3)
		p, err := NewPredictor(m, Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		want[name], err = p.Predict(t.Context(), pictures)
		p.Close()
		if err != nil {
			t.Fatal(err)
		}
		for suffix, data := range map[string][]byte{".onnx": encoded, ".pixels": pixels} {
			if err := os.WriteFile(filepath.Join(dir, name+suffix), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out, err := exec.CommandContext(t.Context(), python, "testdata/run_onnx.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("run_onnx.py: %v\n%s", err, out)
	}
	for name, pictures := range want {
		data, err := os.ReadFile(filepath.Join(dir, name+".probabilities"))
		if err != nil {
			t.Fatal(err)
		}
		for _, probabilities := range pictures {
			for _, p := range probabilities {
				got := math.Float32frombits(binary.LittleEndian.Uint32(data))
				if data = data[4:]; math.Abs(float64(got-p)) > 1e-5 {
					t.Errorf("%s: ONNX Runtime says %v, want %v", name, got, p)
				}
			}
		}
	}
}

// drawn draws pictures, and returns their pixels too.
func drawn(side, count int) (pictures []image.Image, pixels []byte) {
	draws := random.New(random.Key{Stage: "pictures", Epoch: side})
	for range count {
		img := image.NewNRGBA(image.Rect(0, 0, side, side))
		for i := range img.Pix {
			img.Pix[i] = 255
			if i%4 < 3 {
				img.Pix[i] = uint8(draws.Uint32())
				pixels = append(pixels, img.Pix[i])
			}
		}
		pictures = append(pictures, img)
	}
	return pictures, pixels
}

package train

import (
	"math"
	"testing"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
)

// The sequence was computed by hand, with a learning rate of 0.1 and a decay of 0.9:
//
//	g =  2:  a = 0.1·4             = 0.4     w = 1       - 0.2/√0.4     = 0.6837722…
//	g = -1:  a = 0.36  + 0.1·1     = 0.46    w = 0.68377 + 0.1/√0.46    = 0.8312141…
//	g =  0:  a = 0.414             = 0.414   w           unchanged
//	g =  3:  a = 0.3726 + 0.1·9    = 1.2726  w = 0.83121 - 0.3/√1.2726  = 0.5652801…
func TestRMSpropIsKeras(t *testing.T) {
	weights := []model.Tensor{{Name: "w", Dims: []int{1}, Data: []float32{1}}}
	o := newRMSprop(manifest.Optimizer{Name: "rmsprop", LearningRate: 0.1, Rho: 0.9, Epsilon: 1e-7}, weights)
	for i, step := range []struct{ gradient, want float64 }{
		{2, 1 - 0.2/math.Sqrt(0.4)},
		{-1, 0.68377223 + 0.1/math.Sqrt(0.46)},
		{0, 0.83121416},
		{3, 0.83121416 - 0.3/math.Sqrt(1.2726)},
	} {
		o.update(weights, []model.Tensor{{Name: "w", Data: []float32{float32(step.gradient)}}})
		if got := float64(weights[0].Data[0]); math.Abs(got-step.want) > 1e-6 {
			t.Errorf("after step %d: %v, want %v", i+1, got, step.want)
		}
	}
}

// Epsilon stands outside of the root: a first gradient of 1e-7 has a root of 3.16e-8,
// beside which 1e-7 is large.
func TestRMSpropEpsilonIsOutsideOfTheRoot(t *testing.T) {
	weights := []model.Tensor{{Name: "w", Dims: []int{1}, Data: []float32{0}}}
	o := newRMSprop(manifest.Optimizer{LearningRate: 1, Rho: 0.9, Epsilon: 1e-7}, weights)
	o.update(weights, []model.Tensor{{Name: "w", Data: []float32{1e-7}}})
	want := -1e-7 / (math.Sqrt(0.1)*1e-7 + 1e-7)
	if got := float64(weights[0].Data[0]); math.Abs(got-want) > 1e-4 {
		t.Errorf("first step %v, want %v", got, want)
	}
}

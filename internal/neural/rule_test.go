package neural

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/sandwich-build/sandwich/manifest"
)

// follow applies a rule to one weight, step by step, and returns it after each step.
func follow(t *testing.T, o manifest.Optimizer, start float32, gradients ...float32) []float32 {
	t.Helper()
	r, err := newRule(o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Finalize()
	exec, err := graph.NewExec(d.Backend, func(in []*graph.Node) []*graph.Node {
		slots := in[3:]
		weight := r.update(in[0], in[1], slots, split(in[2]))
		return append([]*graph.Node{weight}, slots...)
	})
	if err != nil {
		t.Fatal(err)
	}
	state := []*tensors.Tensor{tensors.FromValue(start)}
	for range r.slots {
		state = append(state, tensors.FromValue(float32(0)))
	}
	var weights []float32
	for i, g := range gradients {
		args := []any{state[0], g, r.settings(o.LearningRate, i+1)}
		for _, s := range state[1:] {
			args = append(args, s)
		}
		if state, err = exec.Call(args...); err != nil {
			t.Fatal(err)
		}
		weights = append(weights, tensors.ToScalar[float32](state[0]))
	}
	return weights
}

func checkSteps(t *testing.T, got []float32, want ...float64) {
	t.Helper()
	for i, w := range want {
		if math.Abs(float64(got[i])-w) > 1e-6*max(1, math.Abs(w)) {
			t.Errorf("after step %d: %v, want %v", i+1, got[i], w)
		}
	}
}

// The sequence was computed by hand, with a learning rate of 0.1 and a decay of 0.9:
//
//	g =  2:  a = 0.1·4             = 0.4     w = 1       - 0.2/√0.4     = 0.6837722…
//	g = -1:  a = 0.36  + 0.1·1     = 0.46    w = 0.68377 + 0.1/√0.46    = 0.8312141…
//	g =  0:  a = 0.414             = 0.414   w           unchanged
//	g =  3:  a = 0.3726 + 0.1·9    = 1.2726  w = 0.83121 - 0.3/√1.2726  = 0.5652801…
func TestRMSpropIsKeras(t *testing.T) {
	o := manifest.Optimizer{Name: "rmsprop", LearningRate: 0.1, Rho: 0.9, Epsilon: 1e-7}
	checkSteps(t, follow(t, o, 1, 2, -1, 0, 3),
		1-0.2/math.Sqrt(0.4), 0.68377223+0.1/math.Sqrt(0.46), 0.83121416, 0.83121416-0.3/math.Sqrt(1.2726))
}

// Epsilon stands outside of the root: a first gradient of 1e-7 has a root of 3.16e-8,
// beside which 1e-7 is large.
func TestRMSpropEpsilonIsOutsideOfTheRoot(t *testing.T) {
	got := follow(t, manifest.Optimizer{Name: "rmsprop", LearningRate: 1, Rho: 0.9, Epsilon: 1e-7}, 0, 1e-7)
	if want := -1e-7 / (math.Sqrt(0.1)*1e-7 + 1e-7); math.Abs(float64(got[0])-want) > 1e-4 {
		t.Errorf("first step %v, want %v", got[0], want)
	}
}

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
		weight := r.update(in[0], r.clip(in[1:2])[0], slots, split(in[2]), true)
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
		if math.Abs(float64(got[i])-w) > 3e-6*max(1, math.Abs(w)) {
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

// The numbers are those of PyTorch 1.13 in float64, for a weight of 1 and these gradients:
//
//	w = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
//	o = torch.optim.SGD([w], lr=.1, …); for g in (2, -1, 0, 3): w.grad = …; o.step()
func TestRulesArePyTorchs(t *testing.T) {
	for name, test := range map[string]struct {
		o    manifest.Optimizer
		want []float64
	}{
		"sgd":      {manifest.Optimizer{Name: "sgd", LearningRate: 0.1}, []float64{0.8, 0.9, 0.9, 0.6}},
		"momentum": {manifest.Optimizer{Name: "sgd", LearningRate: 0.1, Momentum: 0.9, WeightDecay: 0.01}, []float64{0.799, 0.717301, 0.643054599, 0.275589783501}},
		"nesterov": {manifest.Optimizer{Name: "sgd", LearningRate: 0.1, Momentum: 0.9, Nesterov: true}, []float64{0.62, 0.648, 0.5832, -0.04512}},
		"adam": {
			manifest.Optimizer{Name: "adam", LearningRate: 0.1, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7, WeightDecay: 0.01},
			[]float64{0.9000000049751241, 0.8728271890532336, 0.8515736573591534, 0.7945554694480971},
		},
		"adamw": {
			manifest.Optimizer{Name: "adamw", LearningRate: 0.1, Beta1: 0.8, Beta2: 0.99, Epsilon: 1e-7, WeightDecay: 0.1},
			[]float64{0.8900000049999998, 0.8599863014853664, 0.8360868947995067, 0.7666061928014573},
		},
		// clip_grad_norm_ makes 5 into 2 - 4e-7.
		"clipped": {manifest.Optimizer{Name: "sgd", LearningRate: 1, ClipNorm: 2}, []float64{-1, 0, 0, -2}},
	} {
		t.Run(name, func(t *testing.T) {
			gradients := []float32{2, -1, 0, 3}
			if name == "clipped" {
				gradients[0] = 5
			}
			checkSteps(t, follow(t, test.o, 1, gradients...), test.want...)
		})
	}
}

// All gradients together are clipped, and kernels alone decay.
func TestClipIsGlobal(t *testing.T) {
	r, err := newRule(manifest.Optimizer{Name: "sgd", LearningRate: 1, ClipNorm: 1})
	if err != nil {
		t.Fatal(err)
	}
	exec, err := graph.NewExec(trainer(t, network(t, []manifest.Layer{flatten()}, 2, twoLabels), r, nil, Options{}).device.Backend,
		func(a, b *graph.Node) []*graph.Node { return r.clip([]*graph.Node{a, b}) })
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call([]float32{3, 0}, float32(4))
	if err != nil {
		t.Fatal(err)
	}
	if got := tensors.MustCopyFlatData[float32](out[0])[0]; math.Abs(float64(got)-0.6) > 1e-6 {
		t.Errorf("3 beside 4 is clipped to %v, want 0.6", got)
	}
}

func TestKernelsAloneDecay(t *testing.T) {
	n := network(t, []manifest.Layer{norm(), flatten()}, 2, twoLabels)
	r, err := newRule(manifest.Optimizer{Name: "sgd", LearningRate: 1, WeightDecay: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	before := weights(n)
	tr := trainer(t, n, r, before, Options{})
	b := batch(n, 2)
	clear(b.Shares) // the gradients are 0
	if _, err := tr.Step(b, 1); err != nil {
		t.Fatal(err)
	}
	after, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range n.Parameters() {
		want := before[i].Data[0]
		if p.FanIn > 0 {
			want /= 2
		}
		if got := after[i].Data[0]; got != want && !p.Moves {
			t.Errorf("%s: %v becomes %v, want %v", p.Name, before[i].Data[0], got, want)
		}
	}
}

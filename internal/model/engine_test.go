package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

// examples draws pictures and labels.
func examples(n *Network, count int) []Example {
	list := make([]Example, count)
	for i := range list {
		key := random.Key{Seed: 7, Stage: "test", Item: fmt.Sprint(i)}
		draws := random.New(key)
		picture := make([]float32, n.pixels())
		for j := range picture {
			picture[j] = float32(draws.Float64())
		}
		list[i] = Example{
			Label: draws.Intn(len(n.labels)),
			Draws: key,
			Fill:  func(dst []float32) error { copy(dst, picture); return nil },
		}
	}
	return list
}

// startEngine returns an engine with initial weights, biases drawn too so that they
// are tested, and the weights.
func startEngine(tb testing.TB, n *Network, workers int) (*Engine, []Tensor) {
	tb.Helper()
	e, err := NewEngine(n, workers)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.Close)
	weights := n.Initial(1)
	draws := random.New(random.Key{Stage: "biases"})
	for _, w := range weights {
		if len(w.Dims) == 1 {
			for i := range w.Data {
				w.Data[i] = float32(draws.Uniform(-0.2, 0.2))
			}
		}
	}
	if err := e.SetWeights(weights); err != nil {
		tb.Fatal(err)
	}
	return e, weights
}

// reference computes the class scores of one picture in float64, by the definition of
// each layer. masks are those of the dropout layers, nil for inference.
func reference(n *Network, weights []Tensor, picture []float64, masks [][]float64) []float64 {
	x := picture
	for _, l := range n.layers {
		switch {
		case l.Conv != nil:
			x = referenceConv(l, weights[l.kernel].Data, weights[l.kernel+1].Data, x)
		case l.MaxPool != nil:
			x = referencePool(l, x)
		case l.Dense != nil:
			y := make([]float64, l.out[0])
			for o := range y {
				y[o] = float64(weights[l.kernel+1].Data[o])
				for i, v := range x {
					y[o] += v * float64(weights[l.kernel].Data[i*len(y)+o])
				}
				y[o] = referenceActivation(l.Dense.Activation, y[o])
			}
			x = y
		case l.Dropout != nil && masks != nil:
			y := make([]float64, len(x))
			for i := range x {
				y[i] = x[i] * masks[0][i]
			}
			x, masks = y, masks[1:]
		}
	}
	return x
}

func referenceActivation(name string, v float64) float64 {
	if name == "relu" {
		return max(v, 0)
	}
	return v
}

func referenceConv(l layer, kernel, bias []float32, x []float64) []float64 {
	k, in := l.Conv.Kernel, l.in[2]
	before := 0
	if l.Conv.Padding == "same" {
		before = (k - 1) / 2
	}
	var out []float64
	for row := range l.out[0] {
		for column := range l.out[1] {
			for filter := range l.out[2] {
				sum := float64(bias[filter])
				for i := range k {
					for j := range k {
						r, c := row+i-before, column+j-before
						if r < 0 || c < 0 || r >= l.in[0] || c >= l.in[1] {
							continue
						}
						for d := range in {
							sum += x[(r*l.in[1]+c)*in+d] * float64(kernel[((i*k+j)*in+d)*l.out[2]+filter])
						}
					}
				}
				out = append(out, referenceActivation(l.Conv.Activation, sum))
			}
		}
	}
	return out
}

func referencePool(l layer, x []float64) []float64 {
	var out []float64
	s := l.MaxPool.Size
	for row := range l.out[0] {
		for column := range l.out[1] {
			for channel := range l.out[2] {
				largest := math.Inf(-1)
				for i := range s {
					for j := range s {
						largest = max(largest, x[((row*s+i)*l.in[1]+column*s+j)*l.in[2]+channel])
					}
				}
				out = append(out, largest)
			}
		}
	}
	return out
}

// networks covers every layer, padding, odd sizes, and both sorts of output.
func networks(tb testing.TB) map[string]*Network {
	linear := manifest.Layer{Conv: &manifest.Conv{Filters: 3, Kernel: 2, Padding: "same", Activation: "none"}}
	return map[string]*Network{
		"two labels":   mustNew(tb, []manifest.Layer{conv(3, 3, "valid"), pool(2), conv(4, 3, "same"), flatten(), dense(5), dropout(0.3)}, 9, twoLabels),
		"three labels": mustNew(tb, []manifest.Layer{linear, pool(3), conv(4, 2, "valid"), dropout(0.5), flatten(), dropout(0.1)}, 8, threeLabels),
		"linear":       mustNew(tb, []manifest.Layer{flatten()}, 2, twoLabels),
		"pools":        mustNew(tb, []manifest.Layer{pool(1), pool(2), pool(2), flatten()}, 7, threeLabels),
	}
}

func TestInferMatchesTheDefinition(t *testing.T) {
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			e, weights := startEngine(t, n, 2)
			list := examples(n, 2*chunk+1)
			got, err := e.Infer(t.Context(), list)
			if err != nil {
				t.Fatal(err)
			}
			var loss float64
			for i, example := range list {
				logits := reference(n, weights, pictureOf(n, example), nil)
				want, l := probabilities(referenceScores(logits), example.Label)
				loss += l / float64(len(list))
				for j := range want {
					if math.Abs(float64(want[j]-got.Probabilities[i][j])) > 1e-5 {
						t.Errorf("picture %d: probabilities %v, want %v", i, got.Probabilities[i], want)
						break
					}
				}
			}
			if math.Abs(loss-got.Loss) > 1e-5 {
				t.Errorf("loss %v, want %v", got.Loss, loss)
			}
		})
	}
}

func pictureOf(n *Network, example Example) []float64 {
	values := make([]float32, n.pixels())
	_ = example.Fill(values) // these pictures are in memory
	picture := make([]float64, len(values))
	for i, v := range values {
		picture[i] = float64(v)
	}
	return picture
}

func referenceScores(logits []float64) []float64 {
	if len(logits) == 1 {
		return []float64{0, logits[0]}
	}
	return logits
}

// The gradients are compared with difference quotients of the definition, dropout
// masks included.
func TestGradientMatchesDifferenceQuotients(t *testing.T) {
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			e, weights := startEngine(t, n, 2)
			batch := examples(n, chunk+2)
			step, err := e.Gradient(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			loss := func() float64 {
				sum := 0.0
				for _, example := range batch {
					logits := reference(n, weights, pictureOf(n, example), referenceMasks(n, example))
					_, l := probabilities(referenceScores(logits), example.Label)
					sum += l / float64(len(batch))
				}
				return sum
			}
			if want := loss(); math.Abs(step.Loss-want) > 1e-5 {
				t.Errorf("loss %v, want %v", step.Loss, want)
			}
			draws := random.New(random.Key{Stage: "probe"})
			for i, w := range weights {
				for range min(8, len(w.Data)) {
					j := draws.Intn(len(w.Data))
					const h = 1.0 / (1 << 16) // small enough to cross few kinks of ReLU
					saved := w.Data[j]
					w.Data[j] = saved + h
					up, high := loss(), float64(w.Data[j])
					w.Data[j] = saved - h
					down, low := loss(), float64(w.Data[j])
					w.Data[j] = saved
					want := (up - down) / (high - low)
					if got := float64(step.Gradients[i].Data[j]); math.Abs(got-want) > 1e-4 {
						t.Errorf("gradient of %s[%d] = %v, want %v", w.Name, j, got, want)
					}
				}
			}
		})
	}
}

// referenceMasks draws the masks of an example as its documentation says.
func referenceMasks(n *Network, example Example) [][]float64 {
	masks := [][]float64{}
	for _, l := range n.layers {
		if l.Dropout == nil {
			continue
		}
		key := example.Draws
		key.Stage = "dropout/" + l.name
		draws := random.New(key)
		mask := make([]float64, product(l.in))
		for i := range mask {
			if draws.Float64() >= l.Dropout.Rate {
				mask[i] = 1 / (1 - l.Dropout.Rate)
			}
		}
		masks = append(masks, mask)
	}
	return masks
}

// A black picture with biases of 0 has every logit and every activation at exactly 0,
// where the usual formulas have no derivative.
func TestGradientAtZero(t *testing.T) {
	n := mustNew(t, []manifest.Layer{conv(2, 3, "same"), flatten(), dense(3)}, 4, twoLabels)
	e, err := NewEngine(n, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.SetWeights(n.Initial(1)); err != nil {
		t.Fatal(err)
	}
	black := Example{Label: 1, Fill: func(dst []float32) error { clear(dst); return nil }}
	step, err := e.Gradient(t.Context(), []Example{black})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range step.Gradients {
		// The sigmoid of 0 is ½, so the output's bias is to go up by ½; ReLU at 0
		// passes nothing on.
		want := make([]float32, len(g.Data))
		if g.Name == "output/bias" {
			want[0] = -0.5
		}
		for i, v := range g.Data {
			if v != want[i] {
				t.Errorf("gradient of %s = %v, want %v", g.Name, g.Data, want)
				break
			}
		}
	}
}

func TestResultsDoNotDependOnWorkersOrCores(t *testing.T) {
	n := mustNew(t, []manifest.Layer{conv(8, 3, "valid"), pool(2), conv(8, 3, "same"), flatten(), dense(64), dropout(0.5)}, 24, threeLabels)
	batch := examples(n, 5*chunk+3)
	run := func(workers, cores int) (step Step, outcome Outcome) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		e, _ := startEngine(t, n, workers)
		step, err := e.Gradient(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		outcome, err = e.Infer(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		return step, outcome
	}
	wantStep, wantOutcome := run(1, 1)
	for _, setting := range []struct{ workers, cores int }{{1, 2}, {2, 1}, {2, 2}, {8, 2}, {3, 8}} {
		step, outcome := run(setting.workers, setting.cores)
		if diff := cmp.Diff(wantStep, step); diff != "" {
			t.Errorf("%+v: another training step (-one worker +these):\n%s", setting, diff)
		}
		if diff := cmp.Diff(wantOutcome, outcome); diff != "" {
			t.Errorf("%+v: other probabilities (-one worker +these):\n%s", setting, diff)
		}
	}
}

func TestEngineStops(t *testing.T) {
	n := mustNew(t, []manifest.Layer{flatten()}, 2, twoLabels)
	e, _ := startEngine(t, n, 2)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	batch := examples(n, 10*chunk)
	started := 0
	batch[chunk].Fill = func([]float32) error { started++; cancel(cause); return nil }
	if _, err := e.Gradient(ctx, batch); !errors.Is(err, cause) {
		t.Errorf("Gradient after its context ended: error %v, want %v", err, cause)
	}
	if _, err := e.Infer(ctx, batch); !errors.Is(err, cause) {
		t.Errorf("Infer after its context ended: error %v, want %v", err, cause)
	}
	if started != 1 {
		t.Errorf("the picture was filled %d times, want once", started)
	}

	broken := errors.New("no such picture")
	batch[3].Fill = func([]float32) error { return broken }
	if _, err := e.Gradient(t.Context(), batch); !errors.Is(err, broken) {
		t.Errorf("Gradient with a broken picture: error %v, want %v", err, broken)
	}
	if _, err := e.Gradient(t.Context(), nil); err == nil {
		t.Error("Gradient of an empty batch: no error")
	}
	if out, err := e.Infer(t.Context(), nil); err != nil || len(out.Probabilities) != 0 {
		t.Errorf("Infer of nothing = %v, %v", out, err)
	}
}

func TestLargest(t *testing.T) {
	for want, p := range map[int][]float32{0: {0.5, 0.5}, 1: {0.1, 0.8, 0.1}, 2: {0.1, 0.2, 0.7}} {
		if got := Largest(p); got != want {
			t.Errorf("Largest(%v) = %d, want %d", p, got, want)
		}
	}
}

func benchmarkNetwork(b *testing.B, layers []manifest.Layer, side, batch int) {
	n := mustNew(b, layers, side, twoLabels)
	e, _ := startEngine(b, n, runtime.GOMAXPROCS(0))
	list := examples(n, batch)
	b.Run("train", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Gradient(b.Context(), list); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "images/s")
	})
	b.Run("infer", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Infer(b.Context(), list); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "images/s")
	})
}

func BenchmarkSmall32(b *testing.B) {
	benchmarkNetwork(b, []manifest.Layer{conv(8, 3, "valid"), pool(2), conv(16, 3, "valid"), pool(2), flatten(), dense(32)}, 32, 16)
}

func BenchmarkArticle128(b *testing.B) { benchmarkNetwork(b, article(), 128, 16) }

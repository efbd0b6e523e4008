package neural

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

var (
	twoLabels   = []string{"Hamburger", "Sandwich"}
	threeLabels = []string{"Hamburger", "Hot dog", "Sandwich"}
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

func norm() manifest.Layer {
	return manifest.Layer{BatchNorm: &manifest.BatchNorm{Momentum: 0.9, Epsilon: 1e-3}}
}

func network(tb testing.TB, layers []manifest.Layer, side int, labels []string) *model.Network {
	tb.Helper()
	n, err := model.New(layers, side, labels)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// batch draws pictures, labels and masks.
func batch(n *model.Network, rows int) *Batch {
	b := NewBatch(n, rows)
	for row := range rows {
		key := random.Key{Seed: 7, Stage: "test", Item: fmt.Sprint(row)}
		draws := random.New(key)
		for j := range b.Picture(row) {
			b.Picture(row)[j] = float32(draws.Float64())
		}
		b.Target(row)[draws.Intn(len(n.Labels()))] = 1
		b.Shares[row] = 1 / float32(rows)
		b.DrawMasks(n, row, key)
	}
	return b
}

// examples are the pictures of a batch, each with its label.
func examples(b *Batch) []Example {
	list := make([]Example, b.Rows)
	for row := range list {
		list[row] = Example{Label: model.Largest(b.Target(row)), Fill: func(picture []float32) error {
			copy(picture, b.Picture(row))
			return nil
		}}
	}
	return list
}

// weights are initial ones, with everything else drawn too so that it is tested.
func weights(n *model.Network) []model.Tensor {
	list := n.Initial(1)
	draws := random.New(random.Key{Stage: "biases"})
	for _, w := range list {
		if len(w.Dims) == 1 {
			for i := range w.Data {
				w.Data[i] += float32(draws.Uniform(-0.2, 0.2))
			}
		}
	}
	return list
}

// descent subtracts the gradient from the weight.
var descent = rule{
	settings: only,
	update: func(weight, gradient *graph.Node, _, settings []*graph.Node, _ bool) *graph.Node {
		return graph.Sub(weight, graph.Mul(settings[0], gradient))
	},
}

func trainer(tb testing.TB, n *model.Network, r rule, w []model.Tensor, o Options) *Trainer {
	tb.Helper()
	d, err := open(o)
	if err != nil {
		tb.Fatal(err)
	}
	t := &Trainer{network: n, device: d, rule: r, inputs: make(map[int]*inputs)}
	tb.Cleanup(t.Close)
	if err := t.prepare(w); err != nil {
		tb.Fatal(err)
	}
	return t
}

func referenceScores(logits []float64) []float64 {
	if len(logits) == 1 {
		return []float64{0, logits[0]}
	}
	return logits
}

func TestMeasureMatchesTheDefinition(t *testing.T) {
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			w := weights(n)
			b := batch(n, block+3)
			score, err := trainer(t, n, descent, w, Options{Workers: 2}).Measure(t.Context(), examples(b))
			if err != nil {
				t.Fatal(err)
			}
			want := Score{}
			for row, logits := range logits(n, w, b, false) {
				scores := referenceScores(logits)
				want.Loss += crossEntropy(scores, b.Target(row)) / float64(b.Rows)
				if model.Largest(probabilities(scores)) == model.Largest(b.Target(row)) {
					want.Correct++
				}
			}
			if math.Abs(score.Loss-want.Loss) > 1e-5 || score.Correct != want.Correct {
				t.Errorf("score %+v, want %+v", score, want)
			}
		})
	}
}

// The gradients are compared with difference quotients of the definition, dropout
// masks included.
func TestGradientMatchesDifferenceQuotients(t *testing.T) {
	for name, n := range networks(t) {
		t.Run(name, func(t *testing.T) {
			w := weights(n)
			b := batch(n, 5)
			// Targets that are mixed and pictures that count unequally.
			b.Target(1)[0], b.Target(1)[1] = 0.3, 0.7
			clear(b.Target(1)[2:])
			b.Shares[2] *= 3
			tr := trainer(t, n, descent, w, Options{Workers: 2})
			score, err := tr.Step(b, 1)
			if err != nil {
				t.Fatal(err)
			}
			after, err := tr.Weights()
			if err != nil {
				t.Fatal(err)
			}
			loss := func() float64 {
				sum := 0.0
				for row, logits := range logits(n, w, b, true) {
					sum += float64(b.Shares[row]) * crossEntropy(referenceScores(logits), b.Target(row))
				}
				return sum
			}
			if want := loss(); math.Abs(score.Loss-want) > 1e-5 {
				t.Errorf("loss %v, want %v", score.Loss, want)
			}
			draws := random.New(random.Key{Stage: "probe"})
			for i, p := range w {
				for range min(8, len(p.Data)) {
					if n.Parameters()[i].Moves {
						break
					}
					j := draws.Intn(len(p.Data))
					const h = 1.0 / (1 << 16) // small enough to cross few kinks of ReLU
					saved := p.Data[j]
					p.Data[j] = saved + h
					up, high := loss(), float64(p.Data[j])
					p.Data[j] = saved - h
					down, low := loss(), float64(p.Data[j])
					p.Data[j] = saved
					want := (up - down) / (high - low)
					if got := float64(saved - after[i].Data[j]); math.Abs(got-want) > 2e-4 {
						t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, j, got, want)
					}
				}
			}
		})
	}
}

// The moving averages are of the batch's mean and of its variance with n - 1.
func TestMovingAverages(t *testing.T) {
	n := network(t, []manifest.Layer{norm(), flatten()}, 3, twoLabels)
	w := weights(n)
	b := batch(n, 4)
	tr := trainer(t, n, descent, w, Options{})
	if _, err := tr.Step(b, 0); err != nil {
		t.Fatal(err)
	}
	after, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	var x [][]float64
	for row := range b.Rows {
		x = append(x, wide(b.Picture(row)))
	}
	for channel := range 3 {
		mean, variance := moments(x, channel, 3)
		values := float64(b.Rows * 9)
		for i, want := range map[int]float64{2: mean, 3: variance * values / (values - 1)} {
			want = 0.9*float64(w[i].Data[channel]) + 0.1*want
			if got := float64(after[i].Data[channel]); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s[%d] = %v, want %v", w[i].Name, channel, got, want)
			}
		}
	}
}

func TestDropoutMasks(t *testing.T) {
	n := network(t, []manifest.Layer{dropout(0.25), flatten(), dropout(0)}, 20, twoLabels)
	b := batch(n, 2)
	if got, want := len(b.Masks), 2; got != want {
		t.Fatalf("%d masks, want %d", got, want)
	}
	zeros := 0
	for _, v := range b.Masks[0] {
		if v == 0 {
			zeros++
		} else if v != 1/float32(0.75) {
			t.Fatalf("a mask holds %v", v)
		}
	}
	if share := float64(zeros) / float64(len(b.Masks[0])); share < 0.22 || share > 0.28 {
		t.Errorf("%.3f of the values are dropped, want 0.25", share)
	}
	if slices.Contains(b.Masks[1], 0) {
		t.Error("a rate of 0 drops something")
	}
	half := len(b.Masks[0]) / 2
	if slices.Equal(b.Masks[0][:half], b.Masks[0][half:]) {
		t.Error("two pictures have the same mask")
	}
}

// A black picture with biases of 0 has every logit and every activation at exactly 0,
// where the usual formulas have no derivative.
func TestGradientAtZero(t *testing.T) {
	n := network(t, []manifest.Layer{conv(2, 3, "same"), flatten(), dense(3)}, 4, twoLabels)
	before := n.Initial(1)
	tr := trainer(t, n, descent, before, Options{})
	b := NewBatch(n, 1)
	b.Target(0)[1], b.Shares[0] = 1, 1
	if _, err := tr.Step(b, 1); err != nil {
		t.Fatal(err)
	}
	after, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range after {
		// The sigmoid of 0 is ½, so the output's bias goes up by ½; ReLU at 0 passes
		// nothing on.
		want := slices.Clone(before[i].Data)
		if w.Name == "output/bias" {
			want[0] = 0.5
		}
		if !slices.Equal(w.Data, want) {
			t.Errorf("%s = %v, want %v", w.Name, w.Data, want)
		}
	}
}

// steps trains for a few steps, the last of which is smaller, and returns the weights and
// the score before the last.
func steps(t *testing.T, n *model.Network, o Options, rows int) ([]model.Tensor, Score) {
	t.Helper()
	r, err := newRule(manifest.Optimizer{Name: "rmsprop", LearningRate: 0.01, Rho: 0.9, Epsilon: 1e-7})
	if err != nil {
		t.Fatal(err)
	}
	tr := trainer(t, n, r, weights(n), o)
	var score Score
	for _, rows := range []int{rows, rows, max(1, rows-2)} {
		if score, err = tr.Step(batch(n, rows), 0.01); err != nil {
			t.Fatal(err)
		}
	}
	w, err := tr.Weights()
	if err != nil {
		t.Fatal(err)
	}
	return w, score
}

func TestResultsDoNotDependOnWorkersOrKernels(t *testing.T) {
	n := network(t, []manifest.Layer{conv(8, 3, "valid"), pool(2), conv(8, 3, "same"), flatten(), dense(33), dropout(0.5)}, 21, threeLabels)
	for _, rows := range []int{1, 7} {
		want, wantScore := steps(t, n, Options{Workers: 1}, rows)
		for _, setting := range []struct {
			workers, cores int
			kernels        string
		}{{1, 2, "portable"}, {2, 1, ""}, {2, 2, "portable"}, {3, 8, ""}, {8, 2, ""}} {
			t.Run(fmt.Sprintf("%d rows, %+v", rows, setting), func(t *testing.T) {
				t.Setenv("SANDWICH_KERNELS", setting.kernels)
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(setting.cores))
				got, score := steps(t, n, Options{Workers: setting.workers}, rows)
				if diff := cmp.Diff(want, got); diff != "" || score != wantScore {
					t.Errorf("other weights, or score %+v for %+v (-one worker +these):\n%s", score, wantScore, diff)
				}
			})
		}
	}
}

// What a picture's probabilities are does not depend on what else is asked.
func TestPicturesDoNotDependOnEachOther(t *testing.T) {
	n := network(t, []manifest.Layer{conv(8, 3, "valid"), pool(2), flatten(), dense(8)}, 12, threeLabels)
	p, err := NewPredictor(&model.Model{Network: n, Input: model.Preparation{Shape: model.Stretch, Resize: model.CatmullRom}, Weights: weights(n)}, Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	draws := random.New(random.Key{Stage: "pictures"})
	pictures := make([]image.Image, block+5)
	for i := range pictures {
		img := image.NewNRGBA(image.Rect(0, 0, 12, 12))
		for j := range img.Pix {
			img.Pix[j] = uint8(draws.Uint32()) | 255*uint8(j%4/3)
		}
		pictures[i] = img
	}
	all, err := p.Predict(t.Context(), pictures)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 17, block, block + 4} {
		one, err := p.Predict(t.Context(), pictures[i:i+1])
		if err != nil || !slices.Equal(one[0], all[i]) {
			t.Errorf("picture %d alone: %v, %v, want %v", i, one, err, all[i])
		}
	}
	if none, err := p.Predict(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("Predict of nothing = %v, %v", none, err)
	}
	if _, err := p.Predict(t.Context(), []image.Image{image.NewGray(image.Rectangle{})}); err == nil {
		t.Error("Predict of an empty picture: no error")
	}
}

func TestPredictPreparesPictures(t *testing.T) {
	n := network(t, []manifest.Layer{conv(2, 3, "same"), pool(2), dropout(0.25), flatten(), dense(3)}, 4, twoLabels)
	m := &model.Model{Network: n, Input: model.Preparation{Shape: model.Stretch, Resize: model.CatmullRom}, Weights: n.Initial(5)}
	p, err := NewPredictor(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, c := range []color.NRGBA{{R: 255, A: 255}, {G: 200, A: 255}, {}} {
		img := image.NewNRGBA(image.Rect(0, 0, 9, 6))
		for y := range 6 {
			for x := range 9 {
				img.Set(x, y, c)
			}
		}
		got, err := p.Predict(t.Context(), []image.Image{img})
		if err != nil {
			t.Fatal(err)
		}
		b := NewBatch(n, 1)
		copy(b.Pictures, slices.Repeat([]float32{float32(c.R) / 255, float32(c.G) / 255, float32(c.B) / 255}, 16))
		want := probabilities(referenceScores(logits(n, m.Weights, b, false)[0]))
		for j := range want {
			if math.Abs(float64(got[0][j]-want[j])) > 1e-5 {
				t.Errorf("%v: probabilities %v, want %v", c, got[0], want)
				break
			}
		}
	}
}

func TestTrainerRefusesAndStops(t *testing.T) {
	n := network(t, []manifest.Layer{flatten()}, 2, twoLabels)
	tr := trainer(t, n, descent, weights(n), Options{Workers: 2})
	if _, err := tr.Step(&Batch{}, 1); err == nil {
		t.Error("a step with an empty batch: no error")
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	list := examples(batch(n, 3*block))
	list[block].Fill = func([]float32) error { cancel(cause); return nil }
	if _, err := tr.Measure(ctx, list); !errors.Is(err, cause) {
		t.Errorf("Measure after its context ended: error %v, want %v", err, cause)
	}
	broken := errors.New("no such picture")
	list[3].Fill = func([]float32) error { return broken }
	if _, err := tr.Measure(t.Context(), list); !errors.Is(err, broken) {
		t.Errorf("Measure with a broken picture: error %v, want %v", err, broken)
	}
	if score, err := tr.Measure(t.Context(), nil); err != nil || score != (Score{}) {
		t.Errorf("Measure of nothing = %+v, %v", score, err)
	}
}

func TestOpenBackend(t *testing.T) {
	for _, name := range []string{"", "exact", "go"} {
		b, err := OpenBackend(name, 2)
		if err != nil {
			t.Errorf("backend %q: %v", name, err)
			continue
		}
		b.Finalize()
	}
	for _, name := range []string{"cuda", "exact:workers=3", "go:what"} {
		if _, err := OpenBackend(name, 2); err == nil {
			t.Errorf("backend %q: no error", name)
		}
	}
}

// The stock backend computes the same, up to rounding.
func TestBackendsAgree(t *testing.T) {
	for name, n := range map[string]*model.Network{
		"plain":      network(t, []manifest.Layer{conv(4, 3, "same"), pool(2), flatten(), dense(5)}, 8, threeLabels),
		"batch norm": networks(t)["batch norm"],
	} {
		b := batch(n, 3)
		descend := func(backend string) ([]model.Tensor, Score) {
			tr := trainer(t, n, descent, weights(n), Options{Backend: backend})
			for range 3 {
				if _, err := tr.Step(b, 0.1); err != nil {
					t.Fatal(err)
				}
			}
			w, err := tr.Weights()
			if err != nil {
				t.Fatal(err)
			}
			score, err := tr.Measure(t.Context(), examples(b))
			if err != nil {
				t.Fatal(err)
			}
			return w, score
		}
		want, wantScore := descend("go")
		got, gotScore := descend("exact")
		for i := range want {
			for j, v := range want[i].Data {
				if math.Abs(float64(v-got[i].Data[j])) > 1e-4 {
					t.Errorf("%s: %s[%d] = %v, gomlx's backend makes %v", name, want[i].Name, j, got[i].Data[j], v)
					break
				}
			}
		}
		if math.Abs(wantScore.Loss-gotScore.Loss) > 1e-4 || wantScore.Correct != gotScore.Correct {
			t.Errorf("%s: the score is %+v, gomlx's backend makes %+v", name, gotScore, wantScore)
		}
	}
}

func benchmarkNetwork(b *testing.B, layers []manifest.Layer, side, rows int) {
	n := network(b, layers, side, twoLabels)
	tr := trainer(b, n, rmsprop(manifest.Optimizer{Rho: 0.9, Epsilon: 1e-7}), weights(n), Options{Workers: runtime.GOMAXPROCS(0)})
	data := batch(n, rows)
	b.Run("train", func(b *testing.B) {
		for b.Loop() {
			if _, err := tr.Step(data, 1e-5); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "images/s")
	})
	b.Run("infer", func(b *testing.B) {
		for b.Loop() {
			if _, err := tr.Measure(b.Context(), examples(data)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "images/s")
	})
}

func BenchmarkSmall32(b *testing.B) {
	benchmarkNetwork(b, []manifest.Layer{conv(8, 3, "valid"), pool(2), conv(16, 3, "valid"), pool(2), flatten(), dense(32)}, 32, 16)
}

func BenchmarkArticle128(b *testing.B) {
	benchmarkNetwork(b, manifest.ArticleLayers(), 128, 16)
}

func TestBlame(t *testing.T) {
	n := network(t, []manifest.Layer{conv(2, 3, "same"), flatten(), dense(3)}, 4, twoLabels)
	b := batch(n, 2)
	huge := weights(n)
	for i := range huge[2].Data { // of dense1
		huge[2].Data[i] = 3e38
	}
	broken := weights(n)
	broken[3].Data[1] = float32(math.NaN())
	for want, w := range map[string][]model.Tensor{
		"dense1 makes values that are not finite": huge, "dense1/bias holds NaN": broken, "": weights(n),
	} {
		tr := trainer(t, n, descent, w, Options{})
		score, err := tr.Step(b, 1)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && math.IsNaN(score.Loss) {
			t.Fatalf("the loss is %v", score.Loss)
		}
		if got, err := tr.Blame(b); err != nil || got != want {
			t.Errorf("Blame = %q, %v, want %q", got, err, want)
		}
	}
}

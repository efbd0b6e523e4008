package exact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"golang.org/x/sys/unix"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// draws is a sequence of numbers that is the same everywhere.
type draws uint64

func (d *draws) next() float32 {
	*d = *d*6364136223846793005 + 1442695040888963407
	return float32(int32(*d>>32)) / (1 << 31)
}

func (d *draws) tensor(scale float32, dims ...int) *tensors.Tensor {
	values := make([]float32, steps.Product(dims))
	for i := range values {
		values[i] = scale * d.next()
	}
	return tensors.FromFlatDataAndDimensions(values, dims...)
}

// net is a small network like the article's: convolutions with max pooling, a dense
// layer, one logit.
type net struct {
	side, batch int
	filters     []int
	dense       int
}

var article = net{side: 128, batch: 16, filters: []int{32, 32, 64}, dense: 64}

// weights draws kernels and biases.
func (n net) weights() []*tensors.Tensor {
	d := draws(1)
	var list []*tensors.Tensor
	channels, side := 3, n.side
	for _, filters := range n.filters {
		list = append(list, d.tensor(float32(math.Sqrt(6/float64(9*(channels+filters)))), 3, 3, channels, filters), d.tensor(0.1, filters))
		channels, side = filters, (side-2)/2
	}
	flat := side * side * channels
	return append(list, d.tensor(float32(math.Sqrt(6/float64(flat+n.dense))), flat, n.dense), d.tensor(0.1, n.dense),
		d.tensor(0.3, n.dense, 1), d.tensor(0.1, 1))
}

func (n net) data() (pictures, targets *tensors.Tensor) {
	d := draws(2)
	labels := make([]float32, n.batch)
	for i := range labels {
		labels[i] = float32(i % 2)
	}
	return d.tensor(1, n.batch, n.side, n.side, 3), tensors.FromFlatDataAndDimensions(labels, n.batch, 1)
}

func relu(x *graph.Node) *graph.Node {
	zero := graph.ScalarZero(x.Graph(), x.DType())
	return graph.Where(graph.GreaterThan(x, zero), x, zero)
}

func biased(x, bias *graph.Node) *graph.Node {
	return graph.Add(x, graph.ExpandLeftToRank(bias, x.Rank()))
}

func (n net) logits(x *graph.Node, w []*graph.Node) *graph.Node {
	for i := range n.filters {
		x = graph.Convolve(x, w[2*i]).NoPadding().Done()
		x = relu(biased(graph.MaxPool(x).Window(2).Done(), w[2*i+1]))
	}
	w = w[2*len(n.filters):]
	x = graph.Reshape(x, n.batch, -1)
	x = relu(biased(graph.DotGeneral(x, []int{1}, nil, w[0], []int{0}, nil), w[1]))
	return biased(graph.DotGeneral(x, []int{1}, nil, w[2], []int{0}, nil), w[3])
}

// step returns the weights after a step of gradient descent, and the loss.
func (n net) step(in []*graph.Node) []*graph.Node {
	pictures, targets, w := in[0], in[1], in[2:]
	z := n.logits(pictures, w)
	zero := graph.ScalarZero(z.Graph(), z.DType())
	loss := graph.ReduceAllMean(graph.Add(graph.Sub(graph.Max(z, zero), graph.Mul(z, targets)),
		graph.Log1P(graph.Exp(graph.Neg(graph.Abs(z))))))
	out := make([]*graph.Node, 0, len(w)+1)
	for i, g := range graph.Gradient(loss, w...) {
		out = append(out, graph.Sub(w[i], graph.MulScalar(g, 0.05)))
	}
	return append(out, loss)
}

// train runs steps and returns the weights after them and the last loss.
func (n net) train(tb testing.TB, backend compute.Backend, count int) ([]*tensors.Tensor, float32) {
	tb.Helper()
	exec, err := graph.NewExec(backend, n.step)
	if err != nil {
		tb.Fatal(err)
	}
	pictures, targets := n.data()
	state := n.weights()
	var loss float32
	for range count {
		args := []any{pictures, targets}
		for _, w := range state {
			args = append(args, w)
		}
		out, err := exec.Call(args...)
		if err != nil {
			tb.Fatal(err)
		}
		state, loss = out[:len(out)-1], tensors.ToScalar[float32](out[len(out)-1])
	}
	return state, loss
}

func digest(tb testing.TB, list []*tensors.Tensor) string {
	tb.Helper()
	hash := sha256.New()
	for _, t := range list {
		values, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			tb.Fatal(err)
		}
		for _, v := range values {
			fmt.Fprintf(hash, "%08x", math.Float32bits(v))
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// golden is the digest of the weights after a short training run. It may change only
// with a new behaviour version of whatever trains with this backend.
const golden = "8cab62c7bce732b418106c4458dc361718a967fd968dec4869e3ab86516fee2c"

func TestTrainingGivesTheSameBits(t *testing.T) {
	n := net{side: 19, batch: 5, filters: []int{7, 18}, dense: 10}
	for _, set := range kernels.All() {
		for _, workers := range []int{1, 2, 3, 8} {
			if testing.Short() && (workers != 3 || set.Name == "portable") {
				continue // the race detector needs one, and slows the portable kernels most
			}
			config := fmt.Sprintf("workers=%d,kernels=%s", workers, set.Name)
			t.Run(config, func(t *testing.T) {
				weights, loss := n.train(t, newBackend(t, config), 8)
				if got := digest(t, weights); got != golden {
					t.Errorf("weights after 8 steps (loss %v) have digest %s, want %s", loss, got, golden)
				}
			})
		}
	}
}

func TestTrainingAgreesWithGomlx(t *testing.T) {
	n := net{side: 14, batch: 3, filters: []int{4, 8}, dense: 6}
	reference, err := gobackend.New("ops_sequential")
	if err != nil {
		t.Fatal(err)
	}
	defer reference.Finalize()
	want, wantLoss := n.train(t, reference, 3)
	got, gotLoss := n.train(t, newBackend(t, ""), 3)
	if math.Abs(float64(wantLoss-gotLoss)) > 1e-5 {
		t.Errorf("loss %v, want %v", gotLoss, wantLoss)
	}
	for i := range want {
		if !want[i].InDelta(got[i], 1e-5) {
			t.Errorf("weights %d differ from gomlx's by more than 1e-5", i)
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	for _, config := range []string{"workers=1", "workers=2"} {
		b.Run(config, func(b *testing.B) {
			exec, err := graph.NewExec(newBackend(b, config), article.step)
			if err != nil {
				b.Fatal(err)
			}
			benchmark(b, exec, article.batch, article.arguments())
		})
	}
}

// BenchmarkStockTrain is BenchmarkTrain on gomlx's own backend. A step takes it half a
// minute.
func BenchmarkStockTrain(b *testing.B) {
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Finalize()
	exec, err := graph.NewExec(backend, article.step)
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, exec, article.batch, article.arguments())
}

func BenchmarkInfer(b *testing.B) {
	for _, config := range []string{"workers=1", "workers=2"} {
		b.Run(config, func(b *testing.B) {
			exec, err := graph.NewExec(newBackend(b, config), func(in []*graph.Node) []*graph.Node {
				return []*graph.Node{article.logits(in[0], in[2:])}
			})
			if err != nil {
				b.Fatal(err)
			}
			benchmark(b, exec, article.batch, article.arguments())
		})
	}
}

// processorTime returns the seconds of processor time that this process has used.
func processorTime(tb testing.TB) float64 {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkLimit is what the other benchmarks can be compared with in the same run.
func BenchmarkLimit(b *testing.B) {
	backend := newBackend(b, "")
	before := processorTime(b)
	for b.Loop() {
		backend.Limit()
	}
	b.ReportMetric(float64(b.N)/(processorTime(b)-before), "GFLOP/cpu-s")
}

// arguments are the pictures, their targets and the weights.
func (n net) arguments() []any {
	pictures, targets := n.data()
	args := []any{pictures, targets}
	for _, w := range n.weights() {
		args = append(args, w)
	}
	return args
}

func benchmark(b *testing.B, exec *graph.Exec, batch int, args []any) {
	b.Helper()
	before := processorTime(b)
	for b.Loop() {
		out, err := exec.Call(args...)
		if err != nil {
			b.Fatal(err)
		}
		for _, t := range out {
			if err := t.FinalizeAll(); err != nil {
				b.Fatal(err)
			}
		}
	}
	images := float64(b.N * batch)
	b.ReportMetric(images/b.Elapsed().Seconds(), "images/s")
	// What others do on the machine does not count here.
	b.ReportMetric(images/(processorTime(b)-before), "images/cpu-s")
}

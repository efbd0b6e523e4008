package exact

import (
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
)

// modern is a small residual network with depthwise convolutions and batch
// normalization, built with gomlx's own functions.
type modern struct{ side, batch, width int }

// weights draws kernels, scales and offsets in the order in which logits takes them.
func (m modern) weights() []*tensors.Tensor {
	d := draws(3)
	var list []*tensors.Tensor
	kernel := func(size, in, out int) {
		list = append(list, d.tensor(0.3, size, size, in, out), d.tensor(1, out), d.tensor(0.1, out))
	}
	kernel(3, 3, m.width)
	kernel(3, 1, m.width)
	kernel(1, m.width, 2*m.width)
	kernel(3, 2*m.width, 2*m.width)
	kernel(3, 2*m.width, 2*m.width)
	return append(list, d.tensor(0.3, 2*m.width, 4))
}

func (m modern) logits(x *graph.Node, w []*graph.Node) *graph.Node {
	convolve := func(x *graph.Node, groups int) *graph.Node {
		x = graph.Convolve(x, w[0]).PadSame().ChannelGroupCount(groups).Done()
		x, _, _ = graph.InternalBatchNormForTraining(x, w[1], w[2], 1e-3, 3)
		w = w[3:]
		return x
	}
	x = activation.Relu(convolve(x, 1))
	x = activation.Relu(convolve(x, m.width))
	x = graph.MaxPool(activation.Relu(convolve(x, 1))).Window(2).Done()
	y := activation.Relu(convolve(x, 1))
	x = activation.Relu(graph.Add(x, convolve(y, 1)))
	x = graph.ReduceMean(x, 1, 2)
	return graph.Dot(x, w[0]).Product()
}

// step is a training step with momentum.
func (m modern) step(in []*graph.Node) []*graph.Node {
	count := (len(in) - 2) / 2
	w, velocity := in[2:2+count], in[2+count:]
	logits := m.logits(in[0], w)
	powers := graph.Exp(graph.Sub(logits, graph.ReduceAndKeep(logits, graph.ReduceMax, -1)))
	likelihood := graph.ReduceSum(graph.Mul(in[1], graph.Div(powers, graph.ReduceAndKeep(powers, graph.ReduceSum, -1))), -1)
	loss := graph.Neg(graph.ReduceAllMean(graph.Log(likelihood)))
	out := make([]*graph.Node, 2*count, 2*count+1)
	for i, g := range graph.Gradient(loss, w...) {
		out[count+i] = graph.Sub(graph.MulScalar(velocity[i], 0.9), graph.MulScalar(g, 0.01))
		out[i] = graph.Add(w[i], out[count+i])
	}
	return append(out, loss)
}

func (m modern) arguments() []any {
	d := draws(4)
	labels := make([]float32, m.batch*4)
	for i := range m.batch {
		labels[i*4+i%4] = 1
	}
	args := []any{d.tensor(1, m.batch, m.side, m.side, 3), tensors.FromFlatDataAndDimensions(labels, m.batch, 4)}
	for _, w := range m.weights() {
		args = append(args, w)
	}
	for _, w := range m.weights() {
		args = append(args, d.tensor(0, w.Shape().Dimensions...))
	}
	return args
}

func BenchmarkModern(b *testing.B) {
	m := modern{side: 32, batch: 64, width: 32}
	for _, config := range []string{"workers=1", "workers=2"} {
		b.Run(config, func(b *testing.B) {
			exec, err := graph.NewExec(newBackend(b, config), m.step)
			if err != nil {
				b.Fatal(err)
			}
			benchmark(b, exec, m.batch, m.arguments())
		})
	}
}

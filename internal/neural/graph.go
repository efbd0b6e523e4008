package neural

import (
	"github.com/gomlx/gomlx/core/graph"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
)

// This file builds gomlx graphs. Its functions panic like all of gomlx's graph
// functions do; the executors turn that into an error.

// forward follows pictures through a network.
type forward struct {
	weights  []*graph.Node // in the order of Network.Parameters
	masks    []*graph.Node // one for each dropout layer, in order; not used outside of training
	training bool
}

// network returns the logits [batch, outputs] of pictures [batch, side, side, 3].
func (f *forward) network(n *model.Network, x *graph.Node) *graph.Node {
	layers := n.Layers()
	for i := 0; i < len(layers); i++ {
		l := layers[i]
		switch {
		case l.Conv != nil:
			x = convolve(x, f.weights[l.First], *l.Conv)
			// The maximum commutes exactly with adding a bias to the channel and with
			// ReLU, for both are monotone. Pooling first leaves a fourth of the values
			// to work on.
			if next := layers[i+1]; next.MaxPool != nil {
				x = maxPool(x, next.MaxPool.Size)
				i++
			}
			x = activate(addBias(x, f.weights[l.First+1]), l.Conv.Activation)
		case l.MaxPool != nil:
			x = maxPool(x, l.MaxPool.Size)
		case l.Flatten != nil:
			x = graph.Reshape(x, x.Shape().Dim(0), -1)
		case l.Dense != nil:
			x = multiply(x, f.weights[l.First])
			x = activate(addBias(x, f.weights[l.First+1]), l.Dense.Activation)
		case l.Dropout != nil && f.training:
			x = graph.Mul(x, f.masks[0])
			f.masks = f.masks[1:]
		}
	}
	return x
}

// softmax is spelled out because gomlx's own is a fused operation that backends
// approximate differently.
func softmax(logits *graph.Node) *graph.Node {
	powers := graph.Exp(graph.Sub(logits, graph.ReduceAndKeep(logits, graph.ReduceMax, -1)))
	return graph.Div(powers, graph.ReduceAndKeep(powers, graph.ReduceSum, -1))
}

// convolve is a convolution without its bias.
func convolve(x, kernel *graph.Node, c manifest.Conv) *graph.Node {
	conv := graph.Convolve(x, kernel).NoPadding()
	if c.Padding == "same" {
		// An even kernel needs an odd number of zeros; the one too many stands at the
		// end, as in Keras.
		before, after := (c.Kernel-1)/2, c.Kernel/2
		conv.PaddingPerDim([][2]int{{before, after}, {before, after}})
	}
	return conv.Done()
}

// maxPool is the maximum of each window of size × size. Of equal values the first one
// gets the gradient.
func maxPool(x *graph.Node, size int) *graph.Node {
	if size == 1 {
		return x
	}
	return graph.MaxPool(x).Window(size).Done()
}

// addBias adds a bias [channels] to the last axis.
func addBias(x, bias *graph.Node) *graph.Node {
	return graph.Add(x, graph.ExpandLeftToRank(bias, x.Rank()))
}

// activate applies an activation. The derivative of ReLU at 0 is 0, as in TensorFlow;
// gomlx's MaxScalar says 1, which matters for pictures with black borders.
func activate(x *graph.Node, activation string) *graph.Node {
	if activation != "relu" {
		return x
	}
	zero := graph.ScalarZero(x.Graph(), x.DType())
	return graph.Where(graph.GreaterThan(x, zero), x, zero)
}

// multiply is the matrix product [n, k] · [k, m].
func multiply(a, b *graph.Node) *graph.Node {
	return graph.DotGeneral(a, []int{1}, nil, b, []int{0}, nil)
}

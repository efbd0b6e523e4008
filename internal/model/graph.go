package model

import (
	"slices"

	"github.com/gomlx/gomlx/core/graph"
)

// This file builds gomlx graphs. Its functions panic like all of gomlx's graph
// functions do; the executors turn that into an error.

// forward returns the logits [batch, outputs] of pictures [batch, side, side, 3].
// masks holds one mask for each dropout layer, in order; without masks the layers
// pass everything on, as inference wants it.
func (n *Network) forward(pictures *graph.Node, weights, masks []*graph.Node) *graph.Node {
	x := pictures
	for i := 0; i < len(n.layers); i++ {
		l := n.layers[i]
		switch {
		case l.Conv != nil:
			x = convolve(x, weights[l.kernel], l.Conv.Padding)
			// The maximum commutes exactly with adding a bias to the channel and with
			// ReLU, for both are monotone. Pooling first leaves a fourth of the values
			// to work on.
			if next := n.layers[i+1]; next.MaxPool != nil {
				x = maxPool(x, next.MaxPool.Size)
				i++
			}
			x = activate(addBias(x, weights[l.kernel+1]), l.Conv.Activation)
		case l.MaxPool != nil:
			x = maxPool(x, l.MaxPool.Size)
		case l.Flatten != nil:
			x = graph.Reshape(x, x.Shape().Dim(0), -1)
		case l.Dense != nil:
			x = multiply(x, weights[l.kernel])
			x = activate(addBias(x, weights[l.kernel+1]), l.Dense.Activation)
		case l.Dropout != nil && len(masks) > 0:
			x = graph.Mul(x, masks[0])
			masks = masks[1:]
		}
	}
	return x
}

// gradients returns the logits, and the gradient with respect to each weight of the
// sum over the batch of share · cross-entropy. targets [batch, outputs] holds 1 where
// the label is the output's, shares [batch, 1] how much of the loss a picture is.
func (n *Network) gradients(pictures, targets, shares *graph.Node, weights, masks []*graph.Node) []*graph.Node {
	logits := n.forward(pictures, weights, masks)
	// The derivative of either cross-entropy by its logit is probability - target.
	// Passing it on directly is exact where that of the usual stable formula is not:
	// at a logit of 0, where max and abs have no derivative.
	var probabilities *graph.Node
	if len(n.labels) == 2 {
		probabilities = graph.Sigmoid(logits)
	} else {
		probabilities = softmax(logits)
	}
	delta := graph.StopGradient(graph.Mul(graph.Sub(probabilities, targets), shares))
	carrier := graph.ReduceAllSum(graph.Mul(logits, delta))
	return append([]*graph.Node{logits}, graph.Gradient(carrier, weights...)...)
}

// softmax is spelled out because gomlx's own is a fused operation that backends
// approximate differently.
func softmax(logits *graph.Node) *graph.Node {
	powers := graph.Exp(graph.Sub(logits, graph.ReduceAndKeep(logits, graph.ReduceMax, -1)))
	return graph.Div(powers, graph.ReduceAndKeep(powers, graph.ReduceSum, -1))
}

// convolve is a convolution with stride 1, as one matrix product of the picture's
// windows and the kernel.
//
// gomlx's Go backend computes its own convolution with a scalar loop that takes 83 %
// of the time of a training step. Unfolding the windows with slices and multiplying
// is five times as fast (32 pixels, two layers of 8 and 16 filters: 124 images/s
// against 683 on one core; the article's network: 1.2 against 7.3).
func convolve(x, kernel *graph.Node, padding string) *graph.Node {
	k := kernel.Shape().Dimensions
	height, width, in, filters := k[0], k[1], k[2], k[3]
	if padding == "same" {
		x = padSame(x, height, width)
	}
	d := x.Shape().Dimensions
	outHeight, outWidth := d[1]-height+1, d[2]-width+1
	windows := x
	if height*width > 1 {
		shifted := make([]*graph.Node, 0, height*width)
		for row := range height {
			for column := range width {
				shifted = append(shifted, graph.Slice(x,
					graph.AxisRange(),
					graph.AxisRange(row, row+outHeight),
					graph.AxisRange(column, column+outWidth),
					graph.AxisRange()))
			}
		}
		windows = graph.Concatenate(shifted, -1)
	}
	flat := graph.Reshape(windows, d[0]*outHeight*outWidth, height*width*in)
	product := multiply(flat, graph.Reshape(kernel, height*width*in, filters))
	return graph.Reshape(product, d[0], outHeight, outWidth, filters)
}

// padSame surrounds pictures with zeros so that a kernel leaves their size. An even
// kernel needs an odd number of them; the one too many stands at the end, as in Keras.
// The zeros are concatenated because gomlx has no gradient for padding.
func padSame(x *graph.Node, height, width int) *graph.Node {
	for i, size := range [...]int{height, width} {
		axis := i + 1
		before := (size - 1) / 2
		x = graph.Concatenate(slices.Concat(
			zeros(x, axis, before), []*graph.Node{x}, zeros(x, axis, size-1-before)), axis)
	}
	return x
}

// zeros returns a block of zeros that is as large as x but for one axis, or nothing if
// it would be empty.
func zeros(x *graph.Node, axis, length int) []*graph.Node {
	if length == 0 {
		return nil
	}
	shape := x.Shape().Clone()
	shape.Dimensions[axis] = length
	return []*graph.Node{graph.Zeros(x.Graph(), shape)}
}

// maxPool is the maximum of each window of size × size.
//
// It compares strided slices because gomlx's own pooling has a gradient, in the Go
// backend, that is slow and, for single pictures, adds in the order of arrival. Of
// equal values the first is chosen, so each window passes its gradient to one pixel.
func maxPool(x *graph.Node, size int) *graph.Node {
	if size == 1 {
		return x
	}
	d := x.Shape().Dimensions
	height, width := d[1]/size*size, d[2]/size*size
	var largest *graph.Node
	for row := range size {
		for column := range size {
			pixel := graph.Slice(x,
				graph.AxisRange(),
				graph.AxisRange(row, height).Stride(size),
				graph.AxisRange(column, width).Stride(size),
				graph.AxisRange())
			if largest == nil {
				largest = pixel
				continue
			}
			largest = graph.Where(graph.GreaterOrEqual(largest, pixel), largest, pixel)
		}
	}
	return largest
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

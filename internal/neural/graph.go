package neural

import (
	"math"

	"github.com/gomlx/compute"
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

	moved map[int]*graph.Node                // new moving averages, by parameter
	seen  func(l model.Layer, x *graph.Node) // what each layer makes; nil for none
}

// network returns the logits [batch, outputs] of pictures [batch, side, side, 3].
func (f *forward) network(n *model.Network, x *graph.Node) *graph.Node {
	f.moved = make(map[int]*graph.Node)
	return f.layers(n.Layers(), x)
}

func (f *forward) layers(layers []model.Layer, x *graph.Node) *graph.Node {
	for i := 0; i < len(layers); i++ {
		l := layers[i]
		if i+1 < len(layers) && poolsFirst(l, layers[i+1]) {
			x = f.finish(l, maxPool(f.convolve(l, x), *layers[i+1].MaxPool, l.Out))
			i++
		} else {
			x = f.layer(l, x)
		}
		if f.seen != nil {
			f.seen(l, x)
		}
	}
	return x
}

// poolsFirst tells a convolution that may be pooled before its bias and its activation
// are applied: the maximum commutes exactly with adding a bias to the channel and with ReLU,
// for both are monotone. It leaves a fourth of the values to work on.
func poolsFirst(l, next model.Layer) bool {
	return l.Conv != nil && next.MaxPool != nil && (l.Conv.Activation == "relu" || l.Conv.Activation == "none")
}

func (f *forward) layer(l model.Layer, x *graph.Node) *graph.Node {
	switch {
	case l.Conv != nil, l.Depthwise != nil:
		return f.finish(l, f.convolve(l, x))
	case l.BatchNorm != nil:
		return f.normalize(l, x)
	case l.Activation != nil:
		return activate(x, l.Activation.Name)
	case l.MaxPool != nil:
		return maxPool(x, *l.MaxPool, l.In)
	case l.AveragePool != nil:
		return averagePool(x, *l.AveragePool, l.In)
	case l.GlobalPool != nil && l.GlobalPool.Of == "max":
		// ReduceMax would give each of equal values the whole gradient.
		whole := maxPool(x, manifest.Pool{Size: l.In.Side, Padding: "valid"}, l.In)
		return graph.Reshape(whole, x.Shape().Dim(0), -1)
	case l.GlobalPool != nil:
		return graph.ReduceMean(x, 1, 2)
	case l.Flatten != nil:
		return graph.Reshape(x, x.Shape().Dim(0), -1)
	case l.Dense != nil:
		x = multiply(x, f.weights[l.First])
		return activate(addBias(x, f.weights[l.First+1]), l.Dense.Activation)
	case l.Dropout != nil && f.training:
		x = graph.Mul(x, f.masks[0])
		f.masks = f.masks[1:]
	case l.Residual != nil:
		sum := graph.Add(f.layers(l.Body, x), f.layers(l.Shortcut, x))
		return activate(sum, l.Residual.Activation)
	}
	return x
}

// convolve is a convolution without its bias and its activation.
func (f *forward) convolve(l model.Layer, x *graph.Node) *graph.Node {
	kernel := f.weights[l.First]
	if d := l.Depthwise; d != nil {
		return depthwise(x, kernel, *d, l.In.Side)
	}
	c := l.Conv
	around := paddings(l.In.Side, c.Kernel, c.Stride, c.Dilation, c.Padding)
	if reach := (c.Kernel-1)*c.Dilation + 1; reach%2 == 0 {
		// gomlx's gradient by the picture is wrong where a kernel reaches over an even number
		// of pixels: convVJPWrtX lays 2·⌊(reach-1)/2⌋ zeros before it instead of reach - 1. So
		// the kernel gets a row and a column of zeros, and the picture what they lie on.
		kernel = surround(surround(kernel, 0, 0, 1), 1, 0, 1)
		around[0][1] += c.Dilation
		around[1][1] += c.Dilation
	}
	conv := graph.Convolve(x, kernel).PaddingPerDim(around)
	if c.Stride > 1 {
		conv.Strides(c.Stride)
	}
	if c.Dilation > 1 {
		conv.Dilations(c.Dilation)
	}
	if c.Groups > 1 {
		conv.ChannelGroupCount(c.Groups)
	}
	return conv.Done()
}

// finish applies the bias and the activation of a convolution.
func (f *forward) finish(l model.Layer, x *graph.Node) *graph.Node {
	bias, activation := true, ""
	switch {
	case l.Conv != nil:
		bias, activation = l.Conv.Bias, l.Conv.Activation
	case l.Depthwise != nil:
		bias, activation = l.Depthwise.Bias, l.Depthwise.Activation
	}
	if bias {
		x = addBias(x, f.weights[l.First+1])
	}
	return activate(x, activation)
}

// depthwise is a convolution in which no two channels meet, as a sum of the picture's
// shifts times what the kernel has for them. gomlx's gradient of a grouped convolution is
// one convolution for each group.
func depthwise(x, kernel *graph.Node, d manifest.Depthwise, side int) *graph.Node {
	around := paddings(side, d.Kernel, d.Stride, d.Dilation, d.Padding)
	count, _, _, err := manifest.Windows(side, d.Kernel, d.Stride, d.Dilation, d.Padding)
	if err != nil {
		panic(err) // the network was checked
	}
	x = surround(surround(x, 1, around[0][0], around[0][1]), 2, around[1][0], around[1][1])
	reach := (count-1)*d.Stride + 1
	var sum *graph.Node
	for row := range d.Kernel {
		for column := range d.Kernel {
			shifted := graph.Slice(x, graph.AxisRange(),
				graph.AxisRange(row*d.Dilation, row*d.Dilation+reach).Stride(d.Stride),
				graph.AxisRange(column*d.Dilation, column*d.Dilation+reach).Stride(d.Stride),
				graph.AxisRange())
			weight := graph.Reshape(graph.Slice(kernel, graph.AxisElem(row), graph.AxisElem(column)), 1, 1, 1, -1)
			product := graph.Mul(shifted, weight)
			if sum == nil {
				sum = product
			} else {
				sum = graph.Add(sum, product)
			}
		}
	}
	return sum
}

// surround lays zeros before and after a tensor, along an axis. gomlx has no gradient for
// its Pad.
func surround(x *graph.Node, axis, before, after int) *graph.Node {
	var parts []*graph.Node
	zeros := func(length int) {
		if length > 0 {
			shape := x.Shape().Clone()
			shape.Dimensions[axis] = length
			parts = append(parts, graph.Zeros(x.Graph(), shape))
		}
	}
	zeros(before)
	parts = append(parts, x)
	zeros(after)
	if len(parts) == 1 {
		return x
	}
	return graph.Concatenate(parts, axis)
}

// paddings are the zeros around a picture, before and after it, along both sides.
func paddings(side, size, stride, dilation int, padding string) [][2]int {
	_, before, after, err := manifest.Windows(side, size, stride, dilation, padding)
	if err != nil {
		panic(err) // the network was checked
	}
	return [][2]int{{before, after}, {before, after}}
}

// maxPool is the maximum of each window. Of equal values the first one gets the gradient.
func maxPool(x *graph.Node, p manifest.Pool, in manifest.Shape) *graph.Node {
	return graph.MaxPool(x).Window(p.Size).Strides(p.Step()).
		PaddingPerDim(paddings(in.Side, p.Size, p.Step(), 1, p.Padding)).Done()
}

// averagePool is the mean of what each window holds of the picture.
func averagePool(x *graph.Node, p manifest.Pool, in manifest.Shape) *graph.Node {
	return graph.MeanPool(x).Window(p.Size).Strides(p.Step()).
		PaddingPerDim(paddings(in.Side, p.Size, p.Step(), 1, p.Padding)).Done()
}

// normalize is batch normalization. In training it uses the batch's mean and variance and
// moves the averages, of which the variance's is divided by n - 1, as in PyTorch.
func (f *forward) normalize(l model.Layer, x *graph.Node) *graph.Node {
	scale, offset, mean, variance := f.weights[l.First], f.weights[l.First+1], f.weights[l.First+2], f.weights[l.First+3]
	epsilon := float32(l.BatchNorm.Epsilon)
	known := x.Graph().Backend().Capabilities().Operations
	if !f.training {
		if known[compute.OpTypeBatchNormForInference] {
			return graph.InternalBatchNormForInference(x, scale, offset, mean, variance, epsilon, -1)
		}
		return normalized(x, scale, offset, mean, variance, epsilon)
	}
	var y, batchMean, batchVariance *graph.Node
	if known[compute.OpTypeBatchNormForTraining] {
		y, batchMean, batchVariance = graph.InternalBatchNormForTraining(x, scale, offset, epsilon, -1)
	} else { // gomlx's own backend has neither of the operations
		others := make([]int, x.Rank()-1)
		for axis := range others {
			others[axis] = axis
		}
		batchMean = graph.ReduceMean(x, others...)
		batchVariance = graph.ReduceMean(graph.Square(graph.Sub(x, graph.ExpandLeftToRank(batchMean, x.Rank()))), others...)
		y = normalized(x, scale, offset, batchMean, batchVariance, epsilon)
	}
	if n := x.Shape().Size() / l.In.Channels; n > 1 {
		batchVariance = graph.MulScalar(batchVariance, float64(float32(n)/float32(n-1)))
	}
	f.moved[l.First+2] = average(mean, graph.StopGradient(batchMean), l.BatchNorm.Momentum)
	f.moved[l.First+3] = average(variance, graph.StopGradient(batchVariance), l.BatchNorm.Momentum)
	return y
}

// normalized spells batch normalization out: (x - mean) / √(variance + epsilon) · scale + offset,
// channel by channel.
func normalized(x, scale, offset, mean, variance *graph.Node, epsilon float32) *graph.Node {
	factor := graph.Div(scale, graph.Sqrt(graph.AddScalar(variance, float64(epsilon))))
	centred := graph.Sub(x, graph.ExpandLeftToRank(mean, x.Rank()))
	return addBias(graph.Mul(centred, graph.ExpandLeftToRank(factor, x.Rank())), offset)
}

// softmax is spelled out because gomlx's own is a fused operation that backends
// approximate differently.
func softmax(logits *graph.Node) *graph.Node {
	powers := graph.Exp(graph.Sub(logits, graph.ReduceAndKeep(logits, graph.ReduceMax, -1)))
	return graph.Div(powers, graph.ReduceAndKeep(powers, graph.ReduceSum, -1))
}

// addBias adds a bias [channels] to the last axis.
func addBias(x, bias *graph.Node) *graph.Node {
	return graph.Add(x, graph.ExpandLeftToRank(bias, x.Rank()))
}

// leak is the slope of leaky_relu below 0.
const leak = 0.01

// activate applies an activation. The derivative of ReLU at 0 is 0, as in TensorFlow and
// PyTorch; gomlx's MaxScalar says 1, which matters for pictures with black borders.
func activate(x *graph.Node, activation string) *graph.Node {
	zero := graph.ScalarZero(x.Graph(), x.DType())
	positive := func() *graph.Node { return graph.GreaterThan(x, zero) }
	switch activation {
	case "relu":
		return graph.Where(positive(), x, zero)
	case "relu6":
		six := graph.Scalar(x.Graph(), x.DType(), 6)
		return graph.Where(positive(), graph.Where(graph.LessThan(x, six), x, six), zero)
	case "leaky_relu":
		return graph.Where(positive(), x, graph.MulScalar(x, leak))
	case "elu":
		// The power of what is positive may overflow, and then its gradient times 0 is
		// not a number.
		negative := graph.Where(positive(), zero, x)
		return graph.Where(positive(), x, graph.AddScalar(graph.Exp(negative), -1))
	case "silu":
		return graph.Mul(x, graph.Sigmoid(x))
	case "gelu": // Hendrycks and Gimpel, arXiv:1606.08415
		inner := graph.MulScalar(graph.Add(x, graph.MulScalar(graph.Mul(x, graph.Square(x)), 0.044715)), math.Sqrt(2/math.Pi))
		return graph.Mul(graph.MulScalar(x, 0.5), graph.AddScalar(graph.Tanh(inner), 1))
	case "sigmoid":
		return graph.Sigmoid(x)
	case "tanh":
		return graph.Tanh(x)
	}
	return x
}

// multiply is the matrix product [n, k] · [k, m].
func multiply(a, b *graph.Node) *graph.Node {
	return graph.DotGeneral(a, []int{1}, nil, b, []int{0}, nil)
}

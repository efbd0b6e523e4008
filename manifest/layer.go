package manifest

import (
	"errors"
	"fmt"
	"slices"
)

// Layer is one layer of a network on channels-last pictures. Exactly one of the fields
// is set. A checked manifest's layers fit one another and end with a vector; the
// classification layer follows from the labels.
type Layer struct {
	Conv        *Conv       `json:"conv,omitempty"`
	Depthwise   *Depthwise  `json:"depthwise,omitempty"`
	BatchNorm   *BatchNorm  `json:"batch_norm,omitempty"`
	Activation  *Activation `json:"activation,omitempty"`
	MaxPool     *Pool       `json:"max_pool,omitempty"`
	AveragePool *Pool       `json:"average_pool,omitempty"`
	GlobalPool  *GlobalPool `json:"global_pool,omitempty"`
	Flatten     *Flatten    `json:"flatten,omitempty"`
	Dense       *Dense      `json:"dense,omitempty"`
	Dropout     *Dropout    `json:"dropout,omitempty"`
	Residual    *Residual   `json:"residual,omitempty"`
}

// Conv is a 2-D convolution.
type Conv struct {
	Filters    int    `json:"filters"`
	Kernel     int    `json:"kernel"`     // side of the kernel, pixels
	Stride     int    `json:"stride"`     // pixels between two places of the kernel
	Padding    string `json:"padding"`    // valid or same
	Dilation   int    `json:"dilation"`   // pixels between two values that the kernel reads
	Groups     int    `json:"groups"`     // the channels are divided into as many groups, which do not meet
	Bias       bool   `json:"bias"`       // whether each filter adds a number of its own
	Activation string `json:"activation"` // one of Activations
}

// Depthwise is a convolution in which each channel has a kernel of its own and does not
// meet the others. Its fields are those of Conv.
type Depthwise struct {
	Kernel     int    `json:"kernel"`
	Stride     int    `json:"stride"`
	Padding    string `json:"padding"`
	Dilation   int    `json:"dilation"`
	Bias       bool   `json:"bias"`
	Activation string `json:"activation"`
}

// BatchNorm brings each channel to mean 0 and variance 1 over the batch, and then to a
// mean and a deviation that are trained (Ioffe and Szegedy, ICML 2015). Outside of training
// it uses moving averages, as PyTorch does: of the batch's mean and of its variance with
// n - 1.
type BatchNorm struct {
	Momentum float64 `json:"momentum"` // how much of a moving average stays at a step
	Epsilon  float64 `json:"epsilon"`  // added to the variance
}

// Activation applies a function to each value.
type Activation struct {
	Name string `json:"name"` // one of Activations
}

// Pool takes the maximum or the mean of windows of Size×Size; padding counts in neither.
type Pool struct {
	Size    int    `json:"size"`
	Stride  int    `json:"stride"`  // pixels between two windows; 0 for Size
	Padding string `json:"padding"` // valid drops a rest smaller than a window, same keeps it
}

// GlobalPool makes a vector: the average or the maximum of each channel.
type GlobalPool struct {
	Of string `json:"of"` // average or max
}

// Flatten makes one vector of a picture, rows first.
type Flatten struct{}

// Dense is a fully connected layer with a bias.
type Dense struct {
	Units      int    `json:"units"`
	Activation string `json:"activation"` // one of Activations
}

// Dropout zeroes each value with probability Rate while training and scales the
// rest by 1/(1-Rate).
type Dropout struct {
	Rate float64 `json:"rate"`
}

// Residual adds what its layers make of a picture to the picture, or to what the shortcut
// makes of it (He, Zhang, Ren and Sun, CVPR 2016).
type Residual struct {
	Layers     []Layer `json:"layers"`
	Shortcut   []Layer `json:"shortcut,omitempty"` // empty for the picture itself
	Activation string  `json:"activation"`         // one of Activations, applied to the sum
}

// Activations are the functions that a layer can apply: leaky_relu has a slope of 0.01
// below 0, elu goes to -1, and gelu is the approximation with a hyperbolic tangent.
func Activations() []string {
	return []string{none, "relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "sigmoid", "tanh"}
}

// Shape is what stands between two layers: Side × Side × Channels values, or a vector of
// Channels where Side is 0.
type Shape struct{ Side, Channels int }

// Values is how many values there are for one picture.
func (s Shape) Values() int {
	if s.Side == 0 {
		return s.Channels
	}
	return s.Side * s.Side * s.Channels
}

func (s Shape) String() string {
	if s.Side == 0 {
		return fmt.Sprintf("%d values", s.Channels)
	}
	return fmt.Sprintf("%d×%d×%d", s.Side, s.Side, s.Channels)
}

// Array is one array that a layer keeps.
type Array struct {
	Name  string // kernel, bias, scale, offset, mean, variance
	Dims  []int  // row-major; a convolution's kernel is height, width, input, output
	Moves bool   // a moving average, which training does not follow by gradients

	FanIn, FanOut int // of kernels, for initialisation; 0 for others
}

// Size is the number of values.
func (a Array) Size() int {
	n := 1
	for _, d := range a.Dims {
		n *= d
	}
	return n
}

// LayerError says why a layer cannot stand where it does.
type LayerError struct {
	Path    string // below the layer, such as .residual.layers[1]; empty for the layer itself
	Problem string
}

func (e *LayerError) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path[1:] + ": " + e.Problem
}

func misplaced(format string, args ...any) error {
	return &LayerError{Problem: fmt.Sprintf(format, args...)}
}

// maxDepth bounds residual blocks within residual blocks, of which a manifest has none.
const maxDepth = 4

// Through is the shape behind a layer and the arrays that the layer itself keeps (not
// those of layers within a residual block). An error is a *LayerError. It checks every
// number, so that a layer may come from anywhere.
func (l Layer) Through(in Shape) (Shape, []Array, error) { return l.through(in, 0) }

func (l Layer) through(in Shape, depth int) (out Shape, arrays []Array, err error) {
	if count := l.sorts(); count != 1 {
		return in, nil, misplaced("want exactly one sort of layer, got %d", count)
	}
	vector := in.Side == 0
	switch {
	case vector && (l.Conv != nil || l.Depthwise != nil || l.MaxPool != nil || l.AveragePool != nil || l.GlobalPool != nil || l.Flatten != nil):
		return in, nil, misplaced("the layer reads a picture, and here is a vector: an earlier layer is flatten or global_pool")
	case !vector && l.Dense != nil:
		return in, nil, misplaced("the layer reads a vector, and here is a picture: put `- flatten` before it")
	}
	out = in
	switch {
	case l.Conv != nil:
		out, arrays, err = l.Conv.through(in)
	case l.Depthwise != nil:
		c := l.Depthwise.Conv(in.Channels)
		out, arrays, err = c.through(in)
	case l.BatchNorm != nil:
		arrays, err = l.BatchNorm.arrays(in.Channels)
	case l.Activation != nil:
		err = checkActivation(l.Activation.Name)
	case l.MaxPool != nil:
		out.Side, err = l.MaxPool.side(in.Side)
	case l.AveragePool != nil:
		out.Side, err = l.AveragePool.side(in.Side)
	case l.GlobalPool != nil:
		out.Side = 0
		if of := l.GlobalPool.Of; of != average && of != maximum {
			err = misplaced("want global_pool %s or %s, got %q", average, maximum, of)
		}
	case l.Flatten != nil:
		out = Shape{Channels: in.Values()}
	case l.Dense != nil:
		out, arrays, err = l.Dense.through(in)
	case l.Dropout != nil:
		if rate := l.Dropout.Rate; !(rate >= 0 && rate < 1) {
			err = misplaced("want a rate of at least 0 and below 1, got %v", rate)
		}
	case l.Residual != nil:
		out, err = l.Residual.through(in, depth)
	}
	return out, arrays, err
}

func (l Layer) sorts() int {
	count := 0
	for _, set := range []bool{
		l.Conv != nil, l.Depthwise != nil, l.BatchNorm != nil, l.Activation != nil, l.MaxPool != nil, l.AveragePool != nil,
		l.GlobalPool != nil, l.Flatten != nil, l.Dense != nil, l.Dropout != nil, l.Residual != nil,
	} {
		if set {
			count++
		}
	}
	return count
}

// Conv is the convolution that a depthwise one of so many channels is.
func (d *Depthwise) Conv(channels int) Conv {
	return Conv{
		Filters: channels, Groups: channels, Kernel: d.Kernel, Stride: d.Stride, Padding: d.Padding,
		Dilation: d.Dilation, Bias: d.Bias, Activation: d.Activation,
	}
}

func (c *Conv) through(in Shape) (Shape, []Array, error) {
	switch {
	case c.Filters < 1 || c.Filters > maxUnits:
		return in, nil, misplaced("want 1 to %d filters, got %d", maxUnits, c.Filters)
	case c.Kernel < 1 || c.Kernel > maxKernel:
		return in, nil, misplaced("want a kernel of 1 to %d pixels, got %d", maxKernel, c.Kernel)
	case c.Stride < 1 || c.Stride > maxKernel:
		return in, nil, misplaced("want a stride of 1 to %d pixels, got %d", maxKernel, c.Stride)
	case c.Dilation < 1 || c.Dilation > maxKernel:
		return in, nil, misplaced("want a dilation of 1 to %d pixels, got %d", maxKernel, c.Dilation)
	case c.Stride > 1 && c.Dilation > 1:
		return in, nil, misplaced("stride and dilation cannot both be above 1")
	case c.Groups < 1 || in.Channels%c.Groups != 0 || c.Filters%c.Groups != 0:
		return in, nil, misplaced("%d groups must divide the %d channels that come in and the %d filters", c.Groups, in.Channels, c.Filters)
	}
	if err := checkActivation(c.Activation); err != nil {
		return in, nil, err
	}
	side, _, _, err := Windows(in.Side, c.Kernel, c.Stride, c.Dilation, c.Padding)
	if err != nil {
		return in, nil, err
	}
	area, deep := c.Kernel*c.Kernel, in.Channels/c.Groups
	arrays := []Array{{
		Name: "kernel", Dims: []int{c.Kernel, c.Kernel, deep, c.Filters},
		FanIn: area * deep, FanOut: area * c.Filters / c.Groups,
	}}
	if c.Bias {
		arrays = append(arrays, Array{Name: "bias", Dims: []int{c.Filters}})
	}
	return Shape{Side: side, Channels: c.Filters}, arrays, nil
}

// Windows is how many windows of size pixels there are along a side, and how many pixels
// are laid around it before and after. Padding same makes one window for each stride, as
// Keras does: of an odd number of pixels, the one too many stands at the end.
func Windows(side, size, stride, dilation int, padding string) (count, before, after int, err error) {
	reach := (size-1)*dilation + 1
	switch padding {
	case "same":
		count = (side + stride - 1) / stride
		total := max((count-1)*stride+reach-side, 0)
		return count, total / 2, total - total/2, nil
	case "valid":
		if reach > side {
			return 0, 0, 0, misplaced("nothing is left of the picture, which is %d×%d pixels here", side, side)
		}
		return (side-reach)/stride + 1, 0, 0, nil
	}
	return 0, 0, 0, misplaced("want padding valid or same, got %q", padding)
}

func (b *BatchNorm) arrays(channels int) ([]Array, error) {
	if !(b.Momentum >= 0 && b.Momentum < 1) || !(b.Epsilon > 0 && b.Epsilon <= 1) {
		return nil, misplaced("want a momentum of at least 0 and below 1 and an epsilon above 0, got %v and %v", b.Momentum, b.Epsilon)
	}
	dims := []int{channels}
	return []Array{
		{Name: "scale", Dims: dims}, {Name: "offset", Dims: dims},
		{Name: "mean", Dims: dims, Moves: true}, {Name: "variance", Dims: dims, Moves: true},
	}, nil
}

func (p *Pool) side(in int) (int, error) {
	if p.Size < 1 || p.Size > maxKernel || p.Stride < 0 || p.Stride > maxKernel {
		return 0, misplaced("want a window of 1 to %d pixels, got %d with a stride of %d", maxKernel, p.Size, p.Stride)
	}
	side, _, _, err := Windows(in, p.Size, p.Step(), 1, p.Padding)
	return side, err
}

// Step is the number of pixels between two windows.
func (p *Pool) Step() int {
	if p.Stride == 0 {
		return p.Size
	}
	return p.Stride
}

func (d *Dense) through(in Shape) (Shape, []Array, error) {
	if d.Units < 1 || d.Units > maxUnits {
		return in, nil, misplaced("want 1 to %d units, got %d", maxUnits, d.Units)
	}
	return Shape{Channels: d.Units}, []Array{
		{Name: "kernel", Dims: []int{in.Channels, d.Units}, FanIn: in.Channels, FanOut: d.Units},
		{Name: "bias", Dims: []int{d.Units}},
	}, checkActivation(d.Activation)
}

func (r *Residual) through(in Shape, depth int) (Shape, error) {
	if depth >= maxDepth {
		return in, misplaced("residual blocks within %d residual blocks", maxDepth)
	}
	if len(r.Layers) == 0 {
		return in, misplaced("want at least one layer")
	}
	out, err := follow(r.Layers, in, depth+1, ".residual.layers")
	if err != nil {
		return in, err
	}
	other, err := follow(r.Shortcut, in, depth+1, ".residual.shortcut")
	if err != nil {
		return in, err
	}
	if out != other {
		return in, misplaced("the layers make %v and the shortcut %v, which cannot be added: give the shortcut a conv of the same stride and filters", out, other)
	}
	return out, checkActivation(r.Activation)
}

// follow takes a picture through a list of layers that stands at a path.
func follow(layers []Layer, in Shape, depth int, path string) (Shape, error) {
	for i, l := range layers {
		out, _, err := l.through(in, depth)
		if err != nil {
			e, _ := errors.AsType[*LayerError](err)
			return in, &LayerError{Path: fmt.Sprintf("%s[%d]%s", path, i, e.Path), Problem: e.Problem}
		}
		in = out
	}
	return in, nil
}

func checkActivation(name string) error {
	if !slices.Contains(Activations(), name) {
		return misplaced("unknown activation %q", name)
	}
	return nil
}

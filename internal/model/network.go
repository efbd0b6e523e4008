// Package model is the network that a manifest describes, its shapes and parameters, and
// the two canonical files it is kept in, model.json and model.safetensors.
//
// A Network is a checked description. A Model is a network with weights and the
// preparation of its pictures, enough to answer from the package alone. Package neural
// computes with them.
package model

import (
	"fmt"
	"slices"

	"github.com/sandwich-build/sandwich/manifest"
)

// Limits of a description. They are far above what trains in reasonable time; they
// keep a hostile model.json from overflowing a product or exhausting the memory.
const (
	maxSide       = 4096    // pixels of an input's side
	maxWidth      = 1 << 16 // filters, units, labels
	maxKernel     = 1 << 8
	maxParameters = 1 << 28 // 1 GiB of weights
	maxActivation = 1 << 28 // values of one layer for one picture
)

// Channels is the depth of a picture: red, green, blue.
const Channels = 3

// Parameter is one trained array of a network.
type Parameter struct {
	Name string // such as "conv1/kernel"; the output layer's are "output/…"
	Dims []int  // row-major; a convolution's kernel is height, width, input, output

	fanIn, fanOut int // of kernels, for initialisation; 0 for a bias
}

// Size is the number of values.
func (p Parameter) Size() int {
	n := 1
	for _, d := range p.Dims {
		n *= d
	}
	return n
}

// Network is a checked description of a sequential network. Its last layer is not
// listed: it follows from the labels, a sigmoid unit for two and a softmax for more.
// It is immutable.
type Network struct {
	side   int
	labels []string
	layers []Layer // the listed ones, then the output layer
	params []Parameter
}

// Layer is a described layer with what follows from its place in the network.
type Layer struct {
	manifest.Layer
	Name  string // "conv1", "pool1", "dense1", "output"; empty for flatten
	In    []int  // dimensions for one picture
	Out   []int
	First int // index of its first parameter; the others of the layer follow
}

// New checks a description: layers that fit each other, on pictures of side × side
// pixels, for labels in their sorted order. The error names the layer by its number,
// from 1.
func New(layers []manifest.Layer, side int, labels []string) (*Network, error) {
	if side < 1 || side > maxSide {
		return nil, fmt.Errorf("input: want a side of 1 to %d pixels, got %d", maxSide, side)
	}
	if err := checkLabels(labels); err != nil {
		return nil, err
	}
	n := &Network{side: side, labels: slices.Clone(labels)}
	counts := make(map[string]int)
	shape := []int{side, side, Channels}
	for i, described := range layers {
		next, err := n.add(described, shape, counts)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		shape = next
	}
	output := manifest.Layer{Dense: &manifest.Dense{Units: n.Outputs(), Activation: "none"}}
	if _, err := n.add(output, shape, nil); err != nil {
		return nil, fmt.Errorf("output layer: %w", err)
	}
	return n, nil
}

func checkLabels(labels []string) error {
	if len(labels) < 2 || len(labels) > maxWidth {
		return fmt.Errorf("labels: want 2 to %d, got %d", maxWidth, len(labels))
	}
	for i, label := range labels {
		if label == "" {
			return fmt.Errorf("labels: number %d is empty", i+1)
		}
		if i > 0 && labels[i-1] >= label {
			return fmt.Errorf("labels: want them sorted and distinct, got %q before %q", labels[i-1], label)
		}
	}
	return nil
}

// Outputs is the number of units that tell the labels apart: one sigmoid unit for two
// labels, one unit for each of more.
func (n *Network) Outputs() int {
	if len(n.labels) == 2 {
		return 1
	}
	return len(n.labels)
}

// add appends a layer and returns the shape after it. counts numbers the layers of
// each sort; it is nil for the output layer.
func (n *Network) add(described manifest.Layer, in []int, counts map[string]int) ([]int, error) {
	l := Layer{Layer: described, In: in, First: len(n.params)}
	number := func(sort string) string {
		if counts == nil {
			return "output"
		}
		counts[sort]++
		return fmt.Sprintf("%s%d", sort, counts[sort])
	}
	var err error
	switch {
	case fieldsSet(described) != 1:
		return nil, fmt.Errorf("want exactly one sort of layer, got %d", fieldsSet(described))
	case described.Conv != nil:
		l.Name = number("conv")
		l.Out, err = convShape(*described.Conv, in)
	case described.MaxPool != nil:
		l.Name = number("pool")
		l.Out, err = poolShape(*described.MaxPool, in)
	case described.Flatten != nil:
		l.Out = []int{product(in)}
	case described.Dense != nil:
		l.Name = number("dense")
		l.Out, err = denseShape(*described.Dense, in)
	case described.Dropout != nil:
		l.Name = number("dropout")
		l.Out, err = in, checkRate(described.Dropout.Rate)
	}
	if err != nil {
		return nil, err
	}
	if product(l.Out) > maxActivation {
		return nil, fmt.Errorf("its output of %v values is above the limit of %d", l.Out, maxActivation)
	}
	if err := n.addParameters(&l); err != nil {
		return nil, err
	}
	n.layers = append(n.layers, l)
	return l.Out, nil
}

func fieldsSet(l manifest.Layer) int {
	count := 0
	for _, set := range []bool{l.Conv != nil, l.MaxPool != nil, l.Flatten != nil, l.Dense != nil, l.Dropout != nil} {
		if set {
			count++
		}
	}
	return count
}

func (n *Network) addParameters(l *Layer) error {
	var kernel []int
	switch {
	case l.Conv != nil:
		kernel = []int{l.Conv.Kernel, l.Conv.Kernel, l.In[2], l.Conv.Filters}
	case l.Dense != nil:
		kernel = []int{l.In[0], l.Dense.Units}
	default:
		return nil
	}
	rank := len(kernel)
	receptive := product(kernel[:rank-2])
	n.params = append(n.params,
		Parameter{
			Name:   l.Name + "/kernel",
			Dims:   kernel,
			fanIn:  receptive * kernel[rank-2],
			fanOut: receptive * kernel[rank-1],
		},
		Parameter{Name: l.Name + "/bias", Dims: kernel[rank-1:]},
	)
	if n.ParameterCount() > maxParameters {
		return fmt.Errorf("the network has %d parameters, the limit is %d", n.ParameterCount(), maxParameters)
	}
	return nil
}

func convShape(c manifest.Conv, in []int) ([]int, error) {
	switch {
	case len(in) != 3:
		return nil, fmt.Errorf("conv wants a picture, but what comes in is flat: %v", in)
	case c.Filters < 1 || c.Filters > maxWidth:
		return nil, fmt.Errorf("conv: want 1 to %d filters, got %d", maxWidth, c.Filters)
	case c.Kernel < 1 || c.Kernel > maxKernel:
		return nil, fmt.Errorf("conv: want a kernel of 1 to %d pixels, got %d", maxKernel, c.Kernel)
	}
	if err := checkActivation(c.Activation); err != nil {
		return nil, fmt.Errorf("conv: %w", err)
	}
	switch c.Padding {
	case "same":
		return []int{in[0], in[1], c.Filters}, nil
	case "valid":
		h, w := in[0]-c.Kernel+1, in[1]-c.Kernel+1
		if h < 1 || w < 1 {
			return nil, fmt.Errorf("conv: a kernel of %d does not fit into %d × %d pixels", c.Kernel, in[0], in[1])
		}
		return []int{h, w, c.Filters}, nil
	}
	return nil, fmt.Errorf("conv: want padding valid or same, got %q", c.Padding)
}

func poolShape(p manifest.MaxPool, in []int) ([]int, error) {
	if len(in) != 3 {
		return nil, fmt.Errorf("max_pool wants a picture, but what comes in is flat: %v", in)
	}
	if p.Size < 1 || p.Size > min(in[0], in[1]) {
		return nil, fmt.Errorf("max_pool: a window of %d does not fit into %d × %d pixels", p.Size, in[0], in[1])
	}
	return []int{in[0] / p.Size, in[1] / p.Size, in[2]}, nil
}

func denseShape(d manifest.Dense, in []int) ([]int, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("dense wants a vector, but a picture of %v comes in; put flatten before it", in)
	}
	if d.Units < 1 || d.Units > maxWidth {
		return nil, fmt.Errorf("dense: want 1 to %d units, got %d", maxWidth, d.Units)
	}
	if err := checkActivation(d.Activation); err != nil {
		return nil, fmt.Errorf("dense: %w", err)
	}
	return []int{d.Units}, nil
}

func checkActivation(name string) error {
	if name != "none" && name != "relu" {
		return fmt.Errorf("want activation none or relu, got %q", name)
	}
	return nil
}

func checkRate(rate float64) error {
	if !(rate >= 0 && rate < 1) {
		return fmt.Errorf("dropout: want a rate of at least 0 and below 1, got %v", rate)
	}
	return nil
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// Side is the side of the input in pixels.
func (n *Network) Side() int { return n.side }

// Labels are the classes, in the order of the probabilities.
func (n *Network) Labels() []string { return slices.Clone(n.labels) }

// Layers are all layers, the output layer included, in the order of computation.
func (n *Network) Layers() []Layer { return slices.Clone(n.layers) }

// Described are the listed layers, without the output layer.
func (n *Network) Described() []manifest.Layer {
	listed := make([]manifest.Layer, len(n.layers)-1)
	for i := range listed {
		listed[i] = n.layers[i].Layer
	}
	return listed
}

// Parameters are the trained arrays, in the order of the layers.
func (n *Network) Parameters() []Parameter { return slices.Clone(n.params) }

// ParameterCount is the number of trained values.
func (n *Network) ParameterCount() int {
	sum := 0
	for _, p := range n.params {
		sum += p.Size()
	}
	return sum
}

// Pixels is the number of values of one input.
func (n *Network) Pixels() int { return n.side * n.side * Channels }

// Dropout is a dropout layer in its place.
type Dropout struct {
	Name string
	Rate float64
	Dims []int // of what it works on, for one picture
	Size int   // the product of the dimensions
}

// Dropouts are the dropout layers, in the order of computation.
func (n *Network) Dropouts() []Dropout {
	var list []Dropout
	for _, l := range n.layers {
		if l.Dropout != nil {
			list = append(list, Dropout{Name: l.Name, Rate: l.Dropout.Rate, Dims: l.In, Size: product(l.In)})
		}
	}
	return list
}

// Largest returns the index of the largest value, the first of equal ones.
func Largest(values []float32) int {
	best := 0
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	return best
}

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

// Limits of a description, besides those of each layer. They are far above what trains in
// reasonable time; they keep a hostile model.json from overflowing a product or exhausting
// the memory.
const (
	maxSide       = 4096    // pixels of an input's side
	maxLabels     = 1 << 16 // more are no classes
	maxParameters = 1 << 28 // 1 GiB of weights
	maxActivation = 1 << 28 // values of one layer for one picture
)

// Channels is the depth of a picture: red, green, blue.
const Channels = 3

// Parameter is one array of a network.
type Parameter struct {
	manifest.Array
	Name string // such as "conv1/kernel"; the output layer's are "output/…"
}

// Network is a checked description of a network. Its last layer is not listed: it follows
// from the labels, a sigmoid unit for two and a softmax for more. It is immutable.
type Network struct {
	side   int
	labels []string
	layers []Layer // the listed ones, then the output layer
	params []Parameter
	counts map[string]int // layers of each sort so far, while it is made
}

// Layer is a described layer with what follows from its place in the network.
type Layer struct {
	manifest.Layer
	Name     string // "conv1", "pool1", "dense1", "output"
	In, Out  manifest.Shape
	First    int     // index of its first parameter; the others of the layer follow
	Body     []Layer // of a residual block
	Shortcut []Layer // of a residual block; empty for what comes in
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
	n := &Network{side: side, labels: slices.Clone(labels), counts: make(map[string]int)}
	in := manifest.Shape{Side: side, Channels: Channels}
	for i, described := range layers {
		l, err := n.add(described, in)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		n.layers = append(n.layers, l)
		in = l.Out
	}
	output, err := n.add(manifest.Layer{Dense: &manifest.Dense{Units: n.Outputs(), Activation: "none"}}, in)
	if err != nil {
		return nil, fmt.Errorf("output layer: %w", err)
	}
	for i := range len(n.params) - output.First {
		p := &n.params[output.First+i]
		p.Name = outputName + "/" + p.Array.Name
	}
	output.Name = outputName
	n.layers = append(n.layers, output)
	return n, nil
}

// outputName is the name of the layer that follows from the labels.
const outputName = "output"

func checkLabels(labels []string) error {
	if len(labels) < 2 || len(labels) > maxLabels {
		return fmt.Errorf("labels: want 2 to %d, got %d", maxLabels, len(labels))
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

// add puts a layer into its place and adds its parameters, and those of the layers within
// it.
func (n *Network) add(described manifest.Layer, in manifest.Shape) (Layer, error) {
	out, arrays, err := described.Through(in)
	if err != nil {
		return Layer{}, err
	}
	if out.Values() > maxActivation {
		return Layer{}, fmt.Errorf("its output of %v is above the limit of %d values", out, maxActivation)
	}
	l := Layer{Layer: described, Name: n.number(sort(described)), In: in, Out: out, First: len(n.params)}
	for _, a := range arrays {
		n.params = append(n.params, Parameter{Array: a, Name: l.Name + "/" + a.Name})
	}
	if count := n.ParameterCount(); count > maxParameters {
		return Layer{}, fmt.Errorf("the network has %d parameters, the limit is %d", count, maxParameters)
	}
	if described.Residual != nil {
		if l.Body, err = n.addAll(described.Residual.Layers, in); err == nil {
			l.Shortcut, err = n.addAll(described.Residual.Shortcut, in)
		}
	}
	return l, err
}

func (n *Network) addAll(described []manifest.Layer, in manifest.Shape) ([]Layer, error) {
	var list []Layer
	for _, d := range described {
		l, err := n.add(d, in)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
		in = l.Out
	}
	return list, nil
}

func (n *Network) number(sort string) string {
	n.counts[sort]++
	return fmt.Sprintf("%s%d", sort, n.counts[sort])
}

// sort is what layers of a sort are named after.
func sort(l manifest.Layer) string {
	switch {
	case l.Conv != nil:
		return "conv"
	case l.Depthwise != nil:
		return "depthwise"
	case l.BatchNorm != nil:
		return "norm"
	case l.Activation != nil:
		return "activation"
	case l.MaxPool != nil, l.AveragePool != nil, l.GlobalPool != nil:
		return "pool"
	case l.Dense != nil:
		return "dense"
	case l.Dropout != nil:
		return "dropout"
	case l.Residual != nil:
		return "residual"
	}
	return "flatten"
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

// Parameters are the arrays, in the order of the layers: those that are trained, and the
// moving averages of batch normalization.
func (n *Network) Parameters() []Parameter { return slices.Clone(n.params) }

// ParameterCount is the number of trained values.
func (n *Network) ParameterCount() int {
	sum := 0
	for _, p := range n.params {
		if !p.Moves {
			sum += p.Size()
		}
	}
	return sum
}

// Pixels is the number of values of one input.
func (n *Network) Pixels() int { return n.side * n.side * Channels }

// Dropouts are the dropout layers, in the order of computation.
func (n *Network) Dropouts() []Layer { return dropouts(n.layers) }

func dropouts(layers []Layer) []Layer {
	var list []Layer
	for _, l := range layers {
		if l.Dropout != nil {
			list = append(list, l)
		}
		list = append(list, dropouts(l.Body)...)
		list = append(list, dropouts(l.Shortcut)...)
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

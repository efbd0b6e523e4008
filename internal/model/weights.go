package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/sandwich-build/sandwich/internal/random"
)

// Tensor is a named array of float32.
type Tensor struct {
	Name string
	Dims []int
	Data []float32 // row-major
}

// Initial draws the weights that training starts from, in the order of Parameters.
// Kernels are Glorot uniform (Glorot and Bengio, "Understanding the difficulty of
// training deep feedforward neural networks", AISTATS 2010), as in Keras. Biases and the
// rest of batch normalization are 0, its scales and variances 1.
func (n *Network) Initial(seed uint64) []Tensor {
	weights := make([]Tensor, len(n.params))
	for i, p := range n.params {
		weights[i] = Tensor{Name: p.Name, Dims: slices.Clone(p.Dims), Data: make([]float32, p.Size())}
		switch {
		case p.FanIn > 0:
			draws := random.New(random.Key{Seed: seed, Stage: "init", Item: p.Name})
			limit := math.Sqrt(6 / float64(p.FanIn+p.FanOut))
			for j := range weights[i].Data {
				weights[i].Data[j] = float32(draws.Uniform(-limit, limit))
			}
		case p.Array.Name == "scale" || p.Array.Name == "variance":
			for j := range weights[i].Data {
				weights[i].Data[j] = 1
			}
		}
	}
	return weights
}

// arrange returns the tensors in the order of Parameters. They must be exactly those
// of the network.
func (n *Network) arrange(tensors []Tensor) ([]Tensor, error) {
	byName := make(map[string]Tensor, len(tensors))
	for _, t := range tensors {
		byName[t.Name] = t
	}
	ordered := make([]Tensor, len(n.params))
	for i, p := range n.params {
		t, ok := byName[p.Name]
		if !ok {
			return nil, fmt.Errorf("weights: %s is missing", p.Name)
		}
		if !slices.Equal(t.Dims, p.Dims) || len(t.Data) != p.Size() {
			return nil, fmt.Errorf("weights: %s has shape %v with %d values, want %v", p.Name, t.Dims, len(t.Data), p.Dims)
		}
		ordered[i] = t
		delete(byName, p.Name)
	}
	for _, t := range tensors {
		if _, extra := byName[t.Name]; extra {
			return nil, fmt.Errorf("weights: the network has no %q", t.Name)
		}
	}
	if len(tensors) != len(n.params) {
		return nil, fmt.Errorf("weights: want %d tensors, got %d", len(n.params), len(tensors))
	}
	return ordered, nil
}

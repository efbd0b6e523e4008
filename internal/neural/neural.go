// Package neural computes with the networks of package model, as gomlx graphs: training
// steps and probabilities.
//
// On the default backend, stages/train/exact, its results are the same bits on any
// number of workers and with any kernels.
package neural

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/model"
)

// float is the type of every value in a graph.
const float = dtypes.Float32

// Options say on what to compute.
type Options struct {
	Backend string // as OpenBackend takes it; empty is the default
	Workers int    // goroutines to keep busy; at least 1. No result depends on it.
}

// device is a backend with memory that is shared with it.
type device struct {
	compute.Backend
	workers int
}

func open(o Options) (*device, error) {
	workers := max(o.Workers, 1)
	backend, err := OpenBackend(o.Backend, workers)
	if err != nil {
		return nil, err
	}
	return &device{Backend: backend, workers: workers}, nil
}

// tensor allocates zeros.
func (d *device) tensor(dims ...int) (*tensors.Tensor, error) {
	return tensors.FromShapeForBackend(d.Backend, 0, shapes.Make(float, dims...))
}

func set(t *tensors.Tensor, values []float32) error {
	return tensors.MutableFlatData(t, func(flat []float32) { copy(flat, values) })
}

// upload makes tensors of the device of a model's.
func (d *device) upload(list []model.Tensor) ([]*tensors.Tensor, error) {
	uploaded := make([]*tensors.Tensor, len(list))
	for i, w := range list {
		t, err := d.tensor(w.Dims...)
		if err == nil {
			err = set(t, w.Data)
		}
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", w.Name, err)
		}
		uploaded[i] = t
	}
	return uploaded, nil
}

func arguments(lists ...[]*tensors.Tensor) []any {
	var all []any
	for _, list := range lists {
		for _, t := range list {
			all = append(all, t)
		}
	}
	return all
}

// block is how many pictures are looked at together. More are not faster, and need more
// memory; the context is looked at between blocks.
const block = 32

// inference computes logits. It is not safe for concurrent use.
type inference struct {
	network  *model.Network
	device   *device
	exec     *graph.Exec
	pictures map[int]*tensors.Tensor // inputs by their number of pictures
}

func newInference(n *model.Network, d *device) (*inference, error) {
	exec, err := graph.NewExec(d.Backend, func(in []*graph.Node) []*graph.Node {
		f := &forward{weights: in[1:]}
		return []*graph.Node{f.network(n, in[0])}
	})
	if err != nil {
		return nil, err
	}
	return &inference{network: n, device: d, exec: exec, pictures: make(map[int]*tensors.Tensor)}, nil
}

// logits computes those of count pictures. fill writes the i-th picture, side × side × 3
// values of 0 to 1, rows first; it is called from several goroutines.
func (f *inference) logits(ctx context.Context, weights []*tensors.Tensor, count int, fill func(i int, picture []float32) error) ([]float32, error) {
	all := make([]float32, 0, count*f.network.Outputs())
	for first := 0; first < count; first += block {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		rows := min(block, count-first)
		input, err := f.input(rows, func(i int, picture []float32) error { return fill(first+i, picture) })
		if err != nil {
			return nil, err
		}
		out, err := f.exec.Call(arguments([]*tensors.Tensor{input}, weights)...)
		if err != nil {
			return nil, err
		}
		part, err := tensors.CopyFlatData[float32](out[0])
		if err := errors.Join(err, out[0].FinalizeAll()); err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

func (f *inference) input(rows int, fill func(i int, picture []float32) error) (*tensors.Tensor, error) {
	input, ok := f.pictures[rows]
	if !ok {
		var err error
		if input, err = f.device.tensor(rows, f.network.Side(), f.network.Side(), model.Channels); err != nil {
			return nil, err
		}
		f.pictures[rows] = input
	}
	var failed error
	err := tensors.MutableFlatData(input, func(values []float32) {
		var group errgroup.Group
		group.SetLimit(f.device.workers)
		size := f.network.Pixels()
		for i := range rows {
			group.Go(func() error { return fill(i, values[i*size:(i+1)*size]) })
		}
		failed = group.Wait()
	})
	return input, errors.Join(failed, err)
}

// Predictor answers for one model again and again. It is not safe for concurrent use.
type Predictor struct {
	model     *model.Model
	inference *inference
	weights   []*tensors.Tensor
}

// NewPredictor returns a predictor of a model. Close it when done.
func NewPredictor(m *model.Model, o Options) (*Predictor, error) {
	d, err := open(o)
	if err != nil {
		return nil, err
	}
	p := &Predictor{model: m}
	if p.inference, err = newInference(m.Network, d); err == nil {
		p.weights, err = d.upload(m.Weights)
	}
	if err != nil {
		d.Finalize()
		return nil, err
	}
	return p, nil
}

// Close gives the predictor's memory back.
func (p *Predictor) Close() { p.inference.device.Finalize() }

// Predict returns, for each picture, the probability of each label, in the order of
// Network.Labels. It stops soon after the context ends.
func (p *Predictor) Predict(ctx context.Context, pictures []image.Image) ([][]float32, error) {
	n := p.model.Network
	logits, err := p.inference.logits(ctx, p.weights, len(pictures), func(i int, values []float32) error {
		pixels, err := p.model.Input.Pixels(pictures[i], n.Side())
		if err != nil {
			return fmt.Errorf("picture %d: %w", i+1, err)
		}
		model.Scale(values, pixels)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	all := make([][]float32, len(pictures))
	for i := range all {
		all[i] = probabilities(classScores(logits[i*n.Outputs() : (i+1)*n.Outputs()]))
	}
	return all, nil
}

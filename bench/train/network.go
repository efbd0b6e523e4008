//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"golang.org/x/sys/unix"

	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/stages/train/exact"
)

// network is the article's, with its weights and RMSprop's averages.
type network struct {
	setting
	backend           *exact.Backend
	weights, averages []*tensors.Tensor
	pictures, targets *tensors.Tensor
	mask              *tensors.Tensor
	train, infer      *graph.Exec
}

var filters = []int{32, 32, 64}

const dense = 64

func drawn(stage string, scale float64, dims ...int) *tensors.Tensor {
	size := 1
	for _, d := range dims {
		size *= d
	}
	draws := random.New(random.Key{Stage: stage})
	values := make([]float32, size)
	for i := range values {
		values[i] = float32(draws.Uniform(-scale, scale))
	}
	return tensors.FromFlatDataAndDimensions(values, dims...)
}

func newNetwork(s setting) (*network, error) {
	backend, err := exact.New(fmt.Sprintf("workers=%d", s.threads))
	if err != nil {
		return nil, err
	}
	n := &network{setting: s, backend: backend}
	side, channels := s.side, 3
	layer := func(fan int, dims ...int) {
		last := dims[len(dims)-1]
		n.weights = append(n.weights, drawn(fmt.Sprint(dims), math.Sqrt(6/float64(fan+last)), dims...), drawn("bias", 0, last))
	}
	for _, f := range filters {
		layer(9*channels, 3, 3, channels, f)
		side, channels = (side-2)/2, f
	}
	layer(side*side*channels, side*side*channels, dense)
	layer(dense, dense, 1)
	for _, w := range n.weights {
		n.averages = append(n.averages, drawn("averages", 0, w.Shape().Dimensions...))
	}
	labels, kept := make([]float32, s.batch), make([]float32, s.batch*dense)
	for i := range labels {
		labels[i] = float32(i % 2)
	}
	for i := range kept {
		kept[i] = float32(i % 2 * 2)
	}
	n.pictures = drawn("pictures", 1, s.batch, s.side, s.side, 3)
	n.targets = tensors.FromFlatDataAndDimensions(labels, s.batch, 1)
	n.mask = tensors.FromFlatDataAndDimensions(kept, s.batch, dense)
	if n.train, err = graph.NewExec(backend, n.step); err != nil {
		return nil, err
	}
	n.infer, err = graph.NewExec(backend, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{n.logits(in[0], in[1:], nil)}
	})
	return n, err
}

func (n *network) logits(x *graph.Node, w []*graph.Node, mask *graph.Node) *graph.Node {
	relu := func(x, bias *graph.Node) *graph.Node {
		x = graph.Add(x, graph.ExpandLeftToRank(bias, x.Rank()))
		zero := graph.ScalarZero(x.Graph(), x.DType())
		return graph.Where(graph.GreaterThan(x, zero), x, zero)
	}
	for range filters {
		x = graph.Convolve(x, w[0]).NoPadding().Done()
		x = relu(graph.MaxPool(x).Window(2).Done(), w[1])
		w = w[2:]
	}
	x = graph.Reshape(x, n.batch, -1)
	x = relu(graph.DotGeneral(x, []int{1}, nil, w[0], []int{0}, nil), w[1])
	if mask != nil {
		x = graph.Mul(x, mask)
	}
	x = graph.DotGeneral(x, []int{1}, nil, w[2], []int{0}, nil)
	return graph.Add(x, graph.ExpandLeftToRank(w[3], x.Rank()))
}

// step is a training step with Keras' RMSprop: it returns the new weights and averages.
func (n *network) step(in []*graph.Node) []*graph.Node {
	weights, averages := in[3:3+len(n.weights)], in[3+len(n.weights):]
	z := n.logits(in[0], weights, in[2])
	loss := graph.ReduceAllMean(graph.Sub(graph.Log1P(graph.Exp(z)), graph.Mul(z, in[1])))
	gradients := graph.Gradient(loss, weights...)
	list := make([]*graph.Node, 2*len(weights), 2*len(weights)+1)
	for i, g := range gradients {
		average := graph.Add(graph.MulScalar(averages[i], 0.9), graph.MulScalar(graph.Square(g), 0.1))
		list[i] = graph.Sub(weights[i], graph.Div(graph.MulScalar(g, 1e-3), graph.AddScalar(graph.Sqrt(average), 1e-7)))
		list[len(weights)+i] = average
	}
	return append(list, loss)
}

func finalize(list ...*tensors.Tensor) error {
	for _, t := range list {
		if err := t.FinalizeAll(); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) trainStep() error {
	args := []any{n.pictures, n.targets, n.mask}
	for _, list := range [][]*tensors.Tensor{n.weights, n.averages} {
		for _, t := range list {
			args = append(args, t)
		}
	}
	out, err := n.train.Call(args...)
	if err != nil {
		return err
	}
	if err := finalize(append(append(n.weights, n.averages...), out[len(out)-1])...); err != nil {
		return err
	}
	count := len(n.weights)
	n.weights, n.averages = out[:count:count], out[count:2*count:2*count]
	return nil
}

func (n *network) inferStep() error {
	args := []any{n.pictures}
	for _, t := range n.weights {
		args = append(args, t)
	}
	out, err := n.infer.Call(args...)
	if err != nil {
		return err
	}
	return finalize(out...)
}

// serve does as pytorch.py does.
func (s setting) serve(in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(s.threads)
	n, err := newNetwork(s)
	if err != nil {
		return err
	}
	build, _ := debug.ReadBuildInfo()
	fmt.Fprintln(out, build.GoVersion)
	steps := map[string]func() error{"train": n.trainStep, "infer": n.inferStep, "peak": func() error { n.backend.Limit(); return nil }}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var what string
		var count int
		if _, err := fmt.Sscan(lines.Text(), &what, &count); err != nil {
			return err
		}
		used, begin := processor(), time.Now()
		for range count {
			if err := steps[what](); err != nil {
				return err
			}
		}
		fmt.Fprintln(out, time.Since(begin).Seconds(), processor()-used, peakMemory())
	}
	return nil
}

func usage() unix.Rusage {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail with this argument
	}
	return u
}

func processor() float64 {
	u := usage()
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func peakMemory() float64 { return float64(usage().Maxrss) / 1024 }

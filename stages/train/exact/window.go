package exact

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// pooling is a maximum over windows of float32 that all lie inside, or its gradient.
type pooling struct {
	size, stride []int
	out          shapes.Shape
	build        func(x *node) *node // repeats it on another operand
}

func (w *pooling) sameAs(o *pooling) bool {
	return o != nil && slices.Equal(w.size, o.size) && slices.Equal(w.stride, o.stride)
}

func (w *pooling) windows(in shapes.Shape) *steps.Windows {
	return steps.NewWindows(in, w.out, w.size, w.stride, nil, nil, nil)
}

func (f *function) ReduceWindow(x compute.Value, reduction compute.ReduceOpType, size, stride, holes, dilation []int, padding [][2]int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.ReduceWindow(in[0].shape, size, stride, holes, dilation, padding)
	if err != nil {
		return nil, err
	}
	dtype := shape.DType
	if dtype.IsHalfPrecision() {
		return one(f.widened(dtype, func(wide []compute.Value) (compute.Value, error) {
			return f.ReduceWindow(wide[0], reduction, size, stride, holes, dilation, padding)
		}, in[0]))
	}
	with := map[compute.ReduceOpType]compute.OpType{
		compute.ReduceOpSum: compute.OpTypeAdd, compute.ReduceOpProduct: compute.OpTypeMul,
		compute.ReduceOpMax: compute.OpTypeMax, compute.ReduceOpMin: compute.OpTypeMin,
	}[reduction]
	k := f.kernelFor(with, dtype)
	if k == nil || shape.Rank() > steps.MaxSliding {
		return nil, unsupported(fmt.Sprintf("ReduceWindow %s on %s", reduction, in[0].shape))
	}
	windows := steps.NewWindows(in[0].shape, shape, size, stride, holes, dilation, padding)
	if reduction == compute.ReduceOpMax && dtype == dtypes.Float32 && windows.Plain() && allOne(holes) && allOne(dilation) {
		return f.maxPool(in[0], &pooling{size: slices.Clone(size), stride: steps.OrElse(stride, size), out: shape}), nil
	}
	n := f.node(compute.OpTypeReduceWindow, shape, in[0])
	n.lower = func(p *plan) {
		from := p.slot(in[0])
		windows.Reduce(&p.Plan, k, neutral(with, dtype), from, p.result(n))
	}
	return n, nil
}

func allOne(list []int) bool {
	return !slices.ContainsFunc(list, func(v int) bool { return v != 1 })
}

func (f *function) maxPool(x *node, w *pooling) *node {
	w.build = func(x *node) *node { return f.maxPool(x, &pooling{size: w.size, stride: w.stride, out: w.out}) }
	n := f.node(compute.OpTypeReduceWindow, w.out, x)
	n.pooling = w
	n.lower = func(p *plan) {
		if p.poolConvolution(n) {
			return
		}
		from := p.slot(x)
		w.windows(x.shape).Max(&p.Plan, from, p.result(n))
	}
	return n
}

// poolConvolution plans a maximum over windows of a convolution together with it, if
// nobody looks at the convolution but for the same windows' gradient, which asks only
// for which elements are the largest: what the convolution computes is then never
// stored.
func (p *plan) poolConvolution(n *node) bool {
	x := n.in[0]
	if x.convolution == nil || p.planned(x) || p.keep[x] {
		return false
	}
	number := false
	for _, u := range p.users[x] {
		if u == n {
			continue
		}
		if u.op != compute.OpTypeSelectAndScatterMax || u.in[0] != x || u.in[1] == x || !n.pooling.sameAs(u.pooling) {
			return false
		}
		number = true
	}
	t := &steps.Pooled{Windows: n.pooling.windows(x.shape), Contraction: p.contraction(x), Number: number}
	if !t.Prepare(&p.Plan) {
		delete(p.of, x)
		return false
	}
	if number {
		t.Numbers = p.Temporary(n.shape.Size())
		p.numbers[x] = t.Numbers
	}
	t.To = p.result(n)
	t.Plan(&p.Plan)
	return true
}

func (f *function) SelectAndScatterMax(operand, source compute.Value, size, stride []int, padding [][2]int) (compute.Value, error) {
	return f.selectAndScatter(compute.OpTypeSelectAndScatterMax, compute.OpTypeGreaterThan, operand, source, size, stride, padding)
}

func (f *function) SelectAndScatterMin(operand, source compute.Value, size, stride []int, padding [][2]int) (compute.Value, error) {
	return f.selectAndScatter(compute.OpTypeSelectAndScatterMin, compute.OpTypeLessThan, operand, source, size, stride, padding)
}

// selectAndScatter adds each element of source to the place of the best operand in its
// window, the first of equal ones, window after window.
func (f *function) selectAndScatter(op, better compute.OpType, operand, source compute.Value, size, stride []int, padding [][2]int) (compute.Value, error) {
	in, err := f.values(operand, source)
	if err != nil {
		return nil, err
	}
	dtype := in[0].shape.DType
	if dtype.IsHalfPrecision() {
		return one(f.widened(dtype, func(wide []compute.Value) (compute.Value, error) {
			return f.selectAndScatter(op, better, wide[0], wide[1], size, stride, padding)
		}, in...))
	}
	pooled, err := shapeinference.ReduceWindow(in[0].shape, size, stride, nil, nil, padding)
	if err != nil {
		return nil, err
	}
	if !pooled.Equal(in[1].shape) {
		return nil, fmt.Errorf("exact backend: %s of %s: source is %s, want %s", op, in[0].shape, in[1].shape, pooled)
	}
	s := &steps.Selection{
		Windows: steps.NewWindows(in[0].shape, pooled, size, stride, nil, nil, padding),
		Better:  f.kernelFor(better, dtype), Add: f.kernelFor(compute.OpTypeAdd, dtype),
	}
	if s.Better == nil || s.Add == nil || pooled.Rank() > steps.MaxSliding {
		return nil, unsupported(fmt.Sprintf("%s on %s", op, in[0].shape))
	}
	n := f.node(op, in[0].shape, in...)
	if dtype != dtypes.Float32 || better != compute.OpTypeGreaterThan || !s.Numbered() {
		n.lower = func(p *plan) {
			s.Operand, s.Source, s.To = p.slot(in[0]), p.slot(in[1]), p.result(n)
			s.Plan(&p.Plan)
		}
		return n, nil
	}
	n.pooling = &pooling{size: slices.Clone(size), stride: steps.OrElse(stride, size), out: pooled}
	n.lower = func(p *plan) {
		numbers, known := p.winners(n)
		if !known {
			s.Operand = p.slot(in[0])
		}
		s.Source, s.To = p.slot(in[1]), p.result(n)
		s.PlanMax(&p.Plan, numbers, known)
	}
	return n, nil
}

// winners returns which element of each window of n's operand is the largest, if the
// maximum over the same windows was planned together with the operand.
func (p *plan) winners(n *node) (program.Slot, bool) {
	for _, u := range p.users[n.in[0]] {
		if u.op == compute.OpTypeReduceWindow && n.pooling.sameAs(u.pooling) {
			p.slot(u)
		}
	}
	s, ok := p.numbers[n.in[0]]
	return s, ok
}

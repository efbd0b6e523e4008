package exact

import (
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// This file holds the operations that find out while they run where to read or write.

func (f *function) Gather(operand, start compute.Value, vectorAxis int, offsetAxes, collapsed, startMap, sizes []int, sorted bool) (compute.Value, error) {
	in, err := f.values(operand, start)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Gather(in[0].shape, in[1].shape, vectorAxis, offsetAxes, collapsed, startMap, sizes, sorted)
	if err != nil {
		return nil, err
	}
	indices := f.convert(in[1], dtypes.Int64)
	n := f.node(compute.OpTypeGather, shape, in[0], indices)
	n.lower = func(p *plan) {
		from, index := p.slot(in[0]), p.slot(indices)
		to := p.result(n)
		vectors := steps.NewVectors(indices.shape.Dimensions, vectorAxis, startMap, in[0].shape.Dimensions)
		outer := steps.Strides(shape.Dimensions)
		batches := steps.Offsets(steps.Pick(shape.Dimensions, steps.Others(shape.Rank(), offsetAxes)), steps.Pick(outer, steps.Others(shape.Rank(), offsetAxes)))
		window := steps.Others(in[0].shape.Rank(), collapsed)
		sources := steps.Offsets(steps.Pick(sizes, window), steps.Pick(vectors.Strides, window))
		targets := steps.Offsets(steps.Pick(sizes, window), steps.Pick(outer, offsetAxes))
		width := shape.DType.Size()
		p.Do(len(batches), steps.Elements/max(1, len(sources)), func(r *program.Run, _ *program.Scratch, lo, hi int) {
			for b := lo; b < hi; b++ {
				base := vectors.Clamped(r, index, b, sizes)
				for i, s := range sources {
					steps.CopyRow(unsafe.Add(r.At(to), int(batches[b]+targets[i])*width),
						unsafe.Add(r.At(from), (base+int(s))*width), 1, 1, 1, width)
				}
			}
		}, to, from, index)
	}
	return n, nil
}

func (f *function) ScatterSum(operand, indices, updates compute.Value, vectorAxis int, windowAxes, inserted, toOperand []int, _, _ bool) (compute.Value, error) {
	return f.scatter(compute.OpTypeScatterSum, compute.OpTypeAdd, operand, indices, updates, vectorAxis, windowAxes, inserted, toOperand)
}

func (f *function) ScatterMax(operand, indices, updates compute.Value, vectorAxis int, windowAxes, inserted, toOperand []int, _, _ bool) (compute.Value, error) {
	return f.scatter(compute.OpTypeScatterMax, compute.OpTypeMax, operand, indices, updates, vectorAxis, windowAxes, inserted, toOperand)
}

func (f *function) ScatterMin(operand, indices, updates compute.Value, vectorAxis int, windowAxes, inserted, toOperand []int, _, _ bool) (compute.Value, error) {
	return f.scatter(compute.OpTypeScatterMin, compute.OpTypeMin, operand, indices, updates, vectorAxis, windowAxes, inserted, toOperand)
}

// scatter combines updates into a copy of the operand, one after the other: two of them
// may hit the same element, and their order is part of the result. Updates that stand
// out of the operand are dropped.
func (f *function) scatter(op, with compute.OpType, operand, indices, updates compute.Value, vectorAxis int, windowAxes, inserted, toOperand []int) (compute.Value, error) {
	in, err := f.values(operand, indices, updates)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Scatter(in[0].shape, in[1].shape, in[2].shape, vectorAxis, windowAxes, inserted, toOperand)
	if err != nil {
		return nil, err
	}
	if half := shape.DType; half.IsHalfPrecision() {
		return one(f.widened(half, func(wide []compute.Value) (compute.Value, error) {
			return f.scatter(op, with, wide[0], indices, wide[1], vectorAxis, windowAxes, inserted, toOperand)
		}, in[0], in[2]))
	}
	k := f.kernelFor(with, shape.DType)
	if k == nil {
		return nil, unsupported(fmt.Sprintf("%s on %s", op, shape.DType))
	}
	index := f.convert(in[1], dtypes.Int64)
	n := f.node(op, shape, in[0], index, in[2])
	n.lower = func(p *plan) {
		base, at, update := p.slot(in[0]), p.slot(index), p.slot(in[2])
		to := p.result(n)
		vectors := steps.NewVectors(index.shape.Dimensions, vectorAxis, toOperand, shape.Dimensions)
		dims := in[2].shape.Dimensions
		apart := steps.Strides(dims)
		batchAxes, window := steps.Others(len(dims), windowAxes), steps.Others(shape.Rank(), inserted)
		batches := steps.Offsets(steps.Pick(dims, batchAxes), steps.Pick(apart, batchAxes))
		sources := steps.Offsets(steps.Pick(dims, windowAxes), steps.Pick(apart, windowAxes))
		targets := steps.Offsets(steps.Pick(dims, windowAxes), steps.Pick(vectors.Strides, window))
		sizes := slices.Repeat([]int{1}, shape.Rank())
		for i, axis := range window {
			sizes[axis] = dims[windowAxes[i]]
		}
		width, bytes := shape.DType.Size(), byteSize(shape)
		p.Do(1, 1, func(r *program.Run, _ *program.Scratch, _, _ int) {
			copy(program.Values[byte](r, to, bytes), program.Values[byte](r, base, bytes))
			for b := range batches {
				first, ok := vectors.Inside(r, at, b, sizes)
				if !ok {
					continue
				}
				for i, s := range sources {
					dst := unsafe.Add(r.At(to), (first+int(targets[i]))*width)
					k(dst, dst, unsafe.Add(r.At(update), int(batches[b]+s)*width), nil, 1)
				}
			}
		}, to, base, at, update)
	}
	return n, nil
}

// widened computes something in float32 for operands of half precision.
func (f *function) widened(half dtypes.DType, build func([]compute.Value) (compute.Value, error), operands ...*node) (*node, error) {
	wide := make([]compute.Value, len(operands))
	for i, x := range operands {
		wide[i] = f.convert(x, dtypes.Float32)
	}
	v, err := build(wide)
	if err != nil {
		return nil, err
	}
	n, err := f.value(v)
	if err != nil {
		return nil, err
	}
	return f.convert(n, half), nil
}

func (f *function) DynamicSlice(operand compute.Value, start []compute.Value, sizes []int) (compute.Value, error) {
	in, err := f.values(append([]compute.Value{operand}, start...)...)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.DynamicSlice(in[0].shape, sizes)
	if err != nil {
		return nil, err
	}
	if err := f.checkStart(in); err != nil {
		return nil, err
	}
	n := f.node(compute.OpTypeDynamicSlice, shape, in...)
	n.lower = func(p *plan) {
		at := p.slotsOf(in)
		to := p.result(n)
		strides := steps.Strides(in[0].shape.Dimensions)
		g := steps.NewGrid(shape, steps.View{Strides: strides})
		p.Do(g.Rows, steps.Elements/max(1, g.Length), func(r *program.Run, _ *program.Scratch, lo, hi int) {
			base := steps.StartOf(r, at[1:], in[0].shape.Dimensions, sizes, strides)
			g.Gather(r.At(to), unsafe.Add(r.At(at[0]), base*g.Width), lo, hi)
		}, append(at, to)...)
	}
	return n, nil
}

func (f *function) DynamicUpdateSlice(operand, update compute.Value, start []compute.Value) (compute.Value, error) {
	in, err := f.values(append([]compute.Value{operand}, start...)...)
	if err != nil {
		return nil, err
	}
	updates, err := f.values(update)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.DynamicUpdateSlice(in[0].shape, updates[0].shape)
	if err != nil {
		return nil, err
	}
	if err := f.checkStart(in); err != nil {
		return nil, err
	}
	n := f.node(compute.OpTypeDynamicUpdateSlice, shape, append(slices.Clone(in), updates...)...)
	n.lower = func(p *plan) {
		at, source := p.slotsOf(in), p.slot(updates[0])
		to := p.result(n)
		inner, bytes := updates[0].shape, byteSize(shape)
		strides := steps.Strides(shape.Dimensions)
		g := steps.NewGrid(inner, steps.View{Strides: strides})
		p.Do(1, 1, func(r *program.Run, _ *program.Scratch, _, _ int) {
			copy(program.Values[byte](r, to, bytes), program.Values[byte](r, at[0], bytes))
			base := steps.StartOf(r, at[1:], shape.Dimensions, inner.Dimensions, strides)
			for i := range g.Rows {
				steps.CopyRow(unsafe.Add(r.At(to), (base+g.Row(i))*g.Width),
					unsafe.Add(r.At(source), i*g.Length*g.Width), g.Length, g.Stride, 1, g.Width)
			}
		}, append(at, to, source)...)
	}
	return n, nil
}

// checkStart makes the start indices int64.
func (f *function) checkStart(in []*node) error {
	if len(in)-1 != in[0].shape.Rank() {
		return fmt.Errorf("exact backend: %d start indices for %s: want one for each axis", len(in)-1, in[0].shape)
	}
	for i, x := range in[1:] {
		if x.shape.Rank() != 0 || !x.shape.DType.IsInt() {
			return fmt.Errorf("exact backend: start index %s: want an integer scalar", x.shape)
		}
		in[1+i] = f.convert(x, dtypes.Int64)
	}
	return nil
}

// RNGBitGenerator implements compute.StandardOps with Philox 4x32-10 (Salmon and
// others, "Parallel random numbers: as easy as 1, 2, 3", 2011). The state is a key and
// a 128-bit counter; every 16 bytes are one count, whoever computes them.
func (f *function) RNGBitGenerator(state compute.Value, shape shapes.Shape) (newState, values compute.Value, err error) {
	in, err := f.values(state)
	if err != nil {
		return nil, nil, err
	}
	if !in[0].shape.Equal(compute.RNGStateShape) {
		return nil, nil, fmt.Errorf("exact backend: random state %s: want %s", in[0].shape, compute.RNGStateShape)
	}
	if err := checkShape(shape); err != nil {
		return nil, nil, err
	}
	if !shape.DType.IsInt() {
		return nil, nil, unsupported("RNGBitGenerator of " + shape.DType.String())
	}
	size := byteSize(shape)
	counts := (size + 15) / 16
	after := f.node(compute.OpTypeRNGBitGenerator, in[0].shape, in[0])
	after.lower = func(p *plan) {
		from := p.slot(in[0])
		to := p.result(after)
		p.Do(1, 1, func(r *program.Run, _ *program.Scratch, _, _ int) {
			s, d := program.Values[uint64](r, from, 3), program.Values[uint64](r, to, 3)
			low, carry := bits.Add64(s[1], uint64(counts), 0)
			d[0], d[1], d[2] = s[0], low, s[2]+carry
		}, from, to)
	}
	bitsOf := f.node(compute.OpTypeRNGBitGenerator, shape.Clone(), in[0])
	bitsOf.lower = func(p *plan) {
		from := p.slot(in[0])
		to := p.result(bitsOf)
		p.Do(counts, steps.Elements/4, func(r *program.Run, _ *program.Scratch, lo, hi int) {
			s, d := program.Values[uint64](r, from, 3), program.Values[byte](r, to, size)
			for i := lo; i < hi; i++ {
				low, carry := bits.Add64(s[1], uint64(i), 0)
				drawn := philox(s[0], low, s[2]+carry)
				copy(d[i*16:], unsafe.Slice((*byte)(unsafe.Pointer(&drawn)), 16))
			}
		}, from, to)
	}
	return after, bitsOf, nil
}

func philox(key, low, high uint64) [4]uint32 {
	x := [4]uint32{uint32(low), uint32(low >> 32), uint32(high), uint32(high >> 32)}
	k0, k1 := uint32(key), uint32(key>>32)
	for range 10 {
		a, b := uint64(x[0])*0xD2511F53, uint64(x[2])*0xCD9E8D57
		x = [4]uint32{uint32(b>>32) ^ x[1] ^ k0, uint32(b), uint32(a>>32) ^ x[3] ^ k1, uint32(a)}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return x
}

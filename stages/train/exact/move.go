package exact

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// This file holds the operations that move elements and compute nothing.

func (f *function) Identity(x compute.Value) (compute.Value, error) {
	return f.renamed(compute.OpTypeIdentity, x)
}

func (f *function) renamed(op compute.OpType, x compute.Value) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	return f.aliasOf(op, in[0], in[0].shape), nil
}

// OptimizationBarrier implements compute.StandardOps. Rewrites here never change a
// result, so there is nothing to hold back.
func (f *function) OptimizationBarrier(operands ...compute.Value) ([]compute.Value, error) {
	list := make([]compute.Value, len(operands))
	for i, x := range operands {
		v, err := f.renamed(compute.OpTypeOptimizationBarrier, x)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

// SchedulingBarrier implements compute.StandardOps. Operations have no effects besides
// their values, so no order of theirs can be seen.
func (f *function) SchedulingBarrier(operand compute.Value, dependencies ...compute.Value) (compute.Value, error) {
	if _, err := f.values(dependencies...); err != nil {
		return nil, err
	}
	return f.renamed(compute.OpTypeSchedulingBarrier, operand)
}

func (f *function) Reshape(x compute.Value, dims ...int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Reshape(in[0].shape, dims)
	if err != nil {
		return nil, err
	}
	return f.aliasOf(compute.OpTypeReshape, in[0], shape), nil
}

func (f *function) Bitcast(x compute.Value, to dtypes.DType) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if !types[to] {
		return nil, unsupported("Bitcast to " + to.String())
	}
	shape, err := shapeinference.Bitcast(in[0].shape, to)
	if err != nil {
		return nil, err
	}
	return f.aliasOf(compute.OpTypeBitcast, in[0], shape), nil
}

func (f *function) Transpose(x compute.Value, permutation ...int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Transpose(in[0].shape, permutation)
	if err != nil {
		return nil, err
	}
	strides := steps.Pick(steps.Strides(in[0].shape.Dimensions), permutation)
	return f.viewOf(compute.OpTypeTranspose, in[0], shape, steps.View{Strides: strides}), nil
}

func (f *function) BroadcastInDim(x compute.Value, output shapes.Shape, axes []int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if err := checkShape(output); err != nil {
		return nil, err
	}
	if err := shapeinference.BroadcastInDim(in[0].shape, output, axes, nil); err != nil {
		return nil, err
	}
	shape := output.Clone()
	strides := make([]int, shape.Rank())
	for i, s := range broadcastStrides(in[0].shape.Dimensions, steps.Pick(shape.Dimensions, axes)) {
		strides[axes[i]] = s
	}
	return f.viewOf(compute.OpTypeBroadcastInDim, in[0], shape, steps.View{Strides: strides}), nil
}

func (f *function) Slice(x compute.Value, starts, limits, strides []int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if strides == nil {
		strides = slices.Repeat([]int{1}, len(starts))
	}
	shape, err := shapeinference.Slice(in[0].shape, starts, limits, strides)
	if err != nil {
		return nil, err
	}
	v := steps.View{Strides: steps.Strides(in[0].shape.Dimensions)}
	for axis, s := range v.Strides {
		v.Offset += starts[axis] * s
		v.Strides[axis] = s * strides[axis]
	}
	return f.viewOf(compute.OpTypeSlice, in[0], shape, v), nil
}

func (f *function) Reverse(x compute.Value, axes ...int) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	dims := in[0].shape.Dimensions
	v := steps.View{Strides: steps.Strides(dims)}
	for i, axis := range axes {
		if axis < 0 || axis >= len(dims) || slices.Contains(axes[:i], axis) {
			return nil, fmt.Errorf("exact backend: reverse axes %v of %s: want different axes from 0 on", axes, in[0].shape)
		}
		v.Offset += (dims[axis] - 1) * v.Strides[axis]
		v.Strides[axis] = -v.Strides[axis]
	}
	return f.viewOf(compute.OpTypeReverse, in[0], in[0].shape, v), nil
}

func (f *function) Concatenate(axis int, operands ...compute.Value) (compute.Value, error) {
	in, err := f.values(operands...)
	if err != nil {
		return nil, err
	}
	list := make([]shapes.Shape, len(in))
	for i, x := range in {
		list[i] = x.shape
	}
	shape, err := shapeinference.Concatenate(list, axis)
	if err != nil {
		return nil, err
	}
	if grouped, err := f.regroup(axis, in); grouped != nil || err != nil {
		return grouped, err
	}
	n := f.node(compute.OpTypeConcatenate, shape, in...)
	n.lower = func(p *plan) {
		from := make([]program.Slot, len(in))
		for i, x := range in {
			from[i] = p.slot(x)
		}
		to := p.result(n)
		rows, width := steps.Product(shape.Dimensions[:axis]), shape.DType.Size()
		whole, at := steps.Product(shape.Dimensions[axis:])*width, 0
		for i, x := range in {
			part, offset := steps.Product(x.shape.Dimensions[axis:])*width, at
			at += part
			p.Do(rows, steps.Elements*width/max(1, part), func(r *program.Run, _ *program.Scratch, lo, hi int) {
				dst, src := program.Values[byte](r, to, rows*whole), program.Values[byte](r, from[i], rows*part)
				for row := lo; row < hi; row++ {
					copy(dst[row*whole+offset:][:part], src[row*part:])
				}
			}, to, from[i])
		}
	}
	return n, nil
}

func (f *function) Pad(x, value compute.Value, axes ...compute.PadAxis) (compute.Value, error) {
	in, err := f.values(x, value)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Pad(in[0].shape, axes...)
	if err != nil {
		return nil, err
	}
	if in[1].shape.DType != shape.DType || in[1].shape.Rank() != 0 {
		return nil, fmt.Errorf("exact backend: pad %s with %s: want a scalar of its type", in[0].shape, in[1].shape)
	}
	all := make([]compute.PadAxis, shape.Rank())
	copy(all, axes)
	n := f.node(compute.OpTypePad, shape, in...)
	n.lower = func(p *plan) {
		from, value := p.slot(in[0]), p.slot(in[1])
		steps.Pad(&p.Plan, p.result(n), from, value, in[0].shape, shape, all)
	}
	return n, nil
}

// Iota implements compute.StandardOps. It is a constant, made when the graph is built.
func (f *function) Iota(shape shapes.Shape, axis int) (compute.Value, error) {
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	if axis < 0 || axis >= shape.Rank() {
		return nil, fmt.Errorf("exact backend: iota of %s along axis %d: there is no such axis", shape, axis)
	}
	if shape.DType == dtypes.Bool {
		return nil, unsupported("Iota of type Bool")
	}
	line := make([]int64, shape.Dimensions[axis])
	for i := range line {
		line[i] = int64(i)
	}
	dims := slices.Repeat([]int{1}, shape.Rank())
	dims[axis] = len(line)
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(line))), len(line)*8)
	return f.broadcast(f.convert(f.constant(data, shapes.Make(dtypes.Int64, dims...)), shape.DType), shape.Dimensions), nil
}

// Package steps plans the loops over tensors that operations consist of. It knows shapes,
// strides and slots, but no graph.
package steps

import (
	"slices"
	"unsafe"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// Plan is a program that is being built, and the kernels it will run with.
type Plan struct {
	*program.Builder
	Kernels *kernels.Set
	Workers int // how many there are; it changes how work is cut, not what it computes
}

// Elements is how many elements of simple work are worth handing to another worker.
const Elements = 8192

// Strides returns for each axis how far apart its elements are in a dense tensor.
func Strides(dims []int) []int {
	strides := make([]int, len(dims))
	next := 1
	for axis := len(dims) - 1; axis >= 0; axis-- {
		strides[axis] = next
		next *= dims[axis]
	}
	return strides
}

// Product returns the product of dimensions.
func Product(dims []int) int {
	p := 1
	for _, d := range dims {
		p *= d
	}
	return p
}

// Offsets lists the positions of all elements along some axes, the last axis fastest.
func Offsets(dims, strides []int) []int32 {
	list := make([]int32, 1, max(1, Product(dims)))
	for axis, dim := range dims {
		next := make([]int32, 0, max(1, Product(dims)))
		for _, o := range list {
			for i := range dim {
				next = append(next, o+int32(i*strides[axis]))
			}
		}
		list = next
	}
	return list
}

// Pick returns the elements of a list at some positions.
func Pick(from, at []int) []int {
	list := make([]int, len(at))
	for i, a := range at {
		list[i] = from[a]
	}
	return list
}

// Others returns the axes of a rank that are in none of the lists, in order.
func Others(rank int, lists ...[]int) []int {
	var left []int
	for axis := range rank {
		if !slices.ContainsFunc(lists, func(l []int) bool { return slices.Contains(l, axis) }) {
			left = append(left, axis)
		}
	}
	return left
}

// slotAt returns the memory of a slot from an offset in bytes on.
func slotAt(r *program.Run, s program.Slot, offset int) unsafe.Pointer {
	return unsafe.Add(r.At(s), offset)
}

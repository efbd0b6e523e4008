// Package kernels holds what computes: loops over raw memory, in portable Go and in
// assembly for some processors. A set's kernels give the same bits as any other set's;
// the functions named portable… are the definitions. Only the payload of a NaN is not
// defined.
//
// Memory of float32 is addressed in bytes, through tables of 32-bit offsets.
package kernels

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

//go:generate go run ./generate -out assembly_amd64.s -stubs assembly_amd64.go -pkg kernels

// Set is a set of kernels.
type Set struct {
	Name string

	// Tiles are kernels of products, for at least one number of columns each, those for
	// more columns first.
	Tiles []Tile

	// MaxWindow computes the maximum of each of n windows that begin side by side at
	// from: inside holds the bytes to each of their count > 0 elements. The maximum is
	// that of the element-wise kernel, in the order of inside.
	MaxWindow func(dst, from unsafe.Pointer, inside *int32, count, n int)

	// Winner computes which element of each window is the first that no other exceeds,
	// as a byte; a NaN is not exceeded by anything. count is at most 256.
	Winner func(number, from unsafe.Pointer, inside *int32, count, n int)

	// Spread adds n elements of source to n windows at to, each to the element that its
	// number says, and 0 to the others.
	Spread func(to, number, source unsafe.Pointer, inside *int32, count, n int)

	// SumRows adds, to n elements at acc, those of count rows, one row after the other:
	// rows holds the bytes to each from from.
	SumRows func(acc, from unsafe.Pointer, rows *int32, count, n int)

	// Lanes computes n products of diagonals: element i is the chain of fused
	// multiply-adds, from 0 on, of element i at a + aSteps[j] and at b + bSteps[j], for
	// each of k steps j.
	Lanes func(dst, a, b unsafe.Pointer, aSteps, bSteps *int32, k, n int)

	// ReLU computes, of each float32, itself where it is greater than 0, and else 0.
	ReLU Elementwise

	vectors map[key]Elementwise
}

// key names an element-wise operation on a type.
type key struct {
	op    compute.OpType
	dtype dtypes.DType
}

// Tile computes a part of a matrix product that fits the registers.
type Tile struct {
	Rows, Cols int
	name       tileName
}

// tileName says which function a tile is. It is no pointer to it, because what such a
// pointer is called with must lie on the heap.
type tileName int

const (
	tilePortable tileName = iota
	tile6x16
	tile8x32
	tile8x16
)

// Run computes the tile.
func (t Tile) Run(p *Product) {
	if t.name == tilePortable {
		portableTile(p)
		return
	}
	t.assembled(p)
}

// Product is what a tile works on: sums of Rows × Cols elements, each a chain of fused
// multiply-adds over K > 0 steps. The order of the fields is known to the assembly.
type Product struct {
	A     unsafe.Pointer // left operand
	Rows  *int32         // where each row begins in it, in bytes
	Steps *int32         // where each step's element lies in a row, in bytes
	B     unsafe.Pointer // Cols elements for each step
	K     int
	C     unsafe.Pointer
	Out   *int32 // where each row of sums lies in C, in bytes
	More  int    // 0: the chains begin, at 0; 1: they go on from what is in C
}

// Elementwise returns the kernel of an element-wise operation on operands of a type,
// nil if there is none.
func (s *Set) Elementwise(op compute.OpType, dtype dtypes.DType) Elementwise {
	if k := s.vectors[key{op, dtype}]; k != nil {
		return k
	}
	return elementwise(op, dtype)
}

// Where returns the kernel that takes an element of b where its first operand, a bool,
// is true, and of c elsewhere. Elements have size bytes.
func (s *Set) Where(size int) Elementwise {
	if k := s.vectors[key{compute.OpTypeWhere, dtypes.Float32}]; k != nil && size == 4 {
		return k
	}
	return where(size)
}

// Convert returns the kernel that converts between types. Half precision converts to and
// from float32 only, bool to and from any number.
func (s *Set) Convert(from, to dtypes.DType) Elementwise {
	if k := s.vectors[key{compute.OpTypeConvertDType, from}]; k != nil && to == dtypes.Float32 {
		return k
	}
	return convert(from, to)
}

// portableSet is the definition of all others.
var portableSet = Set{
	Name:      "portable",
	Tiles:     []Tile{{Rows: portableRows, Cols: portableCols, name: tilePortable}},
	MaxWindow: portableMaxWindow,
	Winner:    portableWinner,
	Spread:    portableSpread,
	SumRows:   portableSumRows,
	Lanes:     portableLanes,
	ReLU:      portableReLU,
}

// All returns the sets that this processor can run, the fastest first.
func All() []Set { return append(assembled(), portableSet) }

// names of all sets that there are, on any processor.
var names = []string{"portable", "avx2", "avx512"}

// Choose returns the set of a name, or the fastest if the name is empty.
func Choose(name string) (Set, error) {
	all := All()
	if name == "" {
		return all[0], nil
	}
	here := make([]string, len(all))
	for i, s := range all {
		if s.Name == name {
			return s, nil
		}
		here[i] = s.Name
	}
	for _, known := range names {
		if name == known {
			return Set{}, fmt.Errorf("kernels %s: this processor has not the instructions for them; it can run %s", name, strings.Join(here, ", "))
		}
	}
	return Set{}, fmt.Errorf("kernels %q: want %s", name, strings.Join(names, ", "))
}

// Tile returns the tile that computes products of this many columns with the least waste.
func (s *Set) Tile(cols int) Tile {
	best := s.Tiles[0]
	for _, t := range s.Tiles[1:] {
		if filled(cols, t.Cols) < filled(cols, best.Cols) {
			best = t
		}
	}
	return best
}

// filled is cols, filled up to whole tiles.
func filled(cols, tile int) int { return (cols + tile - 1) / tile * tile }

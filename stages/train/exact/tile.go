package exact

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/gomlx/compute"
)

//go:generate go run ./generate -out tile_amd64.s -stubs tile_amd64.go -pkg exact

const (
	// tileRows and tileCols are the part of a product that a kernel keeps in registers:
	// 6 rows of two AVX2 vectors are 12 of the 16 registers.
	tileRows, tileCols = 6, 16
	tileSize           = tileRows * tileCols
)

// kernels is a set of kernels that compute the same bits as any other.
type kernels struct {
	name string
	tile tile
	// vectors are element-wise kernels of float32 to use instead of kernelFor's.
	vectors map[compute.OpType]kernel
	// selectMax, if there is one, does n elements, a multiple of 8, of a window's
	// gradient; inside holds the bytes from operand, and from to, to each of count
	// elements of the window.
	selectMax func(to, operand *byte, source *float32, inside *int32, count, n int)
}

// tile is a kernel of products: it continues the sums of tileRows × tileCols elements, which lie
// side by side at c, over k > 0 steps. Row i of A begins rows[i] bytes from a, and its
// element of step s lies offsets[s] bytes from there; b holds tileCols elements a step.
type tile func(c *float32, a *byte, rows, offsets *int32, b *float32, k int)

// portableTile is the definition that the assembly matches bit for bit.
func portableTile(c *float32, a *byte, rows, offsets *int32, b *float32, k int) {
	sums := unsafe.Slice(c, tileSize)
	panel := unsafe.Slice(b, k*tileCols)
	for step, offset := range unsafe.Slice(offsets, k) {
		line := panel[step*tileCols:][:tileCols]
		for i, row := range unsafe.Slice(rows, tileRows) {
			x := *(*float32)(unsafe.Add(unsafe.Pointer(a), int(row)+int(offset)))
			sum := sums[i*tileCols:][:tileCols]
			for j, y := range line {
				sum[j] = fma(x, y, sum[j])
			}
		}
	}
}

// allKernels returns the kernels that this processor can run, the fastest first.
func allKernels() []kernels {
	return append(assembled(), kernels{name: "portable", tile: portableTile})
}

// chooseKernels returns the kernels of a name, or the fastest.
func chooseKernels(name string) (kernels, error) {
	all := allKernels()
	if name == "" {
		return all[0], nil
	}
	var names []string
	for _, k := range all {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	return kernels{}, fmt.Errorf("exact backend: kernels %q: this processor has %s", name, strings.Join(names, ", "))
}

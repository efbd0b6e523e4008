package exact

import (
	"unsafe"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
)

// Limit does a billion operations, half of them multiplications, with the kernel of
// products on operands in the first-level cache: what it takes on one core is what
// nothing here can be faster than.
func (b *Backend) Limit() {
	const depth = 256
	tile := b.kernels.Tiles[0]
	sums, panel, a := make([]float32, tile.Rows*tile.Cols), make([]float32, depth*tile.Cols), make([]float32, 1)
	rows, steps, out := make([]int32, tile.Rows), make([]int32, depth), make([]int32, tile.Rows)
	for i := range out {
		out[i] = int32(i * tile.Cols * 4)
	}
	p := kernels.Product{
		A: unsafe.Pointer(&a[0]), Rows: &rows[0], Steps: &steps[0], B: unsafe.Pointer(&panel[0]), K: depth,
		C: unsafe.Pointer(&sums[0]), Out: &out[0],
	}
	for range 1_000_000_000 / (2 * depth * len(sums)) {
		tile.Run(&p)
	}
}

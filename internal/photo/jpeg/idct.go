package jpeg

import "github.com/sandwich-build/sandwich/internal/photo/internal/kernels"

// block has dequantised coefficients, row by row.
type block struct {
	c    [64]int32
	last int // the last coefficient in zigzag order that may be other than 0
}

// zigzag is the order in which coefficients are coded (figure A.6).
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// transform8 writes the 8×8 samples.
func (b *block) transform8(to []uint8, stride int) {
	if b.last == 0 {
		v := clamp((b.c[0]+4)>>3 + 128)
		for y := range 8 {
			row := to[y*stride:][:8]
			for x := range row {
				row[x] = v
			}
		}
		return
	}
	kernels.Inverse(to, stride, &b.c)
}

// transform2 writes 2×2 samples, made of the lowest 2×2 coefficients.
func (b *block) transform2(to []uint8, stride int) {
	const middle = 128<<3 + 4
	c := &b.c
	sum, difference := c[0]+c[8]+middle, c[0]-c[8]+middle
	right, rightDifference := c[1]+c[9], c[1]-c[9]
	to[0], to[1] = clamp((sum+right)>>3), clamp((sum-right)>>3)
	to[stride], to[stride+1] = clamp((difference+rightDifference)>>3), clamp((difference-rightDifference)>>3)
}

package kernels

import (
	"slices"

	"golang.org/x/sys/cpu"
)

// assembled returns the sets in assembly that this processor, and its operating system,
// can run.
func assembled() []set {
	if !cpu.X86.HasAVX2 {
		return nil
	}
	return []set{{"avx2", avx2Resample, avx2Halve, avx2Inverse, avx2Inverse4, avx2Forward}}
}

// side is that of the blocks of samples that are turned.
const side = 16

// avx2Resample does sixteen rows at a time: turned, so that the samples of a column, which
// have the same weight, lie side by side.
func avx2Resample(to, from []uint8, stride, rows int, taps []Taps, s *Scratch) {
	wide := width(taps)
	if rows < side || wide < side {
		portableResample(to, from, stride, rows, taps, s)
		return
	}
	_, _ = from[(rows-1)*stride+wide-1], to[len(taps)*rows-1] // assembly does not look
	s.pack(taps)
	// A pair may have a column after the last one, which has no weight.
	n := (wide + 1) * side
	s.columns = slices.Grow(s.columns[:0], n)[:n]
	for y := 0; y < rows; y += side {
		y := min(y, rows-side) // the last rows may be done twice, and the last columns
		turnAVX2(&s.columns[0], &from[y*stride], stride, wide/side)
		if wide%side > 0 {
			turnAVX2(&s.columns[(wide-side)*side], &from[y*stride+wide-side], stride, 1)
		}
		blendAVX2(&to[y], rows, &s.columns[0], &s.taps[0], &s.pairs[0], len(taps))
	}
}

func avx2Halve(to *[64]uint8, from []uint8, stride int) {
	_ = from[15*stride+15] // assembly does not look
	halveAVX2(&to[0], &from[0], stride)
}

func avx2Inverse(to []uint8, stride int, c *[64]int32) {
	_ = to[7*stride+7]
	inverseAVX2(&to[0], stride, &c[0])
}

func avx2Inverse4(to []uint8, stride int, c *[64]int32) {
	_ = to[3*stride+3]
	inverse4AVX2(&to[0], stride, &c[0])
}

func avx2Forward(to *[64]int32, from []uint8, stride int, d *Divisors) (others uint64) {
	_ = from[7*stride+7]
	return forwardAVX2(&to[0], &from[0], stride, &d.halves[0], &d.reciprocals[0])
}

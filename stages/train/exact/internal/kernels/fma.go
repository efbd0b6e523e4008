package kernels

import "math"

// FMA returns x·y + z rounded once, as the processor's instruction does.
//
// The product of two float32 is exact in float64: 48 of its 53 bits. The sum is not
// always, and rounding it a second time, to float32, can go wrong in one case only:
// when the first rounding has landed exactly half-way between two float32. Then, and
// for results below float32's normal range, where half-way is somewhere else, the sum
// is first rounded to odd, which keeps on which side of the half it was (Boldo and
// Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using
// rounding to odd", 2008; it needs 53 ≥ 24 + 2 bits).
func FMA(x, y, z float32) float32 {
	product, addend := float64(x)*float64(y), float64(z)
	sum := product + addend
	const (
		below    = 1<<29 - 1 // bits of a float64's fraction that a float32 has not
		half     = 1 << 28
		smallest = 0x1p-126 // normal float32
	)
	if math.Float64bits(sum)&below != half && (sum >= smallest || sum <= -smallest) {
		return float32(sum)
	}
	return float32(toOdd(product, addend, sum))
}

// toOdd returns a + b rounded to odd, given sum, their sum rounded to nearest.
func toOdd(a, b, sum float64) float64 {
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return sum
	}
	// The error of a sum is a float64 itself (Knuth's two-sum).
	virtual := sum - a
	lost := (a - (sum - virtual)) + (b - virtual)
	bits := math.Float64bits(sum)
	if lost == 0 || bits&1 == 1 {
		return sum
	}
	// One step towards the exact value: away from zero if the error has sum's sign.
	if (lost > 0) == (sum > 0) {
		return math.Float64frombits(bits + 1)
	}
	return math.Float64frombits(bits - 1)
}

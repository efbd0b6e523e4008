package kernels

import (
	"math"

	"github.com/gomlx/compute"
)

// The functions below are computed in float32 throughout, so that eight of them fit a
// vector; their errors stay below some units in the last place. The polynomials are those of
// Moshier's Cephes library (expf.c and logf.c). The assembly does the same steps in the same
// order: a change here is one there.
var narrow = map[compute.OpType]func(float32) float32{
	compute.OpTypeExp:      exp32,
	compute.OpTypeLog:      log32,
	compute.OpTypeLogistic: logistic32,
	compute.OpTypeTanh:     tanh32,
}

const (
	narrowLog2E = 1.44269504
	// shift is such that adding it to a number leaves the nearest whole number in the last
	// bits of the sum.
	shift = 0x1.8p23
	// ln 2 in two parts; the first has few enough bits that its multiples are exact.
	narrowLn2High = 0.693359375
	narrowLn2Low  = -2.12194440e-4

	highest = 89   // e to which is infinite
	lowest  = -104 // e to which is 0
	flat    = 20   // twice the number whose tanh is 1
)

// expCoefficients are those of (e to the r - 1 - r) / r², the highest power first.
var expCoefficients = [...]float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// logCoefficients are those of (log(1 + f) - f + f²/2) / f³, the highest power first.
var logCoefficients = [...]float32{
	7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
	2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
}

// reduced takes a number apart: e to the x is 2 to the whole · (1 + rest).
func reduced(x float32) (whole int32, rest float32) {
	shifted := FMA(x, narrowLog2E, shift)
	whole = int32(math.Float32bits(shifted) - math.Float32bits(shift))
	k := shifted - shift
	x = FMA(k, -narrowLn2High, x)
	x = FMA(k, -narrowLn2Low, x)
	return whole, FMA(horner(x, expCoefficients[:]), float32(x*x), x)
}

// horner is the polynomial of x with coefficients of the highest power first.
func horner(x float32, coefficients []float32) float32 {
	sum := coefficients[0]
	for _, c := range coefficients[1:] {
		sum = FMA(sum, x, c)
	}
	return sum
}

// powerOf2 is 2 to the n, for n from -126 to 127.
func powerOf2(n int32) float32 { return math.Float32frombits(uint32(n+127) << 23) }

func exp32(x float32) float32 {
	if x != x { // NaN
		return x
	}
	whole, rest := reduced(max(min(x, highest), lowest))
	half := whole >> 1 // the power may be beyond the normal numbers
	return float32(float32((rest+1)*powerOf2(half)) * powerOf2(whole-half))
}

func logistic32(x float32) float32 { return 1 / (1 + exp32(-x)) }

// tanh32 is (e to the 2x - 1) / (e to the 2x + 1), with the sign of x.
func tanh32(x float32) float32 {
	if x != x { // NaN
		return x
	}
	positive := math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
	whole, rest := reduced(min(positive+positive, flat))
	power := powerOf2(whole)
	minusOne := FMA(rest, power, power-1)
	return float32(math.Copysign(float64(minusOne/(minusOne+2)), float64(x)))
}

func log32(x float32) float32 {
	switch {
	case x != x, x == float32(math.Inf(1)): // NaN or infinite
		return x
	case x == 0:
		return float32(math.Inf(-1))
	case x < 0:
		return float32(math.NaN())
	}
	exponent := float32(0)
	if x < 0x1p-126 { // below the normal numbers
		x, exponent = float32(x*(1<<23)), -23
	}
	// fraction is from √½ to √2, times 2 to the exponent.
	const one, root = 0x3f800000, 0x3f3504f3 // the bits of 1 and of √½
	bits := math.Float32bits(x) + (one - root)
	exponent += float32(int32(bits>>23) - 127)
	f := math.Float32frombits(bits&(1<<23-1)+root) - 1
	square := float32(f * f)
	y := float32(float32(f*square) * horner(f, logCoefficients[:]))
	y = FMA(exponent, narrowLn2Low, y)
	y = FMA(square, -0.5, y)
	return FMA(exponent, narrowLn2High, f+y)
}

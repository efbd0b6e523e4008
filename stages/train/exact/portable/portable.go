// Package portable has functions of package math whose results are the same bits on every
// processor.
//
// Package math has assembly for some of them on some processors, and the compiler fuses
// multiplications into additions where the processor can; either way the last bits differ.
// Here fused multiply-adds are explicit, and other products are rounded before they are
// added. Errors stay below 1e-15 of the result, which is some units in the last place.
// Special cases are those of package math.
package portable

import "math"

const (
	// ln 2 in two parts; the first has few enough bits that its multiples are exact.
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10
)

// Exp is e to the x. It overflows and underflows where math.Exp does.
func Exp(x float64) float64 {
	switch {
	case x != x, x > 709.782712893384: // or NaN
		return x * math.Inf(1)
	case x < -745.2:
		return 0
	}
	k := math.RoundToEven(x * (1 / math.Ln2))
	r := math.FMA(-k, ln2Low, math.FMA(-k, ln2High, x))
	return math.Ldexp(1+powers(r), int(k))
}

// powers is e to the r, minus 1, for |r| ≤ ½: Taylor's series, whose next term is below 1e-19.
func powers(r float64) float64 {
	s := 0.0
	for n := 16.0; n > 1; n-- {
		s = float64((1 + s) * (r / n))
	}
	return math.FMA(s, r, r)
}

// Expm1 is e to the x, minus 1, accurate near 0.
func Expm1(x float64) float64 {
	switch {
	case x == 0:
		return x // with its sign
	case math.Abs(x) <= 0.5:
		return powers(x)
	}
	return Exp(x) - 1
}

// Log is the natural logarithm.
func Log(x float64) float64 {
	switch {
	case x != x, x < 0: // or NaN
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	case math.IsInf(x, 1):
		return x
	}
	fraction, exponent := math.Frexp(x)
	if fraction < math.Sqrt2/2 {
		fraction *= 2
		exponent--
	}
	k := float64(exponent)
	return math.FMA(k, ln2High, math.FMA(k, ln2Low, logNear((fraction-1)/(fraction+1))))
}

// logNear is log((1+s)/(1-s)) = 2·atanh(s) for |s| ≤ 0.1716.
func logNear(s float64) float64 {
	square, sum := float64(s*s), 0.0
	for n := 23.0; n > 1; n -= 2 {
		sum = math.FMA(sum, square, 1/n)
	}
	return 2 * math.FMA(s*square, sum, s)
}

// Log1p is log(1 + x), accurate near 0.
func Log1p(x float64) float64 {
	if math.Abs(x) < 0.25 {
		return logNear(x / (2 + x))
	}
	return Log(1 + x)
}

// Logistic is 1 / (1 + e to the -x).
func Logistic(x float64) float64 { return 1 / (1 + Exp(-x)) }

// Tanh is the hyperbolic tangent.
func Tanh(x float64) float64 {
	switch magnitude := math.Abs(x); {
	case magnitude > 22:
		return math.Copysign(1, x)
	case magnitude != magnitude || x == 0: // or NaN
		return x
	}
	e := Expm1(2 * x)
	return e / (e + 2)
}

// Pow is x to the y. Its error grows with the logarithm of the result: 1e-13 of it near the
// largest.
func Pow(x, y float64) float64 {
	switch {
	case y == 2:
		return float64(x * x)
	case y == 1:
		return x
	case x <= 0 || x != x || y != y || math.IsInf(x, 0) || math.IsInf(y, 0): // or NaN
		return math.Pow(x, y) // a special case, or multiplications alone
	}
	return Exp(y * Log(x))
}

// π/2 in three parts. Each is the float64 nearest to what those before it leave.
const (
	halfPi1 = 0x1.921fb54442d18p+0
	halfPi2 = 0x1.1a62633145c07p-54
	halfPi3 = -0x1.f1976b7ed8fbcp-110
)

// Sin is the sine of an angle in radians. Above 2³⁰ its error grows with the angle.
func Sin(x float64) float64 {
	sin, _ := Sincos(x)
	return sin
}

// Cos is the cosine of an angle in radians, as good as Sin.
func Cos(x float64) float64 {
	_, cos := Sincos(x)
	return cos
}

// Sincos is Sin and Cos.
func Sincos(x float64) (sin, cos float64) {
	switch {
	case x == 0:
		return x, 1 // a zero with its sign
	case x-x != 0: // ±Inf or NaN
		return math.NaN(), math.NaN()
	}
	quadrant := 0.0
	for again := true; again; again = math.Abs(x) > 1 { // once, but for very large angles
		k := math.RoundToEven(x * (2 / math.Pi))
		quadrant += math.Mod(k, 4)
		x = math.FMA(-k, halfPi3, math.FMA(-k, halfPi2, math.FMA(-k, halfPi1, x)))
	}
	square := float64(x * x)
	sin = math.FMA(float64(x*square), horner(square, sines[:]), x)
	cos = math.FMA(square, horner(square, cosines[:]), 1)
	switch int(quadrant) & 3 {
	case 1:
		return cos, -sin
	case 2:
		return -sin, -cos
	case 3:
		return -cos, sin
	}
	return sin, cos
}

// Taylor's coefficients behind the first: the terms that follow are below 1e-19 at 1.
var (
	sines = [...]float64{
		-1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800, 1. / 6227020800,
		-1. / 1307674368000, 1. / 355687428096000, -1. / 121645100408832000,
	}
	cosines = [...]float64{
		-1. / 2, 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800, 1. / 479001600,
		-1. / 87178291200, 1. / 20922789888000, -1. / 6402373705728000, 1. / 2432902008176640000,
	}
)

// horner is the polynomial of x with coefficients from the constant one on.
func horner(x float64, coefficients []float64) float64 {
	sum := 0.0
	for i := len(coefficients) - 1; i >= 0; i-- {
		sum = math.FMA(sum, x, coefficients[i])
	}
	return sum
}

// Atan2 is the angle of the point (x, y), from -π to π.
func Atan2(y, x float64) float64 {
	if x == 0 || y == 0 || x-x != 0 || y-y != 0 { // or ±Inf or NaN
		return math.Atan2(y, x) // a constant
	}
	angle := arctangent(y / x)
	if x < 0 {
		angle += math.Copysign(math.Pi, y)
	}
	return angle
}

// arctangent halves the angle of a slope twice, tan(α/2) = tan α / (1 + √(1 + tan² α)), and
// then takes Taylor's series, whose next term is below 1e-20.
func arctangent(slope float64) float64 {
	if math.Abs(slope) > 1 {
		return math.Copysign(math.Pi/2, slope) - arctangent(1/slope)
	}
	for range 2 {
		slope /= 1 + math.Sqrt(1+float64(slope*slope))
	}
	square, sum := float64(slope*slope), 0.0
	for n := 25.0; n > 1; n -= 2 {
		sum = math.FMA(-square, sum, 1/n)
	}
	return 4 * math.FMA(-slope*square, sum, slope)
}

// Erf is the error function.
func Erf(x float64) float64 {
	magnitude := math.Abs(x)
	switch {
	case x != x || x == 0: // or NaN
		return x
	case magnitude > 6: // nearer to 1 than any other number
		return math.Copysign(1, x)
	}
	bell := Exp(-float64(x*x)) / math.Sqrt(math.Pi)
	if magnitude < 2.5 {
		// Σ 2ⁿ·x²ⁿ⁺¹ / (1·3·5 … 2n+1), of positive terms (Abramowitz and Stegun, 7.1.6).
		sum := 0.0
		for n := 60.0; n > 0; n-- {
			sum = float64((1 + sum) * (2 * x * x / (2*n + 1)))
		}
		return 2 * bell * math.FMA(sum, x, x)
	}
	// The continued fraction of 1 - erf(x) (Abramowitz and Stegun, 7.1.14).
	below := magnitude
	for n := 60.0; n > 0; n-- {
		below = magnitude + n/2/below
	}
	return math.Copysign(1-bell/below, x)
}

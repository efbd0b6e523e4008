package kernels

import (
	"math"

	"github.com/gomlx/compute"
)

// The functions below are computed in float64 and rounded once to float32, if that is
// the type. exp, log and what is made of them are spelled out with explicit fused
// multiply-adds, because package math has assembly for some of them on some processors
// only, and there the last bits differ.
var unaryMath = map[compute.OpType]func(float64) float64{
	compute.OpTypeCeil:     math.Ceil,
	compute.OpTypeCos:      math.Cos,
	compute.OpTypeErf:      math.Erf,
	compute.OpTypeExp:      exp,
	compute.OpTypeExpm1:    expm1,
	compute.OpTypeFloor:    math.Floor,
	compute.OpTypeLog:      log,
	compute.OpTypeLog1p:    log1p,
	compute.OpTypeLogistic: logistic,
	compute.OpTypeRound:    math.RoundToEven,
	compute.OpTypeRsqrt:    func(x float64) float64 { return 1 / math.Sqrt(x) },
	compute.OpTypeSin:      math.Sin,
	compute.OpTypeTanh:     tanh,
}

var binaryMath = map[compute.OpType]func(x, y float64) float64{
	compute.OpTypeAtan2: math.Atan2,
	compute.OpTypePow:   pow,
	compute.OpTypeRem:   math.Mod,
}

const (
	// ln 2 in two parts; the first has few enough bits that its multiples are exact.
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10
)

// exp is e to the x, to about 1e-16 relative. It overflows and underflows where
// math.Exp does.
func exp(x float64) float64 {
	switch {
	case x != x, x > 709.782712893384: // or NaN
		return x * math.Inf(1)
	case x < -745.2:
		return 0
	}
	k := math.RoundToEven(x * (1 / math.Ln2))
	return math.Ldexp(1+series(reduced(x, k)), int(k))
}

// reduced is x - k·ln 2.
func reduced(x, k float64) float64 { return math.FMA(-k, ln2Low, math.FMA(-k, ln2High, x)) }

// series is e to the r, minus 1, for |r| ≤ ½: Taylor's, whose next term is below 1e-19.
func series(r float64) float64 {
	s := 0.0
	for n := 16.0; n > 1; n-- {
		s = (1 + s) * (r / n)
	}
	return math.FMA(s, r, r)
}

// expm1 is e to the x, minus 1, accurate near 0.
func expm1(x float64) float64 {
	if math.Abs(x) <= 0.5 {
		return series(x)
	}
	return exp(x) - 1
}

// log is the natural logarithm.
func log(x float64) float64 {
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
	square, sum := s*s, 0.0
	for n := 23.0; n > 1; n -= 2 {
		sum = math.FMA(sum, square, 1/n)
	}
	return 2 * math.FMA(s*square, sum, s)
}

// log1p is log(1 + x), accurate near 0.
func log1p(x float64) float64 {
	if math.Abs(x) < 0.25 {
		return logNear(x / (2 + x))
	}
	return log(1 + x)
}

func logistic(x float64) float64 { return 1 / (1 + exp(-x)) }

func tanh(x float64) float64 {
	switch magnitude := math.Abs(x); {
	case magnitude > 22:
		return math.Copysign(1, x)
	case magnitude != magnitude || x == 0: // or NaN
		return x
	}
	e := expm1(2 * x)
	return e / (e + 2)
}

// pow goes by exp and log for positive bases, where the error of their product stays
// far below a float32's rounding, and by math.Pow for the special cases.
func pow(x, y float64) float64 {
	switch {
	case y == 2:
		return x * x
	case y == 1:
		return x
	case x <= 0 || x != x || y != y || math.IsInf(x, 0) || math.IsInf(y, 0): // or NaN
		return math.Pow(x, y)
	}
	return exp(y * log(x))
}

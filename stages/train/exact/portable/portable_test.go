package portable

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// functions are those of one argument, with package math's.
var functions = []struct {
	name    string
	f, want func(float64) float64
}{
	{"Exp", Exp, math.Exp},
	{"Expm1", Expm1, math.Expm1},
	{"Log", Log, math.Log},
	{"Log1p", Log1p, math.Log1p},
	{"Tanh", Tanh, math.Tanh},
	{"Logistic", Logistic, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
	{"Sin", Sin, math.Sin},
	{"Cos", Cos, math.Cos},
	{"Erf", Erf, math.Erf},
}

// arguments are special values and a grid.
func arguments() []float64 {
	list := []float64{
		0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 709, 710, -745, -746, 1e-300, 1e-8, -1e-8, 0.5, -0.5,
		2.5, 6, 22, 30, math.Pi, -math.Pi, math.Pi / 2, 3 * math.Pi / 2, 1e3, -1e5, 1e9,
	}
	for x := -20.0; x < 20; x += 0.0137 {
		list = append(list, x)
	}
	return list
}

// same allows for package math's sine, which knows π to 3e-32 only.
func same(got, want, tolerance float64) bool {
	if got == want {
		return math.Signbit(got) == math.Signbit(want)
	}
	return math.IsNaN(got) && math.IsNaN(want) || math.Abs(got-want) <= tolerance*math.Abs(want)+1e-30
}

func TestFunctionsAreAccurate(t *testing.T) {
	for _, function := range functions {
		for _, x := range arguments() {
			if got, want := function.f(x), function.want(x); !same(got, want, 1e-15) {
				t.Errorf("%s(%v) = %v, want %v", function.name, x, got, want)
			}
		}
	}
}

func TestFunctionsOfTwoAreAccurate(t *testing.T) {
	for _, c := range [][2]float64{{2, 0.5}, {10, -3}, {0.1, 7}, {-2, 3}, {-2, 0.5}, {0, 0}, {5, 1}, {3, 2}, {1e300, 1.02}, {math.Inf(1), -1}} {
		if got, want := Pow(c[0], c[1]), math.Pow(c[0], c[1]); !same(got, want, 1e-13) {
			t.Errorf("Pow(%v, %v) = %v, want %v", c[0], c[1], got, want)
		}
	}
	for _, y := range arguments() {
		for _, x := range []float64{0, math.Copysign(0, -1), 1, -1, 0.3, -7, 1e200, math.Inf(1), math.Inf(-1), math.NaN()} {
			if got, want := Atan2(y, x), math.Atan2(y, x); !same(got, want, 1e-15) {
				t.Errorf("Atan2(%v, %v) = %v, want %v", y, x, got, want)
			}
		}
	}
}

// Of angles so large package math knows more digits of π. Ours are sines all the same.
func TestSincosOfLargeAngles(t *testing.T) {
	for _, x := range []float64{1 << 31, -1e12, 1e20, math.MaxFloat32, math.MaxFloat64} {
		sin, cos := Sincos(x)
		if sum := sin*sin + cos*cos; math.Abs(sum-1) > 1e-12 {
			t.Errorf("Sincos(%v) = %v, %v, whose squares add up to %v", x, sin, cos, sum)
		}
	}
}

// digest is that of all results on amd64. CI runs the test for arm64, too.
const digest = "f4e3887308506b83701ca342c98e2aa3a14e86f4dc13910edf6b51ae20e5035f"

func TestBitsAreTheSameEverywhere(t *testing.T) {
	h := sha256.New()
	write := func(x float64) {
		if x == x { // the payload of a NaN is not promised
			_ = binary.Write(h, binary.LittleEndian, x)
		}
	}
	for _, x := range arguments() {
		for _, function := range functions {
			write(function.f(x))
		}
		write(Pow(math.Abs(x), 0.3))
		write(Atan2(x, 3))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		t.Errorf("digest %s, want %s", got, digest)
	}
}

package kernels

import (
	"math"
	"math/big"
	"testing"
)

// rounded is x·y + z in exact arithmetic, rounded once.
func rounded(x, y, z float32) float32 {
	exactly := func(v float32) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(float64(v)) }
	sum := exactly(x)
	sum.Mul(sum, exactly(y)).Add(sum, exactly(z))
	f, _ := sum.Float32()
	return f
}

// hard are values whose sums and products round badly: one bit beside a power of two,
// the ends of the normal range, subnormals.
func hard() []float32 {
	list := []float32{0, 1, 3, 1.0 / 3, math.MaxFloat32, 0x1p-126, 0x1p-149, 0x1.fffffcp-127, 0x1p-75, 0x1p64}
	for _, scale := range []float32{1, 0x1p-23, 0x1p-24, 0x1p-25, 0x1p-48, 0x1p-63, 0x1p40, 0x1p-100} {
		list = append(list, scale, scale*0x1.000002p0, scale*0x1.fffffep0, scale*0x1.000001p0, scale*0x1.555556p0)
	}
	for _, v := range list {
		list = append(list, -v)
	}
	return list
}

func TestFMARoundsOnce(t *testing.T) {
	every := 1
	if testing.Short() {
		every = 7 // math/big is slow with the race detector
	}
	for i, x := range hard() {
		for j, y := range hard() {
			for k, z := range hard() {
				if (i+j+k)%every != 0 {
					continue
				}
				checkFMA(t, x, y, z)
			}
		}
	}
}

func checkFMA(t *testing.T, x, y, z float32) {
	t.Helper()
	got, want := FMA(x, y, z), rounded(x, y, z)
	if got != want {
		t.Fatalf("FMA(%x, %x, %x) = %x, want %x", x, y, z, got, want)
	}
}

func FuzzFMA(f *testing.F) {
	// Rounding the sum of these twice goes wrong.
	f.Add(math.Float32bits(0x1.000002p0), math.Float32bits(0x1.000002p-24), math.Float32bits(1))
	f.Add(math.Float32bits(0x1p-75), math.Float32bits(0x1.000002p-75), math.Float32bits(0x1p-149))
	f.Fuzz(func(t *testing.T, a, b, c uint32) {
		x, y, z := math.Float32frombits(a), math.Float32frombits(b), math.Float32frombits(c)
		if wide := float64(x) * float64(y) * float64(z); math.IsNaN(wide) || math.IsInf(wide, 0) {
			t.Skip("big.Float has no NaN and no infinity")
		}
		checkFMA(t, x, y, z)
	})
}

func TestFMAOfSpecialValues(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range [][4]float32{{inf, 1, 1, inf}, {1, -inf, 3, -inf}, {2, 2, inf, inf}, {math.MaxFloat32, 2, 0, inf}} {
		if got := FMA(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("FMA(%v, %v, %v) = %v, want %v", c[0], c[1], c[2], got, c[3])
		}
	}
	for _, c := range [][3]float32{{inf, 0, 1}, {inf, 1, -inf}} {
		if got := FMA(c[0], c[1], c[2]); got == got {
			t.Errorf("FMA(%v, %v, %v) = %v, want NaN", c[0], c[1], c[2], got)
		}
	}
}

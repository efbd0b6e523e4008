package kernels

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

func TestNarrowFunctionsAreAccurate(t *testing.T) {
	wide := map[compute.OpType]func(float64) float64{
		compute.OpTypeExp: math.Exp, compute.OpTypeLog: math.Log, compute.OpTypeTanh: math.Tanh,
		compute.OpTypeLogistic: func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	}
	var list []float32
	for x := float32(-110); x < 110; x += 0.0173 {
		list = append(list, x)
	}
	for exponent := -149.0; exponent < 128; exponent++ { // of either sign, down to the smallest
		for _, fraction := range []float64{1, 1.1, 1.41421, 1.99} {
			x := float32(math.Ldexp(fraction, int(exponent)))
			list = append(list, x, -x)
		}
	}
	list = append(list, 0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32)
	for op, f := range narrow {
		for _, x := range list {
			got, want := f(x), float32(wide[op](float64(x)))
			switch difference := math.Abs(float64(got) - float64(want)); {
			case got == want, got != got && want != want: // or both NaN
			case difference <= 4e-7*math.Abs(float64(want)):
			case difference <= 0x1p-126: // of numbers below the normal ones
			default:
				t.Errorf("%s of %v is %v, want %v", op, x, got, want)
			}
		}
	}
}

func BenchmarkNarrow(b *testing.B) {
	from, to := make([]float32, 512), make([]float32, 512)
	for i := range from {
		from[i] = float32(i+1) / 50
	}
	for _, s := range All() {
		for op := range narrow {
			b.Run(s.Name+"/"+op.String(), func(b *testing.B) {
				kernel := s.Elementwise(op, dtypes.Float32)
				for b.Loop() {
					kernel(address(to), address(from), nil, nil, len(from))
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(from)), "ns/element")
			})
		}
	}
}

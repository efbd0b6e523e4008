package photo

import (
	"testing"

	"github.com/sandwich-build/sandwich/internal/photo/internal/kernels"
)

// TestWeights holds what package kernels relies on, for all ways to bring up to 40 samples,
// and some thousands, to others.
func TestWeights(t *testing.T) {
	longs := []int{1, 2, 3, 5, 8, 13, 21, 34, 40, 1000, 65500}
	for _, long := range longs {
		for _, n := range longs {
			for first := range 3 {
				s := span{from: float64(first) + 0.25*float64(first), length: float64(long), first: first, after: first + long + 1}
				for i, taps := range weigh(s, n) {
					sum, absolute := 0, 0
					for _, w := range taps.Weights {
						sum += int(w)
						absolute += max(int(w), -int(w))
					}
					if taps.First < 0 || taps.First+len(taps.Weights) > s.after-s.first || sum != 1<<kernels.WeightBits || absolute >= 2<<kernels.WeightBits {
						t.Fatalf("%d of %d samples of %+v: %d weights from %d, in all %d, their absolute values %d", i, n, s, len(taps.Weights), taps.First, sum, absolute)
					}
				}
			}
		}
	}
}

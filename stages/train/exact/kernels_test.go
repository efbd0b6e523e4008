package exact

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/support/testutil"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
)

// product3 is a matrix product of drawn values, with bad cases of rounding among them.
func product3(tb testing.TB, set string, m, k, n int, seed uint64) []uint32 {
	tb.Helper()
	d := draws(seed)
	values := func(count int) []float32 {
		list := make([]float32, count)
		for i := range list {
			list[i] = d.next()
			if d.next() > 0.9 {
				list[i] *= 0x1p-70 // products become subnormal
			}
		}
		return list
	}
	a, b := values(m*k), values(k*n)
	out, err := testutil.Exec1(newBackend(tb, "kernels="+set), nil, func(f compute.Function, _ []compute.Value) (compute.Value, error) {
		x, err := f.Constant(a, m, k)
		if err != nil {
			return nil, err
		}
		y, err := f.Constant(b, k, n)
		if err != nil {
			return nil, err
		}
		z, err := f.DotGeneral(x, []int{1}, nil, y, []int{0}, nil, compute.DotGeneralConfig{})
		if err != nil {
			return nil, err
		}
		return f.Reshape(z, m*n)
	})
	if err != nil {
		tb.Fatal(err)
	}
	bits := make([]uint32, m*n)
	for i, v := range out.([]float32) {
		bits[i] = math.Float32bits(v)
	}
	// The portable kernel is the definition: one chain for each element.
	if set == "portable" {
		for i := range m {
			for j := range n {
				var sum float32
				for l := range k {
					sum = kernels.FMA(a[i*k+l], b[l*n+j], sum)
				}
				if math.Float32bits(sum) != bits[i*n+j] {
					tb.Fatalf("element %d, %d is %v, want the chain's %v", i, j, math.Float32frombits(bits[i*n+j]), sum)
				}
			}
		}
	}
	return bits
}

func FuzzKernelsGiveTheSameBits(f *testing.F) {
	for _, c := range [][3]uint16{{1, 1, 1}, {6, 16, 16}, {7, 257, 17}, {5, 600, 33}, {100, 3, 40}, {13, 512, 1}} {
		f.Add(c[0], c[1], c[2], uint64(c[1]))
	}
	f.Fuzz(func(t *testing.T, m, k, n uint16, seed uint64) {
		rows, deep, cols := 1+int(m)%128, 1+int(k)%700, 1+int(n)%64
		want := product3(t, "portable", rows, deep, cols, seed)
		for _, set := range kernels.All() {
			if got := product3(t, set.Name, rows, deep, cols, seed); !slices.Equal(got, want) {
				t.Errorf("%s kernels differ from the portable ones on %d×%d×%d", set.Name, rows, deep, cols)
			}
		}
	})
}

func TestKernelsCanBeForced(t *testing.T) {
	t.Setenv(KernelsVariable, "portable")
	if b := newBackend(t, ""); b.kernels.Name != "portable" {
		t.Errorf("%s=portable: kernels are %s", KernelsVariable, b.kernels.Name)
	}
	for _, config := range []string{"kernels=quantum", "workers=0", "workers=many", "colour=red"} {
		if b, err := New(config); err == nil {
			b.Finalize()
			t.Errorf("New(%q): no error", config)
		}
	}
}

package kernels

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sandwich-build/sandwich/internal/assemblytest"
)

// others calls f with each set that is to agree with the portable one.
func others(t *testing.T, f func(t *testing.T, s set)) {
	t.Helper()
	for _, s := range sets() {
		if s.name != portable.name {
			t.Run(s.name, func(t *testing.T) { f(t, s) })
		}
	}
}

// draws are numbers that a test or a fuzzer has chosen, and after them others.
type draws struct {
	data []byte
	*rand.Rand
}

func newDraws(data []byte) *draws { return &draws{data, rand.New(rand.NewPCG(1, uint64(len(data))))} }

func (d *draws) byte() uint8 {
	if len(d.data) == 0 {
		return uint8(d.Uint32())
	}
	v := d.data[0]
	d.data = d.data[1:]
	return v
}

// samples draws n samples, more than chance would have of the extreme ones.
func (d *draws) samples(n int) []uint8 {
	all := make([]uint8, n)
	for i := range all {
		switch all[i] = d.byte(); d.Uint32() % 4 {
		case 0:
			all[i] = 0
		case 1:
			all[i] = 255
		}
	}
	return all
}

// taps draws how n samples are made of wide others: with weights of any sign whose
// absolute values are in all below 2.
func (d *draws) taps(n, wide int) []Taps {
	all := make([]Taps, n)
	for i := range all {
		first := d.IntN(wide)
		weights := make([]int16, 1+d.IntN(min(9, wide-first)))
		left := 2<<WeightBits - 1
		for j := range weights {
			w := min(left, int(d.byte())<<7, 1<<15-1)
			left -= w
			if d.byte()%2 == 0 {
				w = -w
			}
			weights[j] = int16(w)
		}
		all[i] = Taps{first, weights}
	}
	return all
}

// agreeOnResample compares a set with the definition: what it makes of rows within more memory,
// and that it leaves alone what is behind them.
func agreeOnResample(t *testing.T, s set, d *draws, rows, wide, n, apart int) {
	t.Helper()
	from, taps := d.samples(rows*(wide+apart)), d.taps(n, wide)
	got, want := d.samples(rows*n+40), make([]uint8, rows*n+40)
	copy(want, got)
	var scratch Scratch
	for range 2 { // the second time with used memory
		s.resample(got[:rows*n], from, wide+apart, rows, taps, &scratch)
	}
	portableResample(want[:rows*n], from, wide+apart, rows, taps, nil)
	if !bytes.Equal(got, want) {
		t.Fatalf("%d rows of %d samples, %d apart, to %d: got another result", rows, wide, wide+apart, n)
	}
}

func TestResampleAgrees(t *testing.T) {
	others(t, func(t *testing.T, s set) {
		d := newDraws(nil)
		for rows := 1; rows < 70; rows++ {
			for wide := 1; wide < 70; wide += 1 + d.IntN(5) {
				agreeOnResample(t, s, d, rows, wide, 1+d.IntN(40), d.IntN(3))
			}
		}
	})
}

func TestPortableResampleIsTheDefinition(t *testing.T) {
	from := []uint8{10, 20, 255, 0, 30, 40, 0, 0}
	taps := []Taps{{0, []int16{1 << 13, 1 << 13}}, {1, []int16{-1 << 13, 3 << 13}}, {1, []int16{3 << 13, -1 << 13}}, {2, []int16{1 << 14}}}
	got := make([]uint8, 8)
	portableResample(got, from, 4, 2, taps, nil)
	// (10+20)/2, -10+382.5 and 30-127.5 clamped, 255; (30+40)/2, -20, 60, 0.
	if want := []uint8{15, 35, 255, 0, 0, 60, 255, 0}; !bytes.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPortableHalveIsTheDefinition(t *testing.T) {
	from := make([]uint8, 16*16)
	from[0], from[1], from[16], from[17] = 1, 2, 3, 4
	from[14*16+14], from[15*16+15] = 1, 1
	var got [64]uint8
	portableHalve(&got, from, 16)
	if want := [64]uint8{0: 3, 63: 1}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzResample(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(17), uint8(18), uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, rows, wide, n uint8) {
		others(t, func(t *testing.T, s set) {
			agreeOnResample(t, s, newDraws(data), 1+int(rows), 1+int(wide), 1+int(n), 1)
		})
	})
}

// BenchmarkResample makes 512 samples of each of 512 rows of 700, of four each.
func BenchmarkResample(b *testing.B) {
	const rows, wide, n = 512, 700, 512
	d := newDraws(nil)
	from, to := d.samples(rows*wide), make([]uint8, rows*n)
	taps := make([]Taps, n)
	for i := range taps {
		taps[i] = Taps{i * (wide - 4) / n, []int16{-1000, 9192, 9192, -1000}}
	}
	for _, s := range sets() {
		b.Run(s.name, func(b *testing.B) {
			var scratch Scratch
			b.SetBytes(rows * n)
			for b.Loop() {
				s.resample(to, from, wide, rows, taps, &scratch)
			}
		})
	}
}

// coefficients draws a block: of all that 32 bits can be, or of what pictures have.
func (d *draws) coefficients() (c [64]int32) {
	shift := d.byte() % 32
	for i := range c {
		if d.byte()%4 > 0 {
			c[i] = int32(d.Uint32()) >> shift
		}
	}
	return c
}

// agreeOnInverse compares inverse transforms to 8×8 samples and to 4×4.
func agreeOnInverse(t *testing.T, s set, d *draws) {
	t.Helper()
	stride := 8 + int(d.byte())%9
	c := d.coefficients()
	for _, of := range []struct {
		got, want func(to []uint8, stride int, c *[64]int32)
	}{
		{s.inverse, portableInverse}, {s.inverse4, portableInverse4},
	} {
		got, want := d.samples(9*stride), make([]uint8, 9*stride)
		copy(want, got)
		of.got(got[1:], stride, &c)
		of.want(want[1:], stride, &c)
		if !bytes.Equal(got, want) {
			t.Fatalf("%v: got %v, want %v", c, got, want)
		}
	}
}

func agreeOnHalve(t *testing.T, s set, d *draws) {
	t.Helper()
	stride := 16 + int(d.byte())%9
	from := d.samples(16 * stride)
	var got, want [64]uint8
	s.halve(&got, from, stride)
	portableHalve(&want, from, stride)
	if got != want {
		t.Fatalf("%v: got %v, want %v", from, got, want)
	}
}

func agreeOnForward(t *testing.T, s set, d *draws) {
	t.Helper()
	stride := 8 + int(d.byte())%9
	var divisors Divisors
	for i := range 64 {
		divisors.Set(i, 1+int(d.byte())%255)
	}
	from := d.samples(8 * stride)
	var got, want [64]int32
	others, wantOthers := s.forward(&got, from, stride, &divisors), portableForward(&want, from, stride, &divisors)
	if got != want || others != wantOthers {
		t.Fatalf("%v: got %v and %b, want %v and %b", from, got, others, want, wantOthers)
	}
}

func TestTransformsAgree(t *testing.T) {
	others(t, func(t *testing.T, s set) {
		d := newDraws(nil)
		for range 20_000 {
			agreeOnInverse(t, s, d)
			agreeOnForward(t, s, d)
			agreeOnHalve(t, s, d)
		}
	})
}

// TestPortableTransformsAreTheDefinition compares with the transforms in floating point.
func TestPortableTransformsAreTheDefinition(t *testing.T) {
	basis := func(f, i int) float64 {
		v := math.Cos(float64((2*i+1)*f)*math.Pi/16) / 2
		if f == 0 {
			v /= math.Sqrt2
		}
		return v
	}
	d := newDraws(nil)
	for range 100 {
		samples := d.samples(64)
		var divisors Divisors
		for i := range 64 {
			divisors.Set(i, 1+i%5)
		}
		var got, coefficients [64]int32
		others := portableForward(&got, samples, 8, &divisors)
		for v := range 8 {
			for u := range 8 {
				var sum float64
				for i, s := range samples {
					sum += (float64(s) - 128) * basis(v, i/8) * basis(u, i%8)
				}
				i := 8*v + u
				if math.Abs(float64(got[i])-sum/float64(1+i%5)) > 0.6 {
					t.Fatalf("coefficient %d, %d is %d, want %f", v, u, got[i], sum/float64(1+i%5))
				}
				if others>>i&1 == 1 != (got[i] != 0) {
					t.Fatalf("coefficient %d, %d is %d, but other than 0: %b", v, u, got[i], others)
				}
				coefficients[i] = int32(math.Round(sum))
			}
		}
		back := make([]uint8, 64)
		portableInverse(back, 8, &coefficients)
		for i, s := range samples {
			var sum float64
			for j, c := range coefficients {
				sum += float64(c) * basis(j/8, i/8) * basis(j%8, i%8)
			}
			if want := min(max(sum+128, 0), 255); math.Abs(float64(back[i])-want) > 0.6 {
				t.Fatalf("sample %d is %d, was %d, want %f", i, back[i], s, want)
			}
		}
	}
}

func FuzzTransforms(f *testing.F) {
	f.Add([]byte{20, 1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		others(t, func(t *testing.T, s set) {
			agreeOnInverse(t, s, newDraws(data))
			agreeOnForward(t, s, newDraws(data))
			agreeOnHalve(t, s, newDraws(data))
		})
	})
}

func BenchmarkInverse(b *testing.B) {
	d := newDraws([]byte{22})
	c, to := d.coefficients(), make([]uint8, 64)
	for _, s := range sets() {
		b.Run("8/"+s.name, func(b *testing.B) {
			for b.Loop() {
				s.inverse(to, 8, &c)
			}
		})
		b.Run("4/"+s.name, func(b *testing.B) {
			for b.Loop() {
				s.inverse4(to, 8, &c)
			}
		})
	}
}

func BenchmarkHalve(b *testing.B) {
	from := newDraws(nil).samples(256)
	var to [64]uint8
	for _, s := range sets() {
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				s.halve(&to, from, 16)
			}
		})
	}
}

func BenchmarkForward(b *testing.B) {
	var divisors Divisors
	for i := range 64 {
		divisors.Set(i, 7)
	}
	from := newDraws(nil).samples(64)
	var to [64]int32
	for _, s := range sets() {
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				s.forward(&to, from, 8, &divisors)
			}
		})
	}
}

// The assembly in the repository is what the generator writes.
func TestAssemblyIsGenerated(t *testing.T) { assemblytest.Generated(t) }

package random

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The known answers are those of the authors' Random123 library (kat_vectors,
// philox4x32 with 10 rounds).
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = math.MaxUint32
	tests := []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{
			want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
		}, {
			counter: [4]uint32{ones, ones, ones, ones},
			key:     [2]uint32{ones, ones},
			want:    [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		}, {
			counter: [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			key:     [2]uint32{0xa4093822, 0x299f31d0},
			want:    [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	}
	for _, test := range tests {
		if got := philox(test.counter, test.key); got != test.want {
			t.Errorf("philox(%x, %x) = %x, want %x", test.counter, test.key, got, test.want)
		}
	}
}

// The draws are part of every trained model's bytes: these may never change.
func TestDrawsAreStable(t *testing.T) {
	s := New(Key{Seed: 42, Stage: "augment", Item: "crops/Hamburger/1.jpg", Epoch: 3})
	got := fmt.Sprint(s.Uint32(), s.Uint64(), s.Float64(), s.Uniform(-40, 40), s.Intn(1000), s.Permutation(8))
	const want = "2408768779 9598037950732981386 0.948387672779097 25.834707056902175 727 [0 4 2 6 1 7 5 3]"
	if got != want {
		t.Errorf("draws = %q, want %q", got, want)
	}
}

func TestStreamsAreApart(t *testing.T) {
	keys := []Key{
		{},
		{Seed: 1},
		{Epoch: 1},
		{Stage: "ab"},
		{Stage: "a", Item: "b"},
		{Item: "ab"},
		{Stage: "ab", Item: "\x00"},
	}
	seen := make(map[uint64]Key)
	for _, k := range keys {
		first := New(k).Uint64()
		if other, ok := seen[first]; ok {
			t.Errorf("keys %+v and %+v give the same draws", k, other)
		}
		seen[first] = k
	}
}

func TestCounterCarries(t *testing.T) {
	s := New(Key{})
	s.counter[0] = math.MaxUint32
	s.Uint32()
	if s.counter[0] != 0 || s.counter[1] != 1 {
		t.Errorf("counter after its low word overflowed = %v, want the carry in the second word", s.counter)
	}
}

func TestUniformStaysInside(t *testing.T) {
	s := New(Key{Stage: t.Name()})
	sum := 0.0
	const n = 20000
	for range n {
		v := s.Uniform(-2, 3)
		if v < -2 || v >= 3 {
			t.Fatalf("Uniform(-2, 3) = %v", v)
		}
		sum += v
	}
	// The mean of n draws has a standard deviation of 5/sqrt(12 n) ≈ 0.01.
	if mean := sum / n; math.Abs(mean-0.5) > 0.05 {
		t.Errorf("mean of Uniform(-2, 3) = %v, want about 0.5", mean)
	}
	if v := s.Uniform(1, 1); v != 1 {
		t.Errorf("Uniform(1, 1) = %v", v)
	}
}

func TestIntnIsEven(t *testing.T) {
	s := New(Key{Stage: t.Name()})
	const n, bound = 60000, 6
	var counts [bound]int
	for range n {
		counts[s.Intn(bound)]++
	}
	for v, count := range counts {
		// Standard deviation sqrt(n/6·5/6) ≈ 91.
		if math.Abs(float64(count)-n/bound) > 500 {
			t.Errorf("Intn(6) gave %d %d times of %d", v, count, n)
		}
	}
}

func TestIntnNeedsAPositiveBound(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Intn(0) did not panic")
		}
	}()
	New(Key{}).Intn(0)
}

func TestPermutation(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		p := New(Key{Stage: t.Name()}).Permutation(n)
		sorted := slices.Sorted(slices.Values(p))
		want := make([]int, n)
		for i := range want {
			want[i] = i
		}
		if len(sorted) != n || (n > 0 && !cmp.Equal(sorted, want)) {
			t.Errorf("Permutation(%d) = %v", n, p)
		}
	}
	a := New(Key{Stage: t.Name(), Epoch: 1}).Permutation(100)
	b := New(Key{Stage: t.Name(), Epoch: 2}).Permutation(100)
	if cmp.Equal(a, b) {
		t.Error("two epochs have the same order")
	}
}

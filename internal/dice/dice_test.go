package dice

import "testing"

// The draws are part of every file that is made with them: these may never change.
func TestDrawsAreFixed(t *testing.T) {
	d := New(7).Fork("photo", 17).Fork("plate", 0)
	for i, want := range []uint64{0x20f29afc8676b242, 0x5e5f8dcd3ee6bd1f} {
		if got := d.Uint64(); got != want {
			t.Errorf("draw %d: got %#x, want %#x", i, got, want)
		}
	}
}

func TestForkIgnoresDrawsAndOrder(t *testing.T) {
	a, b := New(7), New(7)
	b.Uint64()
	b.Fork("other", 1).Uint64()
	if x, y := a.Fork("photo", 3).Uint64(), b.Fork("photo", 3).Uint64(); x != y {
		t.Errorf("a fork depends on draws made before it: %#x and %#x", x, y)
	}
	seen := map[uint64]string{}
	for _, name := range []string{"photo", "plate"} {
		for item := range 100 {
			x := a.Fork(name, item).Uint64()
			if other, dup := seen[x]; dup {
				t.Errorf("%s %d draws the same as %s", name, item, other)
			}
			seen[x] = name
		}
	}
}

func TestRanges(t *testing.T) {
	d := New(1)
	const n = 20000
	var sum float64
	counts := make([]int, 5)
	for range n {
		x := d.Between(2, 4)
		if x < 2 || x >= 4 {
			t.Fatalf("Between(2, 4) drew %v", x)
		}
		sum += x
		counts[d.Int(10, 14)-10]++
	}
	if mean := sum / n; mean < 2.98 || mean > 3.02 {
		t.Errorf("Between(2, 4) has mean %v", mean)
	}
	for i, c := range counts {
		if c < n/5-300 || c > n/5+300 {
			t.Errorf("Int(10, 14) drew %d %d times of %d", i+10, c, n)
		}
	}
}

func TestShuffleKeepsAll(t *testing.T) {
	list := []int{0, 1, 2, 3, 4, 5, 6, 7}
	Shuffle(New(3), list)
	seen := map[int]bool{}
	moved := false
	for i, x := range list {
		seen[x] = true
		moved = moved || i != x
	}
	if len(seen) != 8 || !moved {
		t.Errorf("shuffled into %v", list)
	}
}

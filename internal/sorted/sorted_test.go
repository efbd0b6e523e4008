package sorted_test

import (
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/sorted"
)

func sequence(items []string, end error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
		if end != nil {
			yield("", end)
		}
	}
}

func itself(s string) string { return s }

func draw(r *rand.Rand) []string {
	items := []string{}
	for i := range 8 {
		if r.IntN(2) == 0 {
			items = append(items, strconv.Itoa(i))
		}
	}
	return items
}

// TestJoin compares with a join that looks into sets.
func TestJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		a, b := draw(r), draw(r)
		all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
		var want, got []string
		for _, key := range all {
			text := ""
			if slices.Contains(a, key) {
				text = key
			}
			if slices.Contains(b, key) {
				text += "/" + key
			}
			want = append(want, text)
		}
		for pair, err := range sorted.Join(sequence(a, nil), sequence(b, nil), itself, itself) {
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			if pair.Left != nil {
				text = *pair.Left
			}
			if pair.Right != nil {
				text += "/" + *pair.Right
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%v with %v (-want +got):\n%s", a, b, diff)
		}
		merged := []string{}
		for item, err := range sorted.Merge(itself, sequence(a, nil), sequence(b, nil), sequence([]string{"5"}, nil)) {
			if err != nil {
				t.Fatal(err)
			}
			merged = append(merged, item)
		}
		if want := slices.Compact(slices.Sorted(slices.Values(append(all, "5")))); !slices.Equal(merged, want) {
			t.Fatalf("merged %v and %v to %v", a, b, merged)
		}
	}
}

// TestErrorsEnd stops at an error of either side, after what comes before it.
func TestErrorsEnd(t *testing.T) {
	broken := errors.New("broken")
	for name, pairs := range map[string]iter.Seq2[sorted.Pair[string, string], error]{
		"left":  sorted.Join(sequence([]string{"1", "2"}, broken), sequence([]string{"2", "3"}, nil), itself, itself),
		"right": sorted.Join(sequence([]string{"1", "2", "9"}, nil), sequence([]string{"2"}, broken), itself, itself),
	} {
		n, last := 0, error(nil)
		for _, err := range pairs {
			n++
			last = err
		}
		if !errors.Is(last, broken) || n != 3 {
			t.Errorf("%s: %d turns, the last one with %v", name, n, last)
		}
	}
	for _, err := range sorted.Merge(itself, sequence([]string{"1"}, nil), sequence(nil, broken)) {
		if err != nil && !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	for _, err := range sorted.Join(sequence([]string{"1", "2"}, nil), sequence([]string{"3"}, nil), itself, itself) {
		if err != nil {
			t.Error(err)
		}
		break // must not go on
	}
}

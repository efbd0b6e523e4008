// Package sorted goes through sorted sequences side by side, holding one item of each, and
// sorts what does not fit into memory. With it, a join of tables of nine million photos needs no more memory
// than one of nine.
package sorted

import (
	"iter"
)

// Pair is what two sequences have under a key: an item of one of them, or of both.
type Pair[A, B any] struct {
	Left  *A // nil when only the right sequence has the key
	Right *B // nil when only the left sequence has the key
}

// Join pairs the items of two sequences that are sorted by strictly ascending keys. Pairs
// come in the order of the keys, and hold for one turn of the loop. An error of either
// sequence ends them.
func Join[A, B any](left iter.Seq2[A, error], right iter.Seq2[B, error], leftKey func(A) string, rightKey func(B) string) iter.Seq2[Pair[A, B], error] {
	return func(yield func(Pair[A, B], error) bool) {
		next, stop := iter.Pull2(right)
		defer stop()
		b, err, ok := next()
		// behind yields what is left of the right sequence before a key; all of it without one.
		behind := func(key *string) bool {
			for ; ok && err == nil && (key == nil || rightKey(b) < *key); b, err, ok = next() {
				if item := b; !yield(Pair[A, B]{Right: &item}, nil) {
					return false
				}
			}
			if ok && err != nil {
				yield(Pair[A, B]{}, err)
				return false
			}
			return true
		}
		for a, failed := range left {
			if failed != nil {
				yield(Pair[A, B]{}, failed)
				return
			}
			key := leftKey(a)
			if !behind(&key) {
				return
			}
			pair := Pair[A, B]{Left: &a}
			if ok && rightKey(b) == key {
				item := b
				pair.Right = &item
				b, err, ok = next()
			}
			if !yield(pair, nil) {
				return
			}
		}
		behind(nil)
	}
}

// Merge makes one sequence of several that are sorted by ascending keys. Of items with
// one key the first sequence's comes, and the others are left out. The first error ends it.
func Merge[T any](key func(T) string, sequences ...iter.Seq2[T, error]) iter.Seq2[T, error] {
	switch len(sequences) {
	case 0:
		return func(func(T, error) bool) {}
	case 1:
		return sequences[0]
	}
	rest := Merge(key, sequences[1:]...)
	return func(yield func(T, error) bool) {
		for pair, err := range Join(sequences[0], rest, key, key) {
			var item T
			switch {
			case err != nil:
			case pair.Left != nil:
				item = *pair.Left
			default:
				item = *pair.Right
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

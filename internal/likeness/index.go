package likeness

import (
	"math/bits"
	"slices"
)

// Hashes that differ in at most 11 of 64 bits differ in at most two of the 16 bits of one of
// four pieces. Among 136 real photos no two were nearer than 15 bits, while copies, cropped by
// up to 6 % a side or recoloured, were within 9.
const (
	radius     = 11
	pieces     = 4
	pieceBits  = 64 / pieces
	pieceFlips = radius / pieces
	// flips is how many patterns of 16 bits have at most two set.
	flips = 1 + pieceBits + pieceBits*(pieceBits-1)/2
)

// index finds hashes within radius of others.
type index struct {
	// tables list the hashes by the value of one of their pieces.
	tables [pieces]buckets
	flips  [flips]uint16 // what a piece may differ by
}

// buckets hold hashes, and their numbers, by a value of 16 bits: those of v from first[v] to
// first[v+1]. After the last hash, few others may be read.
type buckets struct {
	first   [1<<pieceBits + 1]int32
	hashes  []Hash
	numbers []int32
}

func newIndex(hashes []Hash) *index {
	x := &index{}
	n := 0
	for f := range 1 << pieceBits {
		if bits.OnesCount16(uint16(f)) <= pieceFlips {
			x.flips[n] = uint16(f)
			n++
		}
	}
	for p := range x.tables {
		t := &x.tables[p]
		t.hashes, t.numbers = make([]Hash, len(hashes)+few), make([]int32, len(hashes))
		for _, h := range hashes {
			t.first[int(h.piece(p))+1]++
		}
		for v := range 1 << pieceBits {
			t.first[v+1] += t.first[v]
		}
		next := t.first
		for i, h := range hashes {
			v := h.piece(p)
			t.hashes[next[v]], t.numbers[next[v]] = h, int32(i)
			next[v]++
		}
	}
	return x
}

// distance is in how many bits two hashes differ.
func (h Hash) distance(other Hash) int { return bits.OnesCount64(uint64(h ^ other)) }

func (h Hash) piece(p int) uint16 { return uint16(h >> (p * pieceBits)) }

// within calls found, at least once, for each hash of the index that is within radius of
// one of those given: with its number, the index of the one given, and how many bits the
// two differ in. Those given that have a piece in common share the search for it.
func (x *index) within(given *[views]Hash, found func(number int32, of, distance int)) {
	near := make([]Hash, 0, 1024)
	for p := range x.tables {
		t := &x.tables[p]
		for i, h := range given {
			piece := h.piece(p)
			if slices.ContainsFunc(given[:i], func(h Hash) bool { return h.piece(p) == piece }) {
				continue // searched for already
			}
			near = t.near(near[:0], piece, &x.flips)
			for of, h := range given {
				if h.piece(p) != piece {
					continue
				}
				for _, other := range near {
					if d := h.distance(other); d <= radius {
						t.each(other, p, func(number int32) { found(number, of, d) })
					}
				}
			}
		}
	}
}

// few is how many hashes nearly all buckets have at most. So many are copied, whether they
// are there or not: a processor that guesses how many there are is mostly wrong, and then
// waits for memory.
const few = 4

// near appends the hashes whose piece differs from one by one of flips.
func (t *buckets) near(to []Hash, piece uint16, flips *[flips]uint16) []Hash {
	for _, flip := range flips {
		v := int(piece ^ flip)
		from, after := int(t.first[v]), int(t.first[v+1])
		n, h := len(to), t.hashes[from:][:few]
		to = append(to, h[0], h[1], h[2], h[3])[:n]
		if after-from > few {
			to = append(to, t.hashes[from:after]...)
		}
		to = to[:n+after-from]
	}
	return to
}

// each calls f with the numbers of a hash, which the table lists by its piece p.
func (t *buckets) each(h Hash, p int, f func(number int32)) {
	v := int(h.piece(p))
	for i := t.first[v]; i < t.first[v+1]; i++ {
		if t.hashes[i] == h {
			f(t.numbers[i])
		}
	}
}

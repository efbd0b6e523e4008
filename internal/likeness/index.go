package likeness

import "math/bits"

// Hashes that differ in at most 11 of 64 bits differ in at most two of the 16 bits of one of
// four pieces. Among 136 real photos no two were nearer than 15 bits, while copies, cropped by
// up to 6 % a side or recoloured, were within 9.
const (
	radius     = 11
	pieces     = 4
	pieceBits  = 64 / pieces
	pieceFlips = radius / pieces
)

// index finds hashes within radius of one.
type index struct {
	hashes []Hash
	// tables list the numbers of the hashes by the value of one of their pieces.
	tables [pieces]buckets
	flips  []uint16 // what a piece may differ by
}

// buckets hold numbers by a value of 16 bits: those of v are numbers[first[v]:first[v+1]].
type buckets struct {
	first   [1<<pieceBits + 1]int32
	numbers []int32
}

func newIndex(hashes []Hash) *index {
	x := &index{hashes: hashes}
	for f := range 1 << pieceBits {
		if bits.OnesCount16(uint16(f)) <= pieceFlips {
			x.flips = append(x.flips, uint16(f))
		}
	}
	for p := range x.tables {
		t := &x.tables[p]
		t.numbers = make([]int32, len(hashes))
		for _, h := range hashes {
			t.first[int(h.piece(p))+1]++
		}
		for v := range 1 << pieceBits {
			t.first[v+1] += t.first[v]
		}
		next := t.first
		for i, h := range hashes {
			v := h.piece(p)
			t.numbers[next[v]] = int32(i)
			next[v]++
		}
	}
	return x
}

// distance is in how many bits two hashes differ.
func (h Hash) distance(other Hash) int { return bits.OnesCount64(uint64(h ^ other)) }

func (h Hash) piece(p int) uint16 { return uint16(h >> (p * pieceBits)) }

// within calls found with the number of each hash within radius of h, and how many bits it
// differs in, at least once.
func (x *index) within(h Hash, found func(number int32, distance int)) {
	for p := range x.tables {
		t, piece := &x.tables[p], h.piece(p)
		for _, flip := range x.flips {
			v := int(piece ^ flip)
			for _, i := range t.numbers[t.first[v]:t.first[v+1]] {
				if d := h.distance(x.hashes[i]); d <= radius {
					found(i, d)
				}
			}
		}
	}
}

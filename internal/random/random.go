// Package random draws numbers that depend on nothing but what they are for.
//
// A Stream is named by a Key: the root seed of a build, the stage, the item and the
// epoch. Two equal keys give the same draws on every machine, whatever was drawn
// before, in whatever order, on however many cores. No stream is ever shared.
//
// The generator is Philox-4x32 with ten rounds (Salmon, Moraes, Dror and Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011): block n of a stream is a
// keyed mix of the number n, so there is no state to carry along.
package random

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Key names a stream.
type Key struct {
	Seed  uint64 // the root seed of the build
	Stage string // what the draws are for, such as "init" or "augment"
	Item  string // which parameter, picture or layer; may be empty
	Epoch int    // which pass over the data; 0 where there is none
}

// Stream is a sequence of draws. It is not safe for concurrent use; it is cheap, so
// each item has one of its own.
type Stream struct {
	key     [2]uint32
	counter [4]uint32
	block   [4]uint32
	unused  int // words of block not drawn yet
}

// New returns the stream of a key, at its beginning.
//
// The key is hashed: 64 bits of the digest become the key of Philox and 64 more the
// high half of its counter, of which the low half numbers the blocks. Streams of
// different keys therefore never meet.
func New(k Key) *Stream {
	h := sha256.Sum256(k.encode())
	s := &Stream{}
	s.key[0] = binary.LittleEndian.Uint32(h[0:])
	s.key[1] = binary.LittleEndian.Uint32(h[4:])
	s.counter[2] = binary.LittleEndian.Uint32(h[8:])
	s.counter[3] = binary.LittleEndian.Uint32(h[12:])
	return s
}

// encode writes the key so that no two keys have the same bytes: strings carry their
// length.
func (k Key) encode() []byte {
	b := []byte("sandwich/random/v1\x00")
	b = binary.LittleEndian.AppendUint64(b, k.Seed)
	b = binary.LittleEndian.AppendUint64(b, uint64(k.Epoch))
	for _, text := range [...]string{k.Stage, k.Item} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}

// Uint32 draws 32 bits.
func (s *Stream) Uint32() uint32 {
	if s.unused == 0 {
		s.block = philox(s.counter, s.key)
		s.unused = len(s.block)
		s.counter[0]++
		if s.counter[0] == 0 {
			s.counter[1]++
		}
	}
	word := s.block[len(s.block)-s.unused]
	s.unused--
	return word
}

// Uint64 draws 64 bits.
func (s *Stream) Uint64() uint64 {
	low := s.Uint32()
	return uint64(s.Uint32())<<32 | uint64(low)
}

// Float64 draws from [0, 1), in steps of 2⁻⁵³.
func (s *Stream) Float64() float64 {
	return float64(s.Uint64()>>11) / (1 << 53)
}

// Uniform draws from [low, high). It is low when the two are equal.
func (s *Stream) Uniform(low, high float64) float64 {
	// The conversion keeps the compiler from fusing the product into the sum, which
	// would round differently on arm64 than on amd64.
	return low + float64((high-low)*s.Float64())
}

// Intn draws from 0, 1, …, n-1, each exactly as likely as the others. It panics when
// n is not positive.
//
// The method is Lemire's ("Fast random integer generation in an interval", TOMACS
// 2019): the high half of a product, redrawn in the rare case in which its low half
// shows that the interval does not fit evenly.
func (s *Stream) Intn(n int) int {
	if n <= 0 {
		panic("random: Intn needs a positive bound")
	}
	bound := uint64(n)
	high, low := bits.Mul64(s.Uint64(), bound)
	if low < bound {
		for threshold := -bound % bound; low < threshold; {
			high, low = bits.Mul64(s.Uint64(), bound)
		}
	}
	return int(high)
}

// Permutation draws an order of 0, 1, …, n-1 (Fisher and Yates).
func (s *Stream) Permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := s.Intn(i + 1)
		p[i] = p[j]
		p[j] = i
	}
	return p
}

// The multipliers and the key increments of Philox-4x32, from the paper.
const (
	multiplier0 = 0xD2511F53
	multiplier1 = 0xCD9E8D57
	increment0  = 0x9E3779B9
	increment1  = 0xBB67AE85
	rounds      = 10
)

func philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range rounds {
		high0, low0 := bits.Mul32(multiplier0, counter[0])
		high1, low1 := bits.Mul32(multiplier1, counter[2])
		counter = [4]uint32{high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0}
		key[0] += increment0
		key[1] += increment1
	}
	return counter
}

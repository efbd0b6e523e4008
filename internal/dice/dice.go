// Package dice makes random draws that depend on nothing but their name.
//
// A Dice is a key and a counter: the n-th draw is a mix of the two, so no draw
// depends on what other dice were asked for. Fork names a part (“photo 17”, “its
// plate”) and gives it dice of its own; changing how one part is drawn leaves all
// others as they were, in whatever order or on however many cores they are made.
package dice

import (
	"hash/fnv"
	"math/bits"
)

// Dice is a sequence of draws under one key. It is not safe for concurrent use;
// fork one for each goroutine.
type Dice struct {
	key   uint64
	count uint64
}

// New returns the dice of a root seed.
func New(seed uint64) *Dice {
	return &Dice{key: mix(seed)}
}

// Fork returns the dice of the part with this name and number. It depends on the
// key alone, not on the draws made so far.
func (d *Dice) Fork(name string, item uint64) *Dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash.Hash never fails
	return &Dice{key: mix(mix(d.key^h.Sum64()) + item)}
}

// golden is 2⁶⁴ divided by the golden ratio: the odd step with which SplitMix64
// walks through all 64-bit counters before it repeats one.
const golden = 0x9e3779b97f4a7c15

// Uint64 draws 64 bits.
func (d *Dice) Uint64() uint64 {
	d.count++
	return mix(d.key + d.count*golden)
}

// Float draws from [0, 1), in steps of 2⁻⁵³.
func (d *Dice) Float() float64 {
	// The outer conversion is for callers, where this is inlined: see Between.
	return float64(float64(d.Uint64()>>11) / (1 << 53))
}

// Between draws from [low, high).
func (d *Dice) Between(low, high float64) float64 {
	// The conversion keeps the compiler from fusing the product into the sum,
	// which rounds differently on arm64 than on amd64.
	return low + float64((high-low)*d.Float())
}

// Chance is true with probability p.
func (d *Dice) Chance(p float64) bool {
	return d.Float() < p
}

// Below draws from 0, 1, …, n-1. It panics if n is not positive.
func (d *Dice) Below(n int) int {
	if n <= 0 {
		panic("dice: Below needs a positive bound")
	}
	// The high half of a product is even to within n/2⁶⁴, without a division.
	high, _ := bits.Mul64(d.Uint64(), uint64(n))
	return int(high)
}

// Int draws from low, low+1, …, high, both included.
func (d *Dice) Int(low, high int) int {
	return low + d.Below(high-low+1)
}

// Pick draws one of a list, which must not be empty.
func Pick[T any](d *Dice, list []T) T {
	return list[d.Below(len(list))]
}

// Shuffle puts a list in a drawn order.
func Shuffle[T any](d *Dice, list []T) {
	for i := len(list) - 1; i > 0; i-- {
		j := d.Below(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

// mix is the finaliser of SplitMix64: a bijection in which every input bit moves
// every output bit with probability close to one half.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Package dice draws lots for things that have parts: package random's streams,
// named by a path. Fork names a part (“photo 17”, “its plate”) and gives it dice of its
// own, so that changing how one part is drawn leaves all others as they were.
package dice

import (
	"fmt"

	"github.com/sandwich-build/sandwich/internal/random"
)

// Dice is a stream of draws for one thing. It is not safe for concurrent use; fork
// one for each goroutine.
type Dice struct {
	seed   uint64
	path   string
	stream *random.Stream
}

// New returns the dice of a root seed.
func New(seed uint64) *Dice {
	return named(seed, "")
}

// Fork returns the dice of the part with this name and number. They do not depend on
// the draws made so far.
func (d *Dice) Fork(name string, item int) *Dice {
	return named(d.seed, fmt.Sprintf("%s/%s %d", d.path, name, item))
}

func named(seed uint64, path string) *Dice {
	return &Dice{seed: seed, path: path, stream: random.New(random.Key{Seed: seed, Stage: "dice", Item: path})}
}

// Uint64 draws 64 bits.
func (d *Dice) Uint64() uint64 {
	return d.stream.Uint64()
}

// Float draws from [0, 1), in steps of 2⁻⁵³.
func (d *Dice) Float() float64 {
	// The conversion is for callers, where this is inlined: it keeps the division by a
	// power of two from being fused into a sum, as Between explains.
	return float64(d.stream.Float64())
}

// Between draws from [low, high).
func (d *Dice) Between(low, high float64) float64 {
	// The conversion keeps the compiler from fusing the product into the sum, which
	// rounds differently on arm64 than on amd64.
	return low + float64((high-low)*d.Float())
}

// Chance is true with probability p.
func (d *Dice) Chance(p float64) bool {
	return d.Float() < p
}

// Below draws from 0, 1, …, n-1. It panics if n is not positive.
func (d *Dice) Below(n int) int {
	return d.stream.Intn(n)
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

// Package kernels holds what pictures are computed with: loops over samples, in portable Go
// and in assembly for processors with AVX2. All is arithmetic of 32-bit integers, so both
// give the same samples; the functions named portable… are the definitions.
package kernels

//go:generate go run ./generate -out assembly_amd64.s -stubs assembly_amd64.go -pkg kernels

// set is a set of kernels.
type set struct {
	name     string
	resample func(to, from []uint8, stride, rows int, taps []Taps, s *Scratch)
	halve    func(to *[64]uint8, from []uint8, stride int)
	inverse  func(to []uint8, stride int, c *[64]int32)
	inverse4 func(to []uint8, stride int, c *[64]int32)
	forward  func(to *[64]int32, from []uint8, stride int, d *Divisors) (others uint64)
}

// portable is the definition of all others.
var portable = set{"portable", portableResample, portableHalve, portableInverse, portableInverse4, portableForward}

// fastest is the set for this processor.
var fastest = sets()[0]

// sets returns those that this processor can run, the fastest first.
func sets() []set { return append(assembled(), portable) }

// Resample makes len(taps) samples of each of so many rows, stride apart, which are as long
// as the taps reach, and lays down the rows as columns: sample i of row y becomes
// to[i*rows+y].
func Resample(to, from []uint8, stride, rows int, taps []Taps, s *Scratch) {
	fastest.resample(to, from, stride, rows, taps, s)
}

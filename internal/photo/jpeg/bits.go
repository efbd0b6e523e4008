package jpeg

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// padding is how many zeros follow the data of an interval: more than a block can read, so
// that whether it has read too far need be asked only when it is done. A block has at most
// 64 symbols of 16 bits with 15 bits each, or as many bits in a refinement.
const padding = 64*32/8 + 16

// bitReader reads the bits of an interval: of a scan, or what lies between two of its restart
// markers. They are copied there without the zeros that follow each 0xff, so that reading
// them is without a branch.
type bitReader struct {
	data []byte // with padding
	size int    // without
	at   int    // of the next byte to load
	acc  uint64 // the next bits, the first one highest
	have uint   // how many of acc are in any case; further ones may be, and are right
}

// begin takes the next interval from a scan, and returns the restart marker that ended it,
// or 0, and what follows.
func (b *bitReader) begin(scan []byte) (marker byte, rest []byte) {
	data := slices.Grow(b.data[:0], len(scan)+padding)
	for {
		i := bytes.IndexByte(scan, 0xff)
		if i < 0 {
			data, scan = append(data, scan...), nil
			break
		}
		data = append(data, scan[:i]...)
		scan = scan[i+1:]
		for len(scan) > 0 && scan[0] == 0xff {
			scan = scan[1:] // a fill byte
		}
		if len(scan) == 0 {
			break
		}
		next := scan[0]
		scan = scan[1:]
		if next != 0 {
			marker = next
			break
		}
		data = append(data, 0xff)
	}
	b.size = len(data)
	b.data = append(data, make([]byte, padding)...)
	b.at, b.acc, b.have = 0, 0, 0
	return marker, scan
}

func load(data []byte, at int) uint64 { return binary.BigEndian.Uint64(data[at:]) }

// fill loads at least 56 bits.
func (b *bitReader) fill() {
	b.acc |= load(b.data, b.at) >> (b.have & 63)
	b.at += int((63 - b.have) >> 3)
	b.have |= 56
}

// drop goes on by n bits.
func (b *bitReader) drop(n uint) {
	b.acc <<= n & 63
	b.have -= n
}

// overrun says whether more bits were read than there are.
func (b *bitReader) overrun() bool { return b.at*8-int(b.have) > b.size*8 }

// take returns the next n bits, n at most 16.
func (b *bitReader) take(n uint) uint32 {
	if b.have < 16 {
		b.fill()
	}
	v := uint32(b.acc >> 1 >> (63 - n))
	b.drop(n)
	return v
}

// symbol reads a symbol. It leaves at least 16 bits.
func (b *bitReader) symbol(h *huffman) (byte, error) {
	if b.have < 32 {
		b.fill()
	}
	s, n := h.symbol(uint32(b.acc >> 48))
	if n == 0 {
		return 0, b.bad()
	}
	b.drop(n)
	return s, nil
}

// bad is the error for bits that mean nothing.
func (b *bitReader) bad() error {
	if b.overrun() {
		return ErrTruncated
	}
	return ErrCorrupt
}

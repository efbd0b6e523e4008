package jpeg

import "sync"

const (
	// fastBits is how many bits the tables look at. Of the symbols of a usual photo, with
	// the bits that belong to them, 98 of a hundred are no longer.
	fastBits = 10

	// skipBits is how many bits the table for skipping looks at: two or three symbols.
	skipBits = 12

	// blockEnd is the advance that stands for the end of a block: more than any sum of
	// advances within one.
	blockEnd = 128

	// zeros16 is the symbol ZRL.
	zeros16 = 0xf0
)

// huffman is a Huffman table, prepared for reading.
type huffman struct {
	// value decodes a symbol of a DC or AC table with the bits that belong to it, where
	// all of that is at most fastBits long: the coefficient << 16 | advance << 8 | length.
	// The advance is how many coefficients further it lies; blockEnd for EOB, 16 with a
	// coefficient of 0 for ZRL. 0 where there is no such symbol.
	value [1 << fastBits]int32

	// skip does as many symbols as skipBits hold: the advances' sum << 8 | their length,
	// with the bits that belong to the last one even if they are beyond. EOB only comes
	// last. 0 where not one symbol fits.
	skip [1 << skipBits]uint16

	// The table of F.2.2.3: codes of length n are below limit[n], left-aligned to 16 bits,
	// and the number of a code is its value plus offset[n].
	limit  [17]uint32
	offset [17]int32
	values [256]byte
}

// symbol returns a symbol and the length of its code, by the leading 16 bits. The length
// is 0 when there is none.
func (h *huffman) symbol(bits uint32) (symbol byte, length uint) {
	for n := uint(1); n <= 16; n++ {
		if bits < h.limit[n] {
			return h.values[uint8(int32(bits>>(16-n))+h.offset[n])], n
		}
	}
	return 0, 0
}

// tableKey is a table as a file has it.
type tableKey struct {
	counts [16]byte
	values [256]byte
}

// Most photos have one of a few sets of tables: those of the standard's annex K, or a
// camera's own. They are prepared once.
var tables = struct {
	sync.Mutex
	prepared map[tableKey]*huffman // guarded by Mutex
}{prepared: map[tableKey]*huffman{}}

// maxPrepared bounds the tables that are kept, of 13 kB each.
const maxPrepared = 32

// prepare returns the table with so many codes of each length, and their symbols.
func prepare(key *tableKey) (*huffman, error) {
	tables.Lock()
	defer tables.Unlock()
	if h, ok := tables.prepared[*key]; ok {
		return h, nil
	}
	h, err := newHuffman(key)
	if err != nil {
		return nil, err
	}
	if len(tables.prepared) >= maxPrepared {
		clear(tables.prepared)
	}
	tables.prepared[*key] = h
	return h, nil
}

// newHuffman makes the tables of annex C.
func newHuffman(key *tableKey) (*huffman, error) {
	h := &huffman{values: key.values}
	var lengths [1 << skipBits]uint8 // of the symbol that the bits begin with, or 0
	var symbols [1 << skipBits]byte
	code, number := uint32(0), 0
	for n := 1; n <= 16; n++ {
		h.offset[n] = int32(number) - int32(code)
		for range key.counts[n-1] {
			if code >= 1<<n || number >= len(h.values) {
				return nil, ErrCorrupt
			}
			if n <= skipBits {
				from := code << (skipBits - n)
				for i := from; i < from+1<<(skipBits-n); i++ {
					lengths[i], symbols[i] = uint8(n), h.values[number]
				}
			}
			code++
			number++
		}
		h.limit[n] = code << (16 - n)
		code <<= 1
	}
	for i := range h.value {
		wide := i << (skipBits - fastBits)
		h.value[i] = fastValue(uint32(wide), uint(lengths[wide]), symbols[wide])
	}
	for i := range h.skip {
		h.skip[i] = skips(uint32(i), &lengths, &symbols)
	}
	return h, nil
}

// fastValue returns the entry of value for skipBits bits, which begin with a symbol whose
// code has that length.
func fastValue(bits uint32, length uint, symbol byte) int32 {
	size := uint(symbol & 15)
	total := length + size
	if length == 0 || total > fastBits {
		return 0
	}
	coefficient := int32(0)
	if size > 0 {
		coefficient = extend(bits>>(skipBits-total)&(1<<size-1), size)
	}
	return coefficient<<16 | int32(advance(symbol))<<8 | int32(total)
}

// advance returns how many coefficients a symbol goes on; blockEnd for EOB.
func advance(symbol byte) int {
	if symbol&15 == 0 && symbol != zeros16 {
		return blockEnd
	}
	return int(symbol>>4) + 1
}

// skips returns the entry of skip.
func skips(bits uint32, lengths *[1 << skipBits]uint8, symbols *[1 << skipBits]byte) uint16 {
	total, far := 0, 0
	for total < skipBits {
		at := bits << total & (1<<skipBits - 1)
		length := int(lengths[at])
		if length == 0 || total+length > skipBits {
			break
		}
		step := advance(symbols[at])
		if step < blockEnd && far+step > 62 {
			break
		}
		total += length + int(symbols[at]&15)
		far += step
		if step == blockEnd {
			break
		}
	}
	return uint16(far<<8 | total)
}

// extend is EXTEND of F.2.2.1: a coefficient of size bits.
func extend(bits uint32, size uint) int32 {
	if bits>>(size-1) == 0 {
		return int32(bits) - 1<<size + 1
	}
	return int32(bits)
}

// difference decodes the difference of a DC coefficient to the one before, from at least 31
// bits, of which it tells how many it took: 0 when they mean nothing.
func (h *huffman) difference(acc uint64) (diff int32, length uint) {
	if e := h.value[acc>>(64-fastBits)]; e != 0 {
		return e >> 16, uint(e & 63)
	}
	e, length := h.long(acc)
	return e >> 16, length
}

// long is value for symbols that are too long for it; the length, which is apart, is 0 when
// the bits mean nothing.
func (h *huffman) long(acc uint64) (entry int32, length uint) {
	symbol, length := h.symbol(uint32(acc >> 48))
	if length == 0 {
		return 0, 0
	}
	size := uint(symbol & 15)
	entry = int32(advance(symbol)) << 8
	if size > 0 {
		entry |= extend(uint32(acc<<length>>(64-size)), size) << 16
	}
	return entry, length + size
}

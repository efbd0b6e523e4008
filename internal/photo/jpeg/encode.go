package jpeg

import (
	"encoding/binary"
	"fmt"
	"image"
	"math/bits"
	"slices"

	"github.com/sandwich-build/sandwich/internal/photo/internal/kernels"
)

// The standard's tables (annex K) as far as they are needed to encode: those for
// quantisation in zigzag order, the others as DHT has them.
var (
	standardQuantization = [2][64]byte{
		{
			16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
			26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
			56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
			95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
		},
		{
			17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99,
			99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
			99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
			99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		},
	}

	dcValues = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	acLuma   = []byte{
		0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
		0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
		0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
		0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
		0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
		0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
		0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
		0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
		0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
	}
	acChroma = []byte{
		0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
		0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
		0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
		0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
		0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
		0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
		0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
		0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
		0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
	}
)

// standardHuffman are the tables of the encoder, with the byte by which DHT names them.
var standardHuffman = [4]struct {
	name   byte
	counts [16]byte
	values []byte
}{
	{0x00, [16]byte{0, 1, 5, 1, 1, 1, 1, 1, 1}, dcValues},
	{0x10, [16]byte{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125}, acLuma},
	{0x01, [16]byte{0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, dcValues},
	{0x11, [16]byte{0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119}, acChroma},
}

// code is the code of each symbol << 8 | its length.
type code [256]uint32

var codes = func() (all [4]code) {
	for i, t := range standardHuffman {
		next, number := uint32(0), 0
		for n, count := range t.counts {
			for range count {
				all[i][t.values[number]] = next<<8 | uint32(n+1)
				next++
				number++
			}
			next <<= 1
		}
	}
	return all
}()

// Encode appends a picture as a baseline JPEG of the quality given, 1 to 100 as libjpeg
// counts, to dst. The picture's planes must be of equal size (4:4:4); in the file, chroma
// has half their sides (4:2:0). Sides are at most 65,535.
//
// Transform and quantisation round as libjpeg's do; see package kernels.
func Encode(dst []byte, img *image.YCbCr, quality int) ([]byte, error) {
	size := img.Rect.Size()
	if img.SubsampleRatio != image.YCbCrSubsampleRatio444 || size.X < 1 || size.Y < 1 || size.X > 65535 || size.Y > 65535 || quality < 1 || quality > 100 {
		return nil, fmt.Errorf("encode JPEG: a picture of %v with %v, quality %d", size, img.SubsampleRatio, quality)
	}
	e := &encoder{out: slices.Grow(dst, 1024+size.X*size.Y/2)}
	e.header(size, quality)
	w := planeReader{pix: img.Y, stride: img.YStride, size: size}
	cb := planeReader{pix: img.Cb, stride: img.CStride, size: size}
	cr := planeReader{pix: img.Cr, stride: img.CStride, size: size}
	for y := 0; y < size.Y; y += 16 {
		for x := 0; x < size.X; x += 16 {
			for i := range 4 {
				from, stride := w.block(&e.samples, x+8*(i&1), y+8*(i>>1))
				e.block(from, stride, 0, 0)
			}
			e.block(cb.halved(&e.samples, x, y), 8, 1, 1)
			e.block(cr.halved(&e.samples, x, y), 8, 1, 2)
		}
	}
	return append(e.finish(), 0xff, markerEOI), nil
}

type encoder struct {
	out       []byte
	acc       uint64 // the last have bits are to be written
	have      uint
	divisors  [2]kernels.Divisors
	last      [3]int32 // DC coefficients
	samples   [64]uint8
	quantized [64]int32
}

func (e *encoder) header(size image.Point, quality int) {
	e.out = append(e.out, 0xff, markerSOI, 0xff, markerDQT, 0, 2+2*65)
	scale := 200 - 2*quality
	if quality < 50 {
		scale = 5000 / quality
	}
	for i, table := range standardQuantization {
		e.out = append(e.out, byte(i))
		for k, q := range table {
			step := max(1, min((int(q)*scale+50)/100, 255))
			e.out = append(e.out, byte(step))
			e.divisors[i].Set(int(zigzag[k]), step)
		}
	}
	e.out = append(e.out, 0xff, markerSOF0, 0, 17, 8, byte(size.Y>>8), byte(size.Y), byte(size.X>>8), byte(size.X),
		3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1)
	length := 2
	for _, t := range standardHuffman {
		length += 17 + len(t.values)
	}
	e.out = append(e.out, 0xff, markerDHT, byte(length>>8), byte(length))
	for _, t := range standardHuffman {
		e.out = append(e.out, t.name)
		e.out = append(e.out, t.counts[:]...)
		e.out = append(e.out, t.values...)
	}
	e.out = append(e.out, 0xff, markerSOS, 0, 12, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0)
}

// planeReader takes blocks from a plane, whose last column and row go on for ever.
type planeReader struct {
	pix    []uint8
	stride int
	size   image.Point
}

// block returns the block of 8×8 samples at (x, y), and how far apart its rows are. At an
// edge it is put together in to.
func (p *planeReader) block(to *[64]uint8, x, y int) (from []uint8, stride int) {
	if x+8 <= p.size.X && y+8 <= p.size.Y {
		return p.pix[y*p.stride+x:], p.stride
	}
	for j := range 8 {
		row := p.pix[min(y+j, p.size.Y-1)*p.stride:]
		for i := range 8 {
			to[8*j+i] = row[min(x+i, p.size.X-1)]
		}
	}
	return to[:], 8
}

// halved returns the 16×16 samples at (x, y), each 2×2 of them as their mean, in to.
func (p *planeReader) halved(to *[64]uint8, x, y int) []uint8 {
	if x+16 <= p.size.X && y+16 <= p.size.Y {
		kernels.Halve(to, p.pix[y*p.stride+x:], p.stride)
		return to[:]
	}
	for j := range 8 {
		upper := p.pix[min(y+2*j, p.size.Y-1)*p.stride:]
		lower := p.pix[min(y+2*j+1, p.size.Y-1)*p.stride:]
		for i := range 8 {
			left, right := min(x+2*i, p.size.X-1), min(x+2*i+1, p.size.X-1)
			to[8*j+i] = uint8((uint(upper[left]) + uint(upper[right]) + uint(lower[left]) + uint(lower[right]) + 2) >> 2)
		}
	}
	return to[:]
}

// zigzagged is for each four bits that stand for coefficients of a block in rows, and each
// value of them, the bits for these in zigzag order.
var zigzagged = func() (all [16][16]uint64) {
	for k, at := range zigzag {
		for v := range 16 {
			if v>>(at%4)&1 == 1 {
				all[at/4][v] |= 1 << k
			}
		}
	}
	return all
}()

// block encodes samples, stride apart, as a block of a component (F.1.2), with tables. Its
// bits are in local variables, for this is where most of the encoder's time goes.
func (e *encoder) block(from []uint8, stride, table, component int) {
	others := kernels.Forward(&e.quantized, from, stride, &e.divisors[table])
	dc, ac := &codes[2*table], &codes[2*table+1]
	first := e.quantized[0]
	e.write(dc.value(0, first-e.last[component]))
	e.last[component] = first
	var left uint64 // of the coefficients in zigzag order, those that are not 0
	for i := range zigzagged {
		left |= zigzagged[i][others>>(4*i)&15]
	}
	acc, have := e.acc, e.have
	last := 0
	for left &^= 1; left != 0; left &= left - 1 {
		k := bits.TrailingZeros64(left) & 63
		run := k - last - 1
		last = k
		if run > 15 {
			e.acc, e.have = acc, have
			for ; run > 15; run -= 16 {
				e.symbol(ac[zeros16])
			}
			acc, have = e.acc, e.have
		}
		v, n := ac.value(byte(run)<<4, e.quantized[zigzag[k]&63])
		acc = acc<<(n&63) | v
		have += n
		if have >= 32 {
			have -= 32
			e.word(uint32(acc >> (have & 63)))
		}
	}
	e.acc, e.have = acc, have
	if last < 63 {
		e.symbol(ac[0])
	}
}

// value returns how a coefficient is written: the symbol of its size, and its bits
// (F.1.2.1); they are n, at most 27.
func (c *code) value(run byte, v int32) (coded uint64, n uint) {
	sign := v >> 31
	size := uint(bits.Len32(uint32((v^sign)-sign))) & 63
	low := uint64(v+sign) & (1<<size - 1) // of a negative number, those of one less
	s := c[run|byte(size)]
	return uint64(s>>8)<<size | low, uint(s&0xff) + size
}

func (e *encoder) symbol(s uint32) { e.write(uint64(s>>8), uint(s&0xff)) }

// write writes n bits, n at most 31.
func (e *encoder) write(v uint64, n uint) {
	e.acc = e.acc<<n | v
	e.have += n
	if e.have >= 32 {
		e.have -= 32
		e.word(uint32(e.acc >> e.have))
	}
}

// word writes 32 bits.
func (e *encoder) word(word uint32) {
	// A byte of ones makes a carry into its place.
	if ones := ^word; (ones-0x01010101)&^ones&0x80808080 == 0 {
		e.out = binary.BigEndian.AppendUint32(e.out, word)
		return
	}
	for shift := 24; shift >= 0; shift -= 8 {
		e.byte(byte(word >> shift))
	}
}

// finish fills the last byte up with ones.
func (e *encoder) finish() []byte {
	e.write(0x7f, 7)
	for ; e.have >= 8; e.have -= 8 {
		e.byte(byte(e.acc >> (e.have - 8)))
	}
	return e.out
}

func (e *encoder) byte(b byte) {
	e.out = append(e.out, b)
	if b == 0xff {
		e.out = append(e.out, 0)
	}
}

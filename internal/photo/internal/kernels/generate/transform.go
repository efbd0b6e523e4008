package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// Those of transform.go in package kernels.
const (
	fixBits  = 13
	passBits = 2
)

// eight are the rows, or the columns, of 8×8 numbers.
type eight [8]reg.VecVirtual

func newEight() (v eight) {
	for i := range v {
		v[i] = YMM()
	}
	return v
}

// like returns a register of the same size.
func like(v reg.VecVirtual) reg.VecVirtual {
	if v.Size() == 16 {
		return XMM()
	}
	return YMM()
}

// times multiplies by a constant.
func times(v reg.VecVirtual, by uint32) reg.VecVirtual {
	r := like(v)
	VPMULLD(constant(by), v, r)
	return r
}

var constants = map[uint32]Mem{}

// constant is memory with the same number in each of eight lanes.
func constant(v uint32) Mem {
	at, known := constants[v]
	if !known {
		at = GLOBL(fmt.Sprintf("lanes%d", v), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(v))
		}
		constants[v] = at
	}
	return at
}

func sum(a, b reg.VecVirtual) reg.VecVirtual {
	r := like(a)
	VPADDD(b, a, r)
	return r
}

func difference(a, b reg.VecVirtual) reg.VecVirtual {
	r := like(a)
	VPSUBD(b, a, r)
	return r
}

// transpose swaps rows and columns.
func transpose(v *eight) {
	for i := 0; i < 8; i += 2 {
		interleave(&v[i], &v[i+1], VPUNPCKLDQ, VPUNPCKHDQ)
	}
	for _, i := range []int{0, 1, 4, 5} {
		interleave(&v[i], &v[i+2], VPUNPCKLQDQ, VPUNPCKHQDQ)
	}
	for i := range 4 {
		low := YMM()
		VPERM2I128(Imm(0x20), v[i+4], v[i], low)
		VPERM2I128(Imm(0x31), v[i+4], v[i], v[i+4])
		v[i] = low
	}
	*v = eight{v[0], v[2], v[1], v[3], v[4], v[6], v[5], v[7]}
}

// odd are the sums that both transforms make of four numbers.
func odd(c1, c3, c5, c7 reg.VecVirtual) (b0, b1, b2, b3 reg.VecVirtual) {
	z3, z4 := sum(c7, c3), sum(c5, c1)
	z5 := times(sum(z3, z4), fix1_175)
	z3, z4 = difference(z5, times(z3, fix1_961)), difference(z5, times(z4, fix0_390))
	z1, z2 := times(sum(c7, c1), fix0_899), times(sum(c5, c3), fix2_562)
	part := func(c reg.VecVirtual, by uint32, less, more reg.VecVirtual) reg.VecVirtual {
		r := times(c, by)
		VPSUBD(less, r, r)
		VPADDD(more, r, r)
		return r
	}
	return part(c7, fix0_298, z1, z3), part(c5, fix2_053, z2, z4), part(c3, fix3_072, z2, z3), part(c1, fix1_501, z1, z4)
}

// rounded shifts numbers down.
func rounded(v []reg.VecVirtual, of []int, down uint64) {
	for _, i := range of {
		VPADDD(constant(1<<(down-1)), v[i], v[i])
		VPSRAD(Imm(down), v[i], v[i])
	}
}

// square transposes 4×4 bytes.
var square Mem

var all = []int{0, 1, 2, 3, 4, 5, 6, 7}

// inverseEight is that of package kernels.
func inverseEight(c eight) eight {
	z := times(sum(c[2], c[6]), fix0_541)
	e2, e3 := difference(z, times(c[6], fix1_847)), sum(z, times(c[2], fix0_765))
	e0, e1 := sum(c[0], c[4]), difference(c[0], c[4])
	VPSLLD(Imm(fixBits), e0, e0)
	VPSLLD(Imm(fixBits), e1, e1)
	a0, a3, a1, a2 := sum(e0, e3), difference(e0, e3), sum(e1, e2), difference(e1, e2)
	b0, b1, b2, b3 := odd(c[1], c[3], c[5], c[7])
	return eight{
		sum(a0, b3), sum(a1, b2), sum(a2, b1), sum(a3, b0),
		difference(a3, b0), difference(a2, b1), difference(a1, b2), difference(a0, b3),
	}
}

func inverse() {
	begin("inverseAVX2", "func(to *byte, stride int, c *int32)", "is portableInverse.")
	to, stride, from := param("to"), param("stride"), param("c")
	c := newEight()
	for i := range c {
		VMOVDQU(Mem{Base: from, Disp: 32 * i}, c[i])
	}
	c = inverseEight(c)
	rounded(c[:], all, fixBits-passBits)
	transpose(&c)
	c = inverseEight(c)
	levels(c[:])
	// Registers are columns; packed to bytes, four of them are in one, of which each half
	// is a square that is transposed in place.
	square = GLOBL("square", RODATA|NOPTR)
	for i := range 32 {
		DATA(i, U8(uint8(i%4*4+i%16/4)))
	}
	for _, i := range []int{0, 4} {
		VPACKSSDW(c[i+1], c[i], c[i])
		VPACKSSDW(c[i+3], c[i+2], c[i+2])
		VPACKUSWB(c[i+2], c[i], c[i])
		VPSHUFB(square, c[i], c[i])
	}
	interleave(&c[0], &c[4], VPUNPCKLDQ, VPUNPCKHDQ)
	for _, half := range []int{0, 1} {
		for _, pair := range []reg.VecVirtual{c[0], c[4]} {
			rows := XMM()
			VEXTRACTI128(Imm(uint64(half)), pair, rows)
			VMOVQ(rows, Mem{Base: to})
			VPEXTRQ(Imm(1), rows, Mem{Base: to, Index: stride, Scale: 1})
			LEAQ(Mem{Base: to, Index: stride, Scale: 2}, to)
		}
	}
	end()
}

// levels shifts numbers down to samples, with 0 in the middle of their range.
func levels(v []reg.VecVirtual) {
	const down = fixBits + passBits + 3
	for _, v := range v {
		VPADDD(constant(128<<down+1<<(down-1)), v, v)
		VPSRAD(Imm(down), v, v)
	}
}

// inverseFour is that of package kernels.
func inverseFour(c []reg.VecVirtual) []reg.VecVirtual {
	z := times(sum(c[1], c[3]), fix0_541)
	b0, b1 := sum(z, times(c[1], fix0_765)), difference(z, times(c[3], fix1_847))
	a0, a1 := sum(c[0], c[2]), difference(c[0], c[2])
	VPSLLD(Imm(fixBits), a0, a0)
	VPSLLD(Imm(fixBits), a1, a1)
	return []reg.VecVirtual{sum(a0, b0), sum(a1, b1), difference(a1, b1), difference(a0, b0)}
}

func inverse4() {
	begin("inverse4AVX2", "func(to *byte, stride int, c *int32)", "is portableInverse4.")
	to, stride, from := param("to"), param("stride"), param("c")
	c := []reg.VecVirtual{XMM(), XMM(), XMM(), XMM()}
	for i := range c {
		VMOVDQU(Mem{Base: from, Disp: 32 * i}, c[i])
	}
	c = inverseFour(c)
	rounded(c, all[:4], fixBits-passBits)
	for i := 0; i < 4; i += 2 {
		interleave(&c[i], &c[i+1], VPUNPCKLDQ, VPUNPCKHDQ)
	}
	for i := range 2 {
		interleave(&c[i], &c[i+2], VPUNPCKLQDQ, VPUNPCKHQDQ)
	}
	c = inverseFour([]reg.VecVirtual{c[0], c[2], c[1], c[3]})
	levels(c)
	VPACKSSDW(c[1], c[0], c[0])
	VPACKSSDW(c[3], c[2], c[2])
	VPACKUSWB(c[2], c[0], c[0])
	VPSHUFB(square, c[0], c[0])
	for i := range 4 {
		VPEXTRD(Imm(uint64(i)), c[0], Mem{Base: to})
		if i < 3 {
			ADDQ(stride, to)
		}
	}
	end()
}

// forwardEight is that of package kernels.
func forwardEight(s eight) (c eight) {
	b0, b1, b2, b3 := difference(s[3], s[4]), difference(s[2], s[5]), difference(s[1], s[6]), difference(s[0], s[7])
	a0, a1, a2, a3 := sum(s[0], s[7]), sum(s[1], s[6]), sum(s[2], s[5]), sum(s[3], s[4])
	e0, e3, e1, e2 := sum(a0, a3), difference(a0, a3), sum(a1, a2), difference(a1, a2)
	c[0], c[4] = sum(e0, e1), difference(e0, e1)
	z := times(sum(e2, e3), fix0_541)
	c[2], c[6] = sum(z, times(e3, fix0_765)), difference(z, times(e2, fix1_847))
	c[7], c[5], c[3], c[1] = odd(b3, b2, b1, b0)
	return c
}

func forward() {
	begin("forwardAVX2", "func(to *int32, from *byte, stride int, halves, reciprocals *uint32) uint64", "is portableForward.")
	to, from, stride, halves, reciprocals := param("to"), param("from"), param("stride"), param("halves"), param("reciprocals")
	s := newEight()
	for i := range s {
		VPMOVZXBD(Mem{Base: from}, s[i])
		VPSUBD(constant(128), s[i], s[i])
		ADDQ(stride, from)
	}
	fine := []int{1, 2, 3, 5, 6, 7}
	transpose(&s)
	s = forwardEight(s)
	for _, i := range []int{0, 4} {
		VPSLLD(Imm(passBits), s[i], s[i])
	}
	rounded(s[:], fine, fixBits-passBits)
	transpose(&s)
	s = forwardEight(s)
	rounded(s[:], []int{0, 4}, passBits)
	rounded(s[:], fine, fixBits+passBits)
	zero, zeros, bits := YMM(), GP64(), GP64()
	VPXOR(zero, zero, zero)
	for i, v := range s {
		n, even, odds, r := YMM(), YMM(), YMM(), YMM()
		VPABSD(v, n)
		VPADDD(Mem{Base: halves, Disp: 32 * i}, n, n)
		VMOVDQU(Mem{Base: reciprocals, Disp: 32 * i}, r)
		VPMULUDQ(r, n, even)
		VPSRLQ(Imm(32), even, even)
		VPSRLQ(Imm(32), n, n)
		VPSRLQ(Imm(32), r, r)
		VPMULUDQ(r, n, odds)
		VPBLENDD(Imm(0b10101010), odds, even, even)
		VPSIGND(v, even, even)
		VMOVDQU(even, Mem{Base: to, Disp: 32 * i})
		VPCMPEQD(zero, even, even)
		VMOVMSKPS(even, bits.As32())
		if i > 0 {
			SHLQ(Imm(uint64(8*i)), bits)
			ORQ(bits, zeros)
		} else {
			MOVQ(bits, zeros)
		}
	}
	NOTQ(zeros)
	Store(zeros, ReturnIndex(0))
	end()
}

const (
	fix0_298 = 2446
	fix0_390 = 3196
	fix0_541 = 4433
	fix0_765 = 6270
	fix0_899 = 7373
	fix1_175 = 9633
	fix1_501 = 12299
	fix1_847 = 15137
	fix1_961 = 16069
	fix2_053 = 16819
	fix2_562 = 20995
	fix3_072 = 25172
)

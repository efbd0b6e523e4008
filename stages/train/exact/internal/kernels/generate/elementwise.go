package main

import (
	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// Predicates of VCMPPS. All are quiet; those that end in U are true for NaN.
const (
	unordered = 3
	equal     = 0
	unequalU  = 4
	less      = 17
	lessEqual = 18
	greaterEq = 29
	greater   = 30
)

var comparisons = []struct {
	name, doc string
	predicate uint8
}{
	{"equal", "is a = b.", equal},
	{"notEqual", "is a ≠ b.", unequalU},
	{"less", "is a < b.", less},
	{"lessEqual", "is a ≤ b.", lessEqual},
	{"greater", "is a > b.", greater},
	{"greaterEqual", "is a ≥ b.", greaterEq},
}

// loop writes a loop over i from 0 to n, n > 0, a multiple of step.
func loop(n reg.GPVirtual, step int, body func(i reg.GPVirtual)) {
	i := GP64()
	XORQ(i, i)
	Label("loop")
	body(i)
	ADDQ(Imm(uint64(step)), i)
	CMPQ(i, n)
	JLT(LabelRef("loop"))
	end()
}

func at(base, index reg.GPVirtual, size uint8) Mem { return Mem{Base: base, Index: index, Scale: size} }

// binary writes a function of two vectors.
func binary(w width, name, doc string, combine func(a, b, result reg.VecVirtual)) {
	begin(name+w.suffix, "func(dst, a, b *byte, n int)", doc)
	dst, a, b, n := param("dst"), param("a"), param("b"), param("n")
	loop(n, w.lanes(), func(i reg.GPVirtual) {
		x, y, z := w.register(), w.register(), w.register()
		VMOVUPS(at(a, i, 4), x)
		VMOVUPS(at(b, i, 4), y)
		combine(x, y, z)
		VMOVUPS(z, at(dst, i, 4))
	})
}

// A processor's maximum is its second operand when either is NaN, which is right but
// for a NaN in the first: unordered with itself, it is put in its place.
func (w width) orNaN(a, result reg.VecVirtual) {
	if w.bytes == avx512.bytes {
		mask := K()
		VCMPPS(Imm(unordered), a, a, mask)
		VMOVAPS(a, mask, result)
		return
	}
	mask := YMM()
	VCMPPS(Imm(unordered), a, a, mask)
	VBLENDVPS(mask, a, result, result)
}

func unaries() {
	const sign, one, minusOne = 1 << 31, 0x3f800000, 0xbf800000
	unary("neg", "is -a.", []uint32{sign}, func(x, r reg.VecVirtual, c []reg.VecVirtual) { VXORPS(c[0], x, r) })
	unary("abs", "is a without its sign.", []uint32{sign - 1}, func(x, r reg.VecVirtual, c []reg.VecVirtual) { VANDPS(c[0], x, r) })
	unary("sqrt", "is the square root of a.", nil, func(x, r reg.VecVirtual, _ []reg.VecVirtual) { VSQRTPS(x, r) })
	// A processor's maximum is its second operand for NaN and for two zeros: here, +0.
	unary("relu", "is a where that is greater than 0, and else 0.", []uint32{0},
		func(x, r reg.VecVirtual, c []reg.VecVirtual) { VMAXPS(c[0], x, r) })
	unary("sign", "is 1 or -1, with the sign of a, or a if that is 0 or NaN.", []uint32{0, one, minusOne},
		func(x, r reg.VecVirtual, c []reg.VecVirtual) {
			mask := YMM()
			VCMPPS(Imm(greater), c[0], x, mask)
			VBLENDVPS(mask, c[1], x, r)
			VCMPPS(Imm(less), c[0], x, mask)
			VBLENDVPS(mask, c[2], r, r)
		})
}

// unary writes a function of one vector and of constants.
func unary(name, doc string, constants []uint32, compute func(x, result reg.VecVirtual, c []reg.VecVirtual)) {
	begin(name+"AVX2", "func(dst, a *byte, n int)", doc)
	dst, a, n := param("dst"), param("a"), param("n")
	var c []reg.VecVirtual
	for _, bits := range constants {
		c = append(c, broadcastBits(bits))
	}
	loop(n, 8, func(i reg.GPVirtual) {
		x, y := YMM(), YMM()
		VMOVUPS(at(a, i, 4), x)
		compute(x, y, c)
		VMOVUPS(y, at(dst, i, 4))
	})
}

// broadcastBits returns a register with the same 32 bits in each lane.
func broadcastBits(bits uint32) reg.VecVirtual {
	word, low, r := GP32(), XMM(), YMM()
	MOVL(U32(bits), word)
	VMOVD(word, low)
	VPBROADCASTD(low, r)
	return r
}

// compare writes a comparison, whose results are bytes of 0 or 1.
func compare(name, doc string, predicate uint8) {
	begin(name+"AVX2", "func(dst, a, b *byte, n int)", doc)
	dst, a, b, n := param("dst"), param("a"), param("b"), param("n")
	loop(n, 8, func(i reg.GPVirtual) {
		mask, high := YMM(), XMM()
		VMOVUPS(at(a, i, 4), mask)
		VCMPPS(Imm(uint64(predicate)), at(b, i, 4), mask, mask)
		VEXTRACTI128(Imm(1), mask, high)
		VPACKSSDW(high, mask.AsX(), high)
		VPACKSSWB(high, high, high)
		VPABSB(high, high) // all ones is -1
		VMOVQ(high, at(dst, i, 1))
	})
}

// choose is Where on elements of four bytes.
func choose() {
	begin("chooseAVX2", "func(dst, condition, a, b *byte, n int)", "is a where the condition is true, and else b.")
	dst, condition, a, b, n := param("dst"), param("condition"), param("a"), param("b"), param("n")
	zero := YMM()
	VPXOR(zero, zero, zero)
	loop(n, 8, func(i reg.GPVirtual) {
		no, x := YMM(), YMM()
		VPMOVZXBD(at(condition, i, 1), no)
		VPCMPEQD(zero, no, no)
		VMOVUPS(at(a, i, 4), x)
		VBLENDVPS(no, at(b, i, 4), x, x)
		VMOVUPS(x, at(dst, i, 4))
	})
}

func fromBool() {
	begin("fromBoolAVX2", "func(dst, a *byte, n int)", "is 1 for true and 0 for false.")
	dst, a, n := param("dst"), param("a"), param("n")
	loop(n, 8, func(i reg.GPVirtual) {
		x := YMM()
		VPMOVZXBD(at(a, i, 1), x)
		VCVTDQ2PS(x, x)
		VMOVUPS(x, at(dst, i, 4))
	})
}

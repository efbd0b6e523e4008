package main

import (
	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// interleave replaces two registers by what two instructions make of them, one for the
// lower half of each lane, and one for the upper.
func interleave(a, b *reg.VecVirtual, lower, upper func(ops ...Op)) {
	low := like(*a)
	lower(*b, *a, low)
	upper(*b, *a, *b)
	*a = low
}

// turn lays rows down as columns. A register holds a row and the one eight below it; three
// rounds of interleaving, each within the halves of the registers, bring the samples of a
// column together.
func turn() {
	begin("turnAVX2", "func(to, from *byte, stride, blocks int)",
		"lays sixteen rows of 16·blocks samples down as columns of sixteen.")
	to, from, stride, blocks := param("to"), param("from"), param("stride"), param("blocks")
	below := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, below) // three rows
	five, seven := GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 4}, five)
	LEAQ(Mem{Base: below, Index: stride, Scale: 4}, seven)
	eighth := GP64()
	LEAQ(Mem{Base: from, Index: stride, Scale: 8}, eighth)
	Label("block")
	var r [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		row := func(base reg.GPVirtual) Mem {
			switch i {
			case 0:
				return Mem{Base: base}
			case 1, 2, 4:
				return Mem{Base: base, Index: stride, Scale: uint8(i)}
			case 3:
				return Mem{Base: base, Index: below, Scale: 1}
			case 5:
				return Mem{Base: base, Index: five, Scale: 1}
			case 6:
				return Mem{Base: base, Index: below, Scale: 2}
			}
			return Mem{Base: base, Index: seven, Scale: 1}
		}
		VMOVDQU(row(from), r[i].AsX())
		VINSERTI128(Imm(1), row(eighth), r[i], r[i])
	}
	for i := 0; i < 8; i += 2 {
		interleave(&r[i], &r[i+1], VPUNPCKLBW, VPUNPCKHBW)
	}
	for _, i := range []int{0, 1, 4, 5} {
		interleave(&r[i], &r[i+2], VPUNPCKLWD, VPUNPCKHWD)
	}
	for i := range 4 {
		interleave(&r[i], &r[i+4], VPUNPCKLDQ, VPUNPCKHDQ)
	}
	// Each half of a register has the upper or the lower half of two columns.
	for i, columns := range []int{0, 4, 2, 6, 1, 5, 3, 7} {
		VPERMQ(Imm(0b11_01_10_00), r[columns], r[columns])
		VMOVDQU(r[columns], Mem{Base: to, Disp: 32 * i})
	}
	ADDQ(Imm(16), from)
	ADDQ(Imm(16), eighth)
	ADDQ(U32(256), to)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	end()
}

// blend adds up weighed columns, two at a time.
func blend() {
	begin("blendAVX2", "func(to *byte, step int, columns *byte, taps *int32, pairs *int32, n int)",
		"makes n columns of sixteen samples, step apart, of weighed columns.")
	to, step, columns, taps, pairs, n := param("to"), param("step"), param("columns"), param("taps"), param("pairs"), param("n")
	half := broadcast(1 << (weightBits - 1))
	at, count := GP64(), GP64()
	Label("column")
	low, high := YMM(), YMM()
	VMOVDQA(half, low)
	VMOVDQA(half, high)
	MOVL(Mem{Base: taps}, at.As32())
	MOVL(Mem{Base: taps, Disp: 4}, count.As32())
	SHLQ(Imm(4), at)
	ADDQ(columns, at)
	Label("pair")
	a, b, w := XMM(), XMM(), YMM()
	upper, lower := YMM(), YMM()
	VMOVDQU(Mem{Base: at}, a)
	VMOVDQU(Mem{Base: at, Disp: 16}, b)
	VPBROADCASTD(Mem{Base: pairs}, w)
	VPUNPCKHBW(b, a, upper.AsX())
	VPUNPCKLBW(b, a, lower.AsX())
	VPMOVZXBW(upper.AsX(), upper)
	VPMOVZXBW(lower.AsX(), lower)
	VPMADDWD(w, upper, upper)
	VPMADDWD(w, lower, lower)
	VPADDD(upper, high, high)
	VPADDD(lower, low, low)
	ADDQ(Imm(32), at)
	ADDQ(Imm(4), pairs)
	DECQ(count)
	JNZ(LabelRef("pair"))
	VPSRAD(Imm(weightBits), low, low)
	VPSRAD(Imm(weightBits), high, high)
	VPACKSSDW(high, low, low)
	VPERMQ(Imm(0b11_01_10_00), low, low)
	VEXTRACTI128(Imm(1), low, high.AsX())
	VPACKUSWB(high.AsX(), low.AsX(), low.AsX())
	VMOVDQU(low.AsX(), Mem{Base: to})
	ADDQ(step, to)
	ADDQ(Imm(8), taps)
	DECQ(n)
	JNZ(LabelRef("column"))
	end()
}

func halve() {
	begin("halveAVX2", "func(to, from *byte, stride int)", "is portableHalve.")
	to, from, stride := param("to"), param("from"), param("stride")
	ones, two := YMM(), YMM()
	VPCMPEQB(ones, ones, ones)
	VPABSB(ones, ones)
	VPADDW(ones, ones, two) // 514 in each lane
	VPSRLW(Imm(8), two, two)
	for i := range 8 {
		upper, lower := XMM(), XMM()
		VMOVDQU(Mem{Base: from}, upper)
		VMOVDQU(Mem{Base: from, Index: stride, Scale: 1}, lower)
		VPMADDUBSW(ones.AsX(), upper, upper)
		VPMADDUBSW(ones.AsX(), lower, lower)
		VPADDW(lower, upper, upper)
		VPADDW(two.AsX(), upper, upper)
		VPSRLW(Imm(2), upper, upper)
		VPACKUSWB(upper, upper, upper)
		VMOVQ(upper, Mem{Base: to, Disp: 8 * i})
		LEAQ(Mem{Base: from, Index: stride, Scale: 2}, from)
	}
	end()
}

// weightBits are kernels.WeightBits.
const weightBits = 14

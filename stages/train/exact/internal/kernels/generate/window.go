package main

import (
	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// advance moves pointers on and repeats "eight" for the rest of n elements.
func advance(n reg.GPVirtual, bytes map[reg.GPVirtual]int, order ...reg.GPVirtual) {
	for _, p := range order {
		ADDQ(Imm(uint64(bytes[p])), p)
	}
	SUBQ(Imm(8), n)
	JNZ(LabelRef("eight"))
	end()
}

func maxWindow() {
	begin("maxWindowAVX2", "func(dst, from *byte, inside *int32, count, n int)",
		"is portableMaxWindow for n elements, a multiple of 8.")
	dst, from, inside, count, n := param("dst"), param("from"), param("inside"), param("count"), param("n")
	most, x := YMM(), YMM()
	offset, i := GP64(), GP64()
	Label("eight")
	MOVLQSX(Mem{Base: inside}, offset)
	VMOVUPS(at(from, offset, 1), most)
	MOVQ(U32(1), i)
	JMP(LabelRef("more"))
	Label("look")
	MOVLQSX(at(inside, i, 4), offset)
	VMOVAPS(most, x)
	VMAXPS(at(from, offset, 1), x, most)
	avx2.orNaN(x, most)
	INCQ(i)
	Label("more")
	CMPQ(i, count)
	JLT(LabelRef("look"))
	VMOVUPS(most, Mem{Base: dst})
	advance(n, map[reg.GPVirtual]int{dst: 32, from: 32}, dst, from)
}

// winner keeps the largest element of a window and its number, which it narrows to bytes.
func winner() {
	begin("winnerAVX2", "func(number, from *byte, inside *int32, count, n int)",
		"is portableWinner for n elements, a multiple of 8.")
	to, from, inside, count, n := param("number"), param("from"), param("inside"), param("count"), param("n")
	minusOne, number, best := YMM(), YMM(), YMM()
	most, x, mask, high := YMM(), YMM(), YMM(), XMM()
	offset, i := GP64(), GP64()
	VPCMPEQD(minusOne, minusOne, minusOne)
	Label("eight")
	MOVLQSX(Mem{Base: inside}, offset)
	VMOVUPS(at(from, offset, 1), most)
	VPXOR(best, best, best)
	VPXOR(number, number, number)
	MOVQ(U32(1), i)
	JMP(LabelRef("more"))
	Label("look")
	VPSUBD(minusOne, number, number)
	MOVLQSX(at(inside, i, 4), offset)
	VMOVUPS(at(from, offset, 1), x)
	VCMPPS(Imm(greater), most, x, mask)
	VBLENDVPS(mask, x, most, most)
	VBLENDVPS(mask, number, best, best)
	INCQ(i)
	Label("more")
	CMPQ(i, count)
	JLT(LabelRef("look"))
	VEXTRACTI128(Imm(1), best, high)
	VPACKUSDW(high, best.AsX(), high)
	VPACKUSWB(high, high, high)
	VMOVQ(high, Mem{Base: to})
	advance(n, map[reg.GPVirtual]int{to: 8, from: 32}, to, from)
}

// spread adds a source where its number says, and 0 elsewhere, which changes nothing: no
// sum there is a negative zero.
func spread() {
	begin("spreadAVX2", "func(to, number, source *byte, inside *int32, count, n int)",
		"is portableSpread for n elements, a multiple of 8.")
	to, numbers, source := param("to"), param("number"), param("source")
	inside, count, n := param("inside"), param("count"), param("n")
	minusOne, number, best, x, mask := YMM(), YMM(), YMM(), YMM(), YMM()
	offset, i := GP64(), GP64()
	VPCMPEQD(minusOne, minusOne, minusOne)
	Label("eight")
	VPMOVZXBD(Mem{Base: numbers}, best)
	VMOVUPS(Mem{Base: source}, x)
	VPXOR(number, number, number)
	XORQ(i, i)
	Label("add")
	MOVLQSX(at(inside, i, 4), offset)
	VPCMPEQD(number, best, mask)
	VANDPS(mask, x, mask)
	VADDPS(at(to, offset, 1), mask, mask)
	VMOVUPS(mask, at(to, offset, 1))
	VPSUBD(minusOne, number, number)
	INCQ(i)
	CMPQ(i, count)
	JLT(LabelRef("add"))
	advance(n, map[reg.GPVirtual]int{to: 32, numbers: 8, source: 32}, to, numbers, source)
}

// sumRows keeps up to four vectors of sums in registers while it goes through the rows.
func sumRows() {
	begin("sumRowsAVX2", "func(acc, from *byte, rows *int32, count, n int)",
		"is portableSumRows for n elements, a multiple of 8.")
	acc, from, rows, count, n := param("acc"), param("from"), param("rows"), param("count"), param("n")
	offset, i := GP64(), GP64()
	groups(n, []reg.GPVirtual{acc, from}, func(vectors int, again string) {
		sums := make([]reg.VecVirtual, vectors)
		for j := range sums {
			sums[j] = YMM()
			VMOVUPS(Mem{Base: acc, Disp: 32 * j}, sums[j])
		}
		XORQ(i, i)
		Label(again)
		MOVLQSX(at(rows, i, 4), offset)
		for j := range sums {
			VADDPS(Mem{Base: from, Index: offset, Scale: 1, Disp: 32 * j}, sums[j], sums[j])
		}
		INCQ(i)
		CMPQ(i, count)
		JLT(LabelRef(again))
		for j := range sums {
			VMOVUPS(sums[j], Mem{Base: acc, Disp: 32 * j})
		}
	})
}

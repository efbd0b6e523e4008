package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// tile writes a tile of products. Its sums, rows × vectors of them, stay in registers.
// For each step, the vectors of B are loaded, and each row's element of A is spread over
// a vector and multiplied into its sums: 6 × 2 of AVX2 are 12 fused multiply-adds on 8
// vector loads, 8 × 2 of AVX-512 are 16 on 10, so that the multipliers are the limit, of
// which at least 8 results must be under way.
func tile(w width, rows, vectors int) {
	name := fmt.Sprintf("tile%dx%d%s", rows, vectors*w.lanes(), w.suffix)
	begin(name, "func(p *byte)", fmt.Sprintf("is portableTile of %d rows and %d columns.", rows, vectors*w.lanes()))
	p := param("p")
	load := func(field int) reg.GPVirtual {
		r := GP64()
		MOVQ(Mem{Base: p, Disp: 8 * field}, r)
		return r
	}
	// The fields of Product, in order.
	a, table, steps, b, k := load(0), load(1), load(2), load(3), load(4)

	row := make([]reg.GPVirtual, rows)
	for i := range row {
		row[i] = GP64()
		MOVLQSX(Mem{Base: table, Disp: 4 * i}, row[i])
		ADDQ(a, row[i])
	}
	sums := make([][]reg.VecVirtual, rows)
	for i := range sums {
		for range vectors {
			sums[i] = append(sums[i], w.register())
		}
	}
	each := func(do func(sum reg.VecVirtual, at Mem)) {
		c, out := load(5), load(6)
		for i := range sums {
			at := GP64()
			MOVLQSX(Mem{Base: out, Disp: 4 * i}, at)
			for j, sum := range sums[i] {
				do(sum, Mem{Base: c, Index: at, Scale: 1, Disp: w.bytes * j})
			}
		}
	}

	CMPQ(Mem{Base: p, Disp: 8 * 7}, Imm(0))
	JNE(LabelRef("continue"))
	for i := range sums {
		for _, sum := range sums[i] {
			w.clear(sum)
		}
	}
	JMP(LabelRef("step"))
	Label("continue")
	each(func(sum reg.VecVirtual, at Mem) { VMOVUPS(at, sum) })

	offset, x := GP64(), w.register()
	line := make([]reg.VecVirtual, vectors)
	for j := range line {
		line[j] = w.register()
	}
	Label("step")
	MOVLQSX(Mem{Base: steps}, offset)
	for j := range line {
		VMOVUPS(Mem{Base: b, Disp: w.bytes * j}, line[j])
	}
	for i := range sums {
		VBROADCASTSS(Mem{Base: row[i], Index: offset, Scale: 1}, x)
		for j := range line {
			VFMADD231PS(line[j], x, sums[i][j])
		}
	}
	ADDQ(Imm(4), steps)
	ADDQ(Imm(uint64(w.bytes*vectors)), b)
	DECQ(k)
	JNZ(LabelRef("step"))

	each(func(sum reg.VecVirtual, at Mem) { VMOVUPS(sum, at) })
	end()
}

// clear sets a register to 0. AVX-512F alone has no VXORPS of its width.
func (w width) clear(r reg.VecVirtual) {
	if w.bytes == avx512.bytes {
		VPXORD(r, r, r)
		return
	}
	VXORPS(r, r, r)
}

// lanes writes the product of diagonals, channel by channel, for eight or thirty-two
// channels at a time: four sums are under way together.
func lanes() {
	begin("lanesAVX2", "func(dst, a, b *byte, aSteps, bSteps *int32, k, n int)",
		"is portableLanes for n elements, a multiple of 8.")
	dst, a, b := param("dst"), param("a"), param("b")
	aSteps, bSteps := param("aSteps"), param("bSteps")
	k, n := param("k"), param("n")
	ao, bo, i := GP64(), GP64(), GP64()

	groups(n, []reg.GPVirtual{dst, a, b}, func(vectors int, again string) {
		sums := make([]reg.VecVirtual, vectors)
		for j := range sums {
			sums[j] = YMM()
			VXORPS(sums[j], sums[j], sums[j])
		}
		XORQ(i, i)
		Label(again)
		MOVLQSX(Mem{Base: aSteps, Index: i, Scale: 4}, ao)
		MOVLQSX(Mem{Base: bSteps, Index: i, Scale: 4}, bo)
		x := YMM()
		for j := range sums {
			VMOVUPS(Mem{Base: a, Index: ao, Scale: 1, Disp: 32 * j}, x)
			VFMADD231PS(Mem{Base: b, Index: bo, Scale: 1, Disp: 32 * j}, x, sums[j])
		}
		INCQ(i)
		CMPQ(i, k)
		JLT(LabelRef(again))
		for j := range sums {
			VMOVUPS(sums[j], Mem{Base: dst, Disp: 32 * j})
		}
	})
}

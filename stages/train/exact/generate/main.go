// Command generate writes the assembly of package exact's kernels:
//
//	go run ./generate -out tile_amd64.s -stubs tile_amd64.go
package main

import (
	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

const (
	rows    = 6 // of a tile; as tileRows in package exact
	vectors = 2 // of 8 columns each
)

// The 12 sums stay in registers. For each step of the depth, two vectors of B are
// loaded, and each row's element of A is spread over a vector and multiplied into two
// sums: 12 fused multiply-adds on 9 loads, so the multipliers are the limit.
func tile() {
	TEXT("tileAVX2", NOSPLIT, "func(c *float32, a *byte, rows *int32, offsets *int32, b *float32, k int)")
	Pragma("noescape")
	Doc("tileAVX2 is portableTile with AVX2 and FMA.")

	c := Load(Param("c"), GP64())
	base := Load(Param("a"), GP64())
	table := Load(Param("rows"), GP64())
	offsets := Load(Param("offsets"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("k"), GP64())

	var row [rows]reg.GPVirtual
	for i := range row {
		row[i] = GP64()
		MOVLQSX(Mem{Base: table, Disp: 4 * i}, row[i])
		ADDQ(base, row[i])
	}

	var sums [rows][vectors]reg.VecVirtual
	at := func(i, j int) Mem { return Mem{Base: c, Disp: (i*vectors + j) * 32} }
	for i := range sums {
		for j := range sums[i] {
			sums[i][j] = YMM()
			VMOVUPS(at(i, j), sums[i][j])
		}
	}

	offset, x := GP64(), YMM()
	var line [vectors]reg.VecVirtual
	for j := range line {
		line[j] = YMM()
	}
	Label("step")
	MOVLQSX(Mem{Base: offsets}, offset)
	for j := range line {
		VMOVUPS(Mem{Base: b, Disp: 32 * j}, line[j])
	}
	for i := range sums {
		VBROADCASTSS(Mem{Base: row[i], Index: offset, Scale: 1}, x)
		for j := range line {
			VFMADD231PS(line[j], x, sums[i][j])
		}
	}
	ADDQ(Imm(4), offsets)
	ADDQ(Imm(32*vectors), b)
	DECQ(k)
	JNZ(LabelRef("step"))

	for i := range sums {
		for j := range sums[i] {
			VMOVUPS(sums[i][j], at(i, j))
		}
	}
	VZEROUPPER()
	RET()
}

// vector writes a function of two vectors, eight elements at a time; n > 0 is a multiple
// of eight.
func vector(name, doc string, combine func(a, b, result reg.VecVirtual)) {
	TEXT(name, NOSPLIT, "func(dst, a, b *float32, n int)")
	Pragma("noescape")
	Doc(name + " " + doc)
	dst := Load(Param("dst"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	n := Load(Param("n"), GP64())
	i := GP64()
	XORQ(i, i)
	Label("eight")
	x, y, z := YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: a, Index: i, Scale: 4}, x)
	VMOVUPS(Mem{Base: b, Index: i, Scale: 4}, y)
	combine(x, y, z)
	VMOVUPS(z, Mem{Base: dst, Index: i, Scale: 4})
	ADDQ(Imm(8), i)
	CMPQ(i, n)
	JLT(LabelRef("eight"))
	VZEROUPPER()
	RET()
}

// A processor's maximum is its second operand when either is NaN, which is right but
// for a NaN in the first: unordered with itself, it is put in its place.
func orNaN(a, result reg.VecVirtual) {
	const unordered = 3
	mask := YMM()
	VCMPPS(Imm(unordered), a, a, mask)
	VBLENDVPS(mask, a, result, result)
}

// selectMax writes the gradient of a maximum over windows for eight channels at a time.
// A first pass keeps the largest element and its number, a second adds the source
// where the number is the same. Adding 0 to the others changes nothing: no sum there
// is a negative zero.
func selectMax() {
	TEXT("selectMaxAVX2", NOSPLIT, "func(to, operand *byte, source *float32, inside *int32, count, n int)")
	Pragma("noescape")
	Doc("selectMaxAVX2 adds n elements of source, a multiple of 8, to where the largest of count operands is.")
	to := Load(Param("to"), GP64())
	operand := Load(Param("operand"), GP64())
	source := Load(Param("source"), GP64())
	inside := Load(Param("inside"), GP64())
	count := Load(Param("count"), GP64())
	n := Load(Param("n"), GP64())
	minusOne, number, best := YMM(), YMM(), YMM()
	most, x, mask := YMM(), YMM(), YMM()
	offset, i := GP64(), GP64()
	const greater = 30 // ordered, quiet: false for NaN
	VPCMPEQD(minusOne, minusOne, minusOne)

	Label("eight")
	MOVLQSX(Mem{Base: inside}, offset)
	VMOVUPS(Mem{Base: operand, Index: offset, Scale: 1}, most)
	VPXOR(best, best, best)
	VPXOR(number, number, number)
	MOVQ(U32(1), i)
	JMP(LabelRef("more"))
	Label("look")
	VPSUBD(minusOne, number, number)
	MOVLQSX(Mem{Base: inside, Index: i, Scale: 4}, offset)
	VMOVUPS(Mem{Base: operand, Index: offset, Scale: 1}, x)
	VCMPPS(Imm(greater), most, x, mask)
	VBLENDVPS(mask, x, most, most)
	VBLENDVPS(mask, number, best, best)
	INCQ(i)
	Label("more")
	CMPQ(i, count)
	JLT(LabelRef("look"))

	VMOVUPS(Mem{Base: source}, x)
	VPXOR(number, number, number)
	XORQ(i, i)
	Label("add")
	MOVLQSX(Mem{Base: inside, Index: i, Scale: 4}, offset)
	VPCMPEQD(number, best, mask)
	VANDPS(mask, x, mask)
	VADDPS(Mem{Base: to, Index: offset, Scale: 1}, mask, mask)
	VMOVUPS(mask, Mem{Base: to, Index: offset, Scale: 1})
	VPSUBD(minusOne, number, number)
	INCQ(i)
	CMPQ(i, count)
	JLT(LabelRef("add"))

	ADDQ(Imm(32), to)
	ADDQ(Imm(32), operand)
	ADDQ(Imm(32), source)
	SUBQ(Imm(8), n)
	JNZ(LabelRef("eight"))
	VZEROUPPER()
	RET()
}

func main() {
	tile()
	selectMax()
	vector("addAVX2", "is a + b.", func(a, b, r reg.VecVirtual) { VADDPS(b, a, r) })
	vector("subAVX2", "is a - b.", func(a, b, r reg.VecVirtual) { VSUBPS(b, a, r) })
	vector("mulAVX2", "is a · b.", func(a, b, r reg.VecVirtual) { VMULPS(b, a, r) })
	vector("divAVX2", "is a / b.", func(a, b, r reg.VecVirtual) { VDIVPS(b, a, r) })
	vector("maxAVX2", "is maximum.", func(a, b, r reg.VecVirtual) { VMAXPS(b, a, r); orNaN(a, r) })
	vector("minAVX2", "is minimum.", func(a, b, r reg.VecVirtual) { VMINPS(b, a, r); orNaN(a, r) })
	Generate()
}

// Command generate writes the assembly of package exact's kernels:
//
//	go run ./generate -out tile_amd64.s -stubs tile_amd64.go
package main

import (
	. "github.com/mmcloughlin/avo/build" //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand"
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

func main() {
	tile()
	vector("addAVX2", "is a + b.", func(a, b, r reg.VecVirtual) { VADDPS(b, a, r) })
	vector("subAVX2", "is a - b.", func(a, b, r reg.VecVirtual) { VSUBPS(b, a, r) })
	vector("mulAVX2", "is a · b.", func(a, b, r reg.VecVirtual) { VMULPS(b, a, r) })
	vector("divAVX2", "is a / b.", func(a, b, r reg.VecVirtual) { VDIVPS(b, a, r) })
	vector("maxAVX2", "is maximum.", func(a, b, r reg.VecVirtual) { VMAXPS(b, a, r); orNaN(a, r) })
	vector("minAVX2", "is minimum.", func(a, b, r reg.VecVirtual) { VMINPS(b, a, r); orNaN(a, r) })
	Generate()
}

// Command generate writes the assembly of package openimages:
//
//	go run ./generate -out plain_amd64.s -stubs plain_amd64.go -pkg openimages
package main

import (
	"bytes"
	"strings"

	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// The form of a plain row, as plain.go of the package has it.
const (
	id    = 16 // digits
	label = id + 1
	// tail is what follows the label: d stands for a digit, f for 0 or 1.
	tail     = ",1,0.dddddd,0.dddddd,0.dddddd,0.dddddd,f,f,f,f,f"
	shortest = label + len(",/") + len(tail)
	longest  = 32 // source, comma and label, which one register has to hold
)

func main() {
	ConstraintExpr("amd64")
	least := strings.NewReplacer("d", "0", "f", "0").Replace(tail)
	most := strings.NewReplacer("d", "9", "f", "1").Replace(tail)
	low, high := constant("least", []byte(least)), constant("most", []byte(most))

	TEXT("plainRowsAVX2", NOSPLIT, "func(text *byte, last int, rows *int32, room int) int")
	Pragma("noescape")
	Doc("plainRowsAVX2 is plainRows for text whose rows may start at up to last. Needs AVX2, BMI1 and BMI2.")
	text, last := Load(Param("text"), GP64()), Load(Param("last"), GP64())
	rows, room := Load(Param("rows"), GP64()), Load(Param("room"), GP64())
	at, end, n := GP64(), GP64(), GP64()
	XORQ(at, at)
	XORQ(n, n)
	newline, comma := fill("newline", '\n'), fill("comma", ',')
	space, quote, del := fill("space", ' '), fill("quote", '"'), fill("del", 0x7f)

	Label("row")
	CMPQ(n, room)
	JGE(LabelRef("done"))
	CMPQ(at, last)
	JG(LabelRef("done"))
	p := func(offset int) Mem { return Mem{Base: text, Index: at, Scale: 1, Disp: offset} }
	mask, other := GP32(), GP32()

	Comment("The id: sixteen digits and letters up to f, and a comma.")
	x, digit, letter, bound := XMM(), XMM(), XMM(), XMM()
	VMOVDQU(p(0), x)
	for _, of := range []struct {
		span     reg.VecVirtual
		from, to byte
	}{{digit, '0', '9'}, {letter, 'a', 'f'}} {
		VPSUBB(constant("from"+string(of.from), bytes.Repeat([]byte{of.from}, id)), x, of.span)
		VPMINUB(constant("upto"+string(of.to), bytes.Repeat([]byte{of.to - of.from}, id)), of.span, bound)
		VPCMPEQB(bound, of.span, of.span)
	}
	VPOR(digit, letter, x)
	VPMOVMSKB(x, mask)
	CMPL(mask, U32(0xffff))
	JNE(LabelRef("done"))
	CMPB(p(id), Imm(','))
	JNE(LabelRef("done"))

	Comment("The end of the line, in one of the bytes behind the shortest row.")
	y, z := YMM(), YMM()
	VPCMPEQB(p(shortest), newline, y)
	VPMOVMSKB(y, mask)
	TESTL(mask, mask)
	JZ(LabelRef("done"))
	BSFL(mask, end.As32())
	length := GP64()
	LEAQ(Mem{Base: end, Disp: shortest - len(tail) - label}, length)
	CMPQ(length, Imm(longest))
	JG(LabelRef("done"))

	Comment("The tail: each byte between the least and the most that it may be.")
	toTail := shortest - len(tail)
	start := GP64()
	LEAQ(Mem{Base: at, Index: end, Scale: 1, Disp: toTail}, start)
	VMOVDQU(Mem{Base: text, Index: start, Scale: 1}, y)
	VPMAXUB(low, y, z)
	VPMINUB(high, z, z)
	VPCMPEQB(y, z, z)
	VPMOVMSKB(z, mask)
	CMPL(mask, I32(-1))
	JNE(LabelRef("done"))
	VMOVDQU(Mem{Base: text, Index: start, Scale: 1, Disp: 32}, x)
	VPMAXUB(low.Offset(32), x, bound)
	VPMINUB(high.Offset(32), bound, bound)
	VPCMPEQB(x, bound, bound)
	VPMOVMSKB(bound, mask)
	CMPL(mask, U32(0xffff))
	JNE(LabelRef("done"))

	Comment("Source and label: visible ASCII without quotes, and one comma that something follows.")
	odd := YMM()
	VMOVDQU(p(label), y)
	VPCMPGTB(space, y, z)
	VPCMPEQB(del, y, odd)
	VPANDN(z, odd, z)
	VPCMPEQB(quote, y, odd)
	VPANDN(z, odd, z)
	VPMOVMSKB(z, mask)
	NOTL(mask)
	BZHIL(length.As32(), mask, mask)
	TESTL(mask, mask)
	JNZ(LabelRef("done"))
	VPCMPEQB(comma, y, z)
	VPMOVMSKB(z, mask)
	BZHIL(length.As32(), mask, mask)
	TESTL(mask, mask)
	JZ(LabelRef("done"))
	BLSRL(mask, other)
	TESTL(other, other)
	JNZ(LabelRef("done"))
	BSFL(mask, mask)
	ADDL(Imm(label+1), mask)
	ADDQ(Imm(uint64(toTail)), end)
	CMPL(mask, end.As32())
	JE(LabelRef("done"))

	MOVL(at.As32(), Mem{Base: rows})
	MOVL(mask, Mem{Base: rows, Disp: 4})
	MOVL(end.As32(), Mem{Base: rows, Disp: 8})
	ADDQ(Imm(12), rows)
	INCQ(n)
	LEAQ(Mem{Base: start, Disp: len(tail) + 1}, at)
	JMP(LabelRef("row"))

	Label("done")
	Store(n, ReturnIndex(0))
	VZEROUPPER()
	RET()
	Generate()
}

// constant is bytes in memory.
func constant(name string, data []byte) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, b := range data {
		DATA(i, U8(b))
	}
	return m
}

// fill is a register with a byte in every place.
func fill(name string, b byte) reg.VecVirtual {
	y := YMM()
	VPBROADCASTB(constant(name, []byte{b}), y)
	return y
}

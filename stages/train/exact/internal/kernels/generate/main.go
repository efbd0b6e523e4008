// Command generate writes the assembly of package kernels:
//
//	go run ./generate -out assembly_amd64.s -stubs assembly_amd64.go
package main

import (
	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// width is a size of vector registers.
type width struct {
	suffix   string // of functions
	register func() reg.VecVirtual
	bytes    int
}

var (
	avx2   = width{"AVX2", YMM, 32}
	avx512 = width{"AVX512", ZMM, 64}
)

func (w width) lanes() int { return w.bytes / 4 }

// begin starts a function whose pointers do not escape.
func begin(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
}

func param(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

func end() {
	VZEROUPPER()
	RET()
}

// groups writes the work on n elements of float32, a multiple of 8: on four vectors at a
// time, which are under way together, and then on one. Its own loop may begin at the label
// again. The pointers move on.
func groups(n reg.GPVirtual, pointers []reg.GPVirtual, work func(vectors int, again string)) {
	for _, g := range []struct {
		vectors           int
		label, again, few string
	}{{4, "next", "four", "few"}, {1, "few", "one", "done"}} {
		Label(g.label)
		CMPQ(n, Imm(uint64(8*g.vectors)))
		JLT(LabelRef(g.few))
		work(g.vectors, g.again)
		for _, p := range pointers {
			ADDQ(Imm(uint64(avx2.bytes*g.vectors)), p)
		}
		SUBQ(Imm(uint64(8*g.vectors)), n)
		JMP(LabelRef(g.label))
	}
	Label("done")
	end()
}

func main() {
	ConstraintExpr("amd64")
	tile(avx2, 6, 2)
	tile(avx512, 8, 2)
	tile(avx512, 8, 1)
	for _, w := range []width{avx2, avx512} {
		binary(w, "add", "is a + b.", func(a, b, r reg.VecVirtual) { VADDPS(b, a, r) })
		binary(w, "sub", "is a - b.", func(a, b, r reg.VecVirtual) { VSUBPS(b, a, r) })
		binary(w, "mul", "is a · b.", func(a, b, r reg.VecVirtual) { VMULPS(b, a, r) })
		binary(w, "div", "is a / b.", func(a, b, r reg.VecVirtual) { VDIVPS(b, a, r) })
		binary(w, "max", "is maximum.", func(a, b, r reg.VecVirtual) { VMAXPS(b, a, r); w.orNaN(a, r) })
		binary(w, "min", "is minimum.", func(a, b, r reg.VecVirtual) { VMINPS(b, a, r); w.orNaN(a, r) })
	}
	for _, c := range comparisons {
		compare(c.name, c.doc, c.predicate)
	}
	unaries()
	powers()
	choose()
	fromBool()
	maxWindow()
	winner()
	spread()
	sumRows()
	lanes()
	Generate()
}

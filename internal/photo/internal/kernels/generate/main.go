// Command generate writes the assembly of package kernels:
//
//	go run ./generate -out assembly_amd64.s -stubs assembly_amd64.go -pkg kernels
package main

import (
	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

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

// broadcast returns a register with the same number in each of eight lanes.
func broadcast(v int32) reg.VecVirtual {
	word, low, r := GP32(), XMM(), YMM()
	MOVL(U32(uint32(v)), word)
	VMOVD(word, low)
	VPBROADCASTD(low, r)
	return r
}

func main() {
	ConstraintExpr("amd64")
	turn()
	blend()
	halve()
	inverse()
	inverse4()
	forward()
	Generate()
}

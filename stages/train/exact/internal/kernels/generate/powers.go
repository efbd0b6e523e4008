package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"   //nolint:revive // avo's programs read as assembly this way
	. "github.com/mmcloughlin/avo/operand" //nolint:revive // as above
	"github.com/mmcloughlin/avo/reg"
)

// numbers are constants in memory, each of them once for every lane of a vector.
type numbers struct {
	table Mem
	size  int
	at    map[uint32]Mem
}

// memory begins a table of constants.
func memory(name string) *numbers {
	return &numbers{table: GLOBL(name, attr.RODATA|attr.NOPTR), at: make(map[uint32]Mem)}
}

// bits is the place of a constant, which is added unless it is there.
func (c *numbers) bits(bits uint32) Mem {
	if _, ok := c.at[bits]; !ok {
		for lane := range avx2.lanes() {
			DATA(c.size+4*lane, U32(bits))
		}
		c.at[bits] = c.table.Offset(c.size)
		c.size += avx2.bytes
	}
	return c.at[bits]
}

func (c *numbers) float(x float32) Mem { return c.bits(math.Float32bits(x)) }

// The constants of narrow.go.
const (
	log2E   = 1.44269504
	shift   = 0x1.8p23
	ln2High = 0.693359375
	ln2Low  = -2.12194440e-4
	highest = 89
	lowest  = -104
	flat    = 20

	signBit = 1 << 31
	one     = 0x3f800000
	root    = 0x3f3504f3
)

var (
	expCoefficients = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}
	logCoefficients = []float32{
		7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
		2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	}
)

func vector(at Mem) reg.VecVirtual {
	r := YMM()
	VMOVUPS(at, r)
	return r
}

// polynomial returns that of x.
func (c *numbers) polynomial(x reg.VecVirtual, coefficients []float32) reg.VecVirtual {
	sum := vector(c.float(coefficients[0]))
	for _, next := range coefficients[1:] {
		VFMADD213PS(c.float(next), x, sum)
	}
	return sum
}

// reduced is reduced: it spoils x.
func (c *numbers) reduced(x reg.VecVirtual) (whole, rest reg.VecVirtual) {
	shifted := vector(c.float(shift))
	VFMADD231PS(c.float(log2E), x, shifted)
	whole = YMM()
	VPSUBD(c.float(shift), shifted, whole)
	VSUBPS(c.float(shift), shifted, shifted)
	VFMADD231PS(c.float(-ln2High), shifted, x)
	VFMADD231PS(c.float(-ln2Low), shifted, x)
	rest = c.polynomial(x, expCoefficients)
	square := YMM()
	VMULPS(x, x, square)
	VFMADD213PS(x, square, rest)
	return whole, rest
}

// power makes 2 to the n of n.
func (c *numbers) power(n reg.VecVirtual) {
	VPADDD(c.bits(127), n, n)
	VPSLLD(Imm(23), n, n)
}

// exp is exp32: it spoils x. A processor's minimum is its second operand for NaN.
func (c *numbers) exp(x reg.VecVirtual) reg.VecVirtual {
	VMINPS(x, vector(c.float(highest)), x)
	VMAXPS(x, vector(c.float(lowest)), x)
	whole, rest := c.reduced(x)
	half := YMM()
	VPSRAD(Imm(1), whole, half)
	VPSUBD(half, whole, whole)
	c.power(half)
	c.power(whole)
	VADDPS(c.bits(one), rest, rest)
	VMULPS(half, rest, rest)
	VMULPS(whole, rest, rest)
	return rest
}

func powers() {
	c := memory("powers")
	each := func(name, doc string, compute func(x reg.VecVirtual) reg.VecVirtual) {
		begin(name+"AVX2", "func(dst, a *byte, n int)", "is "+doc+".")
		dst, a, n := param("dst"), param("a"), param("n")
		loop(n, avx2.lanes(), func(i reg.GPVirtual) {
			VMOVUPS(compute(vector(at(a, i, 4))), at(dst, i, 4))
		})
	}
	each("exp", "exp32", c.exp)
	each("logistic", "logistic32", func(x reg.VecVirtual) reg.VecVirtual {
		VXORPS(c.bits(signBit), x, x)
		below := c.exp(x)
		VADDPS(c.bits(one), below, below)
		result := vector(c.bits(one))
		VDIVPS(below, result, result)
		return result
	})
	each("tanh", "tanh32", func(x reg.VecVirtual) reg.VecVirtual {
		sign, twice := YMM(), YMM()
		VANDPS(c.bits(signBit), x, sign)
		VANDPS(c.bits(signBit-1), x, twice)
		VADDPS(twice, twice, twice)
		VMINPS(twice, vector(c.float(flat)), twice)
		power, result := c.reduced(twice)
		c.power(power)
		below := YMM()
		VSUBPS(c.bits(one), power, below)
		VFMADD213PS(below, power, result)
		VADDPS(c.float(2), result, below)
		VDIVPS(below, result, result)
		VORPS(sign, result, result)
		return result
	})
	each("log", "log32", c.log)
}

// log is log32. What has no logarithm, or no finite one, is put in its place at the end.
func (c *numbers) log(x reg.VecVirtual) reg.VecVirtual {
	small, scaled, fraction, exponent := YMM(), YMM(), YMM(), YMM()
	VCMPPS(Imm(less), c.float(0x1p-126), x, small)
	VMULPS(c.float(1<<23), x, scaled)
	VBLENDVPS(small, scaled, x, scaled)
	VPADDD(c.bits(one-root), scaled, scaled)
	VPSRLD(Imm(23), scaled, exponent)
	VPSUBD(c.bits(127), exponent, exponent)
	VCVTDQ2PS(exponent, exponent)
	VANDPS(c.float(-23), small, small)
	VADDPS(exponent, small, exponent)
	VANDPS(c.bits(1<<23-1), scaled, fraction)
	VPADDD(c.bits(root), fraction, fraction)
	VSUBPS(c.bits(one), fraction, fraction)

	square, cube := YMM(), YMM()
	VMULPS(fraction, fraction, square)
	VMULPS(square, fraction, cube)
	result := c.polynomial(fraction, logCoefficients)
	VMULPS(result, cube, result)
	VFMADD231PS(c.float(ln2Low), exponent, result)
	VFMADD231PS(c.float(-0.5), square, result)
	VADDPS(result, fraction, result)
	VFMADD231PS(c.float(ln2High), exponent, result)

	zero, odd := YMM(), YMM()
	VXORPS(zero, zero, zero)
	put := func(predicate uint64, than Mem, value reg.VecVirtual) {
		VCMPPS(Imm(predicate), than, x, odd)
		VBLENDVPS(odd, value, result, result)
	}
	put(lessEqual, c.float(0), vector(c.float(float32(math.Inf(-1)))))
	put(less, c.float(0), vector(c.bits(notANumber)))
	put(unorderedOrEqual, c.float(float32(math.Inf(1))), x)
	return result
}

const (
	notANumber       = 0x7fc00000
	unorderedOrEqual = 0x08 // EQ_UQ
)

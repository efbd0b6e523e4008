package kernels

// The constants of Loeffler, Ligtenberg and Moschytz' transform with 11 multiplications
// ("Practical fast 1-D DCT algorithms", 1989), as numbers with 13 bits after the point.
const (
	fixBits  = 13
	passBits = 2 // further bits that are kept between columns and rows

	fix0_298 = 2446
	fix0_390 = 3196
	fix0_541 = 4433
	fix0_765 = 6270
	fix0_899 = 7373
	fix1_175 = 9633
	fix1_501 = 12299
	fix1_847 = 15137
	fix1_961 = 16069
	fix2_053 = 16819
	fix2_562 = 20995
	fix3_072 = 25172
)

// Inverse writes the 8×8 samples of a block of coefficients, in rows, to rows that are stride
// apart. It rounds as libjpeg's accurate integer transform (jidctint.c) does, so that both
// give equal samples. Sums that are too large for 32 bits, which no picture has, wrap.
func Inverse(to []uint8, stride int, c *[64]int32) { fastest.inverse(to, stride, c) }

// Divisors are the steps that coefficients are quantised in, in rows.
type Divisors struct {
	halves      [64]uint32 // of 8 steps, for rounding
	reciprocals [64]uint32 // 2^32 / 8 steps, rounded up: exact for what is divided by it
}

// Set makes a step, from 1 to 255, that of the coefficient i.
func (d *Divisors) Set(i, step int) {
	by := uint64(8 * step)
	d.halves[i], d.reciprocals[i] = uint32(by/2), uint32((1<<32+by-1)/by)
}

// Forward transforms 8×8 samples, in rows that are stride apart, and quantises. It rounds as
// libjpeg's accurate integer transform (jfdctint.c) and its quantisation do. It returns a bit
// for each coefficient that is not 0.
func Forward(to *[64]int32, from []uint8, stride int, d *Divisors) (others uint64) {
	return fastest.forward(to, from, stride, d)
}

// inverseEight is the inverse transform of eight coefficients, times 2^fixBits · √8.
func inverseEight(c0, c1, c2, c3, c4, c5, c6, c7 int32) (s0, s1, s2, s3, s4, s5, s6, s7 int32) {
	z1 := (c2 + c6) * fix0_541
	e2, e3 := z1-c6*fix1_847, z1+c2*fix0_765
	e0, e1 := (c0+c4)<<fixBits, (c0-c4)<<fixBits
	a0, a3, a1, a2 := e0+e3, e0-e3, e1+e2, e1-e2

	z5 := (c7 + c3 + c5 + c1) * fix1_175
	z3, z4 := z5-(c7+c3)*fix1_961, z5-(c5+c1)*fix0_390
	z1, z2 := -(c7+c1)*fix0_899, -(c5+c3)*fix2_562
	b0, b1 := c7*fix0_298+z1+z3, c5*fix2_053+z2+z4
	b2, b3 := c3*fix3_072+z2+z3, c1*fix1_501+z1+z4
	return a0 + b3, a1 + b2, a2 + b1, a3 + b0, a3 - b0, a2 - b1, a1 - b2, a0 - b3
}

func portableInverse(to []uint8, stride int, c *[64]int32) {
	const half = 1 << (fixBits - passBits - 1)
	var t [64]int32
	for x := range 8 {
		if c[8+x]|c[16+x]|c[24+x]|c[32+x]|c[40+x]|c[48+x]|c[56+x] == 0 {
			v := c[x] << fixBits >> (fixBits - passBits)
			t[x], t[8+x], t[16+x], t[24+x], t[32+x], t[40+x], t[48+x], t[56+x] = v, v, v, v, v, v, v, v
			continue
		}
		s0, s1, s2, s3, s4, s5, s6, s7 := inverseEight(c[x], c[8+x], c[16+x], c[24+x], c[32+x], c[40+x], c[48+x], c[56+x])
		t[x], t[8+x] = (s0+half)>>(fixBits-passBits), (s1+half)>>(fixBits-passBits)
		t[16+x], t[24+x] = (s2+half)>>(fixBits-passBits), (s3+half)>>(fixBits-passBits)
		t[32+x], t[40+x] = (s4+half)>>(fixBits-passBits), (s5+half)>>(fixBits-passBits)
		t[48+x], t[56+x] = (s6+half)>>(fixBits-passBits), (s7+half)>>(fixBits-passBits)
	}
	const down = fixBits + passBits + 3
	const middle = 128<<down + 1<<(down-1)
	for y := range 8 {
		r := t[8*y:][:8]
		s0, s1, s2, s3, s4, s5, s6, s7 := inverseEight(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		out := to[y*stride:][:8]
		out[0], out[1] = clamp((s0+middle)>>down), clamp((s1+middle)>>down)
		out[2], out[3] = clamp((s2+middle)>>down), clamp((s3+middle)>>down)
		out[4], out[5] = clamp((s4+middle)>>down), clamp((s5+middle)>>down)
		out[6], out[7] = clamp((s6+middle)>>down), clamp((s7+middle)>>down)
	}
}

// inverseFour is the inverse transform of four coefficients, times 2^fixBits · √8, when they are
// the lowest of eight: the even part of inverseEight.
func inverseFour(c0, c1, c2, c3 int32) (s0, s1, s2, s3 int32) {
	z1 := (c1 + c3) * fix0_541
	b0, b1 := z1+c1*fix0_765, z1-c3*fix1_847
	a0, a1 := (c0+c2)<<fixBits, (c0-c2)<<fixBits
	return a0 + b0, a1 + b1, a1 - b1, a0 - b0
}

// Inverse4 is Inverse to 4×4 samples, made of the lowest 4×4 coefficients.
func Inverse4(to []uint8, stride int, c *[64]int32) { fastest.inverse4(to, stride, c) }

func portableInverse4(to []uint8, stride int, c *[64]int32) {
	const half = 1 << (fixBits - passBits - 1)
	var t [16]int32
	for x := range 4 {
		s0, s1, s2, s3 := inverseFour(c[x], c[8+x], c[16+x], c[24+x])
		t[x], t[4+x] = (s0+half)>>(fixBits-passBits), (s1+half)>>(fixBits-passBits)
		t[8+x], t[12+x] = (s2+half)>>(fixBits-passBits), (s3+half)>>(fixBits-passBits)
	}
	const down = fixBits + passBits + 3
	const middle = 128<<down + 1<<(down-1)
	for y := range 4 {
		r := t[4*y:][:4]
		s0, s1, s2, s3 := inverseFour(r[0], r[1], r[2], r[3])
		out := to[y*stride:][:4]
		out[0], out[1] = clamp((s0+middle)>>down), clamp((s1+middle)>>down)
		out[2], out[3] = clamp((s2+middle)>>down), clamp((s3+middle)>>down)
	}
}

// forwardEight is the transform of eight samples, times √8: of the first and fifth result
// as whole numbers, of the others with fixBits after the point.
func forwardEight(s0, s1, s2, s3, s4, s5, s6, s7 int32) (c0, c1, c2, c3, c4, c5, c6, c7 int32) {
	a0, a1, a2, a3 := s0+s7, s1+s6, s2+s5, s3+s4
	b0, b1, b2, b3 := s3-s4, s2-s5, s1-s6, s0-s7
	e0, e3, e1, e2 := a0+a3, a0-a3, a1+a2, a1-a2
	z1 := (e2 + e3) * fix0_541
	z5 := (b0 + b2 + b1 + b3) * fix1_175
	z3, z4 := z5-(b0+b2)*fix1_961, z5-(b1+b3)*fix0_390
	y1, y2 := -(b0+b3)*fix0_899, -(b1+b2)*fix2_562
	return e0 + e1, b3*fix1_501 + y1 + z4, z1 + e3*fix0_765, b2*fix3_072 + y2 + z3,
		e0 - e1, b1*fix2_053 + y2 + z4, z1 - e2*fix1_847, b0*fix0_298 + y1 + z3
}

// The coefficients are 8 times too large before they are quantised.
func portableForward(b *[64]int32, from []uint8, stride int, d *Divisors) (others uint64) {
	const half, down = 1 << (fixBits - passBits - 1), fixBits - passBits
	for y := range 8 {
		r := b[8*y:][:8]
		for i, v := range from[y*stride:][:8] {
			r[i] = int32(v) - 128
		}
		c0, c1, c2, c3, c4, c5, c6, c7 := forwardEight(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		r[0], r[1], r[2], r[3] = c0<<passBits, (c1+half)>>down, (c2+half)>>down, (c3+half)>>down
		r[4], r[5], r[6], r[7] = c4<<passBits, (c5+half)>>down, (c6+half)>>down, (c7+half)>>down
	}
	const half2, down2, half0 = 1 << (fixBits + passBits - 1), fixBits + passBits, 1 << (passBits - 1)
	for x := range 8 {
		c0, c1, c2, c3, c4, c5, c6, c7 := forwardEight(b[x], b[8+x], b[16+x], b[24+x], b[32+x], b[40+x], b[48+x], b[56+x])
		b[x], b[8+x], b[16+x], b[24+x] = (c0+half0)>>passBits, (c1+half2)>>down2, (c2+half2)>>down2, (c3+half2)>>down2
		b[32+x], b[40+x], b[48+x], b[56+x] = (c4+half0)>>passBits, (c5+half2)>>down2, (c6+half2)>>down2, (c7+half2)>>down2
	}
	for i, v := range b {
		if v < 0 {
			b[i] = -int32(uint64(uint32(-v)+d.halves[i]) * uint64(d.reciprocals[i]) >> 32)
		} else {
			b[i] = int32(uint64(uint32(v)+d.halves[i]) * uint64(d.reciprocals[i]) >> 32)
		}
		if b[i] != 0 {
			others |= 1 << i
		}
	}
	return others
}

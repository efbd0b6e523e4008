package jpeg

// block has dequantised coefficients, row by row.
type block struct {
	c    [64]int32
	last int // the last coefficient in zigzag order that may be other than 0
}

// zigzag is the order in which coefficients are coded (figure A.6).
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

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

// eight is the inverse transform of eight coefficients, times 2^fixBits · √8.
func eight(c0, c1, c2, c3, c4, c5, c6, c7 int32) (s0, s1, s2, s3, s4, s5, s6, s7 int32) {
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

// transform8 writes the 8×8 samples. It rounds as libjpeg's accurate integer transform
// (jidctint.c) does, so that both give equal samples.
func (b *block) transform8(to []uint8, stride int) {
	if b.last == 0 {
		v := clamp((b.c[0]+4)>>3 + 128)
		for y := range 8 {
			row := to[y*stride:][:8]
			for x := range row {
				row[x] = v
			}
		}
		return
	}
	const half = 1 << (fixBits - passBits - 1)
	var t [64]int32
	c := &b.c
	for x := range 8 {
		if c[8+x]|c[16+x]|c[24+x]|c[32+x]|c[40+x]|c[48+x]|c[56+x] == 0 {
			v := c[x] << passBits
			t[x], t[8+x], t[16+x], t[24+x], t[32+x], t[40+x], t[48+x], t[56+x] = v, v, v, v, v, v, v, v
			continue
		}
		s0, s1, s2, s3, s4, s5, s6, s7 := eight(c[x], c[8+x], c[16+x], c[24+x], c[32+x], c[40+x], c[48+x], c[56+x])
		t[x], t[8+x] = (s0+half)>>(fixBits-passBits), (s1+half)>>(fixBits-passBits)
		t[16+x], t[24+x] = (s2+half)>>(fixBits-passBits), (s3+half)>>(fixBits-passBits)
		t[32+x], t[40+x] = (s4+half)>>(fixBits-passBits), (s5+half)>>(fixBits-passBits)
		t[48+x], t[56+x] = (s6+half)>>(fixBits-passBits), (s7+half)>>(fixBits-passBits)
	}
	const down = fixBits + passBits + 3
	const middle = 128<<down + 1<<(down-1)
	for y := range 8 {
		r := t[8*y:][:8]
		s0, s1, s2, s3, s4, s5, s6, s7 := eight(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		out := to[y*stride:][:8]
		out[0], out[1] = clamp((s0+middle)>>down), clamp((s1+middle)>>down)
		out[2], out[3] = clamp((s2+middle)>>down), clamp((s3+middle)>>down)
		out[4], out[5] = clamp((s4+middle)>>down), clamp((s5+middle)>>down)
		out[6], out[7] = clamp((s6+middle)>>down), clamp((s7+middle)>>down)
	}
}

// four is the inverse transform of four coefficients, times 2^fixBits · √8, when they are
// the lowest of eight: the even part of eight.
func four(c0, c1, c2, c3 int32) (s0, s1, s2, s3 int32) {
	z1 := (c1 + c3) * fix0_541
	b0, b1 := z1+c1*fix0_765, z1-c3*fix1_847
	a0, a1 := (c0+c2)<<fixBits, (c0-c2)<<fixBits
	return a0 + b0, a1 + b1, a1 - b1, a0 - b0
}

// transform4 writes 4×4 samples, made of the lowest 4×4 coefficients.
func (b *block) transform4(to []uint8, stride int) {
	const half = 1 << (fixBits - passBits - 1)
	var t [16]int32
	c := &b.c
	for x := range 4 {
		s0, s1, s2, s3 := four(c[x], c[8+x], c[16+x], c[24+x])
		t[x], t[4+x] = (s0+half)>>(fixBits-passBits), (s1+half)>>(fixBits-passBits)
		t[8+x], t[12+x] = (s2+half)>>(fixBits-passBits), (s3+half)>>(fixBits-passBits)
	}
	const down = fixBits + passBits + 3
	const middle = 128<<down + 1<<(down-1)
	for y := range 4 {
		r := t[4*y:][:4]
		s0, s1, s2, s3 := four(r[0], r[1], r[2], r[3])
		out := to[y*stride:][:4]
		out[0], out[1] = clamp((s0+middle)>>down), clamp((s1+middle)>>down)
		out[2], out[3] = clamp((s2+middle)>>down), clamp((s3+middle)>>down)
	}
}

// transform2 writes 2×2 samples, made of the lowest 2×2 coefficients.
func (b *block) transform2(to []uint8, stride int) {
	const middle = 128<<3 + 4
	c := &b.c
	sum, difference := c[0]+c[8]+middle, c[0]-c[8]+middle
	right, rightDifference := c[1]+c[9], c[1]-c[9]
	to[0], to[1] = clamp((sum+right)>>3), clamp((sum-right)>>3)
	to[stride], to[stride+1] = clamp((difference+rightDifference)>>3), clamp((difference-rightDifference)>>3)
}

package kernels

// WeightBits are the bits of a weight after the point.
const WeightBits = 14

// Taps say how a sample is made of others: those from First on, weighed. The absolute
// weights are in all below 2, so that a sum of weighed samples is below 2^24.
type Taps struct {
	First   int
	Weights []int16 // at least one, with WeightBits bits after the point
}

// Scratch is memory that Resample uses, and may use again. Its zero value is ready.
type Scratch struct {
	columns []uint8
	taps    []int32 // for each sample the first that it is made of, and how many pairs it is made of
	pairs   []int32 // the weights of two samples each
}

// pack writes down taps for assembly.
func (s *Scratch) pack(taps []Taps) {
	s.taps, s.pairs = s.taps[:0], s.pairs[:0]
	for _, t := range taps {
		n := len(t.Weights)
		s.taps = append(s.taps, int32(t.First), int32((n+1)/2))
		for i := 0; i < n; i += 2 {
			pair := int32(uint16(t.Weights[i]))
			if i+1 < n {
				pair |= int32(t.Weights[i+1]) << 16
			}
			s.pairs = append(s.pairs, pair)
		}
	}
}

// width is how long rows are that taps reach over.
func width(taps []Taps) (n int) {
	for _, t := range taps {
		n = max(n, t.First+len(t.Weights))
	}
	return n
}

// portableResample does four rows at a time.
func portableResample(to, from []uint8, stride, rows int, taps []Taps, _ *Scratch) {
	const half = 1 << (WeightBits - 1)
	for y := 0; y < rows; y += 4 {
		// The last rows may be done twice.
		y := max(0, min(y, rows-4))
		y1, y2, y3 := min(y+1, rows-1), min(y+2, rows-1), min(y+3, rows-1)
		row0, row1, row2, row3 := from[y*stride:], from[y1*stride:], from[y2*stride:], from[y3*stride:]
		for i := range taps {
			t := &taps[i]
			n := len(t.Weights)
			a, b := row0[t.First:][:n], row1[t.First:][:n]
			c, d := row2[t.First:][:n], row3[t.First:][:n]
			sa, sb, sc, sd := int32(half), int32(half), int32(half), int32(half)
			for j, w := range t.Weights {
				sa += int32(w) * int32(a[j])
				sb += int32(w) * int32(b[j])
				sc += int32(w) * int32(c[j])
				sd += int32(w) * int32(d[j])
			}
			column := to[i*rows : (i+1)*rows]
			column[y], column[y1] = clamp(sa>>WeightBits), clamp(sb>>WeightBits)
			column[y2], column[y3] = clamp(sc>>WeightBits), clamp(sd>>WeightBits)
		}
	}
}

// Halve writes 8×8 samples, each the mean of 2×2 of the 16×16 in rows that are stride apart.
func Halve(to *[64]uint8, from []uint8, stride int) { fastest.halve(to, from, stride) }

func portableHalve(to *[64]uint8, from []uint8, stride int) {
	for y := range 8 {
		upper, lower, row := from[2*y*stride:][:16], from[(2*y+1)*stride:][:16], to[8*y:][:8]
		for x := range row {
			row[x] = uint8((uint(upper[2*x]) + uint(upper[2*x+1]) + uint(lower[2*x]) + uint(lower[2*x+1]) + 2) >> 2)
		}
	}
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

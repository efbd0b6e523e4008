package likeness

import (
	"math"
	"slices"
)

// Hash is a perceptual hash: a bit for each of 64 coefficients of a cosine transform, the
// lowest but the mean, which is set when that is positive. So neither brightness nor
// contrast matter to it.
type Hash uint64

// frequencies is how many there are in each direction of which coefficients are used.
const frequencies = 9

// waves are the 64 pairs of frequencies with the longest waves.
var waves = func() (w [64][2]int) {
	var all [][2]int
	for y := range frequencies {
		for x := range frequencies {
			if x+y > 0 {
				all = append(all, [2]int{x, y})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b [2]int) int { return a[0]*a[0] + a[1]*a[1] - b[0]*b[0] - b[1]*b[1] })
	copy(w[:], all)
	return w
}()

// cut is how much is cut off an edge of a view, as a part of the side.
const cut = 1.0 / 20

// spans are the parts of a side that views show: a copy whose edges were cut off is nearly
// one of the original's views.
var spans = [...][2]float64{{0, 1}, {cut, 1 - cut}, {cut, 1}, {0, 1 - cut}}

// views is how many views of a picture there are: each span of the width with each of the
// height. The first is the whole.
const views = len(spans) * len(spans)

// basis holds the cosines of all frequencies, along each span, integrated over each pixel
// of a print, in 1/4096. They are whole numbers, so that hashes are the same everywhere.
var basis = func() (b [len(spans)][frequencies][side]int64) {
	for s, span := range spans {
		from, to := span[0]*side, span[1]*side
		for f := range frequencies {
			// The integral of the cosine, which ends where the span does.
			integral := func(at float64) float64 {
				t := (min(max(at, from), to) - from) / (to - from)
				if f == 0 {
					return t
				}
				return math.Sin(math.Pi*float64(f)*t) / (math.Pi * float64(f))
			}
			for i := range side {
				b[s][f][i] = int64(math.Round((integral(float64(i+1)) - integral(float64(i))) * side * 4096))
			}
		}
	}
	return b
}()

// hashes returns the hashes of all views.
func (p *Print) hashes() (all [views]Hash) {
	pairs := p.pairs()
	for x := range spans {
		rows := pairs.transformed(x)
		for y := range spans {
			all[y*len(spans)+x] = rows.hash(y)
		}
	}
	return all
}

// hash returns the hash of the whole, which is the first of hashes.
func (p *Print) hash() Hash { return p.pairs().transformed(0).hash(0) }

// rowPairs are the rows of a print, two in a number: one of the first half and, 32 bits up,
// one of the second. So one multiplication does for both.
type rowPairs [side / 2][side]int64

func (p *Print) pairs() *rowPairs {
	var pairs rowPairs
	for y := range pairs {
		first, second := p[y*side:][:side], p[(y+side/2)*side:][:side]
		for i := range pairs[y] {
			pairs[y][i] = int64(first[i]) | int64(second[i])<<32
		}
	}
	return &pairs
}

// transformedRows are the coefficients of each row of a print, by frequency.
type transformedRows [frequencies][side]int64

// transformed transforms the rows along a span of the width. The sums are below 2^26.
func (p *rowPairs) transformed(span int) *transformedRows {
	var rows transformedRows
	for f := range rows {
		row, waves := &rows[f], &basis[span][f]
		for y := range p {
			sum := product(&p[y], waves)
			row[y] = int64(int32(sum))
			row[y+side/2] = (sum - row[y]) >> 32
		}
	}
	return &rows
}

// hash transforms the columns along a span of the height.
func (r *transformedRows) hash(span int) (h Hash) {
	for bit, w := range waves {
		if product(&r[w[0]], &basis[span][w[1]]) > 0 {
			h |= 1 << bit
		}
	}
	return h
}

// product is the scalar product of two vectors. Four sums are under way at a time.
func product(a, b *[side]int64) int64 {
	var s0, s1, s2, s3 int64
	for i := 0; i < side; i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	return s0 + s1 + s2 + s3
}

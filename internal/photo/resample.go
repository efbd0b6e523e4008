package photo

import "image"

// ratio is a fraction.
type ratio struct{ of, to int }

// span is an interval on an axis of samples, which lie in the middle of their numbers: the
// first from 0 to 1. Samples outside of first and after are not looked at.
type span struct {
	from, length float64
	first, after int
}

// scaled returns the interval of pixels from lo to hi in samples, of which there are r for
// each pixel.
func scaled(lo, hi int, r ratio) span {
	return span{
		from:   float64(lo*r.of) / float64(r.to),
		length: float64((hi-lo)*r.of) / float64(r.to),
		first:  lo * r.of / r.to,
		after:  (hi*r.of + r.to - 1) / r.to,
	}
}

// component is a plane of samples of a photo.
type component struct {
	pix        []uint8
	stride     int
	rect       image.Rectangle // what pix has
	size       image.Point     // of the whole component
	perX, perY ratio           // samples for a pixel of the photo
}

// resize writes a cut of the component: with the filter of Catmull and Rom (see weigh) from
// left to right, and then from top to bottom. The filter is sharp enough for the small
// pictures that networks are trained on.
func (p *component) resize(to []uint8, c Cut, turned []uint8) []uint8 {
	x := scaled(c.Region.Min.X, c.Region.Max.X, p.perX)
	y := scaled(c.Region.Min.Y, c.Region.Max.Y, p.perY)
	x.after, y.after = min(x.after, p.size.X), min(y.after, p.size.Y)
	rows := y.after - y.first
	from := p.pix[(y.first-p.rect.Min.Y)*p.stride+x.first-p.rect.Min.X:]
	if x.is(c.Size.X) && y.is(c.Size.Y) {
		for j := range c.Size.Y {
			copy(to[j*c.Size.X:(j+1)*c.Size.X], from[j*p.stride:])
		}
		return turned
	}
	// Each pass lays its rows down as columns, so both are the same.
	turned = grown(turned, rows*c.Size.X)
	pass(turned, from, p.stride, rows, weigh(x, c.Size.X))
	pass(to, turned, rows, c.Size.X, weigh(y, c.Size.Y))
	return turned
}

// is says whether n samples made of the interval are the samples that it has.
func (s span) is(n int) bool {
	return s.from == float64(s.first) && s.length == float64(n) && s.after-s.first == n
}

// weightBits are the bits of a weight after the point. The sum of a sample's products is
// below 2^24, since weights are in all below 2.
const weightBits = 14

// kernel has the weights of one resulting sample.
type kernel struct {
	first   int // relative to the first sample of the interval
	weights []int32
}

// weigh returns the weights with which the samples of an interval come to n samples. When
// samples become fewer, the filter grows as wide as the new ones lie apart, so that
// shrinking does not alias. Weights are computed in float64 with every product rounded
// before it is added to, as the conversions demand, so that they are the same on every
// machine, and have weightBits bits after the point and exactly the sum of 1.
func weigh(s span, n int) []kernel {
	step := s.length / float64(n)
	width := max(step, 1)
	kernels := make([]kernel, n)
	most := int(4*width) + 3
	all := make([]int32, 0, n*most)
	exact := make([]float64, most)
	for i := range kernels {
		middle := s.from + float64((float64(i)+0.5)*step)
		lo := max(s.first, int(middle-float64(2*width)-0.5))
		hi := min(s.after, int(middle+float64(2*width)+0.5)+1)
		sum, count := 0.0, 0
		for j := lo; j < hi && count < most; j++ {
			exact[count] = catmullRom((float64(j) + 0.5 - middle) / width)
			sum += exact[count]
			count++
		}
		begin := len(all)
		left, largest := int32(1<<weightBits), begin
		for _, w := range exact[:count] {
			v := int32(floor(float64(w/sum*(1<<weightBits)) + 0.5))
			all = append(all, v)
			left -= v
			if v > all[largest] {
				largest = len(all) - 1
			}
		}
		all[largest] += left
		weights := all[begin:len(all):len(all)]
		first := lo - s.first
		for len(weights) > 1 && weights[0] == 0 {
			weights, first = weights[1:], first+1
		}
		for len(weights) > 1 && weights[len(weights)-1] == 0 {
			weights = weights[:len(weights)-1]
		}
		kernels[i] = kernel{first, weights}
	}
	return kernels
}

func floor(v float64) float64 {
	whole := float64(int64(v))
	if whole > v {
		whole--
	}
	return whole
}

// catmullRom is the cubic filter of E. Catmull and R. Rom ("A class of local interpolating
// splines", 1974).
func catmullRom(x float64) float64 {
	if x < 0 {
		x = -x
	}
	switch {
	case x < 1:
		return float64(float64(float64(float64(1.5*x)-2.5)*x)*x) + 1
	case x < 2:
		return float64(float64(float64(float64(float64(-0.5*x)+2.5)*x)-4)*x) + 2
	}
	return 0
}

// pass resamples rows, and writes each as a column. Four rows are done at a time.
func pass(to, from []uint8, stride, rows int, kernels []kernel) {
	const half = 1 << (weightBits - 1)
	for y := 0; y < rows; y += 4 {
		// The last rows may be done twice.
		y := max(0, min(y, rows-4))
		y1, y2, y3 := min(y+1, rows-1), min(y+2, rows-1), min(y+3, rows-1)
		row0, row1, row2, row3 := from[y*stride:], from[y1*stride:], from[y2*stride:], from[y3*stride:]
		for i := range kernels {
			k := &kernels[i]
			n := len(k.weights)
			a, b := row0[k.first:][:n], row1[k.first:][:n]
			c, d := row2[k.first:][:n], row3[k.first:][:n]
			sa, sb, sc, sd := int32(half), int32(half), int32(half), int32(half)
			for j, w := range k.weights {
				sa += w * int32(a[j])
				sb += w * int32(b[j])
				sc += w * int32(c[j])
				sd += w * int32(d[j])
			}
			column := to[i*rows : (i+1)*rows]
			column[y], column[y1] = clamp(int(sa>>weightBits)), clamp(int(sb>>weightBits))
			column[y2], column[y3] = clamp(int(sc>>weightBits)), clamp(int(sd>>weightBits))
		}
	}
}

package photo

import (
	"image"

	"github.com/sandwich-build/sandwich/internal/photo/internal/kernels"
)

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
func (p *component) resize(to []uint8, c Cut, w *work) {
	x := scaled(c.Region.Min.X, c.Region.Max.X, p.perX)
	y := scaled(c.Region.Min.Y, c.Region.Max.Y, p.perY)
	x.after, y.after = min(x.after, p.size.X), min(y.after, p.size.Y)
	rows := y.after - y.first
	from := p.pix[(y.first-p.rect.Min.Y)*p.stride+x.first-p.rect.Min.X:]
	if x.is(c.Size.X) && y.is(c.Size.Y) {
		for j := range c.Size.Y {
			copy(to[j*c.Size.X:(j+1)*c.Size.X], from[j*p.stride:])
		}
		return
	}
	// Each pass lays its rows down as columns, so both are the same.
	w.turned = grown(w.turned, rows*c.Size.X)
	kernels.Resample(w.turned, from, p.stride, rows, w.across.weigh(x, c.Size.X), &w.scratch)
	kernels.Resample(to, w.turned, rows, c.Size.X, w.down.weigh(y, c.Size.Y), &w.scratch)
}

// is says whether n samples made of the interval are the samples that it has.
func (s span) is(n int) bool {
	return s.from == float64(s.first) && s.length == float64(n) && s.after-s.first == n
}

// weights are the last ones that were needed: those of one component mostly are those of
// the next as well.
type weights struct {
	of   span
	n    int
	taps []kernels.Taps
}

// weigh returns what the function weigh does.
func (w *weights) weigh(s span, n int) []kernels.Taps {
	if w.of != s || w.n != n {
		*w = weights{s, n, weigh(s, n)}
	}
	return w.taps
}

// weigh returns the weights with which the samples of an interval come to n samples. When
// samples become fewer, the filter grows as wide as the new ones lie apart, so that
// shrinking does not alias. Weights are computed in float64 with every product rounded
// before it is added to, as the conversions demand, so that they are the same on every
// machine, and have exactly the sum of 1.
func weigh(s span, n int) []kernels.Taps {
	step := s.length / float64(n)
	width := max(step, 1)
	taps := make([]kernels.Taps, n)
	most := int(4*width) + 3
	all := make([]int16, 0, n*most)
	exact := make([]float64, most)
	for i := range taps {
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
		left, largest := int16(1<<kernels.WeightBits), begin
		for _, w := range exact[:count] {
			v := int16(floor(float64(w/sum*(1<<kernels.WeightBits)) + 0.5))
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
		taps[i] = kernels.Taps{First: first, Weights: weights}
	}
	return taps
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

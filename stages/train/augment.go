package train

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

// augmenter makes a picture's random variants: rotation, shift, shear, zoom and flip as
// keras-preprocessing 1.0.5 does, then a cut out of the padded picture, then colours, then
// the cutout.
type augmenter struct {
	manifest.Augment
	side int
}

// affine maps a pixel of the output (row, column) to the place in the input where its
// value is: [a b; c d]·(row, column) + (e, f).
type affine struct{ a, b, c, d, e, f float64 }

// variant is what is changed in a picture.
type variant struct {
	turn             affine
	turned           bool // turn is not the identity
	flipX, flipY     bool
	down, right      int // pixels that the cut is moved by
	light, contrast  float32
	saturation, hue  float32
	holeRow, holeCol int // centre of the cutout
	hole             int // its side
}

// apply writes a variant of pixels, side × side × 3 bytes, as values of 0 to 1. Equal
// streams give equal variants.
func (g augmenter) apply(dst []float32, pixels []byte, draws *random.Stream) {
	g.transform(dst, pixels, g.draw(draws))
}

func (g augmenter) transform(dst []float32, pixels []byte, v variant) {
	for row := range g.side {
		y := reflected(row+v.down, g.side)
		if v.flipY {
			y = g.side - 1 - y
		}
		for column := range g.side {
			x := reflected(column+v.right, g.side)
			if v.flipX {
				x = g.side - 1 - x
			}
			to := dst[(row*g.side+column)*3:]
			if !v.turned {
				model.Scale(to[:3], pixels[(y*g.side+x)*3:][:3])
				continue
			}
			g.sample(to, pixels, v.turn, float64(y), float64(x))
		}
	}
	v.colour(dst[:g.side*g.side*3])
	g.cut(dst, v)
}

// reflected is the place of a pixel that may lie up to a side beyond its picture, of which
// the edge is not repeated.
func reflected(i, side int) int {
	if i < 0 {
		i = -i
	}
	if i >= side {
		i = 2*(side-1) - i
	}
	return min(max(i, 0), side-1)
}

// draw draws what one variant changes. Every draw is made whatever the bounds are, so
// that changing one bound leaves the others' draws as they were.
func (g augmenter) draw(draws *random.Stream) variant {
	const radians = math.Pi / 180
	side := float64(g.side)
	theta := draws.Uniform(-g.Rotation, g.Rotation) * radians
	rows := draws.Uniform(-g.Shift, g.Shift) * side
	columns := draws.Uniform(-g.Shift, g.Shift) * side
	shear := draws.Uniform(-g.Shear, g.Shear) * radians
	zoomRows := draws.Uniform(1-g.Zoom, 1+g.Zoom)
	zoomColumns := draws.Uniform(1-g.Zoom, 1+g.Zoom)
	v := variant{
		turn:   compose(theta, rows, columns, shear, zoomRows, zoomColumns, side),
		turned: g.Rotation != 0 || g.Shift != 0 || g.Shear != 0 || g.Zoom != 0,
		flipX:  draws.Float64() < 0.5 && (g.Flip == "horizontal" || g.Flip == "both"),
		flipY:  draws.Float64() < 0.5 && (g.Flip == "vertical" || g.Flip == "both"),
		down:   draws.Intn(2*g.Crop+1) - g.Crop,
		right:  draws.Intn(2*g.Crop+1) - g.Crop,
	}
	factor := func(bound float64) float32 { return float32(draws.Uniform(1-bound, 1+bound)) }
	v.light, v.contrast, v.saturation = factor(g.Brightness), factor(g.Contrast), factor(g.Saturation)
	v.hue = float32(draws.Uniform(-g.Hue, g.Hue))
	v.holeRow, v.holeCol = draws.Intn(g.side), draws.Intn(g.side)
	v.hole = int(math.Round(g.Cutout * side))
	return v
}

// grey is the luma of a colour, as in ITU-R BT.601.
func grey(p []float32) float32 {
	return float32(0.299*p[0]) + float32(0.587*p[1]) + float32(0.114*p[2])
}

// towards moves a value from a centre by a factor, and keeps it within 0 to 1.
func towards(centre, value, factor float32) float32 {
	return min(max(centre+float32((value-centre)*factor), 0), 1)
}

// colour changes brightness, contrast, saturation and hue, in this order, as torchvision's
// ColorJitter defines them.
func (v variant) colour(values []float32) {
	if v.light != 1 {
		for i, x := range values {
			values[i] = towards(0, x, v.light)
		}
	}
	if v.contrast != 1 {
		sum := 0.0
		for i := 0; i < len(values); i += 3 {
			sum += float64(grey(values[i:]))
		}
		mean := float32(sum / float64(len(values)/3))
		for i, x := range values {
			values[i] = towards(mean, x, v.contrast)
		}
	}
	if v.saturation != 1 || v.hue != 0 {
		for i := 0; i < len(values); i += 3 {
			p := values[i : i+3]
			if g := grey(p); v.saturation != 1 {
				p[0], p[1], p[2] = towards(g, p[0], v.saturation), towards(g, p[1], v.saturation), towards(g, p[2], v.saturation)
			}
			if v.hue != 0 {
				turnHue(p, v.hue)
			}
		}
	}
}

// turnHue turns a colour's hue by a fraction of the circle. Its value and its saturation,
// as in HSV, stay.
func turnHue(p []float32, by float32) {
	most, least := max(p[0], p[1], p[2]), min(p[0], p[1], p[2])
	spread := most - least
	if spread == 0 {
		return
	}
	var hue float32 // in sixths of the circle
	switch most {
	case p[0]:
		hue = (p[1] - p[2]) / spread
	case p[1]:
		hue = (p[2]-p[0])/spread + 2
	default:
		hue = (p[0]-p[1])/spread + 4
	}
	hue += float32(6 * by)
	for i, offset := range [...]float32{5, 3, 1} {
		k := offset + hue
		for k < 0 {
			k += 6
		}
		for k >= 6 {
			k -= 6
		}
		p[i] = most - float32(spread*max(0, min(k, 4-k, 1)))
	}
}

// cut lays a grey square over the picture, as far as it is within.
func (g augmenter) cut(dst []float32, v variant) {
	first := func(centre int) int { return max(centre-v.hole/2, 0) }
	last := func(centre int) int { return min(centre-v.hole/2+v.hole, g.side) }
	for row := first(v.holeRow); row < last(v.holeRow); row++ {
		for column := first(v.holeCol); column < last(v.holeCol); column++ {
			p := dst[(row*g.side+column)*3:]
			p[0], p[1], p[2] = 0.5, 0.5, 0.5
		}
	}
}

// compose is Keras' product rotation · shift · shear · zoom about the centre, which for
// Keras is half a pixel beyond the middle. Angles are in radians, shifts in pixels.
//
//	R = [cos -sin 0; sin cos 0]   T = [1 0 rows; 0 1 columns]
//	S = [1 -sin(shear) 0; 0 cos(shear) 0]   Z = diag(zoomRows, zoomColumns)
func compose(theta, rows, columns, shear, zoomRows, zoomColumns, side float64) affine {
	sin, cos := math.Sincos(theta)
	shearSin, shearCos := math.Sincos(shear)
	// R·S, then the columns of the zoom.
	m := affine{
		a: cos * zoomRows,
		b: (float64(cos*-shearSin) + float64(-sin*shearCos)) * zoomColumns,
		c: sin * zoomRows,
		d: (float64(sin*-shearSin) + float64(cos*shearCos)) * zoomColumns,
	}
	centre := side/2 + 0.5
	m.e = float64(cos*rows) - float64(sin*columns) + centre - float64(m.a*centre) - float64(m.b*centre)
	m.f = float64(sin*rows) + float64(cos*columns) + centre - float64(m.c*centre) - float64(m.d*centre)
	return m
}

// sample writes the bilinear value at the place that m has for (row, column). Outside of
// the picture is its nearest pixel.
func (g augmenter) sample(dst []float32, pixels []byte, m affine, row, column float64) {
	limit := float64(g.side - 1)
	// Products are converted before they are added, so that no compiler fuses them.
	y := float64(m.a*row) + float64(m.b*column) + m.e
	x := float64(m.c*row) + float64(m.d*column) + m.f
	y, x = min(max(y, 0), limit), min(max(x, 0), limit)
	top, left := int(y), int(x)
	bottom, right := min(top+1, g.side-1), min(left+1, g.side-1)
	down, over := y-float64(top), x-float64(left)
	tl, tr := pixels[(top*g.side+left)*3:][:3], pixels[(top*g.side+right)*3:][:3]
	bl, br := pixels[(bottom*g.side+left)*3:][:3], pixels[(bottom*g.side+right)*3:][:3]
	for channel := range 3 {
		upper := float64(float64(tl[channel])*(1-over)) + float64(float64(tr[channel])*over)
		lower := float64(float64(bl[channel])*(1-over)) + float64(float64(br[channel])*over)
		value := float64(upper*(1-down)) + float64(lower*down)
		dst[channel] = float32(value) * (1.0 / 255)
	}
}

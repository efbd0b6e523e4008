package train

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/train/exact/portable"
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
	turn := v.turn.fixed()
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
			to := (*[3]float32)(dst[(row*g.side+column)*3:])
			if v.turned {
				g.sample(to, pixels, turn.apply(y, x))
			} else {
				model.Scale(to[:], pixels[(y*g.side+x)*3:][:3])
			}
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
	sin, cos := portable.Sincos(theta)
	shearSin, shearCos := portable.Sincos(shear)
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

// fraction is how many bits of a place, or of a factor, lie behind the point of a fixed.
// Additions and multiplications of whole numbers are exact, and so the same everywhere.
const fraction = 32

// fixed is affine with fixed-point numbers.
type fixed struct{ a, b, c, d, e, f int64 }

func (m affine) fixed() fixed {
	number := func(x float64) int64 { return int64(math.RoundToEven(x * (1 << fraction))) }
	return fixed{number(m.a), number(m.b), number(m.c), number(m.d), number(m.e), number(m.f)}
}

// place is where a value is in a picture, in fixed-point rows and columns.
type place struct{ y, x int64 }

func (m *fixed) apply(row, column int) place {
	r, c := int64(row), int64(column)
	return place{m.a*r + m.b*c + m.e, m.c*r + m.d*c + m.f}
}

// sample writes the bilinear value at a place. Outside of the picture is its nearest pixel.
func (g augmenter) sample(dst *[3]float32, pixels []byte, at place) {
	// weight is how many bits of a fraction count: with two of them, a value has 48 bits.
	const weight = 20
	limit := int64(g.side-1) << fraction
	y, x := min(max(at.y, 0), limit), min(max(at.x, 0), limit)
	top, left := int(y>>fraction), int(x>>fraction)
	bottom, right := min(top+1, g.side-1), min(left+1, g.side-1)
	down, over := y>>(fraction-weight)&(1<<weight-1), x>>(fraction-weight)&(1<<weight-1)
	tl, tr := (*[3]byte)(pixels[(top*g.side+left)*3:]), (*[3]byte)(pixels[(top*g.side+right)*3:])
	bl, br := (*[3]byte)(pixels[(bottom*g.side+left)*3:]), (*[3]byte)(pixels[(bottom*g.side+right)*3:])
	for channel := range dst {
		upper := int64(tl[channel])<<weight + (int64(tr[channel])-int64(tl[channel]))*over
		lower := int64(bl[channel])<<weight + (int64(br[channel])-int64(bl[channel]))*over
		value := upper<<weight + (lower-upper)*down
		dst[channel] = float32(value) * (1.0 / 255 / (1 << (2 * weight)))
	}
}

package train

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/random"
	"github.com/sandwich-build/sandwich/manifest"
)

// augmenter makes a picture's random variants, as keras-preprocessing 1.0.5 does.
type augmenter struct {
	manifest.Augment
	side int
}

// affine maps a pixel of the output (row, column) to the place in the input where its
// value is: [a b; c d]·(row, column) + (e, f).
type affine struct{ a, b, c, d, e, f float64 }

// apply writes a variant of pixels, side × side × 3 bytes, as values of 0 to 1. Equal
// streams give equal variants.
func (g augmenter) apply(dst []float32, pixels []byte, draws *random.Stream) {
	m, flip := g.draw(draws)
	g.transform(dst, pixels, m, flip)
}

func (g augmenter) transform(dst []float32, pixels []byte, m affine, flip bool) {
	limit := float64(g.side - 1)
	for row := range g.side {
		for column := range g.side {
			target := column
			if flip {
				target = g.side - 1 - column
			}
			// Products are converted before they are added, so that no compiler
			// fuses them.
			y := float64(m.a*float64(row)) + float64(m.b*float64(column)) + m.e
			x := float64(m.c*float64(row)) + float64(m.d*float64(column)) + m.f
			// Outside of the picture is its nearest pixel.
			y, x = min(max(y, 0), limit), min(max(x, 0), limit)
			g.sample(dst[(row*g.side+target)*3:], pixels, y, x)
		}
	}
}

// draw draws what one variant changes. Every draw is made whatever the bounds are, so
// that changing one bound leaves the others' draws as they were.
func (g augmenter) draw(draws *random.Stream) (m affine, flip bool) {
	const radians = math.Pi / 180
	side := float64(g.side)
	theta := draws.Uniform(-g.Rotation, g.Rotation) * radians
	rows := draws.Uniform(-g.Shift, g.Shift) * side
	columns := draws.Uniform(-g.Shift, g.Shift) * side
	shear := draws.Uniform(-g.Shear, g.Shear) * radians
	zoomRows := draws.Uniform(1-g.Zoom, 1+g.Zoom)
	zoomColumns := draws.Uniform(1-g.Zoom, 1+g.Zoom)
	flip = draws.Float64() < 0.5 && g.Flip == "horizontal"
	return compose(theta, rows, columns, shear, zoomRows, zoomColumns, side), flip
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

// sample writes the bilinear value at (y, x), which must lie within the picture.
func (g augmenter) sample(dst []float32, pixels []byte, y, x float64) {
	top, left := int(y), int(x)
	bottom, right := min(top+1, g.side-1), min(left+1, g.side-1)
	down, over := y-float64(top), x-float64(left)
	for channel := range 3 {
		at := func(row, column int) float64 { return float64(pixels[(row*g.side+column)*3+channel]) }
		upper := float64(at(top, left)*(1-over)) + float64(at(top, right)*over)
		lower := float64(at(bottom, left)*(1-over)) + float64(at(bottom, right)*over)
		value := float64(upper*(1-down)) + float64(lower*down)
		dst[channel] = float32(value) * (1.0 / 255)
	}
}

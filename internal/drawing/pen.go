package drawing

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/dice"
)

// pen draws one thing in its own units of length.
type pen struct {
	*canvas
	view
	dice *dice.Dice
	sun  float64 // where the light comes from: -1 from the left, 1 from the right
}

// fork returns a pen for a part of the thing, with dice of its own.
func (p pen) fork(name string, item int) pen {
	p.dice = p.dice.Fork(name, item)
	return p
}

// above returns a pen for what lies at height z.
func (p pen) above(z float64) pen {
	p.view = p.lift(z)
	return p
}

// beside returns a pen for what stands at another point of the thing's plane.
func (p pen) beside(x, y float64) pen {
	p.view = p.move(x, y)
	return p
}

// opaque is full opacity.
const opaque = 256

// lay fills an outline at height zero.
func (p pen) lay(o outline, with paint) {
	p.fill(p.flat(o, 0), opaque, with)
}

// slab draws a solid with vertical sides: a sweep of its outline from the table up.
func (p pen) slab(o outline, height float64, side, top paint) {
	pixels := math.Ceil(float64(float64(height*p.rise) * p.unit))
	steps := max(1, int(pixels))
	for i := range steps {
		p.fill(p.flat(o, float64(height*(float64(i)/float64(steps)))), opaque, side)
	}
	p.fill(p.flat(o, height), opaque, top)
}

// shadow darkens what lies under and beside a thing, softly: a stack of ever
// larger, fainter copies of its outline, moved away from the light.
func (p pen) shadow(o outline, height float64) {
	const layers = 8
	for i := range layers {
		grow := 1 + float64(0.03*float64(i))
		away := float64(-p.sun * float64(height*(0.25+float64(0.06*float64(i)))))
		q := p.beside(away, float64(0.1*height))
		q.shade(q.flat(o.scale(grow), 0), 19, plain(colour{20, 14, 10}))
	}
}

// curved paints the side of something round with the given radius: brighter towards
// the light and darker at both ends.
func (p pen) curved(c colour, radius float64, amplitude int) paint {
	noisy := grain(c, p.dice.Fork("grain", 0).Uint64(), amplitude, 6)
	centre, r := int(p.at.x), max(1, int(float64(radius*p.unit)))
	sun := int(float64(p.sun * 16))
	return func(x, y int) colour {
		t := min(max((x-centre)*100/r, -100), 100)
		return noisy(x, y).light(94 + sun*t/100 - t*t*14/10000)
	}
}

// matte paints a flat face with a little noise.
func (p pen) matte(c colour, amplitude int) paint {
	return grain(c, p.dice.Fork("matte", 0).Uint64(), amplitude, 7)
}

// wobbly is a round outline of radius about one whose radius swings by amplitude and
// whose height swings by wave.
func (p pen) wobbly(amplitude, wave float64, ripples int) outline {
	d := p.dice.Fork("wobble", 0)
	a, b, e := d.Between(0, 6.28), d.Between(0, 6.28), d.Between(0, 6.28)
	const steps = 72
	out := make(outline, steps)
	for i := range out {
		angle := angleOf(i, steps)
		s, c := sincos(angle)
		slow, _ := sincos(float64(3*angle) + a)
		fast, _ := sincos(float64(float64(ripples)*angle) + b)
		up, _ := sincos(float64(float64(ripples-1)*angle) + e)
		r := 1 + float64(amplitude*(float64(0.5*slow)+float64(0.5*fast)))
		out[i] = vec{x: float64(r * c), y: float64(r * s), z: float64(wave * up)}
	}
	return out
}

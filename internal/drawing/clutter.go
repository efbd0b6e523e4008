package drawing

import (
	"math"
	"slices"

	"github.com/sandwich-build/sandwich/internal/dice"
)

// plate draws a plate or a board with a radius of one.
func (p pen) plate() {
	if p.dice.Chance(0.25) {
		p.board()
		return
	}
	glaze := dice.Pick(p.dice, []colour{hex(0xf3f1ec), hex(0xe6e2d6), hex(0x9fb7c4), hex(0x5d6f74), hex(0xcfd8cf), hex(0xd8b7a0)})
	p.shadow(disc(1, 1), 0.12)
	p.slab(disc(0.98, 0.98), 0.05, p.curved(glaze.light(85), 1, 2), p.matte(glaze, 2))
	q := p.above(0.05)
	if p.dice.Chance(0.4) {
		band := dice.Pick(p.dice, []colour{hex(0x2f5d8a), hex(0xa33a2c), hex(0x4f7a4a), hex(0xc79a3a)})
		q.lay(disc(0.93, 0.93), plain(band))
		q.lay(disc(0.89, 0.89), p.matte(glaze, 2))
	}
	q.lay(disc(0.72, 0.72), plain(glaze.light(88)))
	q.lay(disc(0.70, 0.70).shift(0, 0.012), p.matte(glaze.light(97), 2))
}

// board draws a cutting board.
func (p pen) board() {
	wood := dice.Pick(p.dice, []colour{hex(0xc99a63), hex(0x9a6a3f), hex(0xdeb887)})
	o := rounded(2.2, 1.5, 0.2).turn(p.dice.Between(-0.4, 0.4))
	p.shadow(o, 0.15)
	grainy := planks(p.dice.Fork("grain", 0), p.tilt)
	p.slab(o, 0.09, plain(wood.light(70)), func(x, y int) colour { return wood.mix(grainy(x, y), 70) })
}

var steel = []colour{hex(0xc9ccd0), hex(0xb4b6b8), hex(0xd9c9a0)}

// metal paints polished metal: bands of light along a direction.
func (p pen) metal(c colour) paint {
	key := p.dice.Fork("metal", 0).Uint64()
	return func(x, y int) colour { return c.light(72 + smooth(key, x, y, 9)/5) }
}

// cutleryFork draws a fork two units long.
func (p pen) cutleryFork() {
	c := dice.Pick(p.dice, steel)
	angle := p.dice.Between(0, 2*math.Pi)
	shape := []outline{
		rounded(1.1, 0.09, 0.04).shift(-0.45, 0),
		rounded(0.42, 0.26, 0.12).shift(0.28, 0),
	}
	for i := range 4 {
		shape = append(shape, rounded(0.5, 0.04, 0.018).shift(0.68, float64(0.07*(float64(i)-1.5))))
	}
	p.cutlery(shape, angle, p.metal(c))
}

// cutleryKnife draws a table knife two units long.
func (p pen) cutleryKnife() {
	c := dice.Pick(p.dice, steel)
	angle := p.dice.Between(0, 2*math.Pi)
	blade := outline{{x: 0, y: -0.08}, {x: 0.75, y: -0.09}, {x: 0.95, y: -0.02}, {x: 0.9, y: 0.06}, {x: 0, y: 0.06}}
	p.cutlery([]outline{blade}, angle, p.metal(c.add(14)))
	handle := p.metal(c)
	if p.dice.Chance(0.5) {
		handle = p.matte(dice.Pick(p.dice, meats), 8)
	}
	p.cutlery([]outline{rounded(0.95, 0.12, 0.05).shift(-0.48, 0)}, angle, handle)
}

func (p pen) cutlery(shape []outline, angle float64, with paint) {
	for _, o := range shape {
		q := p.beside(float64(-0.04*p.sun), 0.03)
		q.shade(q.flat(o.turn(angle), 0), 90, plain(hex(0x14100c)))
	}
	for _, o := range shape {
		p.lay(o.turn(angle), with)
	}
}

// drink draws a glass with a radius of one, full of beer, juice, cola or water.
func (p pen) drink() {
	height := p.dice.Between(2.2, 3.4)
	level := float64(height * p.dice.Between(0.5, 0.85))
	liquid := dice.Pick(p.dice, []colour{hex(0xd9951e), hex(0xe8a83a), hex(0x3a1a10), hex(0xb8d4dc), hex(0xa81e2e), hex(0xf0c23c)})
	p.shadow(disc(1, 1), float64(0.5*height))
	rim := disc(0.97, 0.97)
	p.slab(rim.scale(0.95), level, p.curved(liquid, 0.95, 3), plain(liquid.light(118)))
	if p.dice.Chance(0.4) {
		p.above(level).slab(rim.scale(0.95), 0.22, p.curved(hex(0xfaf3e0), 1, 4), p.matte(hex(0xfdf8ea), 6))
	}
	// The glass itself: a pale film up to the rim, its two sides, a streak of light
	// and the rim.
	base, top := p.flat(rim, 0), p.flat(rim, height)
	hull := append(slices.Clone(base[:len(base)/2+1]), top[len(top)/2:]...)
	p.fill(hull, 34, plain(hex(0xf4fbff)))
	for _, x := range []float64{-0.95, 0.95} {
		p.lay(outline{{x: x - 0.03}, {x: x + 0.03}, {x: x + 0.03, z: height}, {x: x - 0.03, z: height}}, p.matte(hex(0xc6d2d8), 4))
	}
	x := float64(0.55 * p.sun)
	p.fill(p.flat(outline{{x: x - 0.1, y: 0.8, z: 0.2}, {x: x + 0.1, y: 0.8, z: 0.2}, {x: x + 0.1, y: 0.8, z: height - 0.2}, {x: x - 0.1, y: 0.8, z: height - 0.2}}, 0), 80, plain(hex(0xffffff)))
	p.fill(p.flat(rim.ring(0.9), height), 200, plain(hex(0xe4ecf0)))
}

// fries draws a heap of fries with a radius of about one, half of the time in a
// paper carton.
func (p pen) fries() {
	carton := p.dice.Chance(0.45)
	p.shadow(disc(0.8, 0.8), 0.5)
	if carton {
		p.stick(22, 0.9, 1.2)
		c := dice.Pick(p.dice, []colour{hex(0xc8281e), hex(0xf4f0e6), hex(0x2f6f9f), hex(0xe8b422)})
		o := rounded(1.3, 0.6, 0.2)
		p.slab(o.shift(0, 0.2), 0.9, p.curved(c, 0.8, 4), plain(c.light(120)))
		p.above(0.9).stick(14, 0.42, 0.3)
		front := outline{{x: -0.66, y: 0.5}, {x: 0.66, y: 0.5}, {x: 0.74, y: 0.5, z: 0.95}, {x: 0, y: 0.5, z: 0.7}, {x: -0.74, y: 0.5, z: 0.95}}
		p.lay(front, p.curved(c, 0.8, 4))
		return
	}
	p.stick(34, 0.75, 0)
}

// stick strews n fries around the middle, lying, or standing when upright is more
// than zero.
func (p pen) stick(n int, reach, upright float64) {
	for i := range n {
		d := p.dice.Fork("stick", i)
		s, c := sincos(d.Between(0, 2*math.Pi))
		r := float64(reach * math.Sqrt(d.Float()))
		tone := hex(0xe8b84a).mix(hex(0xf7dc8a), d.Int(0, 256)).mix(hex(0xb5782c), d.Int(0, 70))
		q := p.beside(float64(0.6*float64(r*c)), float64(0.5*float64(r*s))).above(float64(0.012 * float64(i)))
		if upright > 0 {
			tip := float64(0.5 * d.Between(-1, 1))
			w := 0.08
			q.lay(outline{{x: -w}, {x: w}, {x: tip + w, z: upright}, {x: tip - w, z: upright}}, q.matte(tone, 6))
			continue
		}
		o := rectangle(d.Between(0.6, 1.0), 0.13).turn(d.Between(0, math.Pi))
		q.slab(o, 0.1, plain(tone.light(78)), q.matte(tone, 7))
	}
}

// tomato draws a whole small tomato with a radius of one.
func (p pen) tomato() {
	c := dice.Pick(p.dice, []colour{hex(0xc62f22), hex(0xd8452c), hex(0xe08a2a)})
	p.shadow(disc(0.8, 0.8), 0.6)
	q := p.above(0.7)
	q.fill(path(disc(1, 0.94).scale(q.unit).shift(q.at.x, q.at.y)), opaque, q.glossy(c, 1, 0.94))
	for i := range 5 {
		s, cos := sincos(angleOf(i, 5) + 0.3)
		q.above(0.62).lay(disc(0.3, 0.08).turn(angleOf(i, 5)+0.3).shift(float64(0.22*cos), float64(0.22*s)), plain(hex(0x4c7a2c)))
	}
}

// bowl draws a small bowl of sauce with a radius of one.
func (p pen) bowl() {
	glaze := dice.Pick(p.dice, []colour{hex(0xefece4), hex(0x6e7f86), hex(0xb06a48)})
	sauce := dice.Pick(p.dice, []colour{hex(0xa81e16), hex(0xf0e2b0), hex(0xd9a520), hex(0x6f8a3a)})
	p.shadow(disc(0.9, 0.9), 0.6)
	p.slab(disc(1, 1), 0.6, p.curved(glaze, 1, 3), plain(glaze.light(106)))
	q := p.above(0.6)
	q.lay(disc(0.88, 0.88), plain(glaze.light(78)))
	q.lay(disc(0.84, 0.82).shift(0, 0.04), p.matte(sauce, 4))
	q.shade(q.flat(disc(0.3, 0.1).shift(float64(0.3*p.sun), -0.35), 0), 90, plain(hex(0xffffff)))
}

// napkin draws a folded napkin about two units wide. It has no label.
func (p pen) napkin() {
	c := dice.Pick(p.dice, []colour{hex(0xf6f4ee), hex(0xb83a34), hex(0x49758f), hex(0xd9c37a)})
	o := rectangle(1.9, 1.9).turn(p.dice.Between(0, math.Pi))
	p.shadow(o, 0.04)
	p.lay(o, p.matte(c, 4))
	p.lay(outline{o[0], o[1], o[2]}, p.matte(c.light(92), 4))
}

// herb draws a sprig of leaves about two units wide. It has no label.
func (p pen) herb() {
	c := dice.Pick(p.dice, greens)
	for i := range p.dice.Int(3, 5) {
		d := p.dice.Fork("leaf", i)
		angle := d.Between(0, 2*math.Pi)
		s, cos := sincos(angle)
		o := disc(0.5, 0.24).turn(angle).shift(float64(0.45*cos), float64(0.45*s))
		q := p.beside(float64(-0.05*p.sun), 0.05)
		q.shade(q.flat(o, 0), 60, plain(hex(0x14100c)))
		p.lay(o, p.matte(c.light(d.Int(80, 112)), 7))
		p.lay(rectangle(0.7, 0.03).turn(angle).shift(float64(0.45*cos), float64(0.45*s)), plain(c.light(125)))
	}
}

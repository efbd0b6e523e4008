package drawing

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/dice"
)

// burger draws a hamburger with a radius of one: half a bun, a stack of fillings, and
// a domed half on top.
func (p pen) burger() {
	dough := bake(p.dice)
	p.shadow(disc(1.05, 1.05), 1)
	base := p.dice.Between(0.18, 0.3)
	foot := p.fork("foot", 0)
	foot.slab(disc(0.93, 0.93), base/2, foot.curved(dough.crust.light(86), 0.95, 7), plain(dough.crumb))
	foot.above(base/2).slab(disc(0.98, 0.98), base/2, foot.curved(dough.crust, 0.98, 7), foot.matte(dough.crumb, 6))

	z := base
	for i, filling := range p.fillings() {
		z += filling(p.fork("filling", i).above(z))
	}
	p.fork("dome", 0).above(z).dome(dough, p.dice.Between(0.42, 0.72))
}

// fillings draws lots for the layers of a hamburger, from the bottom. Each draws
// itself and returns its height.
func (p pen) fillings() []func(pen) float64 {
	extras := []func(pen) float64{pen.fillLeaf, pen.fillSheet, pen.fillSlices, pen.fillSlices, pen.fillStrips, pen.fillLeaf}
	dice.Shuffle(p.dice, extras)
	layers := []func(pen) float64{pen.fillPatty}
	for i, extra := range extras[:p.dice.Int(1, 4)] {
		if i%2 == 0 {
			layers = append(layers, extra)
		} else {
			layers = append([]func(pen) float64{extra}, layers...)
		}
	}
	if p.dice.Chance(0.2) {
		layers = append(layers, pen.fillPatty)
	}
	return layers
}

func (p pen) fillPatty() float64 {
	height := p.dice.Between(0.18, 0.3)
	c := dice.Pick(p.dice, meats)
	if p.dice.Chance(0.35) {
		c = dice.Pick(p.dice, []colour{hex(0xc58a3c), hex(0xd8a85a), hex(0xa9884e)}) // chicken, fish, falafel
	}
	o := p.wobbly(0.05, 0, 13).scale(p.dice.Between(0.98, 1.06))
	p.slab(o, height, p.curved(c, 1.02, 22), p.matte(c.light(115), 16))
	return height
}

func (p pen) fillLeaf() float64 {
	p.leaf(p.dice.Between(1.08, 1.2))
	return 0.09
}

func (p pen) fillSheet() float64 {
	p.sheet(p.dice.Between(1.6, 1.8))
	return 0.05
}

func (p pen) fillSlices() float64 {
	s := dice.Pick(p.dice, cuts)
	start := p.dice.Between(0, 6.28)
	const n = 4
	for i := range n {
		sin, cos := sincos(start + angleOf(i, n))
		p.fork("slice", i).beside(float64(0.48*cos), float64(0.48*sin)).slice(s, p.dice.Between(0.46, 0.56))
	}
	return 0.08
}

func (p pen) fillStrips() float64 {
	c := dice.Pick(p.dice, []colour{hex(0xa8432e), hex(0x8a3826), hex(0xd98a80)})
	for i := range 3 {
		q := p.fork("strip", i).beside(0, float64(0.5*float64(i-1)))
		q.strip(q.dice.Between(2.0, 2.4), 0.4, c)
	}
	return 0.08
}

// dome draws the upper half of a bun: half an ellipsoid on its cut face.
func (p pen) dome(dough bread, height float64) {
	const radius = 1.0
	crown := math.Sqrt(float64(p.tilt*p.tilt) + float64(float64(height*p.rise)*float64(height*p.rise)))
	var silhouette path
	for _, v := range disc(radius, 1) {
		if v.y > 0 { // the front rim lies on the plane
			silhouette = append(silhouette, p.project(vec{x: v.x, y: v.y}))
		} else { // the crown stands against the sky: its height is one of the screen
			silhouette = append(silhouette, p.project(vec{x: v.x, y: v.y * crown / p.tilt}))
		}
	}
	p.fill(silhouette, opaque, p.glossy(dough.crust, radius, crown))
	p.crumbs(dough, height)
}

// glossy paints a dome: bright where it faces the light, dark towards its rim.
func (p pen) glossy(c colour, radius, crown float64) paint {
	noisy := grain(c, p.dice.Fork("crust", 0).Uint64(), 9, 9)
	lightX := p.at.x + float64(p.sun*0.4*radius*p.unit)
	lightY := p.at.y - float64(0.5*crown*p.unit)
	r := float64(radius * p.unit)
	return func(x, y int) colour {
		dx, dy := (float64(x)-lightX)/r, (float64(y)-lightY)/r
		far := int(float64(100 * (float64(dx*dx) + float64(dy*dy))))
		col := noisy(x, y).light(max(118-far*34/100, 62))
		if far < 12 {
			col = col.mix(colour{255, 248, 230}, (12-far)*5)
		}
		return col
	}
}

// crumbs strews sesame, poppy or flour over a dome, or nothing.
func (p pen) crumbs(dough bread, height float64) {
	var tone colour
	n := p.dice.Int(14, 34)
	switch p.dice.Below(4) {
	case 0:
		return
	case 1:
		tone = hex(0x2b2620)
	default:
		tone = hex(0xf6e9c6)
	}
	for i := range n {
		d := p.dice.Fork("seed", i)
		s, c := sincos(d.Between(0, 6.28))
		r := float64(0.85 * math.Sqrt(d.Float()))
		at := vec{x: float64(r * c), y: float64(r * s), z: float64(height * math.Sqrt(1-float64(r*r)))}
		if at.y < 0 && float64(at.y*p.tilt) < float64(-0.3*height) {
			continue // behind the crown
		}
		q := p
		q.at = p.project(at)
		q.lay(disc(0.055, 0.04).turn(d.Between(0, math.Pi)), plain(tone.mix(dough.crust, d.Int(0, 60))))
	}
}

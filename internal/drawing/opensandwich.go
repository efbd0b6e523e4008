package drawing

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/dice"
)

// sandwich draws an open sandwich with a half width of about one: a slice of bread,
// something spread on it, and toppings.
func (p pen) sandwich() {
	dough := bake(p.dice)
	o := p.loaf().turn(p.dice.Between(-0.9, 0.9))
	thick := p.dice.Between(0.14, 0.3)
	p.shadow(o.scale(1.03), float64(1.6*thick))
	p.fork("crust", 0).slab(o, thick, p.curved(dough.crust, 1.1, 9), p.matte(dough.crust.light(108), 8))

	top := p.fork("crumb", 0).above(thick)
	top.lay(o.scale(0.93), top.matte(dough.crumb, 14))
	if spread := p.spread(); p.dice.Chance(0.75) {
		top.lay(o.scale(p.dice.Between(0.8, 0.9)), top.matte(spread, 7))
	}
	if p.dice.Chance(0.45) {
		p.fork("bed", 0).above(thick + 0.02).leaf(p.dice.Between(0.75, 0.95))
		thick += 0.07
	}
	p.fork("toppings", 0).above(thick + 0.02).toppings(o.reach())
	if p.dice.Chance(0.5) {
		p.fork("herbs", 0).above(thick+0.16).sprigs(0.6, p.dice.Int(5, 14))
	}
}

// loaf draws lots for the shape of the slice.
func (p pen) loaf() outline {
	switch p.dice.Below(5) {
	case 0: // a toast
		return rounded(1.7, 1.6, 0.22)
	case 1: // a rectangle of rye
		return rounded(2.1, 1.35, 0.1)
	case 2: // an oval of sourdough
		o := p.wobbly(0.05, 0, 5)
		for i := range o {
			o[i].x = float64(o[i].x * 1.15)
			o[i].y = float64(o[i].y * 0.78)
		}
		return o
	case 3: // half a baguette
		return rounded(2.4, 0.95, 0.45)
	}
	// half a toast, cut from corner to corner
	return outline{{x: -1.15, y: 0.55}, {x: -1.05, y: 0.68}, {x: 1.05, y: 0.68}, {x: 1.15, y: 0.55}, {x: 0.1, y: -0.72}, {x: -0.1, y: -0.72}}
}

// reach returns half the width and half the depth of an outline.
func (o outline) reach() vec {
	var r vec
	for _, v := range o {
		r.x, r.y = max(r.x, math.Abs(v.x)), max(r.y, math.Abs(v.y))
	}
	return r
}

func (p pen) spread() colour {
	return dice.Pick(p.dice, []colour{
		hex(0xf7e9a8), // butter
		hex(0xfaf6ee), // fresh cheese
		hex(0xa9bb58), // avocado
		hex(0xd8b184), // hummus
		hex(0xc9584e), // ajvar
		hex(0x7d5236), // liver paste
		hex(0x4a2f22), // olive paste
	})
}

// toppings covers a slice that reaches so far from its middle.
func (p pen) toppings(reach vec) {
	switch p.dice.Below(5) {
	case 0:
		p.topSlices(reach)
	case 1:
		p.topStrips(reach)
		p.fork("garnish", 0).above(0.1).slice(dice.Pick(p.dice, cuts), 0.3)
	case 2:
		p.sheet(float64(1.3 * min(reach.x, reach.y)))
		p.fork("over", 0).above(0.05).topSlices(vec{x: float64(0.8 * reach.x), y: float64(0.8 * reach.y)})
	case 3:
		p.topShrimps(reach)
	default:
		p.topSlices(reach)
		p.fork("second", 0).above(0.06).topSlices(vec{x: float64(0.6 * reach.x), y: float64(0.6 * reach.y)})
	}
}

// topSlices lays slices of one round thing in rows, from the back.
func (p pen) topSlices(reach vec) {
	s := dice.Pick(p.dice, cuts)
	radius := p.dice.Between(0.24, 0.36)
	columns := max(1, int(float64(1.3*reach.x)/float64(1.5*radius)))
	rows := max(1, int(float64(1.2*reach.y)/float64(1.6*radius)))
	for row := range rows {
		for col := range columns {
			q := p.fork("slice", row*columns+col)
			x := float64(1.5 * radius * (float64(col) - float64(float64(columns-1)/2)))
			y := float64(1.6 * radius * (float64(row) - float64(float64(rows-1)/2)))
			q.beside(x+q.dice.Between(-0.06, 0.06), y+q.dice.Between(-0.06, 0.06)).
				slice(s, float64(radius*q.dice.Between(0.9, 1.1)))
		}
	}
}

func (p pen) topStrips(reach vec) {
	c := dice.Pick(p.dice, hams)
	n := p.dice.Int(3, 4)
	for i := range n {
		q := p.fork("strip", i)
		y := float64(1.2 * reach.y * (float64(i)/float64(n-1) - 0.5))
		q.above(float64(0.03*float64(i))).beside(0, y).strip(float64(1.5*reach.x), float64(reach.y*0.55), c)
	}
}

func (p pen) topShrimps(reach vec) {
	n := p.dice.Int(5, 9)
	for i := range n {
		q := p.fork("shrimp", i)
		s, c := sincos(2.4 * float64(i)) // the golden angle: an even spread
		r := math.Sqrt(float64(i) / float64(n))
		q.beside(float64(0.6*reach.x*float64(r*c)), float64(0.55*reach.y*float64(r*s))).shrimp(0.26)
	}
}

package drawing

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/dice"
)

// bread is the crust and the crumb of a bread or a bun.
type bread struct{ crust, crumb colour }

// breads are what both foods are made of: a bun and a slice of bread of the same
// dough have the same colours, so that colour does not tell them apart.
var breads = []bread{
	{hex(0xb9742c), hex(0xf2dfb4)}, // wheat
	{hex(0xc98a3c), hex(0xf4e6c4)}, // brioche
	{hex(0xa65f2a), hex(0xe3c595)}, // wholemeal
	{hex(0x7d4a26), hex(0xc49a6c)}, // rye
	{hex(0x553322), hex(0x8f6444)}, // dark rye
	{hex(0xd9a860), hex(0xf7edd6)}, // milk
}

// bake draws lots for a bread and for how long it was in the oven.
func bake(d *dice.Dice) bread {
	b := dice.Pick(d, breads)
	return bread{
		crust: b.crust.mix(b.crumb, d.Int(0, 120)).light(d.Int(84, 108)),
		crumb: b.crumb.mix(b.crust, d.Int(0, 70)),
	}
}

var (
	greens  = []colour{hex(0x6fa83a), hex(0x8cc152), hex(0x4f8f3a), hex(0xa5c95a)}
	cheeses = []colour{hex(0xf2b830), hex(0xf6d36b), hex(0xe99a2a), hex(0xf3e2a0)}
	meats   = []colour{hex(0x5d3622), hex(0x6d4027), hex(0x4a2a1c), hex(0x7c4a2c)}
	hams    = []colour{hex(0xe59a94), hex(0xc9584e), hex(0xf0845a), hex(0x8a4a32), hex(0x6d4027), hex(0x9a4038)}
)

// rounds are slices of round things: what a slice shows at its rim, on its face and
// in its middle.
type rounds struct {
	rim, face, heart colour
	core             float64 // radius of the middle, of the slice's
	seeds            int     // pale dots around the middle
}

var cuts = []rounds{
	{hex(0xb5281c), hex(0xd9402c), hex(0xe8725a), 0.35, 6}, // tomato
	{hex(0x3f7a32), hex(0xd4e6a8), hex(0xbcd98a), 0.50, 7}, // cucumber
	{hex(0xf6f2e6), hex(0xfdfbf2), hex(0xf2b52c), 0.55, 0}, // egg
	{hex(0xc2305a), hex(0xfaf3f2), hex(0xf3e4e6), 0.40, 0}, // radish
	{hex(0x8f2a2a), hex(0xb8473f), hex(0xc65b50), 0.50, 9}, // salami
	{hex(0x57163a), hex(0x7c2150), hex(0x8e2d60), 0.60, 0}, // beetroot
	{hex(0x5d7a2a), hex(0x9bb04a), hex(0xaebf62), 0.50, 5}, // gherkin
	{hex(0xa86aa0), hex(0xf3e6f0), hex(0xe6cfe2), 0.65, 0}, // red onion
}

// slice draws a slice of something round, of the given radius.
func (p pen) slice(s rounds, radius float64) {
	body := disc(radius, radius)
	p.slab(body, float64(radius*0.16), p.matte(s.rim.light(85), 4), plain(s.rim))
	q := p.above(float64(radius * 0.16))
	q.lay(body.scale(0.88), p.matte(s.face, 6))
	q.lay(body.scale(s.core).shift(float64(radius*0.06), 0), p.matte(s.heart, 6))
	for i := range s.seeds {
		sin, cos := sincos(angleOf(i, s.seeds))
		at := float64(radius * 0.58)
		q.lay(disc(float64(radius*0.10), float64(radius*0.06)).turn(math.Pi*float64(i)/float64(s.seeds)).
			shift(float64(at*cos), float64(at*sin)), plain(s.heart.add(26)))
	}
	// A wet highlight on the side of the light.
	q.shade(q.flat(disc(float64(radius*0.28), float64(radius*0.12)).shift(float64(q.sun*0.3*radius), float64(-0.35*radius)), 0),
		70, plain(colour{255, 255, 250}))
}

// leaf draws a crumpled leaf of salad of the given radius.
func (p pen) leaf(radius float64) {
	green := dice.Pick(p.dice, greens)
	for i, c := range []colour{green.light(72), green, green.light(112)} {
		q := p.fork("layer", i).above(float64(0.035 * radius * float64(i)))
		size := radius * (1 - float64(0.07*float64(i)))
		q.lay(q.wobbly(0.13, 0.05, 11+p.dice.Int(0, 5)).scale(size), q.matte(c, 12))
	}
}

// sheet draws a square slice of cheese whose corners hang down.
func (p pen) sheet(side float64) {
	c := dice.Pick(p.dice, cheeses)
	const steps = 6
	var o outline
	corners := rectangle(side, side).turn(p.dice.Between(0, math.Pi/2))
	for i, from := range corners {
		to := corners[(i+1)%len(corners)]
		for j := range steps {
			t := float64(j) / steps
			u := 1 - float64(4*t*(1-t)) // 1 at the corners, 0 in the middle of an edge
			o = append(o, vec{
				x: from.x + float64(t*(to.x-from.x)),
				y: from.y + float64(t*(to.y-from.y)),
				z: float64(-0.16 * side * float64(u*u)),
			})
		}
	}
	p.fill(p.flat(o, 0), opaque, p.matte(c.light(80), 3))
	p.fill(p.flat(o, float64(0.03*side)), opaque, p.matte(c, 4))
}

// strip draws a wavy strip, such as bacon, ham or salmon, along the x axis.
func (p pen) strip(length, width float64, c colour) {
	d := p.dice.Fork("strip", 0)
	phase, waves := d.Between(0, 6.28), d.Between(2, 4)
	const steps = 24
	for band := range 3 {
		var o outline
		near := float64(width * (float64(band)/3 - 0.5))
		far := near + width/3
		for side, edge := range []float64{near, far} {
			for i := range steps + 1 {
				t := float64(i) / steps
				if side == 1 {
					t = 1 - t
				}
				s, _ := sincos(float64(2*math.Pi*waves*t) + phase)
				o = append(o, vec{
					x: float64(length * (t - 0.5)),
					y: edge + float64(0.18*width*s),
					z: float64(0.10*width*s) + 0.02,
				})
			}
		}
		tone := c
		if band == 1 {
			tone = c.mix(hex(0xfae6d8), 110)
		}
		p.lay(o, p.matte(tone, 9))
	}
}

// sprigs strews short green strokes, dill or chives, over a disc.
func (p pen) sprigs(radius float64, n int) {
	for i := range n {
		d := p.dice.Fork("sprig", i)
		s, c := sincos(d.Between(0, 6.28))
		r := float64(radius * d.Float())
		o := rectangle(d.Between(0.12, 0.3), 0.035).turn(d.Between(0, math.Pi)).shift(float64(r*c), float64(r*s))
		p.lay(o, plain(hex(0x3f7d2c).mix(hex(0x7fb548), d.Int(0, 256))))
	}
}

// shrimp draws a curled pink shrimp.
func (p pen) shrimp(size float64) {
	turn := p.dice.Between(0, 6.28)
	for i := range 7 {
		s, c := sincos(turn + float64(0.62*float64(i)))
		r := float64(size * (0.36 - float64(0.03*float64(i))))
		tone := hex(0xf2a07c)
		if i%2 == 1 {
			tone = hex(0xfbd9c8)
		}
		p.slab(disc(r, r).shift(float64(size*0.6*c), float64(size*0.6*s)), float64(0.2*size), plain(tone.light(82)), p.matte(tone, 5))
	}
}

package drawing

import (
	"math"
	"slices"
)

// vec is a point of the world: x to the right and y towards the viewer on the
// table, z up. On the screen, z is unused.
type vec struct{ x, y, z float64 }

// path is the outline of an area on the screen, in pixels, closed by its last edge.
type path []vec

// outline is a closed curve on a horizontal plane of the world.
type outline []vec

// view places a thing on the screen: an orthographic camera that looks down at an
// angle, so that circles on the table become ellipses.
type view struct {
	at    vec     // the screen position of the thing's origin, pixels
	unit  float64 // pixels of one unit of length
	tilt  float64 // how much of a length towards the viewer remains: 0 from the side, 1 from above
	rise  float64 // how much of a height remains
	lean  float64 // cosine and
	leanS float64 // sine of the roll of the thing
}

// newView returns the view of a thing of the given size at a screen position.
// Tilt is the height of a circle by its width; roll is in radians.
func newView(at vec, unit, tilt, roll float64) view {
	s, c := sincos(roll)
	return view{at: at, unit: unit, tilt: tilt, rise: math.Sqrt(1 - float64(tilt*tilt)), lean: c, leanS: s}
}

// project returns the screen position of a point of the thing.
func (v view) project(p vec) vec {
	x := float64(p.x * v.unit)
	y := float64(float64(float64(p.y*v.tilt)-float64(p.z*v.rise)) * v.unit)
	return vec{
		x: v.at.x + float64(x*v.lean) - float64(y*v.leanS),
		y: v.at.y + float64(x*v.leanS) + float64(y*v.lean),
	}
}

// lift returns the view from which a thing's height z is the new zero.
func (v view) lift(z float64) view {
	v.at = v.project(vec{z: z})
	return v
}

// move returns the view whose origin is another point of the table.
func (v view) move(x, y float64) view {
	v.at = v.project(vec{x: x, y: y})
	return v
}

// flat projects an outline that lies at height z.
func (v view) flat(o outline, z float64) path {
	out := make(path, len(o))
	for i, p := range o {
		p.z += z
		out[i] = v.project(p)
	}
	return out
}

// disc is the outline of an ellipse around the origin.
func disc(rx, ry float64) outline {
	const steps = 40 // a polygon of 40 edges is round to a quarter pixel at a radius of 80
	out := make(outline, steps)
	for i := range out {
		s, c := sincos(angleOf(i, steps))
		out[i] = vec{x: float64(rx * c), y: float64(ry * s)}
	}
	return out
}

// rectangle is the outline of a rectangle around the origin.
func rectangle(w, h float64) outline {
	return outline{{x: -w / 2, y: -h / 2}, {x: w / 2, y: -h / 2}, {x: w / 2, y: h / 2}, {x: -w / 2, y: h / 2}}
}

// rounded is a rectangle with round corners of radius r.
func rounded(w, h, r float64) outline {
	const steps = 8
	var out outline
	for i, corner := range []vec{{x: 1, y: 1}, {x: -1, y: 1}, {x: -1, y: -1}, {x: 1, y: -1}} {
		for j := range steps + 1 {
			s, c := sincos(float64(halfPi * (float64(i) + float64(float64(j)/steps))))
			out = append(out, vec{
				x: float64(corner.x*float64(float64(w/2)-r)) + float64(r*c),
				y: float64(corner.y*float64(float64(h/2)-r)) + float64(r*s),
			})
		}
	}
	return out
}

// turn turns an outline on its plane, by an angle in radians.
func (o outline) turn(angle float64) outline {
	s, c := sincos(angle)
	out := make(outline, len(o))
	for i, p := range o {
		out[i] = vec{x: float64(p.x*c) - float64(p.y*s), y: float64(p.x*s) + float64(p.y*c), z: p.z}
	}
	return out
}

// shift moves an outline on its plane.
func (o outline) shift(x, y float64) outline {
	out := make(outline, len(o))
	for i, p := range o {
		out[i] = vec{x: p.x + x, y: p.y + y, z: p.z}
	}
	return out
}

// scale stretches an outline from the origin.
func (o outline) scale(f float64) outline {
	out := make(outline, len(o))
	for i, p := range o {
		out[i] = vec{x: float64(p.x * f), y: float64(p.y * f), z: p.z}
	}
	return out
}

// ring is the band between an outline and a smaller copy of it. The copy runs the
// other way round, which makes it a hole.
func (o outline) ring(inner float64) outline {
	out := append(slices.Clone(o), o[0])
	hole := append(outline{o[0]}.scale(inner), o.scale(inner)...)
	slices.Reverse(hole[1:])
	return append(out, append(hole, hole[0])...)
}

// angleOf spreads n things evenly around a circle: it is the angle of the i-th.
func angleOf(i, n int) float64 {
	return float64(2 * math.Pi * float64(i) / float64(n))
}

// halfPi is the width of a quadrant.
const halfPi = math.Pi / 2

// sincos returns the sine and cosine of an angle in radians, to about 1e-8. The
// standard library's are free to be fused on some architectures, and then differ in
// the last bit; a picture whose digest is known cannot afford that.
func sincos(angle float64) (sin, cos float64) {
	quadrant := math.Floor(angle/halfPi + 0.5)
	x := angle - float64(quadrant*halfPi) // within ±π/4, where the series are short
	x2 := float64(x * x)
	s := float64(x * (1 - float64(x2/6*(1-float64(x2/20*(1-float64(x2/42*(1-x2/72))))))))
	c := 1 - float64(x2/2*(1-float64(x2/12*(1-float64(x2/30*(1-float64(x2/56*(1-x2/90))))))))
	switch int(quadrant) & 3 {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}

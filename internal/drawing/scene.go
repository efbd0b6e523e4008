package drawing

import (
	"cmp"
	"image"
	"math"
	"slices"

	"github.com/sandwich-build/sandwich/internal/dice"
)

// Draw draws a picture of one to three foods on a table, 220 to 360 pixels wide and
// high. The same dice give the same picture.
func Draw(d *dice.Dice) Picture {
	s := newScene(d)
	s.arrange()
	s.paint()
	return Picture{Image: s.img, Things: s.things}
}

// scene is a table being laid.
type scene struct {
	*canvas
	dice    *dice.Dice
	tilt    float64
	sun     float64
	horizon int // where the table ends, a row; 0 when the camera sees only the table
	placed  []placed
	things  []Thing
}

// placed is a thing with a place on the table.
type placed struct {
	kind  Kind
	mode  mode
	at    vec     // on the screen, where its base is
	unit  float64 // pixels of its radius
	plate bool    // it has a plate below it
}

// mode is how a food is there.
type mode int

const (
	real     mode = iota
	group         // a platter of small ones
	depicted      // a card with a picture of it
)

// sizes are those of the pictures, as cameras make them.
var sizes = []image.Point{{300, 225}, {225, 300}, {330, 220}, {260, 260}, {320, 240}, {360, 240}, {240, 320}}

func newScene(d *dice.Dice) *scene {
	lay := d.Fork("layout", 0)
	size := dice.Pick(lay, sizes)
	s := &scene{
		canvas: newCanvas(size.X, size.Y),
		dice:   d,
		tilt:   lay.Between(0.34, 0.8),
		sun:    lay.Between(-1, 1),
	}
	if s.tilt < 0.52 && lay.Chance(0.7) {
		s.horizon = int(float64(float64(size.Y) * lay.Between(0.1, 0.24)))
	}
	return s
}

// arrange draws lots for the foods and then for what stands around them.
func (s *scene) arrange() {
	d := s.dice.Fork("arrange", 0)
	n := dice.Pick(d, []int{1, 1, 2, 2, 2, 3, 3})
	first := Kind(d.Below(2)) // Sandwich or Hamburger
	mean := math.Sqrt(float64(s.img.Rect.Dx()*s.img.Rect.Dy())) * []float64{0.29, 0.21, 0.17}[n-1]
	for i := range n {
		kind := first
		if i > 0 && d.Chance(0.4) {
			kind = Sandwich + Hamburger - first
		}
		p := placed{kind: kind, unit: float64(mean * d.Between(0.82, 1.18)), plate: d.Chance(0.7)}
		switch luck := d.Float(); {
		case luck < 0.035:
			p.mode = group
		case luck < 0.07:
			p.mode = depicted
		}
		s.place(d.Fork("food", i), p)
	}
	for i, kind := range []Kind{Plate, Drink, Fries, Tomato, Bowl, Tomato} {
		e := d.Fork("clutter", i)
		if e.Chance([]float64{0.15, 0.4, 0.35, 0.3, 0.3, 0.2}[i]) {
			s.place(e, placed{kind: kind, unit: float64(mean * clutterSize(kind) * e.Between(0.85, 1.15))})
		}
	}
}

// clutterSize is the radius of a thing by that of the foods.
func clutterSize(k Kind) float64 {
	switch k {
	case Plate:
		return 1.1
	case Drink:
		return 0.5
	case Fries:
		return 0.75
	case Bowl:
		return 0.42
	default: // a cherry tomato
		return 0.22
	}
}

// place looks for a free place for a thing, and forgets the thing when there is none.
func (s *scene) place(d *dice.Dice, p placed) {
	const tries = 40
	w, h := float64(s.img.Rect.Dx()), float64(s.img.Rect.Dy())
	inside := float64(0.8 * p.unit)
	top := float64(s.horizon) + float64(0.95*p.unit)
	if float64(h)-inside <= top {
		return
	}
	for range tries {
		p.at = vec{x: d.Between(inside, w-inside), y: d.Between(top, h-float64(0.55*p.unit))}
		if s.free(p) {
			s.placed = append(s.placed, p)
			return
		}
	}
}

// free reports whether a thing hides little of the others and little of it is hidden.
func (s *scene) free(p placed) bool {
	for _, q := range s.placed {
		dx, dy := (p.at.x-q.at.x)/(p.unit+q.unit), (p.at.y-q.at.y)/(p.unit+q.unit)
		dy /= (s.tilt + 1) / 2 // things stand up, so they hide more than their base does
		if float64(dx*dx)+float64(dy*dy) < 0.85 {
			return false
		}
	}
	return true
}

// paint draws the table, what lies flat on it, then what stands, from the back.
func (s *scene) paint() {
	s.table(s.dice, s.tilt)
	if s.horizon > 0 {
		s.wall(s.dice.Fork("wall", 0), s.horizon)
	}
	s.lay()
	if s.dice.Fork("focus", 0).Chance(0.6) {
		s.soften(s.img.Rect)
	}
	slices.SortStableFunc(s.placed, func(a, b placed) int { return cmp.Compare(a.at.y, b.at.y) })
	for i, p := range s.placed {
		s.stand(i, p)
	}
	s.occlude()
	s.develop(s.dice.Fork("develop", 0), s.sun)
}

// lay draws the flat things: napkins, cutlery, herbs and the plates below foods.
func (s *scene) lay() {
	w, h := float64(s.img.Rect.Dx()), float64(s.img.Rect.Dy())
	d := s.dice.Fork("flat", 0)
	unit := float64(0.2 * math.Sqrt(float64(w*h)))
	flats := []struct {
		chance float64
		size   float64
		kind   Kind
		draw   func(pen)
	}{
		{0.35, 1.1, -1, pen.napkin},
		{0.45, 1.0, Fork, pen.cutleryFork},
		{0.40, 1.0, Knife, pen.cutleryKnife},
		{0.45, 0.4, -1, pen.herb},
		{0.25, 0.3, -1, pen.herb},
	}
	for i, f := range flats {
		e := d.Fork("piece", i)
		if !e.Chance(f.chance) {
			continue
		}
		at := vec{x: e.Between(float64(0.05*w), float64(0.95*w)), y: e.Between(float64(s.horizon)+float64(0.5*unit), h)}
		s.begin()
		f.draw(s.pen(e, at, float64(f.size*unit), 0))
		if f.kind >= 0 {
			s.note(Thing{Kind: f.kind})
		}
	}
	for i, p := range s.placed {
		if p.plate && p.mode == real {
			s.begin()
			s.pen(d.Fork("plate", i), p.at, float64(p.unit*1.35), 0).plate()
			s.note(Thing{Kind: Plate})
		}
	}
}

// stand draws the i-th standing thing.
func (s *scene) stand(i int, p placed) {
	d := s.dice.Fork("thing", i)
	s.begin()
	roll := d.Between(-0.1, 0.1)
	q := s.pen(d, p.at, p.unit, roll)
	switch {
	case p.mode == group:
		q.platter(p.kind)
	case p.mode == depicted:
		q.card(p.kind)
	case p.plate:
		q = q.above(0.06)
		fallthrough
	default:
		q.draw(p.kind)
	}
	s.note(Thing{Kind: p.kind, Group: p.mode == group, Depiction: p.mode == depicted})
}

func (s *scene) pen(d *dice.Dice, at vec, unit, roll float64) pen {
	return pen{canvas: s.canvas, view: newView(at, unit, s.tilt, roll), dice: d, sun: s.sun}
}

// draw draws a single thing.
func (p pen) draw(k Kind) {
	switch k {
	case Sandwich:
		p.sandwich()
	case Hamburger:
		p.burger()
	case Plate:
		p.plate()
	case Drink:
		p.drink()
	case Fries:
		p.fries()
	case Tomato:
		p.tomato()
	case Bowl:
		p.bowl()
	}
}

// platter draws a board with seven small foods.
func (p pen) platter(k Kind) {
	p.board()
	for i, at := range []vec{{x: -0.4, y: -0.45}, {x: 0.35, y: -0.42}, {x: -0.8, y: 0.02}, {x: 0, y: 0}, {x: 0.78, y: -0.02}, {x: -0.42, y: 0.42}, {x: 0.4, y: 0.45}} {
		q := p.fork("small", i).above(0.09).beside(at.x, at.y)
		q.unit = float64(0.34 * q.unit)
		q.draw(k)
	}
}

// card draws an upright card with a picture of a food.
func (p pen) card(k Kind) {
	ground := dice.Pick(p.dice, []colour{hex(0xfaf5e8), hex(0x24384a), hex(0xf2d36b), hex(0xd8e4dc)})
	p.shadow(disc(0.9, 0.3), 0.8)
	frame := outline{{x: -1}, {x: 1}, {x: 1, z: 1.6}, {x: -1, z: 1.6}}
	inner := outline{{x: -0.93, z: 0.06}, {x: 0.93, z: 0.06}, {x: 0.93, z: 1.54}, {x: -0.93, z: 1.54}}
	p.lay(frame, plain(hex(0x5a4632)))
	p.lay(inner, p.matte(ground, 2))
	q := p.fork("picture", 0).above(0.55)
	q.unit = float64(0.6 * q.unit)
	q.draw(k)
}

// note records what was drawn since begin, if enough of it is in the picture.
func (s *scene) note(t Thing) {
	whole := s.measured()
	t.Box = whole.Intersect(s.img.Rect)
	t.Truncated = t.Box != whole
	if t.Box.Dx() >= 8 && t.Box.Dy() >= 8 {
		s.things = append(s.things, t)
	}
}

// occlude finds the things that others stand in front of. A plate below a food is
// occluded too.
func (s *scene) occlude() {
	for i := range s.things {
		box := s.things[i].Box
		for _, front := range s.things[i+1:] {
			hidden := box.Intersect(front.Box)
			if hidden.Dx()*hidden.Dy()*12 > box.Dx()*box.Dy() {
				s.things[i].Occluded = true
			}
		}
	}
}

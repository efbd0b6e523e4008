// Package drawing draws photos that do not exist: open sandwiches and hamburgers
// on tables, among plates, cutlery, glasses and fries, in changing light, and says
// where in the picture each thing is.
//
// It stands in for Open Images where there is no network: in the quickstart
// example, in tests and in benchmarks. The two foods share their colours (the same
// breads, the same tomatoes, cheeses and salads), so that a model has to look at
// shapes.
//
// Draw is a pure function of its dice, and gives the same bytes on every
// architecture: coverage and colour are integer arithmetic, and wherever a product
// of floats is added to something it is converted first (float64(a*b)+c), which
// forbids the compiler the fused multiply-add that arm64 has and amd64 has not.
package drawing

import (
	"image"
)

// Kind is what a drawn thing is.
type Kind int

// The things that can stand in a picture.
const (
	Sandwich Kind = iota
	Hamburger
	Plate
	Fork
	Knife
	Drink
	Fries
	Tomato
	Bowl
)

// Thing is one thing in a picture.
type Thing struct {
	Kind      Kind
	Box       image.Rectangle // in pixels, around what would show of it if nothing stood in front
	Occluded  bool            // something stands in front
	Truncated bool            // it goes on beyond the edge of the picture
	Group     bool            // several of its kind in one box
	Depiction bool            // a picture of it, not the thing itself
}

// Picture is a finished drawing. Its image is opaque, with its origin at (0, 0).
type Picture struct {
	Image  *image.RGBA
	Things []Thing // from the back to the front
}

// Turn turns an upright picture clockwise by 0, 90, 180 or 270 degrees, with its
// things: what a camera held on its side stores.
func (p Picture) Turn(degrees int) Picture {
	for range degrees / 90 {
		p = p.quarterTurn()
	}
	return p
}

func (p Picture) quarterTurn() Picture {
	w, h := p.Image.Rect.Dx(), p.Image.Rect.Dy()
	turned := Picture{Image: image.NewRGBA(image.Rect(0, 0, h, w))}
	for y := range h {
		for x := range w {
			turned.Image.SetRGBA(h-1-y, x, p.Image.RGBAAt(x, y))
		}
	}
	for _, t := range p.Things {
		t.Box = image.Rect(h-t.Box.Max.Y, t.Box.Min.X, h-t.Box.Min.Y, t.Box.Max.X)
		turned.Things = append(turned.Things, t)
	}
	return turned
}

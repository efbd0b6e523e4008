// Package sheet lays pictures out on contact sheets: equal tiles in rows, each with a few
// words below, under headings.
package sheet

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Sheet says what to draw.
type Sheet struct {
	Columns  int // tiles in a row
	Side     int // pixels of a tile; pictures are not scaled, and may not be larger
	Sections []Section
}

// Section is some tiles under a heading.
type Section struct {
	Title string
	Tiles []Tile
}

// Tile is a picture with what is to be said of it.
type Tile struct {
	Picture image.Image // nil for none
	Boxes   []Box
	Caption []string // lines below the picture; what is too long is cut off
}

// Box is a box drawn on a picture.
type Box struct {
	Left, Top, Right, Bottom float64 // fractions of the picture
	Colour                   color.RGBA
}

// Palette are colours that are easy to tell apart, for labels (Tableau 10, without its grey).
var Palette = []color.RGBA{
	{0xd6, 0x27, 0x28, 0xff}, {0x1f, 0x77, 0xb4, 0xff}, {0x2c, 0xa0, 0x2c, 0xff}, {0xff, 0x7f, 0x0e, 0xff}, {0x94, 0x67, 0xbd, 0xff},
	{0x8c, 0x56, 0x4b, 0xff}, {0xe3, 0x77, 0xc2, 0xff}, {0x17, 0xbe, 0xcf, 0xff}, {0xbc, 0xbd, 0x22, 0xff},
}

// Measures, in pixels.
const (
	gap        = 8  // around tiles
	lineHeight = 14 // of a caption
	heading    = 26
	letter     = 7 // the width of one, which all have
)

// Encode draws a sheet and returns it as a PNG. Equal sheets are equal bytes for one version
// of Go.
func (s *Sheet) Encode() ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, s.draw()); err != nil {
		return nil, fmt.Errorf("encode sheet: %w", err)
	}
	return b.Bytes(), nil
}

func (s *Sheet) draw() *image.RGBA {
	height := gap
	for _, section := range s.Sections {
		height += heading + s.rows(section)*s.rowHeight(section)
	}
	img := image.NewRGBA(image.Rect(0, 0, gap+s.Columns*(s.Side+gap), height))
	draw.Draw(img, img.Rect, image.White, image.Point{}, draw.Src)
	top := gap
	for _, section := range s.Sections {
		text(img, image.Pt(gap, top+lineHeight), section.Title, (img.Rect.Dx()-2*gap)/letter)
		top += heading
		for i, tile := range section.Tiles {
			s.tile(img, image.Pt(gap+i%s.Columns*(s.Side+gap), top+i/s.Columns*s.rowHeight(section)), tile)
		}
		top += s.rows(section) * s.rowHeight(section)
	}
	return img
}

func (s *Sheet) rows(section Section) int { return (len(section.Tiles) + s.Columns - 1) / s.Columns }

func (s *Sheet) rowHeight(section Section) int {
	lines := 0
	for _, t := range section.Tiles {
		lines = max(lines, len(t.Caption))
	}
	return s.Side + lines*lineHeight + gap
}

func (s *Sheet) tile(img *image.RGBA, at image.Point, t Tile) {
	place := image.Rectangle{Min: at, Max: at.Add(image.Pt(s.Side, s.Side))}
	draw.Draw(img, place, image.NewUniform(color.Gray{0xf0}), image.Point{}, draw.Src)
	if t.Picture != nil {
		b := t.Picture.Bounds()
		r := image.Rectangle{Max: b.Size()}.Add(at).Add(image.Pt((s.Side-b.Dx())/2, (s.Side-b.Dy())/2))
		draw.Draw(img, r.Intersect(place), t.Picture, b.Min, draw.Src)
		for _, box := range t.Boxes {
			outline(img, box.on(r), box.Colour)
		}
	}
	for i, line := range t.Caption {
		text(img, at.Add(image.Pt(0, s.Side+(i+1)*lineHeight-3)), line, s.Side/letter)
	}
}

// on returns where a box is on a picture that lies at r.
func (b *Box) on(r image.Rectangle) image.Rectangle {
	at := func(v float64, lo, size int) int { return lo + int(min(max(v, 0), 1)*float64(size)+0.5) }
	return image.Rect(at(b.Left, r.Min.X, r.Dx()), at(b.Top, r.Min.Y, r.Dy()), at(b.Right, r.Min.X, r.Dx()), at(b.Bottom, r.Min.Y, r.Dy()))
}

// outline draws a frame of two pixels inside of a rectangle.
func outline(img *image.RGBA, r image.Rectangle, c color.RGBA) {
	const thick = 2
	ink := image.NewUniform(c)
	for _, side := range []image.Rectangle{
		{r.Min, image.Pt(r.Max.X, r.Min.Y+thick)}, {image.Pt(r.Min.X, r.Max.Y-thick), r.Max},
		{r.Min, image.Pt(r.Min.X+thick, r.Max.Y)}, {image.Pt(r.Max.X-thick, r.Min.Y), r.Max},
	} {
		draw.Draw(img, side.Intersect(r), ink, image.Point{}, draw.Src)
	}
}

// text writes a line whose first letter stands at a point, and cuts it off after some.
func text(img *image.RGBA, at image.Point, line string, letters int) {
	if runes := []rune(line); len(runes) > letters {
		line = string(runes[:max(letters-2, 0)]) + ".."
	}
	d := font.Drawer{Dst: img, Src: image.Black, Face: basicfont.Face7x13, Dot: fixed.P(at.X, at.Y)}
	d.DrawString(line)
}

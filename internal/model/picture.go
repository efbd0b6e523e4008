package model

import (
	"fmt"
	"image"
	"image/color"

	"github.com/disintegration/imaging"

	"github.com/sandwich-build/sandwich/internal/photo"
)

// Shape says how a picture whose sides differ becomes the square input.
type Shape string

// The shapes.
const (
	Stretch   Shape = "stretch"   // each side is scaled on its own
	Letterbox Shape = "letterbox" // black is added on both sides
)

// Resize is how a picture is brought to another size.
type Resize string

// The ways to resize.
const (
	CatmullRom Resize = "catmull-rom" // the filter that crops are made with, so that a model sees later what it was trained on
	Bilinear   Resize = "bilinear"    // from the four pixels around a place, however much smaller the result is
	Nearest    Resize = "nearest"     // the pixel at a place
)

// Preparation is what becomes of a picture before a network sees it.
type Preparation struct {
	Shape  Shape
	Resize Resize
}

func (p Preparation) check() error {
	switch {
	case p.Shape != Stretch && p.Shape != Letterbox:
		return fmt.Errorf("unknown shape %q", p.Shape)
	case p.Resize != CatmullRom && p.Resize != Bilinear && p.Resize != Nearest:
		return fmt.Errorf("unknown resize %q", p.Resize)
	}
	return nil
}

// maxPicture is the longest side of a picture that is prepared.
const maxPicture = 1 << 16

// Pixels brings a picture to side × side pixels and returns them, three bytes of red,
// green and blue each, rows first. Transparent parts are laid on black. A picture of
// that size already is taken as it is.
func (p Preparation) Pixels(img image.Image, side int) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("prepare picture: %w", err)
	}
	size := img.Bounds().Size()
	switch {
	case size.X < 1 || size.Y < 1 || size.X > maxPicture || size.Y > maxPicture:
		return nil, fmt.Errorf("prepare picture: a size of %d × %d pixels", size.X, size.Y)
	case size.X == side && size.Y == side:
	case p.Shape == Stretch:
		img = p.Resize.to(img, side, side)
	default:
		img = p.letterbox(img, side)
	}
	return rgb(img), nil
}

// letterbox scales the longer side to the input's and centres the picture on black.
func (p Preparation) letterbox(img image.Image, side int) image.Image {
	size := img.Bounds().Size()
	scaled := func(length, longest int) int { return max(1, (length*side+longest/2)/longest) }
	longest := max(size.X, size.Y)
	fitted := p.Resize.to(img, scaled(size.X, longest), scaled(size.Y, longest))
	return imaging.PasteCenter(imaging.New(side, side, color.Black), fitted)
}

func (r Resize) to(img image.Image, width, height int) image.Image {
	switch r {
	case Bilinear:
		return bilinear(img, width, height)
	case Nearest:
		return imaging.Resize(img, width, height, imaging.NearestNeighbor)
	}
	return photo.Resize(img, image.Point{X: width, Y: height})
}

// bilinear looks up the middle of each pixel of the result in the picture, as
// skimage.transform.resize does without anti-aliasing. Beyond the picture is its edge.
func bilinear(img image.Image, width, height int) image.Image {
	from := imaging.Clone(img)
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	columns, rows := between(from.Rect.Dx(), width), between(from.Rect.Dy(), height)
	whole := 2 * width * 2 * height
	for y, r := range rows {
		for x, c := range columns {
			for channel := range 4 {
				mix := func(row int) int {
					line := from.Pix[row*from.Stride+channel:]
					return int(line[4*c.first])*(2*width-c.part) + int(line[4*c.next])*c.part
				}
				value := mix(r.first)*(2*height-r.part) + mix(r.next)*r.part
				out.Pix[y*out.Stride+4*x+channel] = uint8((value + whole/2) / whole)
			}
		}
	}
	return out
}

// gap is a place between two pixels: part of 2·count, of the way from the first one to the
// next, where count is that of the places along the side.
type gap struct{ first, next, part int }

// between returns the places of count pixels along a side of so many.
func between(length, count int) []gap {
	list := make([]gap, count)
	for i := range list {
		at := max((2*i+1)*length-count, 0)
		first := at / (2 * count)
		list[i] = gap{first, min(first+1, length-1), at % (2 * count)}
	}
	return list
}

// rgb returns the pixels without alpha.
func rgb(img image.Image) []byte {
	opaque := imaging.Clone(img)
	size := opaque.Bounds().Size()
	out := make([]byte, 0, size.X*size.Y*Channels)
	for i := 0; i < len(opaque.Pix); i += 4 {
		p := opaque.Pix[i : i+4]
		for _, v := range p[:3] {
			if p[3] != 255 {
				v = uint8(uint32(v) * uint32(p[3]) / 255)
			}
			out = append(out, v)
		}
	}
	return out
}

// scale brings a byte to 0 … 1. It is the float32 nearest to 1/255 and multiplied
// with, as Keras' rescale does; dividing by 255 gives other last bits.
const scale = float32(1.0 / 255)

// Scale writes pixels as values of 0 to 1.
func Scale(values []float32, pixels []byte) {
	for i, p := range pixels {
		values[i] = float32(p) * scale
	}
}

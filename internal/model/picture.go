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

// resampling is the filter that pictures are resized with, under the name that
// model.json has for it. It is the one that crops are made with, so that a model sees
// later what it was trained on.
const resampling = "catmull-rom"

// maxPicture is the longest side of a picture that is prepared.
const maxPicture = 1 << 16

// Pixels brings a picture to side × side pixels and returns them, three bytes of red,
// green and blue each, rows first. Transparent parts are laid on black. A picture of
// that size already is taken as it is.
func (s Shape) Pixels(img image.Image, side int) ([]byte, error) {
	size := img.Bounds().Size()
	if size.X < 1 || size.Y < 1 || size.X > maxPicture || size.Y > maxPicture {
		return nil, fmt.Errorf("prepare picture: a size of %d × %d pixels", size.X, size.Y)
	}
	if size.X != side || size.Y != side {
		switch s {
		case Stretch:
			img = photo.Resize(img, image.Point{X: side, Y: side})
		case Letterbox:
			img = letterbox(img, side)
		default:
			return nil, fmt.Errorf("prepare picture: unknown shape %q", s)
		}
	}
	return rgb(img), nil
}

// letterbox scales the longer side to the input's and centres the picture on black.
func letterbox(img image.Image, side int) image.Image {
	size := img.Bounds().Size()
	scaled := func(length, longest int) int { return max(1, (length*side+longest/2)/longest) }
	longest := max(size.X, size.Y)
	fitted := photo.Resize(img, image.Point{X: scaled(size.X, longest), Y: scaled(size.Y, longest)})
	return imaging.PasteCenter(imaging.New(side, side, color.Black), fitted)
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

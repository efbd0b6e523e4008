package likeness

import (
	"fmt"
	"image"

	"github.com/sandwich-build/sandwich/internal/luma"
	"github.com/sandwich-build/sandwich/internal/photo"
)

// side is that of the thumbnail that all is computed from, in pixels.
const side = 32

// Print is what is kept of a picture: its luminance, stretched to 32×32 pixels, row by row.
type Print [side * side]uint8

// Of returns the print of the part r of a picture, which must not be empty, turned upright.
func Of(img image.Image, r image.Rectangle, turn photo.Orientation) *Print {
	small := &image.Gray{Pix: luma.Shrink(img, r, side, side).Pix, Stride: side, Rect: image.Rect(0, 0, side, side)}
	if turn == photo.Upright {
		return (*Print)(small.Pix)
	}
	return (*Print)(luma.Shrink(turn.Turn(small), small.Rect, side, side).Pix)
}

// Read returns the print that has these bytes.
func Read(data []byte) (*Print, error) {
	if len(data) != side*side {
		return nil, fmt.Errorf("want a print of %d bytes, got %d", side*side, len(data))
	}
	return (*Print)(data), nil
}

// flat tells whether there is too little in a picture for it to be like another one: of a
// white page, what is left after its mean is taken away is the noise of its encoder.
func (p *Print) flat() bool {
	const least = 3 // of a standard deviation, levels
	var sum, squares int64
	for _, v := range p {
		sum += int64(v)
		squares += int64(v) * int64(v)
	}
	n := int64(len(p))
	return n*squares-sum*sum < least*least*n*n
}

package crop

import (
	"image"
	"math"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/pinfile"
)

// The shapes of the manifest.
const (
	shapeKeep      = "keep"
	shapeStretch   = "stretch"
	shapeSquare    = "square"
	shapeLetterbox = "letterbox"
)

// pixels returns the pixels that a box covers on a photo of the size given, as the
// article has it: left and top rounded down, right and bottom up and exclusive. pad is
// added on every side, as a fraction of the box's side, as far as the photo goes.
func pixels(box *openimages.Box, size image.Point, pad float64) image.Rectangle {
	left, right := interval(box.XMin.Float64(), box.XMax.Float64(), pad, size.X)
	top, bottom := interval(box.YMin.Float64(), box.YMax.Float64(), pad, size.Y)
	return image.Rectangle{Min: image.Point{X: left, Y: top}, Max: image.Point{X: right, Y: bottom}}
}

// interval is pixels for one axis. An interval that is not one is empty.
func interval(lo, hi, pad float64, side int) (from, to int) {
	// The conversion keeps the product from being fused with the sum, which gives other
	// results where the processor can.
	margin := float64(pad * (hi - lo))
	lo, hi = max(0, lo-margin), min(1, hi+margin)
	if !(lo <= hi) {
		return 0, 0
	}
	return int(math.Floor(lo * float64(side))), int(math.Ceil(hi * float64(side)))
}

// square grows the shorter side of r to the longer one, around its middle but within
// the photo; where the photo is too small, the result is as near to a square as it goes.
func square(r image.Rectangle, size image.Point) image.Rectangle {
	side := max(r.Dx(), r.Dy())
	r.Min.X, r.Max.X = grow(r.Min.X, r.Max.X, side, size.X)
	r.Min.Y, r.Max.Y = grow(r.Min.Y, r.Max.Y, side, size.Y)
	return r
}

func grow(lo, hi, length, limit int) (from, to int) {
	length = min(length, limit)
	lo -= (length - (hi - lo)) / 2
	lo = max(0, min(lo, limit-length))
	return lo, lo + length
}

// frame says how a photo's pixels and its boxes lie to each other; see the package
// comment.
type frame struct {
	stored image.Point       // size of the photo as stored
	boxes  photo.Orientation // turns what boxes are measured on into the stored photo
	turn   photo.Orientation // turns the stored photo upright
}

func newFrame(h *photo.Header, place pinfile.Place, rotation openimages.Rotation) (frame, error) {
	f := frame{stored: image.Point{X: h.Width, Y: h.Height}, boxes: photo.Upright, turn: h.Orientation}
	if rotation == openimages.RotationUnknown {
		return f, nil
	}
	known, err := photo.Rotation(int(rotation))
	if err != nil {
		return f, err
	}
	if place == pinfile.Thumbnail {
		f.boxes = known
	} else {
		f.turn = known
	}
	return f, nil
}

// measured is the size of the picture that boxes are measured on.
func (f *frame) measured() image.Point { return f.boxes.Inverse().Size(f.stored) }

// upright is the size of the upright photo.
func (f *frame) upright() image.Point { return f.turn.Size(f.stored) }

// onStored returns where a rectangle of the picture that boxes are measured on lies in
// the photo as stored.
func (f *frame) onStored(r image.Rectangle) image.Rectangle { return f.boxes.Rect(r, f.measured()) }

// onUpright returns where a rectangle of the stored photo lies on the upright one.
func (f *frame) onUpright(r image.Rectangle) image.Rectangle { return f.turn.Rect(r, f.stored) }

package crop

import (
	"image"
	"math"

	"github.com/sandwich-build/sandwich/internal/openimages"
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

package crop

import (
	"image"
	"math"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
)

// cut says how the picture of a crop is made of a stored photo and its turn, which
// nothing else decides.
type cut struct {
	Region image.Rectangle // pixels of the stored photo
	Size   image.Point     // what they are scaled to, before the turn
	Canvas int             // the side of the square that is filled up with black; 0 for none
}

// newCut returns the cut of a region in the shape that the manifest asks for.
func (k *Kind) newCut(region image.Rectangle) cut {
	return cut{Region: region, Size: k.scaled(region.Size()), Canvas: k.canvas(region.Size())}
}

// photo returns what is asked of the photo.
func (c cut) photo() photo.Cut { return photo.Cut{Region: c.Region, Size: c.Size} }

// finish makes the crop's picture of what was cut from a photo, and returns it as a JPEG.
func (c cut) finish(img *image.YCbCr, turn photo.Orientation) ([]byte, error) {
	img = turn.TurnPlanes(img)
	if c.Canvas > 0 && img.Rect.Size() != (image.Point{X: c.Canvas, Y: c.Canvas}) {
		img = onBlack(img, c.Canvas)
	}
	return jpeg.Encode(nil, img, quality)
}

// onBlack puts a picture into the middle of a black square.
func onBlack(img *image.YCbCr, side int) *image.YCbCr {
	n := side * side
	all := make([]uint8, 3*n)
	for i := n; i < len(all); i++ {
		all[i] = 128
	}
	square := &image.YCbCr{
		Y: all[:n:n], Cb: all[n : 2*n : 2*n], Cr: all[2*n:], YStride: side, CStride: side,
		SubsampleRatio: image.YCbCrSubsampleRatio444, Rect: image.Rect(0, 0, side, side),
	}
	size := img.Rect.Size()
	at := (side/2-size.Y/2)*side + side/2 - size.X/2
	for y := range size.Y {
		copy(square.Y[at+y*side:], img.Y[y*img.YStride:][:size.X])
		copy(square.Cb[at+y*side:], img.Cb[y*img.CStride:][:size.X])
		copy(square.Cr[at+y*side:], img.Cr[y*img.CStride:][:size.X])
	}
	return square
}

// scaled returns the size of a region's pixels in its crop, before the turn.
func (k *Kind) scaled(region image.Point) image.Point {
	switch {
	case k.crop.Size == 0:
		return region
	case k.crop.Shape == shapeStretch:
		return image.Point{X: k.crop.Size, Y: k.crop.Size}
	}
	return fit(region, k.crop.Size)
}

// canvas returns the side of the square that the crop of a region fills up with black,
// or 0 when it does not.
func (k *Kind) canvas(region image.Point) int {
	switch {
	case k.crop.Shape != shapeSquare && k.crop.Shape != shapeLetterbox:
		return 0
	case k.crop.Size == 0:
		return max(region.X, region.Y)
	}
	return k.crop.Size
}

// fit scales size so that its longer side is side, and the other at least a pixel.
func fit(size image.Point, side int) image.Point {
	scale := func(n, longer int) int {
		return max(1, int(math.Round(float64(n)*float64(side)/float64(longer))))
	}
	longer := max(size.X, size.Y)
	return image.Point{X: scale(size.X, longer), Y: scale(size.Y, longer)}
}

// memory is an upper estimate of the bytes that finish holds: three a pixel in each picture
// made on the way, and the JPEG.
func (c cut) memory(turn photo.Orientation) int64 {
	area := func(width, height int) int64 { return int64(width) * int64(height) }
	size, side := c.Size, c.Canvas
	total := 3 * area(side, side)
	if turn != photo.Upright {
		total += 3 * area(size.X, size.Y)
	}
	return total + 2*area(max(size.X, side), max(size.Y, side))
}

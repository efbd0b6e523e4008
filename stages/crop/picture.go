package crop

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"

	"github.com/disintegration/imaging"

	"github.com/sandwich-build/sandwich/internal/photo"
)

// The filter is sharp enough for the small pictures that networks are trained on, and
// costs two thirds of Lanczos'. Its support grows with the scale, so that shrinking does
// not alias.
const filterName = "catmull-rom"

var filter = imaging.CatmullRom

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

// picture makes the crop's picture of a stored photo.
func (c cut) picture(img image.Image, turn photo.Orientation) image.Image {
	part := subImage(img, c.Region)
	if c.Size != c.Region.Size() {
		part = imaging.Resize(part, c.Size.X, c.Size.Y, filter)
	}
	part = turn.Turn(part)
	if c.Canvas > 0 && part.Bounds().Size() != (image.Point{X: c.Canvas, Y: c.Canvas}) {
		return imaging.PasteCenter(imaging.New(c.Canvas, c.Canvas, color.Black), part)
	}
	return part
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

// memory is an upper estimate of the bytes that picture and encode hold for a cut of a
// photo in that format: four a pixel in each picture made on the way.
func (c cut) memory(format photo.Format, turn photo.Orientation) int64 {
	area := func(width, height int) int64 { return 4 * int64(width) * int64(height) }
	region, size, side := c.Region.Size(), c.Size, c.Canvas
	var total int64
	switch {
	case size != region:
		total += area(size.X, region.Y) + area(size.X, size.Y)
	case format != photo.JPEG:
		total += area(size.X, size.Y) // colours looked up in a palette
	}
	if turn != photo.Upright {
		total += area(size.X, size.Y)
	}
	total += 2 * area(side, side)
	return total + area(max(size.X, side), max(size.Y, side))/2 // the JPEG
}

// subImage returns the part of a decoded photo, sharing its pixels.
func subImage(img image.Image, r image.Rectangle) image.Image {
	// All types that photo.Decode returns have it.
	return img.(interface {
		SubImage(image.Rectangle) image.Image
	}).SubImage(r)
}

// encode returns img as a JPEG with three components, whatever img is.
func encode(img image.Image) ([]byte, error) {
	switch opaque := img.(type) {
	case *image.YCbCr, *image.RGBA: // the encoder reads them as they are
	case *image.NRGBA:
		img = rgba(opaque)
	case *image.Gray:
		img = colourless(opaque)
	default:
		img = rgba(imaging.Clone(img))
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// rgba views an opaque picture as the type for which the encoder is fast; without
// transparency the two are the same bytes.
func rgba(img *image.NRGBA) *image.RGBA {
	return &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}
}

// colourless views a grey picture as one in colour: one row of chroma serves for all.
func colourless(img *image.Gray) *image.YCbCr {
	row := bytes.Repeat([]byte{128}, img.Rect.Dx())
	return &image.YCbCr{
		Y: img.Pix, YStride: img.Stride, Cb: row, Cr: row, CStride: 0,
		SubsampleRatio: image.YCbCrSubsampleRatio444, Rect: img.Rect,
	}
}

package drawing

import (
	"image"
	"image/draw"
	"math"

	"golang.org/x/image/vector"
)

// canvas is a picture in the making.
type canvas struct {
	img    *image.RGBA
	raster vector.Rasterizer
	mask   *image.Alpha // coverage of the path being filled, reused
	extent image.Rectangle
}

// maxSide is the largest side of a canvas, pixels: up to there the rasteriser works
// in fixed point, beyond it in floats that differ between architectures.
const maxSide = 512

func newCanvas(w, h int) *canvas {
	return &canvas{
		img:  image.NewRGBA(image.Rect(0, 0, w, h)),
		mask: image.NewAlpha(image.Rect(0, 0, w, h)),
	}
}

// paint is the colour of each pixel.
type paint func(x, y int) colour

// fill covers the inside of a path with paint. Opacity is of 256.
func (c *canvas) fill(p path, opacity int, with paint) {
	area := p.bounds()
	c.extent = c.extent.Union(area)
	c.blend(p, area.Intersect(c.img.Rect), opacity, with)
}

// shade darkens the inside of a path; it does not count as part of a thing.
func (c *canvas) shade(p path, opacity int, with paint) {
	c.blend(p, p.bounds().Intersect(c.img.Rect), opacity, with)
}

// begin starts a new thing: measured will tell how far it reaches.
func (c *canvas) begin() {
	c.extent = image.Rectangle{}
}

// measured returns the rectangle around everything filled since begin. It may reach
// beyond the canvas.
func (c *canvas) measured() image.Rectangle {
	return c.extent
}

func (c *canvas) blend(p path, area image.Rectangle, opacity int, with paint) {
	if area.Empty() || len(p) < 3 {
		return
	}
	w, h := area.Dx(), area.Dy()
	c.raster.Reset(w, h)
	c.raster.DrawOp = draw.Src
	for i, v := range p {
		x, y := snap(v.x)-float32(area.Min.X), snap(v.y)-float32(area.Min.Y)
		if i == 0 {
			c.raster.MoveTo(x, y)
		} else {
			c.raster.LineTo(x, y)
		}
	}
	c.raster.ClosePath()
	mask := &image.Alpha{Pix: c.mask.Pix[:w*h], Stride: w, Rect: image.Rect(0, 0, w, h)}
	c.raster.Draw(mask, mask.Rect, image.Opaque, image.Point{})
	for y := range h {
		row := c.img.Pix[c.img.PixOffset(area.Min.X, area.Min.Y+y):]
		for x := range w {
			cover := int(mask.Pix[y*w+x]) * opacity / 255
			if cover == 0 {
				continue
			}
			pix := row[4*x : 4*x+4 : 4*x+4]
			col := with(area.Min.X+x, area.Min.Y+y)
			pix[0] = mixByte(int(pix[0]), col.r, cover)
			pix[1] = mixByte(int(pix[1]), col.g, cover)
			pix[2] = mixByte(int(pix[2]), col.b, cover)
			pix[3] = 255
		}
	}
}

// snap rounds a coordinate to 1/64 pixel, so that all that follows is exact.
func snap(x float64) float32 {
	return float32(math.Floor(float64(x*64)+0.5) / 64)
}

// bounds returns the pixels that a path touches.
func (p path) bounds() image.Rectangle {
	if len(p) == 0 {
		return image.Rectangle{}
	}
	lo, hi := p[0], p[0]
	for _, v := range p[1:] {
		lo.x, lo.y = min(lo.x, v.x), min(lo.y, v.y)
		hi.x, hi.y = max(hi.x, v.x), max(hi.y, v.y)
	}
	return image.Rect(int(math.Floor(lo.x)), int(math.Floor(lo.y)), int(math.Ceil(hi.x)), int(math.Ceil(hi.y)))
}

// soften blurs the picture with a 3×3 tent, as a lens slightly out of focus does.
func (c *canvas) soften(area image.Rectangle) {
	area = area.Intersect(c.img.Rect)
	src := append([]uint8(nil), c.img.Pix...)
	bounds := c.img.Rect
	at := func(x, y, channel int) int {
		x = min(max(x, bounds.Min.X), bounds.Max.X-1)
		y = min(max(y, bounds.Min.Y), bounds.Max.Y-1)
		return int(src[y*c.img.Stride+4*x+channel])
	}
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			for ch := range 3 {
				sum := 4*at(x, y, ch) +
					2*(at(x-1, y, ch)+at(x+1, y, ch)+at(x, y-1, ch)+at(x, y+1, ch)) +
					at(x-1, y-1, ch) + at(x+1, y-1, ch) + at(x-1, y+1, ch) + at(x+1, y+1, ch)
				c.img.Pix[y*c.img.Stride+4*x+ch] = uint8(sum / 16)
			}
		}
	}
}

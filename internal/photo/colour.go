package photo

import (
	"image"

	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
)

// fixed numbers have 16 bits after the point.
const halfFixed = 1 << 15

// rgbOf is the conversion of JFIF 1.02.
func rgbOf(y, cb, cr uint8) (r, g, b uint8) {
	yy, b1, r1 := int(y)<<16+halfFixed, int(cb)-128, int(cr)-128
	return clamp((yy + 91881*r1) >> 16), clamp((yy - 22554*b1 - 46802*r1) >> 16), clamp((yy + 116130*b1) >> 16)
}

// yCbCrOf is its inverse.
func yCbCrOf(r, g, b uint8) (y, cb, cr uint8) {
	rr, gg, bb := int(r), int(g), int(b)
	const middle = 128<<16 + halfFixed
	return uint8((19595*rr + 38470*gg + 7471*bb + halfFixed) >> 16),
		clamp((-11056*rr - 21712*gg + 32768*bb + middle) >> 16),
		clamp((32768*rr - 27440*gg - 5328*bb + middle) >> 16)
}

// toYCbCr converts the first three of planes, in place. CMYK becomes what its inks let
// through; the profile that a press would have is not applied.
func toYCbCr(model jpeg.Model, planes [][]uint8) {
	a, b, c := planes[0], planes[1], planes[2]
	switch model {
	case jpeg.Grey:
		for i := range b {
			b[i], c[i] = 128, 128
		}
	case jpeg.RGB:
		for i := range a {
			a[i], b[i], c[i] = yCbCrOf(a[i], b[i], c[i])
		}
	case jpeg.CMYK, jpeg.InvertedCMYK, jpeg.InvertedYCCK:
		for i, k := range planes[3] {
			a[i], b[i], c[i] = yCbCrOf(rgbOfInks(model, a[i], b[i], c[i], k))
		}
	}
}

// rgbOfInks converts the four components of a model with inks.
func rgbOfInks(model jpeg.Model, c, m, y, k uint8) (r, g, b uint8) {
	switch model {
	case jpeg.CMYK:
		c, m, y, k = 255-c, 255-m, 255-y, 255-k
	case jpeg.InvertedYCCK:
		c, m, y = rgbOf(c, m, y)
		c, m, y = 255-c, 255-m, 255-y
	}
	through := func(ink uint8) uint8 { return uint8((uint32(ink)*uint32(k) + 127) / 255) }
	return through(c), through(m), through(y)
}

// modelOf returns the model of a picture of one of the types that decode returns.
func modelOf(img image.Image) jpeg.Model {
	switch img.(type) {
	case *image.Gray:
		return jpeg.Grey
	case *image.YCbCr:
		return jpeg.YCbCr
	}
	return jpeg.RGB
}

// imageComponents returns those of a region of such a picture.
func imageComponents(img image.Image, region image.Rectangle) []component {
	size := img.Bounds().Max
	whole := ratio{1, 1}
	switch img := img.(type) {
	case *image.Gray:
		return []component{{img.Pix, img.Stride, img.Rect, size, whole, whole}}
	case *image.YCbCr:
		h, v := chromaRatio(img.SubsampleRatio)
		fewer := image.Point{X: (size.X + h.to - 1) / h.to, Y: (size.Y + v.to - 1) / v.to}
		chroma := image.Rectangle{Max: fewer}
		return []component{
			{img.Y, img.YStride, img.Rect, size, whole, whole},
			{img.Cb, img.CStride, chroma, fewer, h, v},
			{img.Cr, img.CStride, chroma, fewer, h, v},
		}
	}
	width, n := region.Dx(), region.Dx()*region.Dy()
	all := make([]uint8, 3*n)
	components := make([]component, 3)
	for i := range components {
		components[i] = component{all[i*n : (i+1)*n], width, region, size, whole, whole}
	}
	split(all, n, img, region)
	return components
}

// chromaRatio returns how many samples of chroma there are for one of luma.
func chromaRatio(r image.YCbCrSubsampleRatio) (h, v ratio) {
	h, v = ratio{1, 1}, ratio{1, 1}
	switch r {
	case image.YCbCrSubsampleRatio420:
		h.to, v.to = 2, 2
	case image.YCbCrSubsampleRatio422:
		h.to = 2
	case image.YCbCrSubsampleRatio440:
		v.to = 2
	case image.YCbCrSubsampleRatio411:
		h.to = 4
	case image.YCbCrSubsampleRatio410:
		h.to, v.to = 4, 2
	}
	return h, v
}

// split writes red, green and blue of a region, n samples each.
func split(to []uint8, n int, img image.Image, region image.Rectangle) {
	i := 0
	put := func(r, g, b uint8) {
		to[i], to[n+i], to[2*n+i] = r, g, b
		i++
	}
	switch img := img.(type) {
	case *image.RGBA:
		for y := region.Min.Y; y < region.Max.Y; y++ {
			row := img.Pix[img.PixOffset(region.Min.X, y):][:4*region.Dx()]
			for ; len(row) > 0; row = row[4:] {
				put(row[0], row[1], row[2])
			}
		}
	case *image.Paletted:
		var colours [256][3]uint8
		for k, c := range img.Palette {
			r, g, b, _ := c.RGBA()
			colours[k] = [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}
		}
		for y := region.Min.Y; y < region.Max.Y; y++ {
			for _, k := range img.Pix[img.PixOffset(region.Min.X, y):][:region.Dx()] {
				put(colours[k][0], colours[k][1], colours[k][2])
			}
		}
	}
}

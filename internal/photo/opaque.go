package photo

import (
	"image"
	"image/color"
	"image/draw"
)

// opaque lays img on white and brings it to one of the four types that Decode
// promises. It reuses the pixels of img wherever the result is not larger, so that
// its cost in memory is nil but for WebP with transparency, which webpHeader counts.
func opaque(img image.Image) image.Image {
	switch img := img.(type) {
	case *image.YCbCr, *image.Gray:
		return img
	case *image.Gray16:
		return &image.Gray{Pix: narrow(img.Pix), Stride: img.Rect.Dx(), Rect: img.Rect}
	case *image.RGBA:
		onWhitePremultiplied(img.Pix)
		return img
	case *image.NRGBA:
		onWhite(img.Pix)
		return &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}
	case *image.RGBA64:
		rgba := &image.RGBA{Pix: narrow(img.Pix), Stride: 4 * img.Rect.Dx(), Rect: img.Rect}
		onWhitePremultiplied(rgba.Pix)
		return rgba
	case *image.NRGBA64:
		rgba := &image.RGBA{Pix: narrow(img.Pix), Stride: 4 * img.Rect.Dx(), Rect: img.Rect}
		onWhite(rgba.Pix)
		return rgba
	case *image.CMYK:
		inPlaceRGB(img.Pix)
		return &image.RGBA{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect}
	case *image.Paletted:
		return &image.Paletted{Pix: img.Pix, Stride: img.Stride, Rect: img.Rect, Palette: fullPalette(img.Palette)}
	}
	rgba := image.NewRGBA(img.Bounds())
	draw.Draw(rgba, rgba.Rect, img, rgba.Rect.Min, draw.Src)
	onWhitePremultiplied(rgba.Pix)
	return rgba
}

// narrow keeps the high byte of every big-endian 16-bit sample. It writes over pix.
// The decoders make 16-bit pictures without gaps between the rows.
func narrow(pix []uint8) []uint8 {
	half := pix[:len(pix)/2]
	for i := range half {
		half[i] = pix[2*i]
	}
	return half
}

// onWhite lays pixels with straight alpha on white.
func onWhite(pix []uint8) {
	for i := 0; i+3 < len(pix); i += 4 {
		a := uint32(pix[i+3])
		if a == 255 {
			continue
		}
		for c := i; c < i+3; c++ {
			pix[c] = uint8((uint32(pix[c])*a + 255*(255-a) + 127) / 255)
		}
		pix[i+3] = 255
	}
}

// onWhitePremultiplied lays pixels that are multiplied by their alpha on white. A
// colour above its alpha, which only a damaged file has, saturates.
func onWhitePremultiplied(pix []uint8) {
	for i := 0; i+3 < len(pix); i += 4 {
		a := pix[i+3]
		if a == 255 {
			continue
		}
		for c := i; c < i+3; c++ {
			pix[c] = uint8(min(255, uint32(pix[c])+255-uint32(a)))
		}
		pix[i+3] = 255
	}
}

func inPlaceRGB(pix []uint8) {
	for i := 0; i+3 < len(pix); i += 4 {
		p := pix[i : i+4 : i+4]
		p[0], p[1], p[2] = color.CMYKToRGB(p[0], p[1], p[2], p[3])
		p[3] = 255
	}
}

// fullPalette returns the palette on white and with 256 colours: a damaged file may
// point beyond its palette, and then whoever looks the colour up would panic.
func fullPalette(p color.Palette) color.Palette {
	full := make(color.Palette, 256)
	for i := range full {
		c := [4]uint8{3: 255}
		if i < len(p) {
			n := color.NRGBAModel.Convert(p[i]).(color.NRGBA)
			c = [4]uint8{n.R, n.G, n.B, n.A}
			onWhite(c[:])
		}
		full[i] = color.RGBA{c[0], c[1], c[2], c[3]}
	}
	return full
}

// onCanvas puts a frame that covers a part of the canvas where it belongs; the rest
// stays transparent.
func onCanvas(frame image.Image, canvas image.Rectangle) image.Image {
	whole := image.NewRGBA(canvas)
	draw.Draw(whole, frame.Bounds(), frame, frame.Bounds().Min, draw.Src)
	return whole
}

package photo

import (
	"bytes"
	"errors"
	"image"
	"image/gif"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// Format is a file format of pictures.
type Format uint8

// The formats that can be decoded.
const (
	JPEG Format = iota
	PNG
	GIF
	WebP
	TIFF
	BMP
)

var formatNames = [...]string{JPEG: "JPEG", PNG: "PNG", GIF: "GIF", WebP: "WebP", TIFF: "TIFF", BMP: "BMP"}

// String returns the usual name of the format.
func (f Format) String() string { return formatNames[f] }

// codec reads one format.
type codec struct {
	// header looks at every field that decides how much memory decode takes and
	// counts it in Header.Memory: it is what stands between a file of 40 bytes and
	// an allocation of 4 gigabytes. It leaves Format alone. Beside the header it returns
	// the colour profile, if there is one.
	header func(data []byte) (h Header, icc []byte, err error)
	decode func(r io.Reader) (image.Image, error)
}

// codecs has all formats but JPEG, whose decoder can do more.
var codecs = [...]codec{
	PNG:  {pngHeader, png.Decode},
	GIF:  {gifHeader, gif.Decode},
	WebP: {webpHeader, decodeWebP},
	TIFF: {tiffHeader, tiff.Decode},
	BMP:  {bmpHeader, bmp.Decode},
}

// sniff finds the format by the first bytes.
func sniff(data []byte) (Format, error) {
	switch {
	case len(data) == 0:
		return 0, reject("empty file")
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		return JPEG, nil
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return PNG, nil
	case bytes.HasPrefix(data, []byte("GIF87a")), bytes.HasPrefix(data, []byte("GIF89a")):
		return GIF, nil
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return WebP, nil
	case bytes.HasPrefix(data, []byte("II*\x00")), bytes.HasPrefix(data, []byte("MM\x00*")):
		return TIFF, nil
	case bytes.HasPrefix(data, []byte("BM")):
		return BMP, nil
	case len(data) >= 12 && string(data[4:8]) == "ftyp":
		return 0, reject("unsupported: HEIF or AVIF")
	}
	return 0, notAnImage(data)
}

// notAnImage names what servers send instead of a picture that is gone.
func notAnImage(data []byte) error {
	head := bytes.ToLower(bytes.TrimLeft(data[:min(len(data), 512)], " \t\r\n\ufeff"))
	switch {
	case bytes.HasPrefix(head, []byte("<!doctype html")), bytes.HasPrefix(head, []byte("<html")):
		return reject("not an image: HTML")
	case bytes.HasPrefix(head, []byte("<?xml")), bytes.HasPrefix(head, []byte("<error")):
		return reject("not an image: XML")
	}
	return reject("not an image")
}

// isUnsupported tells a picture that a decoder refuses from one that is damaged.
func isUnsupported(err error) bool {
	var p png.UnsupportedError
	var t tiff.UnsupportedError
	return errors.As(err, &p) || errors.As(err, &t) || errors.Is(err, bmp.ErrUnsupported)
}

// decodeWebP brings the colours of a lossy picture to the range that image.YCbCr
// means. VP8 codes brightness from 16 to 235 and colour from 16 to 240; package webp
// hands these values on as if they were JPEG's, which makes black grey and white dull.
func decodeWebP(r io.Reader) (image.Image, error) {
	img, err := webp.Decode(r)
	if err != nil {
		return nil, err
	}
	switch img := img.(type) {
	case *image.YCbCr:
		fullRange(img)
	case *image.NYCbCrA:
		fullRange(&img.YCbCr)
	}
	return img, nil
}

func fullRange(img *image.YCbCr) {
	var luma, chroma [256]uint8
	for i := range 256 {
		luma[i] = clamp(((i-16)*255*2 + 219) / (2 * 219))
		chroma[i] = clamp((((i-128)*255+128*224)*2 + 224) / (2 * 224))
	}
	for i, v := range img.Y {
		img.Y[i] = luma[v]
	}
	for _, plane := range [][]uint8{img.Cb, img.Cr} {
		for i, v := range plane {
			plane[i] = chroma[v]
		}
	}
}

func clamp(v int) uint8 { return uint8(max(0, min(v, 255))) }

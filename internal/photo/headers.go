package photo

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image/color"
	"io"
	"slices"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// overhead is what a decoder needs besides pixels: tables, windows, rows.
const overhead = 256 << 10

func area(width, height int) int64 { return int64(width) * int64(height) }

// pngHeader reads the chunk list up to the end, for transparency and EXIF.
func pngHeader(data []byte) (h Header, icc []byte, err error) {
	var (
		depth, kind byte
		interlaced  bool
		transparent bool
		rest        = data[8:]
	)
	for first := true; ; first = false {
		name, body, after, ok := pngChunk(rest)
		if !ok {
			return h, nil, reject("truncated")
		}
		if first != (name == "IHDR" && len(body) == 13) {
			return h, nil, reject("corrupt PNG")
		}
		rest = after
		switch name {
		case "IHDR":
			h.Width, h.Height = side(binary.BigEndian.Uint32(body)), side(binary.BigEndian.Uint32(body[4:]))
			depth, kind, interlaced = body[8], body[9], body[12] != 0
		case "tRNS":
			transparent = true
		case "iCCP":
			if icc == nil {
				icc = unfold(body)
			}
		case "eXIf":
			h.Orientation = exifOrientation(body)
		case "IEND":
			h.Memory = pngMemory(area(h.Width, h.Height), depth, kind, transparent, interlaced)
			return h, icc, nil
		}
	}
}

// pngMemory follows image/png: a grey picture has 1 byte a pixel, a 16-bit one 2, all
// with colour or transparency 4, or 8 with 16 bits. The passes of an interlaced
// picture are pictures of their own, the largest of half the size.
func pngMemory(pixels int64, depth, kind byte, transparent, interlaced bool) int64 {
	const grey, palette = 0, 3
	size := pixels * 4
	if kind == palette || kind == grey && !transparent {
		size = pixels
	}
	if depth == 16 {
		size *= 2
	}
	if interlaced {
		size += size / 2
	}
	return size + overhead
}

// maxProfile bounds a colour profile; those that are understood have a few kB.
const maxProfile = 1 << 20

// unfold returns the profile of a chunk iCCP: a name, a method of compression, and what
// deflate made of the profile. One that is damaged is none.
func unfold(body []byte) []byte {
	_, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) < 1 {
		return nil
	}
	r, err := zlib.NewReader(bytes.NewReader(rest[1:]))
	if err != nil {
		return nil
	}
	icc, err := io.ReadAll(io.LimitReader(r, maxProfile))
	if err != nil {
		return nil
	}
	return icc
}

func pngChunk(data []byte) (name string, body, rest []byte, ok bool) {
	if len(data) < 12 {
		return "", nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(data))
	if n > uint64(len(data)-12) {
		return "", nil, nil, false
	}
	return string(data[4:8]), data[8 : 8+n], data[12+n:], true
}

// side turns a 32-bit side into an int that does not overflow when multiplied.
func side(n uint32) int { return int(min(n, 1<<31-1)) }

// gifHeader takes the size of the canvas; a frame is never larger. Counted are the
// frame's indices twice (interlaced ones are sorted into a copy) and a canvas of RGBA.
func gifHeader(data []byte) (h Header, icc []byte, err error) {
	if len(data) < 13 {
		return h, nil, reject("truncated")
	}
	h = Header{
		Width:  int(binary.LittleEndian.Uint16(data[6:])),
		Height: int(binary.LittleEndian.Uint16(data[8:])),
	}
	h.Memory = area(h.Width, h.Height)*6 + overhead
	return h, icc, nil
}

// webpHeader reads the chunk list. The lengths must fit into the file, because the VP8
// decoder allocates what a chunk claims to be.
func webpHeader(data []byte) (h Header, icc []byte, err error) {
	if uint64(binary.LittleEndian.Uint32(data[4:])) > uint64(len(data)-8) {
		return h, nil, reject("truncated")
	}
	var (
		lossy, lossless, seen bool
		alpha                 int64
		canvases              []byte // of the chunks before the picture, one behind the other
	)
	for rest := data[12:]; len(rest) >= 8; {
		name, n := string(rest[:4]), uint64(binary.LittleEndian.Uint32(rest[4:]))
		if n > uint64(len(rest)-8) {
			return h, nil, reject("truncated")
		}
		body := rest[8 : 8+n]
		rest = rest[min(uint64(len(rest)), 8+n+n&1):]
		switch name {
		case "ANIM", "ANMF":
			return h, nil, reject("unsupported: animated WebP")
		case "EXIF":
			h.Orientation = exifOrientation(bytes.TrimPrefix(body, []byte("Exif\x00\x00")))
		case "ICCP":
			icc = body
		case "ALPH":
			alpha = int64(len(body))
		case "VP8X":
			if len(body) != 10 {
				return h, nil, reject("corrupt WebP")
			}
			if !seen {
				canvases = append(canvases, body[4:]...)
			}
		case "VP8 ", "VP8L":
			if seen {
				continue
			}
			seen, lossy, lossless = true, name == "VP8 ", name == "VP8L"
			var ok bool
			if h.Width, h.Height, ok = vp8Size(name, body); !ok {
				return h, nil, reject("corrupt WebP")
			}
		}
	}
	// x/image/webp allocates the transparency of the whole canvas before it looks at the picture.
	for canvas := range slices.Chunk(canvases, 6) {
		if uint24(canvas)+1 != h.Width || uint24(canvas[3:])+1 != h.Height {
			return h, nil, reject("corrupt WebP")
		}
	}
	switch pixels := area((h.Width+15)&^15, (h.Height+15)&^15); {
	case lossless:
		h.Memory = vp8lMemory(pixels, int64(len(data)))
	case lossy && alpha > 0:
		h.Memory = pixels*(2+1+4) + vp8lMemory(pixels, alpha) + int64(len(data))
	case lossy:
		h.Memory = pixels*2 + int64(len(data))
	default:
		return h, nil, reject("corrupt WebP")
	}
	h.Memory += overhead
	return h, icc, nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func vp8Size(name string, body []byte) (width, height int, ok bool) {
	if name == "VP8 " {
		if len(body) < 10 {
			return 0, 0, false
		}
		return int(binary.LittleEndian.Uint16(body[6:])) & 0x3fff, int(binary.LittleEndian.Uint16(body[8:])) & 0x3fff, true
	}
	if len(body) < 5 {
		return 0, 0, false
	}
	bits := binary.LittleEndian.Uint32(body[1:])
	return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, true
}

// vp8lMemory bounds what the lossless decoder allocates: the pixels twice, and for
// each tile of 4x4 pixels, at most 65,536 of them, five Huffman trees of some 560
// bytes, each of which takes four bits of the file or more. The second term seems
// absurd, but a file of 200 kB can be made to need it.
func vp8lMemory(pixels, size int64) int64 {
	groups := min(pixels/16+1, 1<<16, size*8/20+1)
	return pixels*8 + pixels/16*4*2 + groups*5*560
}

// tiffHeader bounds the picture by its colour model and the decoder's buffer by the
// largest strip or tile: x/image/tiff lets one unfold to 8 bytes a pixel, in a buffer
// that grows by doubling.
func tiffHeader(data []byte) (h Header, icc []byte, err error) {
	config, err := tiff.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return h, nil, decodeError(TIFF, err)
	}
	h = Header{Width: config.Width, Height: config.Height, Orientation: exifOrientation(data)}
	blockWidth, blockHeight, compressed := h.Width, h.Height, false
	for tag, value := range firstDirectory(data) {
		switch tag {
		case tagCompression:
			compressed = value != 1
		case tagRowsPerStrip:
			if value > 0 {
				blockHeight = min(blockHeight, side(value))
			}
		case tagTileWidth:
			blockWidth = side(value)
		case tagTileLength:
			blockHeight = side(value)
		}
	}
	block := int64(len(data))
	if compressed {
		const most = 1100 // deflate unfolds by 1,032, the others by less
		block = min(most*int64(len(data)), area(blockWidth, min(blockHeight, 1<<24))*8)
	}
	h.Memory = area(h.Width, h.Height)*bytesPerPixel(config.ColorModel) + 3*block + int64(len(data)) + overhead
	return h, icc, nil
}

func bytesPerPixel(m color.Model) int64 {
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	case color.RGBAModel, color.NRGBAModel:
		return 4
	}
	return 1 // a palette
}

func bmpHeader(data []byte) (h Header, icc []byte, err error) {
	config, err := bmp.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return h, nil, decodeError(BMP, err)
	}
	h = Header{Width: config.Width, Height: config.Height}
	h.Memory = area(h.Width, h.Height)*bytesPerPixel(config.ColorModel) + overhead
	return h, icc, nil
}

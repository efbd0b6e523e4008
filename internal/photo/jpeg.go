package photo

import (
	"bytes"
	"encoding/binary"
)

// JPEG markers, ITU-T T.81 table B.1.
const (
	markerSOF0  = 0xc0 // baseline
	markerSOF1  = 0xc1 // extended sequential
	markerSOF2  = 0xc2 // progressive
	markerSOF3  = 0xc3 // lossless
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerSOF9  = 0xc9 // from here to SOF15: arithmetic coding
	markerDAC   = 0xcc
	markerSOF15 = 0xcf
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerTEM   = 0x01
	markerAPP1  = 0xe1
	markerAPP14 = 0xee
)

// maxScans bounds how often a progressive picture may go over all of its blocks: each
// scan costs time in proportion to the picture, however few bytes it has. Encoders use
// about ten; no useful one comes near a hundred.
const maxScans = 100

// jpegFrame is what the markers of a JPEG tell.
type jpegFrame struct {
	sof         byte // 0 before the frame header
	precision   byte
	width       int
	height      int
	components  []jpegComponent
	scans       int
	adobe       bool
	transform   byte // Adobe's colour transform
	orientation Orientation
}

type jpegComponent struct {
	id   byte
	h, v int // sampling factors

	// precision[k] tells how much of coefficient k the scans so far have brought: 0
	// nothing, otherwise 1 + the number of low bits that are still missing.
	precision [64]byte
}

// jpegHeader walks over all markers up to the end of the image. Reading only as far as
// the frame header would be cheaper, but image/jpeg returns a progressive picture of
// which later scans are missing without an error; the walk, which runs at the speed of
// bytes.IndexByte, is how a truncated one is found before it is decoded.
func jpegHeader(data []byte) (Header, error) {
	var f jpegFrame
	err := f.walk(data)
	if err != nil {
		return Header{}, err
	}
	return Header{Width: f.width, Height: f.height, Orientation: f.orientation, Memory: f.memory()}, nil
}

// walk reads data up to the EOI marker; what follows it (junk, the other pictures of an
// MPO) does not matter.
func (f *jpegFrame) walk(data []byte) error {
	for rest := data[2:]; ; {
		marker, after, ok := nextMarker(rest)
		if !ok {
			return reject("truncated")
		}
		rest = after
		switch {
		case marker == markerEOI:
			return f.complete()
		case marker >= markerRST0 && marker <= markerSOI || marker == markerTEM:
			continue // has no length
		}
		if len(rest) < 2 {
			return reject("truncated")
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n < 2 {
			return reject("corrupt JPEG")
		}
		if len(rest) < n {
			return reject("truncated")
		}
		if err := f.segment(marker, rest[2:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
}

// nextMarker skips entropy-coded data and junk up to the next marker.
func nextMarker(data []byte) (marker byte, rest []byte, ok bool) {
	for {
		i := bytes.IndexByte(data, 0xff)
		if i < 0 || i+1 >= len(data) {
			return 0, nil, false
		}
		if marker := data[i+1]; marker != 0 && marker != 0xff {
			return marker, data[i+2:], true
		}
		data = data[i+1:] // a stuffed zero, or a fill byte
	}
}

// complete judges a file with an EOI marker. Software that mends a cut progressive JPEG
// sets that marker after the scans that arrived, so all coefficients must have come in
// full: image/jpeg takes what is missing for zero.
func (f *jpegFrame) complete() error {
	if f.sof == 0 {
		return reject("corrupt JPEG")
	}
	for _, c := range f.components {
		for _, p := range c.precision {
			if p != 1 {
				return reject("truncated")
			}
		}
	}
	return nil
}

func (f *jpegFrame) segment(marker byte, body []byte) error {
	switch {
	case marker == markerSOS:
		return f.scan(body)
	case marker == markerAPP1:
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && f.orientation == 0 {
			f.orientation = exifOrientation(exif)
		}
	case marker == markerAPP14:
		if len(body) >= 12 && string(body[:5]) == "Adobe" {
			f.adobe, f.transform = true, body[11]
		}
	case marker >= markerSOF0 && marker <= markerSOF15 && marker != markerDHT && marker != markerJPG && marker != markerDAC:
		return f.frame(marker, body)
	}
	return nil
}

// frame reads a frame header (B.2.2).
func (f *jpegFrame) frame(sof byte, body []byte) error {
	switch {
	case f.sof != 0:
		return reject("corrupt JPEG")
	case sof >= markerSOF9:
		return reject("unsupported: arithmetic-coded JPEG")
	case sof == markerSOF3:
		return reject("unsupported: lossless JPEG")
	case sof > markerSOF3:
		return reject("unsupported: hierarchical JPEG")
	case len(body) < 6:
		return reject("corrupt JPEG")
	}
	f.sof, f.precision = sof, body[0]
	f.height = int(binary.BigEndian.Uint16(body[1:]))
	f.width = int(binary.BigEndian.Uint16(body[3:]))
	n := int(body[5])
	switch {
	case f.precision != 8:
		return reject("unsupported: %d-bit JPEG", f.precision)
	case n != 1 && n != 3 && n != 4:
		return reject("unsupported: JPEG of %d components", n)
	case len(body) != 6+3*n:
		return reject("corrupt JPEG")
	}
	for c := body[6:]; len(c) > 0; c = c[3:] {
		h, v := int(c[1]>>4), int(c[1]&15)
		if h < 1 || h > 4 || v < 1 || v > 4 {
			return reject("corrupt JPEG")
		}
		f.components = append(f.components, jpegComponent{id: c[0], h: h, v: v})
	}
	if n == 1 {
		f.components[0].h, f.components[0].v = 1, 1 // A.2: the factors of a lone component mean nothing
	}
	return nil
}

// scan reads a scan header (B.2.3).
func (f *jpegFrame) scan(body []byte) error {
	if f.sof == 0 || len(body) < 1 || len(body) != 4+2*int(body[0]) {
		return reject("corrupt JPEG")
	}
	f.scans++
	if f.scans > maxScans {
		return reject("unsupported: JPEG of more than %d scans", maxScans)
	}
	n := int(body[0])
	first, last, low := 0, 63, 0
	if f.sof == markerSOF2 {
		first, last, low = int(body[1+2*n]), min(int(body[2+2*n]), 63), int(body[3+2*n]&15)
	}
	for i := range n {
		for j := range f.components {
			if c := &f.components[j]; c.id == body[1+2*i] {
				for k := first; k <= last; k++ {
					c.precision[k] = byte(1 + low)
				}
			}
		}
	}
	return nil
}

// memory is what image/jpeg allocates: a plane for each component, in whole MCUs;
// int32 coefficients of all of them when the frame is progressive; and four bytes a
// pixel when planes are put together to RGB or CMYK. YCCK is both.
func (f *jpegFrame) memory() int64 {
	hmax, vmax := f.components[0].h, f.components[0].v
	across := int64((f.width + 8*hmax - 1) / (8 * hmax))
	down := int64((f.height + 8*vmax - 1) / (8 * vmax))
	var planes int64
	for _, c := range f.components {
		planes += across * down * 64 * int64(c.h*c.v)
	}
	total := planes
	if f.sof == markerSOF2 {
		total += 4 * planes
	}
	if len(f.components) == 4 || len(f.components) == 3 && (f.adobe && f.transform == 0 || f.components[0].id == 'R') {
		total += 4 * int64(f.width) * int64(f.height)
	}
	return total + 64<<10
}

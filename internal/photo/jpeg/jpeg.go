// Package jpeg decodes the parts of a photo that are wanted, at about the size at which
// they are wanted, and encodes small pictures. What it makes of equal input is equal bytes
// on every machine and with every version of Go: there is no floating point in it, no
// assembly that gives other bytes than Go (see package kernels), and nothing of package
// image/jpeg, whose output changed with Go 1.26.
//
// # What is saved
//
// Cropping a photo to a picture for a network needs little of what a decoder usually does:
//
//   - Only the blocks of 8×8 samples that a crop touches are transformed. Of the others the
//     entropy-coded bits are skipped, several symbols at a time, since each says where the
//     next begins; after the last row that is wanted, nothing is read.
//   - A picture that is scaled down later is decoded at 1/2, 1/4 or 1/8: of a block's 8×8
//     coefficients only the lowest 4×4, 2×2 or 1×1 are read and transformed. That is a
//     better filter than averaging samples, for it cuts off what would alias.
//   - Samples stay in the planes in which they are stored. Chroma is never brought to the
//     size of luma, and no colour is converted, before a crop has its small size.
//
// Parse reads the markers, Decode the pixels: Planes of single components. All crops of a
// photo are taken in one pass. A progressive photo keeps coefficients only of the blocks
// that are wanted and only those that their scale needs; of all others it keeps a bit each.
//
// The marker names and section numbers are those of ITU-T T.81.
package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// What can be wrong with a file.
var (
	ErrTruncated = errors.New("truncated")
	ErrCorrupt   = errors.New("corrupt")
)

// UnsupportedError names a kind of JPEG that is not decoded, such as "12-bit JPEG".
type UnsupportedError string

// Error names what is not supported.
func (e UnsupportedError) Error() string { return "unsupported: " + string(e) }

// Markers, table B.1.
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
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerTEM   = 0x01
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP2  = 0xe2
	markerAPP14 = 0xee
)

// maxScans bounds how often a progressive picture may go over all of its blocks: each
// scan costs time in proportion to the picture, however few bytes it has. Encoders use
// about ten; no useful one comes near a hundred.
const maxScans = 100

// maxTables bounds the segments with tables, of which a file of 64 MB could have millions,
// and the Huffman tables, each of which takes some 30 µs to prepare. No encoder writes more
// than a few for a scan.
const maxTables = 8 * maxScans

// Model says what the components of a picture are.
type Model uint8

// The models. InvertedCMYK is what Adobe's software writes.
const (
	Grey Model = iota
	YCbCr
	RGB
	CMYK
	InvertedCMYK
	InvertedYCCK // YCbCr of the complements of C, M and Y, and K inverted
)

// Component is a component of a picture.
type Component struct {
	H, V          int // sampling factors
	Width, Height int // in samples

	id            byte
	across, down  int // blocks, without those that only fill up an MCU
	quantization  byte
	precision     [64]byte // see complete
	table         *[64]int32
	levels        [levels]level
	progressive   coefficients
	rowOfNeeds    []uint8 // of the blocks of the rows of an MCU, see plan
	firstNeed     int     // the first row of blocks that is wanted, and the one after the last
	afterLastNeed int
	fault         error // of the last call of Decode, or nil
	faultRow      int   // the row of blocks from which on it tells
}

// Layout is what decides how much memory a picture takes.
type Layout struct {
	Width, Height int
	Progressive   bool
	Sampling      [][2]int // the horizontal and vertical factor of each component
}

// File is a JPEG whose markers were read.
type File struct {
	Layout
	Model      Model
	Components []Component
	EXIF       []byte // without "Exif\0\0"; nil when there is none
	ICC        []byte // the colour profile; nil when there is none, or not all of it

	// Truncated says that the file ends too early: in the middle of a scan, or before
	// scans that a progressive picture needs. Decode makes the best of such a file.
	Truncated bool

	mcusAcross  int
	mcusDown    int
	sof         byte
	scans       int
	damaged     bool // Decode has found a fault
	jfif, adobe bool
	transform   byte // Adobe's colour transform
	profile     profile
	segments    []segment // what Decode reads, in order
}

// segment is a marker segment, or a scan with its entropy-coded data.
type segment struct {
	marker byte
	body   []byte
	scan   []byte // of markerSOS: what follows up to the next marker, restarts included
}

// Parse walks over all markers up to the end of the image; what follows it (junk, the
// other pictures of an MPO) does not matter. Reading only as far as the frame header would
// be cheaper, but the walk, which runs at the speed of bytes.IndexByte, is how a truncated
// file is found before it is decoded. The file keeps data.
//
// The error is ErrTruncated when the file ends before its first scan, ErrCorrupt or an
// UnsupportedError.
func Parse(data []byte) (*File, error) {
	f := &File{}
	if !bytes.HasPrefix(data, []byte{0xff, markerSOI}) {
		return nil, ErrCorrupt
	}
	if err := f.walk(data[2:]); err != nil {
		if !errors.Is(err, ErrTruncated) || f.scans == 0 {
			return nil, err
		}
		f.Truncated = true
	}
	f.Truncated = f.Truncated || !f.complete()
	f.Model = f.model()
	f.ICC = f.profile.bytes()
	return f, nil
}

func (f *File) walk(rest []byte) error {
	for {
		marker, after, ok := nextMarker(rest)
		if !ok {
			return ErrTruncated
		}
		rest = after
		switch {
		case marker == markerEOI:
			if f.scans == 0 {
				return ErrCorrupt
			}
			return nil
		case marker >= markerRST0 && marker <= markerSOI || marker == markerTEM:
			continue // has no length
		}
		if len(rest) < 2 {
			return ErrTruncated
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n < 2 {
			return ErrCorrupt
		}
		if len(rest) < n {
			return ErrTruncated
		}
		body := rest[2:n]
		rest = rest[n:]
		s := segment{marker: marker, body: body}
		if marker == markerSOS {
			s.scan = rest[:scanLength(rest)]
			rest = rest[len(s.scan):]
		}
		if err := f.segment(s); err != nil {
			return err
		}
	}
}

// nextMarker skips junk up to the next marker.
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

// scanLength returns how many bytes there are before the next marker that is no restart.
func scanLength(data []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(data[n:], 0xff)
		if i < 0 || n+i+1 >= len(data) {
			return len(data)
		}
		n += i
		if m := data[n+1]; m != 0 && m != 0xff && (m < markerRST0 || m > markerRST7) {
			return n
		}
		n++
	}
}

// complete says whether all coefficients came in full. Software that mends a cut
// progressive JPEG sets the EOI marker after the scans that arrived.
func (f *File) complete() bool {
	for _, c := range f.Components {
		for _, p := range c.precision {
			if p != 1 {
				return false
			}
		}
	}
	return true
}

func (f *File) segment(s segment) error {
	body := s.body
	switch m := s.marker; {
	case m == markerSOS:
		f.segments = append(f.segments, s)
		return f.scanHeader(body)
	case m == markerDHT, m == markerDQT, m == markerDRI:
		if len(f.segments) >= maxTables {
			return UnsupportedError(fmt.Sprintf("JPEG of more than %d tables", maxTables))
		}
		f.segments = append(f.segments, s)
	case m == markerAPP0:
		f.jfif = f.jfif || bytes.HasPrefix(body, []byte("JFIF\x00"))
	case m == markerAPP1:
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && f.EXIF == nil {
			f.EXIF = exif
		}
	case m == markerAPP2:
		f.profile.add(body)
	case m == markerAPP14:
		if len(body) >= 12 && string(body[:5]) == "Adobe" {
			f.adobe, f.transform = true, body[11]
		}
	case m >= markerSOF0 && m <= markerSOF15 && m != markerJPG && m != markerDAC:
		return f.frame(m, body)
	}
	return nil
}

// frame reads a frame header (B.2.2).
func (f *File) frame(sof byte, body []byte) error {
	switch {
	case f.sof != 0:
		return ErrCorrupt
	case sof >= markerSOF9:
		return UnsupportedError("arithmetic-coded JPEG")
	case sof == markerSOF3:
		return UnsupportedError("lossless JPEG")
	case sof > markerSOF3:
		return UnsupportedError("hierarchical JPEG")
	case len(body) < 6:
		return ErrCorrupt
	}
	f.sof, f.Progressive = sof, sof == markerSOF2
	f.Height = int(binary.BigEndian.Uint16(body[1:]))
	f.Width = int(binary.BigEndian.Uint16(body[3:]))
	n := int(body[5])
	switch {
	case body[0] != 8:
		return UnsupportedError(fmt.Sprintf("%d-bit JPEG", body[0]))
	case n != 1 && n != 3 && n != 4:
		return UnsupportedError(fmt.Sprintf("JPEG of %d components", n))
	case len(body) != 6+3*n:
		return ErrCorrupt
	}
	for c := body[6:]; len(c) > 0; c = c[3:] {
		h, v := int(c[1]>>4), int(c[1]&15)
		if h < 1 || h > 4 || v < 1 || v > 4 || c[2] > 3 {
			return ErrCorrupt
		}
		if n == 1 {
			h, v = 1, 1 // A.2: the factors of a lone component mean nothing
		}
		for _, other := range f.Components {
			if other.id == c[0] {
				return ErrCorrupt
			}
		}
		f.Sampling = append(f.Sampling, [2]int{h, v})
		f.Components = append(f.Components, Component{id: c[0], quantization: c[2]})
	}
	f.layOut(f.Components)
	hmax, vmax := f.MaxSampling()
	f.mcusAcross, f.mcusDown = ceil(f.Width, 8*hmax), ceil(f.Height, 8*vmax)
	return nil
}

// MaxSampling returns the largest sampling factors.
func (l *Layout) MaxSampling() (h, v int) {
	for _, s := range l.Sampling {
		h, v = max(h, s[0]), max(v, s[1])
	}
	return h, v
}

// layOut says of components what follows from the layout.
func (l *Layout) layOut(components []Component) {
	hmax, vmax := l.MaxSampling()
	for i := range components {
		c := &components[i]
		c.H, c.V = l.Sampling[i][0], l.Sampling[i][1]
		c.Width, c.Height = ceil(l.Width*c.H, hmax), ceil(l.Height*c.V, vmax)
		c.across, c.down = ceil(c.Width, 8), ceil(c.Height, 8)
	}
}

func ceil(n, by int) int { return (n + by - 1) / by }

// scanHeader reads a scan header (B.2.3) as far as it says what the scan brings.
func (f *File) scanHeader(body []byte) error {
	h, err := f.parseScan(body)
	if err != nil {
		return err
	}
	f.scans++
	if f.scans > maxScans {
		return UnsupportedError(fmt.Sprintf("JPEG of more than %d scans", maxScans))
	}
	for _, c := range h.components {
		for k := h.first; k <= h.last; k++ {
			c.precision[k] = byte(1 + h.low)
		}
	}
	return nil
}

// scanHeader is what a scan header says.
type scanHeader struct {
	components  []*Component
	dc, ac      []byte // the numbers of each component's tables
	first, last int    // the coefficients
	high, low   int    // successive approximation
}

func (f *File) parseScan(body []byte) (*scanHeader, error) {
	if f.sof == 0 || len(body) < 1 || len(body) != 4+2*int(body[0]) || body[0] < 1 || body[0] > 4 {
		return nil, ErrCorrupt
	}
	n := int(body[0])
	h := &scanHeader{last: 63}
	for i := range n {
		found := false
		for j := range f.Components {
			if c := &f.Components[j]; c.id == body[1+2*i] {
				h.components, found = append(h.components, c), true
			}
		}
		for j := range i {
			found = found && h.components[j] != h.components[len(h.components)-1]
		}
		dc, ac := body[2+2*i]>>4, body[2+2*i]&15
		if !found || dc > 3 || ac > 3 {
			return nil, ErrCorrupt
		}
		h.dc, h.ac = append(h.dc, dc), append(h.ac, ac)
	}
	if !f.Progressive {
		return h, nil
	}
	h.first, h.last = int(body[1+2*n]), int(body[2+2*n])
	h.high, h.low = int(body[3+2*n]>>4), int(body[3+2*n]&15)
	switch {
	case h.last > 63 || h.first > h.last || h.low > 13,
		h.first == 0 && h.last != 0, // G.1.1.1.1: DC and AC never share a scan
		h.first > 0 && n > 1,
		h.high != 0 && h.high != h.low+1:
		return nil, ErrCorrupt
	}
	return h, nil
}

// model guesses what the components are, as all software does, from what Adobe's marker
// says and from the names of the components.
func (f *File) model() Model {
	switch c := f.Components; {
	case len(c) == 1:
		return Grey
	case len(c) == 3:
		if !f.jfif && (f.adobe && f.transform == 0 || c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B') {
			return RGB
		}
		return YCbCr
	case !f.adobe:
		return CMYK
	case f.transform == 2:
		return InvertedYCCK
	}
	return InvertedCMYK
}

// profile puts an ICC profile together (ICC.1:2022, B.4).
type profile struct {
	chunks [][]byte
	broken bool
}

func (p *profile) add(body []byte) {
	chunk, ok := bytes.CutPrefix(body, []byte("ICC_PROFILE\x00"))
	if !ok || len(chunk) < 2 {
		return
	}
	number, count := int(chunk[0]), int(chunk[1])
	if p.chunks == nil {
		p.chunks = make([][]byte, count)
	}
	if count != len(p.chunks) || number < 1 || number > count || p.chunks[number-1] != nil {
		p.broken = true
		return
	}
	p.chunks[number-1] = chunk[2:]
}

// bytes returns the profile, or nil.
func (p *profile) bytes() []byte {
	for _, c := range p.chunks {
		if c == nil || p.broken {
			return nil
		}
	}
	return bytes.Join(p.chunks, nil)
}

package boxindex

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// While an index is made, the rows of a label are records, one behind the other:
//
//	form      1 byte, the bits below
//	image id  1 byte, its length, and the id; without formImage, that of the record before
//	flags     2 bytes, two bits each: the flag and one
//	source    2 bytes, its number
//	numbers   formPlain: four of 3 bytes, the six decimals of each coordinate;
//	          otherwise the lengths of five texts as varints, and the texts

const (
	formImage = 1 << iota
	formPlain
)

// maxFixed are the most bytes of a record without its texts and their lengths.
const maxFixed = 1 + 1 + 255 + 2 + 2 + 4*3

// flagsOf packs the flags of a row.
func flagsOf(row *openimages.BoxRow) (flags uint16) {
	for a := range openimages.NumAttributes {
		flags |= uint16(row.Flag(a)+1) << (2 * a)
	}
	return flags
}

// flagAt takes a flag out of those of a row.
func flagAt(flags uint16, a openimages.Attribute) openimages.Flag {
	return openimages.Flag(flags>>(2*a)&3) - 1
}

// appendRecord appends a row.
func appendRecord(b []byte, row *openimages.BoxRow, sameImage bool, flags, source uint16) []byte {
	at := len(b)
	b = append(b, 0)
	if !sameImage {
		b[at] |= formImage
		id := row.ImageID()
		b = append(b, byte(len(id)))
		b = append(b, id...)
	}
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint16(b, source)
	var six [4]uint32
	plain := string(row.Confidence()) == "1"
	for i := 0; i < len(six) && plain; i++ {
		six[i], plain = sixDecimals(row.Coordinate(i))
	}
	if plain {
		b[at] |= formPlain
		for _, n := range six {
			b = append(b, byte(n), byte(n>>8), byte(n>>16))
		}
		return b
	}
	texts := [numbers][]byte{row.Coordinate(0), row.Coordinate(1), row.Coordinate(2), row.Coordinate(3), row.Confidence()}
	for _, text := range texts {
		b = binary.AppendUvarint(b, uint64(len(text)))
	}
	for _, text := range texts {
		b = append(b, text...)
	}
	return b
}

// sixDecimals reads a fraction of the form "0.123456".
func sixDecimals(text []byte) (uint32, bool) {
	const (
		ones   = 0x0101010101010101
		prefix = '0' | '.'<<8
	)
	if len(text) != 8 {
		return 0, false
	}
	x := binary.LittleEndian.Uint64(text)
	// With the first two bytes as zeros, there are eight digits.
	d := x&^0xffff | '0' | '0'<<8
	if x&0xffff != prefix || d&(0xf0*ones) != '0'*ones || (d+6*ones)&(0xf0*ones) != '0'*ones {
		return 0, false
	}
	// Neighbours are joined, the one in front times ten, then pairs, then fours.
	d -= '0' * ones
	d = (d*10 + d>>8) & 0x00ff00ff00ff00ff
	d = (d*100 + d>>16) & 0x0000ffff0000ffff
	return uint32(d*10_000+d>>32) & 0xffffffff, true
}

// record is a row as it was.
type record struct {
	image  []byte // until the next record is read
	flags  uint16
	source uint16
	plain  bool
	six    [4]uint32
	texts  [numbers]string
}

// records reads records. Those of a label begin with one that has an image id.
type records struct {
	src   *bufio.Reader
	image []byte
}

func (r *records) reset(src io.Reader) { r.src.Reset(src) }

// next reads a record. What is read was written a moment ago, by appendRecord, and is whole
// unless src returns an error. It returns io.EOF behind the last.
func (r *records) next() (rec record, err error) {
	b, err := r.src.Peek(maxFixed) // or less, of the last records
	if err != nil && (len(b) == 0 || !errors.Is(err, io.EOF)) {
		return rec, err
	}
	form, at := b[0], 1
	if form&formImage != 0 {
		at += 1 + int(b[1])
		r.image = append(r.image[:0], b[2:at]...)
	}
	rec.image, rec.plain = r.image, form&formPlain != 0
	rec.flags, rec.source = binary.LittleEndian.Uint16(b[at:]), binary.LittleEndian.Uint16(b[at+2:])
	at += 4
	if rec.plain {
		for i := range rec.six {
			rec.six[i] = uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
			at += 3
		}
	}
	if _, err := r.src.Discard(at); err != nil || rec.plain {
		return rec, err
	}
	return rec, r.readTexts(&rec)
}

func (r *records) readTexts(rec *record) error {
	var lengths [numbers]int
	all := 0
	for i := range lengths {
		n, err := binary.ReadUvarint(r.src)
		if err != nil {
			return err
		}
		lengths[i] = int(n)
		all += int(n)
	}
	text := make([]byte, all)
	if _, err := io.ReadFull(r.src, text); err != nil {
		return err
	}
	rest := string(text)
	for i, n := range lengths {
		rec.texts[i], rest = rest[:n], rest[n:]
	}
	return nil
}

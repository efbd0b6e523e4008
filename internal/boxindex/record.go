package boxindex

import (
	"encoding/binary"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// While an index is made, the rows of a label are records, one behind the other:
//
//	form      1 byte, the bits below
//	image id  1 byte, its length, and the id; without formImage, that of the record before
//	flags     2 bytes, two bits each: the flag and one
//	source    2 bytes, its number
//	numbers   formPlain: four of 3 bytes, the six decimals of each coordinate;
//	          otherwise five texts, each behind its length as a varint

const (
	formImage = 1 << iota
	formPlain
)

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
	for i := range numbers {
		text := row.Confidence()
		if i < len(six) {
			text = row.Coordinate(i)
		}
		b = binary.AppendUvarint(b, uint64(len(text)))
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
	image  string // of the memory that it was read from
	flags  uint16
	source uint16
	plain  bool
	six    [4]uint32
	texts  [numbers]string
}

// records reads records. Those of one label begin with one that has an image id.
type records struct {
	text  string
	image string
}

// next reads a record. What is read was written a moment ago, by appendRecord.
func (r *records) next() (rec record, ok bool) {
	if r.text == "" {
		return rec, false
	}
	form := r.text[0]
	r.text = r.text[1:]
	if form&formImage != 0 {
		r.image = r.take(int(r.take(1)[0]))
	}
	rec.image, rec.plain = r.image, form&formPlain != 0
	rec.flags, rec.source = r.uint16(), r.uint16()
	if rec.plain {
		for i := range rec.six {
			t := r.take(3)
			rec.six[i] = uint32(t[0]) | uint32(t[1])<<8 | uint32(t[2])<<16
		}
		return rec, true
	}
	for i := range rec.texts {
		n, shift := 0, 0
		for {
			c := r.take(1)[0]
			n |= int(c&0x7f) << shift
			if shift += 7; c < 0x80 {
				break
			}
		}
		rec.texts[i] = r.take(n)
	}
	return rec, true
}

func (r *records) take(n int) string {
	t := r.text[:n]
	r.text = r.text[n:]
	return t
}

func (r *records) uint16() uint16 {
	t := r.take(2)
	return uint16(t[0]) | uint16(t[1])<<8
}

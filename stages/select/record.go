package selection

import (
	"encoding/binary"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// While they are sorted, boxes and photos are records: numbers as varints, the lengths of texts, and
// the texts. A photo's id and subset are in the key.

// boxTexts are the texts of a box.
func boxTexts(b *openimages.Box) []*string {
	return []*string{
		&b.Source, (*string)(&b.LabelID), (*string)(&b.Confidence),
		(*string)(&b.XMin), (*string)(&b.XMax), (*string)(&b.YMin), (*string)(&b.YMax),
	}
}

func appendBox(record []byte, b *openimages.Box) []byte {
	for _, f := range b.Flags {
		record = binary.AppendVarint(record, int64(f))
	}
	return appendTexts(record, boxTexts(b))
}

func readBox(record []byte) openimages.Box {
	var b openimages.Box
	for a := range b.Flags {
		var f int64
		f, record = readVarint(record)
		b.Flags[a] = openimages.Flag(f)
	}
	readTexts(record, boxTexts(&b))
	return b
}

// listed is what an image file says of a photo.
type listed struct {
	key     string // see keyOf
	image   openimages.Image
	invalid openimages.RowError // unless it is zero, image has nothing else but the licence
}

// texts are the texts of a photo.
func (l *listed) texts() []*string {
	i, e := &l.image, &l.invalid
	return []*string{
		&i.OriginalURL, &i.OriginalLandingURL, &i.License, &i.AuthorProfileURL, &i.Author, &i.Title,
		&i.OriginalMD5, &i.Thumbnail300KURL, &i.SHA256, &e.File, &e.Column, &e.Problem,
	}
}

func appendListed(record []byte, l *listed) []byte {
	for _, n := range []int64{l.image.OriginalSize, int64(l.image.Rotation), int64(l.invalid.Line)} {
		record = binary.AppendVarint(record, n)
	}
	return appendTexts(record, l.texts())
}

func readListed(record []byte) *listed {
	l := new(listed)
	var rotation, line int64
	l.image.OriginalSize, record = readVarint(record)
	rotation, record = readVarint(record)
	line, record = readVarint(record)
	l.image.Rotation, l.invalid.Line = openimages.Rotation(rotation), int(line)
	readTexts(record, l.texts())
	return l
}

func readVarint(record []byte) (int64, []byte) {
	v, n := binary.Varint(record)
	return v, record[n:]
}

func appendTexts(record []byte, texts []*string) []byte {
	for _, t := range texts {
		record = binary.AppendUvarint(record, uint64(len(*t)))
	}
	for _, t := range texts {
		record = append(record, *t...)
	}
	return record
}

// readTexts reads the texts that a record ends with. One string holds all of them.
func readTexts(record []byte, texts []*string) {
	lengths := record
	for range texts {
		_, n := binary.Uvarint(record)
		record = record[n:]
	}
	rest := string(record)
	for _, t := range texts {
		size, n := binary.Uvarint(lengths)
		lengths = lengths[n:]
		*t, rest = rest[:size], rest[size:]
	}
}

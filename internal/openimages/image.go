package openimages

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rotation says by how many degrees a photo's pixels must be turned
// counterclockwise to stand upright: 0, 90, 180 or 270.
type Rotation int16

// RotationUnknown is what a file without the column, or with an empty field, says.
const RotationUnknown Rotation = -1

// Image is one row of an image file. Texts are as their source has them; V3 writes
// HTML entities in Author and Title (see PlainText). Any of them but ImageID and
// Subset may be empty.
type Image struct {
	ImageID            ImageID
	Subset             string // train, validation or test
	OriginalURL        string // the photo as uploaded
	OriginalLandingURL string // its page
	License            string // URL of the licence
	AuthorProfileURL   string
	Author             string
	Title              string
	OriginalSize       int64  // bytes of the original; 0 when not known
	OriginalMD5        string // base64 of the original's MD5; empty when not known
	Thumbnail300KURL   string // a copy of about 300,000 pixels
	Rotation           Rotation
	SHA256             string // hex of the original's SHA-256; empty when not known. No official file has it
}

// MD5 returns the original's MD5 sum, and whether it is known.
func (i *Image) MD5() (sum [16]byte, ok bool) {
	b, err := base64.StdEncoding.DecodeString(i.OriginalMD5)
	if err != nil || len(b) != len(sum) {
		return sum, false
	}
	return [16]byte(b), true
}

// imageColumns are the columns of an image file in their official order.
var imageColumns = []string{
	"ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL",
	"Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation",
}

// selectedImageColumns are the columns of images.csv, those of an image file and one more.
var selectedImageColumns = append(slices.Clone(imageColumns), "SHA256")

// Indices into the columns that readHeader returns for selectedImageColumns.
const (
	colImage = iota
	colSubset
	colOriginalURL
	colLandingURL
	colLicense
	colAuthorURL
	colAuthor
	colTitle
	colSize
	colMD5
	colThumbnail
	colRotation
	colSHA256
	numImageColumns
)

// ImageRow is a row of an image file in the reader's buffer. It is valid until the
// reader moves on.
type ImageRow struct {
	t       *table
	columns [numImageColumns]int
	intern  map[string]string
	scratch []byte // of Image
}

// Images reads the image file src, which messages call file, row by row. The
// columns are found by the names in the header; only ImageID is required, and at
// least one column with a URL. Of rows that the caller does not copy with Image,
// only the number of columns and the ImageID are checked. The first fault ends the
// sequence; it is a *RowError, or the error of src.
func Images(src io.Reader, file string) iter.Seq2[*ImageRow, error] {
	return rows(src, file, openImages)
}

func openImages(t *table) (*ImageRow, error) {
	columns, err := t.readHeader(selectedImageColumns[:1], selectedImageColumns[1:])
	if err != nil {
		return nil, err
	}
	if columns[colOriginalURL] < 0 && columns[colThumbnail] < 0 {
		return nil, t.fault("", "the header has neither OriginalURL nor Thumbnail300KURL; it has %s", excerpt(t.row))
	}
	return (&ImageRow{columns: [numImageColumns]int(columns)}).on(t), nil
}

func (r *ImageRow) on(t *table) *ImageRow {
	return &ImageRow{t: t, columns: r.columns, intern: map[string]string{}}
}

func (r *ImageRow) check() error {
	if err := checkImageID(r.ImageID()); err != nil {
		return r.t.faultIn(r.columns[colImage], err)
	}
	return nil
}

// ImageID returns the row's image id.
func (r *ImageRow) ImageID() []byte { return r.t.field(r.columns[colImage]) }

// Subset returns the row's subset, which is empty in a file without the column.
func (r *ImageRow) Subset() []byte { return r.field(colSubset) }

// License returns what the row says of the photo's licence, which is usually its URL.
func (r *ImageRow) License() []byte { return r.field(colLicense) }

// field returns a field, or nil when the file does not have the column.
func (r *ImageRow) field(column int) []byte {
	if r.columns[column] < 0 {
		return nil
	}
	return r.t.field(r.columns[column])
}

// Image checks and copies the row. The error is a *RowError.
func (r *ImageRow) Image() (Image, error) {
	size, err := parseSize(r.field(colSize))
	if err != nil {
		return Image{}, r.t.faultIn(r.columns[colSize], err)
	}
	rotation, err := parseRotation(r.field(colRotation))
	if err != nil {
		return Image{}, r.t.faultIn(r.columns[colRotation], err)
	}
	i := Image{
		Subset:       r.shared(colSubset),
		License:      r.shared(colLicense),
		OriginalSize: size,
		Rotation:     rotation,
	}
	// One string holds the texts that differ from row to row.
	own := [...]struct {
		column int
		text   *string
	}{
		{colImage, (*string)(&i.ImageID)}, {colOriginalURL, &i.OriginalURL}, {colLandingURL, &i.OriginalLandingURL}, {colAuthorURL, &i.AuthorProfileURL},
		{colAuthor, &i.Author}, {colTitle, &i.Title}, {colMD5, &i.OriginalMD5}, {colThumbnail, &i.Thumbnail300KURL}, {colSHA256, &i.SHA256},
	}
	var ends [len(own)]int
	r.scratch = r.scratch[:0]
	for n, o := range own {
		r.scratch = appendText(r.scratch, r.field(o.column))
		ends[n] = len(r.scratch)
	}
	all, from := string(r.scratch), 0
	for n, o := range own {
		*o.text, from = all[from:ends[n]], ends[n]
	}
	if _, ok := i.MD5(); !ok && i.OriginalMD5 != "" {
		return Image{}, r.t.faultIn(r.columns[colMD5], errNotMD5)
	}
	if !isSHA256(i.SHA256) && i.SHA256 != "" {
		return Image{}, r.t.faultIn(r.columns[colSHA256], errNotSHA256)
	}
	return i, nil
}

func isSHA256(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == 2*sha256.Size && text == strings.ToLower(text)
}

// appendText appends a field as valid UTF-8; a run of bytes that are not becomes U+FFFD.
func appendText(to, field []byte) []byte {
	if utf8.Valid(field) {
		return append(to, field...)
	}
	return append(to, bytes.ToValidUTF8(field, []byte("\uFFFD"))...)
}

// shared returns a field of a column with few different values.
func (r *ImageRow) shared(column int) string {
	b := r.field(column)
	s, ok := r.intern[string(b)]
	if !ok {
		s = string(appendText(nil, b))
		r.intern[string(b)] = s
	}
	return s
}

var (
	errNotSize     = errors.New("want a number of bytes")
	errNotRotation = errors.New("want 0, 90, 180 or 270 degrees")
	errNotMD5      = errors.New("want an MD5 sum in base64")
	errNotSHA256   = errors.New("want a SHA-256 sum in lower-case hexadecimal digits")
)

// parseSize reads a number of bytes; pandas writes a column in which some are
// missing as floats.
func parseSize(b []byte) (int64, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(bytes.TrimSuffix(b, []byte(".0"))), 10, 64)
	if err != nil || n < 0 {
		return 0, errNotSize
	}
	return n, nil
}

func parseRotation(b []byte) (Rotation, error) {
	if len(b) == 0 {
		return RotationUnknown, nil
	}
	v, err := strconv.ParseFloat(string(b), 64)
	switch {
	case err != nil:
		return 0, errNotRotation
	case math.IsNaN(v):
		return RotationUnknown, nil
	case v == 0 || v == 90 || v == 180 || v == 270:
		return Rotation(v), nil
	}
	return 0, errNotRotation
}

// PlainText returns an Author or Title without HTML entities: V3 writes
// "Don O&#x27;Brien".
func PlainText(text string) string { return html.UnescapeString(text) }

// Line returns the line where the row starts, counted from 1.
func (r *ImageRow) Line() int { return r.t.at }

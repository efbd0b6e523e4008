package openimages

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// BoxID names a box within its photo: the first hexadecimal digits of the digest of
// its label and coordinates. It is the same in every build that selects the box.
type BoxID string

// BoxIDDigits is the usual length of a BoxID. In all of Open Images it is likely
// that no photo has two boxes with the same 8 digits, but not certain; who selects
// boxes gives those more.
const BoxIDDigits = 8

// Sum returns the SHA-256 of the label and the coordinates as their source wrote them.
func (b *Box) Sum() [sha256.Size]byte {
	return sha256.Sum256([]byte(string(b.LabelID) + " " + string(b.XMin) + " " + string(b.XMax) + " " + string(b.YMin) + " " + string(b.YMax)))
}

// Digest returns the digits that box ids are made of: those of Sum.
func (b *Box) Digest() string {
	sum := b.Sum()
	return hex.EncodeToString(sum[:])
}

// SelectedBox is one row of boxes.csv, the boxes of a build.
type SelectedBox struct {
	Box
	ID        BoxID  // unique in its photo
	Subset    string // of its photo
	LabelName string // the name of LabelID
	Label     string // the class that the box is an example of
}

// selectedColumns are the columns of boxes.csv.
var selectedColumns = []string{
	"Box", "ImageID", "Subset", "Source", "LabelID", "LabelName", "Label", "Confidence",
	"XMin", "XMax", "YMin", "YMax", "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
}

// WriteSelectedBoxes writes boxes.csv, in the order of boxes.
func WriteSelectedBoxes(w io.Writer, boxes iter.Seq[SelectedBox]) error {
	return writeRows(w, selectedColumns, func(yield func([]string) bool) {
		row := make([]string, len(selectedColumns))
		for b := range boxes {
			copy(row, []string{
				string(b.ID), string(b.ImageID), b.Subset, b.Source, string(b.LabelID), b.LabelName, b.Label, string(b.Confidence),
				string(b.XMin), string(b.XMax), string(b.YMin), string(b.YMax),
			})
			for a, f := range b.Flags {
				row[len(row)-len(b.Flags)+a] = strconv.Itoa(int(f))
			}
			if !yield(row) {
				return
			}
		}
	})
}

// WriteImages writes an image file with the official columns, in the order of images.
func WriteImages(w io.Writer, images iter.Seq[Image]) error {
	return writeImages(w, imageColumns, images)
}

// WriteSelectedImages writes images.csv, in the order of images.
func WriteSelectedImages(w io.Writer, images iter.Seq[Image]) error {
	return writeImages(w, selectedImageColumns, images)
}

func writeImages(w io.Writer, columns []string, images iter.Seq[Image]) error {
	return writeRows(w, columns, func(yield func([]string) bool) {
		row := make([]string, len(selectedImageColumns))
		for i := range images {
			size, rotation := "", ""
			if i.OriginalSize > 0 {
				size = strconv.FormatInt(i.OriginalSize, 10)
			}
			if i.Rotation != RotationUnknown {
				rotation = strconv.Itoa(int(i.Rotation)) + ".0" // as the official files have it
			}
			copy(row, []string{
				string(i.ImageID), i.Subset, i.OriginalURL, i.OriginalLandingURL, i.License, i.AuthorProfileURL,
				i.Author, i.Title, size, i.OriginalMD5, i.Thumbnail300KURL, rotation, i.SHA256,
			})
			if !yield(row[:len(columns)]) {
				return
			}
		}
	})
}

// boxFileColumns are the columns of a box file in their official order.
var boxFileColumns = []string{
	"ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
	"IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
}

// WriteBoxes writes a box file with the official columns of V4, in the order of boxes.
func WriteBoxes(w io.Writer, boxes iter.Seq[Box]) error {
	return writeRows(w, boxFileColumns, func(yield func([]string) bool) {
		row := make([]string, len(boxFileColumns))
		for b := range boxes {
			copy(row, []string{
				string(b.ImageID), b.Source, string(b.LabelID), string(b.Confidence),
				string(b.XMin), string(b.XMax), string(b.YMin), string(b.YMax),
			})
			for a, f := range b.Flags {
				row[len(row)-len(b.Flags)+a] = strconv.Itoa(int(f))
			}
			if !yield(row) {
				return
			}
		}
	})
}

// WriteClasses writes a class list with a header, in the order of classes.
func WriteClasses(w io.Writer, classes iter.Seq[Class]) error {
	return writeRows(w, classHeaders[0], func(yield func([]string) bool) {
		for c := range classes {
			if !yield([]string{string(c.ID), c.Name}) {
				return
			}
		}
	})
}

// selectedRequired are the columns of boxes.csv: first those of a box file, in the
// order of the indices into them, then the others.
var selectedRequired = []string{
	"ImageID", "LabelID", "XMin", "XMax", "YMin", "YMax", "Source", "Confidence",
	"IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
	"Box", "Subset", "LabelName", "Label",
}

// SelectedBoxes reads boxes.csv from src, which messages call file, row by row.
// The first fault ends the sequence; it is a *RowError, or the error of src.
func SelectedBoxes(src io.Reader, file string) iter.Seq2[SelectedBox, error] {
	return func(yield func(SelectedBox, error) bool) {
		var extra []int // the columns that a box file does not have
		open := func(t *table) (*BoxRow, error) {
			columns, err := t.readHeader(selectedRequired, nil)
			if err != nil {
				return nil, err
			}
			extra = columns[numBoxColumns:]
			return newBoxRow(t, columns[:numBoxColumns]), nil
		}
		for row, err := range rows(src, file, open) {
			if err != nil {
				yield(SelectedBox{}, err)
				return
			}
			text := func(i int) string { return row.shared(row.t.field(extra[i])) }
			b := SelectedBox{
				Box: row.Box(), ID: BoxID(row.t.field(extra[0])),
				Subset: text(1), LabelName: text(2), Label: text(3),
			}
			if len(b.ID) < BoxIDDigits || !strings.HasPrefix(b.Digest(), string(b.ID)) {
				yield(SelectedBox{}, row.t.faultIn(extra[0], errNotBoxID))
				return
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}

var errNotBoxID = errors.New("want the first digits of the digest of label and coordinates")

// SelectedImages reads images.csv, or any image file, from src, which messages call
// file. The first fault ends the sequence; it is a *RowError, or the error of src.
func SelectedImages(src io.Reader, file string) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		for row, err := range Images(src, file) {
			var i Image
			if err == nil {
				i, err = row.Image()
			}
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}

func writeRows(w io.Writer, header []string, rows iter.Seq[[]string]) error {
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return fmt.Errorf("write %s…: %w", header[0], err)
	}
	for row := range rows {
		if err := out.Write(row); err != nil {
			return fmt.Errorf("write %s…: %w", header[0], err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write %s…: %w", header[0], err)
	}
	return nil
}

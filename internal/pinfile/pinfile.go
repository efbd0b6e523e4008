// Package pinfile reads and writes the tables that say which bytes each photo is:
// pins.csv and photos.csv (the photos that there are) and dead.csv (those that are
// gone). It is the one place that knows their columns.
//
// All of them are sorted by ImageID, and an ImageID stands in them once, so that equal
// sets of photos are equal bytes.
package pinfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// The names of the tables in the trees that hold them.
const (
	PinsFile   = "pins.csv"
	PhotosFile = "photos.csv"
	DeadFile   = "dead.csv"
)

// Place is a place where copies of photos are kept, as the manifest names it.
type Place string

// The places.
const (
	Original  Place = "original"  // the photo as uploaded to Flickr
	Thumbnail Place = "thumbnail" // Flickr's copy of about 300,000 pixels
	CVDF      Place = "cvdf"      // the copy of at most 1,024 pixels a side that the CVD Foundation hosts
)

// Photo says which bytes a photo is.
type Photo struct {
	ImageID openimages.ImageID
	Place   Place
	URL     string // where the bytes came from, as the metadata names it
	Digest  cas.Digest
}

// Dead says why there are no bytes for a photo.
type Dead struct {
	ImageID openimages.ImageID
	Reason  string // "<place>: <reason>" for each place, joined by "; "
}

var (
	photoColumns = []string{"ImageID", "Place", "URL", "SHA256", "Size"}
	deadColumns  = []string{"ImageID", "Reason"}
)

var (
	errOrder   = errors.New("want rows sorted by ImageID, each once")
	errImageID = errors.New("want an ImageID that can be a file name")
)

// WritePhotos writes pins.csv or photos.csv. The photos must be sorted.
func WritePhotos(w io.Writer, photos iter.Seq[Photo]) error {
	return write(w, photoColumns, func(yield func([]string) bool) {
		for p := range photos {
			if !yield([]string{string(p.ImageID), string(p.Place), p.URL, p.Digest.Hex(), strconv.FormatInt(p.Digest.Size(), 10)}) {
				return
			}
		}
	})
}

// WriteDead writes dead.csv. The rows must be sorted.
func WriteDead(w io.Writer, dead iter.Seq[Dead]) error {
	return write(w, deadColumns, func(yield func([]string) bool) {
		for d := range dead {
			if !yield([]string{string(d.ImageID), d.Reason}) {
				return
			}
		}
	})
}

// write checks what read will insist on.
func write(w io.Writer, header []string, rows iter.Seq[[]string]) error {
	last := ""
	var unsorted error
	err := table.Write(w, header, func(yield func([]string) bool) {
		for row := range rows {
			if row[0] <= last {
				unsorted = fmt.Errorf("photo %s: %w", row[0], errOrder)
				return
			}
			last = row[0]
			if !yield(row) {
				return
			}
		}
	})
	return errors.Join(unsorted, err)
}

// Photos reads pins.csv or photos.csv from src, which messages call file. The first
// fault ends the sequence.
func Photos(src io.Reader, file string) iter.Seq2[Photo, error] {
	return read(src, file, photoColumns, func(row []string) (Photo, error) {
		size, err := strconv.ParseInt(row[4], 10, 64)
		if err != nil {
			return Photo{}, fmt.Errorf("want a Size in bytes, got %q", row[4])
		}
		digest, err := cas.NewDigest(row[3], size)
		return Photo{ImageID: openimages.ImageID(row[0]), Place: Place(row[1]), URL: row[2], Digest: digest}, err
	})
}

// DeadPhotos reads dead.csv from src, which messages call file. The first fault ends
// the sequence.
func DeadPhotos(src io.Reader, file string) iter.Seq2[Dead, error] {
	return read(src, file, deadColumns, func(row []string) (Dead, error) {
		return Dead{ImageID: openimages.ImageID(row[0]), Reason: row[1]}, nil
	})
}

// read holds the rules for all tables: each ImageID once, in order, and fit to be a
// file's name.
func read[T any](src io.Reader, file string, header []string, parse func([]string) (T, error)) iter.Seq2[T, error] {
	last := ""
	return table.Read(src, file, header, func(row []string) (T, error) {
		var none T
		if id := row[0]; !fs.ValidPath(id) || id == "." || strings.Contains(id, "/") {
			return none, fmt.Errorf("%w, got %q", errImageID, id)
		}
		if row[0] <= last {
			return none, fmt.Errorf("%w: %q after %q", errOrder, row[0], last)
		}
		last = row[0]
		return parse(row)
	})
}

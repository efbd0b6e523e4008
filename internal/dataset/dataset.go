// Package dataset reads data sets that are not kept as Open Images is: a folder for each
// class, COCO, Pascal VOC, YOLO, a table of URLs. It makes of them the files of Open Images
// (classes.csv, and for each subset boxes and image rows, see package openimages), so that
// everything behind it works on one form.
//
// A photo gets an id of 16 hexadecimal digits, as in Open Images: the first of the SHA-256
// of its subset and its name, which is its path below the folder of photos, or its URL.
// What is said of a photo as a whole is a box around all of it. Coordinates in pixels become
// fractions that crop to the same pixels.
//
// Each form is a file of its own with one method, Read. It streams; what it holds is
// proportional to the number of photos, and small for each. What is wrong with a file is
// told with the file, the row and the column.
package dataset

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
)

// Form reads data sets that are kept in one way.
type Form interface {
	// Describe tells all that decides what is read of given files: the name of the form, a
	// number that is raised when it is read otherwise, and its settings.
	Describe() string
	// Read tells out what is in the files of a subset. What is wrong with them is a *FaultError
	// or an *openimages.RowError.
	Read(ctx context.Context, in Input, out *Tables) error
}

// New returns the form of a source, and nil for the forms of Open Images.
func New(s manifest.Source) Form {
	switch s.Form() {
	case manifest.FoldersForm:
		return folders{}
	case manifest.COCOForm:
		return coco{}
	case manifest.VOCForm:
		return voc{}
	case manifest.YOLOForm:
		return yolo{}
	case manifest.URLsForm:
		return urls{url: s.URLs.URL, label: s.URLs.Label}
	}
	return nil
}

// Input are the pinned files of one subset.
type Input struct {
	Subset string
	Files  map[manifest.Role]File
}

// File is a pinned file, or a folder.
type File struct {
	Name string // as messages call it; of a folder, its path or URL with a slash at the end
	// Open opens the file; of a folder, its listing.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// OpenIn opens a file of a folder; nil where only the listing is pinned.
	OpenIn func(ctx context.Context, e Entry) (io.ReadCloser, error)
}

// place returns where a file of the folder is, as a URL or a path.
func (f File) place(below string) string {
	if !strings.Contains(f.Name, "://") {
		return f.Name + below
	}
	segments := strings.Split(below, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return f.Name + strings.Join(segments, "/")
}

// FaultError is what is wrong with a file, at the place where it shows.
type FaultError struct {
	File    string
	Row     string // a line, or an item such as annotations[17]; empty when it is the whole file
	Column  string // a column, or a key within the item; may be empty
	Problem string
}

// Error returns "file:row:column: problem", without the parts that are not known.
func (f *FaultError) Error() string {
	text := f.File
	for _, part := range []string{f.Row, f.Column} {
		if part != "" {
			text += ":" + part
		}
	}
	return text + ": " + f.Problem
}

// whole is a box around the whole photo.
func whole() openimages.Box {
	return openimages.Box{XMin: "0", XMax: "1", YMin: "0", YMax: "1", Flags: unknownFlags()}
}

// unknownFlags are those of a box of which nobody was asked.
func unknownFlags() (flags [openimages.NumAttributes]openimages.Flag) {
	for a := range flags {
		flags[a] = openimages.Unknown
	}
	return flags
}

// fractions returns the part of a side, in pixels, that an interval of it covers, without
// what lies outside. A crop rounds the pixels of the result outwards; where the interval
// has whole pixels, the fractions are such that it comes to these and not to one more.
func fractions(lo, hi, side float64) (from, to openimages.Fraction) {
	lo, hi = min(max(lo, 0), side), min(max(hi, 0), side)
	a, b := lo/side, hi/side
	for math.Floor(a*side) < math.Floor(lo) {
		a = math.Nextafter(a, 2)
	}
	for math.Ceil(b*side) > math.Ceil(hi) {
		b = math.Nextafter(b, -1)
	}
	return fraction(a), fraction(b)
}

func fraction(v float64) openimages.Fraction {
	return openimages.Fraction(strconv.FormatFloat(v, 'f', -1, 64))
}

// number reads a finite number.
func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("want a number, got %s", excerpt(text))
	}
	return v, nil
}

// excerpt quotes text for a message, cut to what fits in a line.
func excerpt(text string) string {
	const most = 80
	if len(text) > most {
		return fmt.Sprintf("%q…", text[:most])
	}
	return strconv.Quote(text)
}

// maxText bounds a text file that is read as a whole: the annotations of one photo, or a
// list of names.
const maxText = 16 << 20

// readText reads a file as a whole.
func readText(name string, open func() (io.ReadCloser, error)) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err = cmp.Or(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxText {
		return nil, &FaultError{File: name, Problem: fmt.Sprintf("want at most %d MiB", maxText>>20)}
	}
	return text, nil
}

package openimages

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// Attribute is a property of a box that an annotator answered yes or no to.
type Attribute int

// The attributes of a box, in the order of the official columns.
const (
	Occluded  Attribute = iota // partly hidden by something else
	Truncated                  // goes on beyond the photo's edge
	GroupOf                    // several things in one box, more than five that touch
	Depiction                  // a drawing or a statue, not the thing
	Inside                     // taken from within the thing
	NumAttributes
)

var attributeNames = [NumAttributes]string{"occluded", "truncated", "group_of", "depiction", "inside"}

// String returns the attribute's name as a manifest writes it, such as "group_of".
func (a Attribute) String() string {
	if a < 0 || a >= NumAttributes {
		return fmt.Sprintf("attribute %d", int(a))
	}
	return attributeNames[a]
}

// ParseAttribute is the inverse of String.
func ParseAttribute(name string) (Attribute, error) {
	for a, n := range attributeNames {
		if n == name {
			return Attribute(a), nil
		}
	}
	return 0, fmt.Errorf("unknown attribute %q of boxes", name)
}

// Flag is the answer to an attribute.
type Flag int8

// The values of a Flag are those of the official files.
const (
	Unknown Flag = -1 // nobody was asked; also what a file without the column says
	No      Flag = 0
	Yes     Flag = 1
)

// Box is one row of a box file.
type Box struct {
	ImageID                ImageID
	Source                 string // who drew it: xclick, activemil, freeform, …; may be empty
	LabelID                LabelID
	Confidence             Fraction // may be empty
	XMin, XMax, YMin, YMax Fraction // of the photo's width and height, from its top left
	Flags                  [NumAttributes]Flag
}

// Empty reports whether the box has no area.
func (b *Box) Empty() bool {
	return !(b.XMin.Float64() < b.XMax.Float64() && b.YMin.Float64() < b.YMax.Float64())
}

// The columns of a box file, required ones first.
var (
	boxRequired = []string{"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"}
	boxOptional = []string{"Source", "Confidence", "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"}
)

// Indices into the columns that readHeader returns for boxRequired and boxOptional.
const (
	colImageID = iota
	colLabel
	colXMin
	colXMax
	colYMin
	colYMax
	colSource
	colConfidence
	colFlags
	numBoxColumns = colFlags + int(NumAttributes)
)

// BoxRow is a row of a box file in the reader's buffer, checked but not copied.
// It is valid until the reader moves on.
type BoxRow struct {
	t       *table
	columns [numBoxColumns]int
	intern  map[string]string
}

// Boxes reads the box file src, which messages call file, row by row. The columns
// are found by the names in the header: V3 has 8, V4 13, V6 21, and pandas adds
// one in front. Every row is checked, also those that the caller passes over, so
// that what is wrong with a file does not depend on the labels asked for. The
// first fault ends the sequence; it is a *RowError, or the error of src.
func Boxes(src io.Reader, file string) iter.Seq2[*BoxRow, error] {
	return rows(src, file, openBoxes)
}

func openBoxes(t *table) (*BoxRow, error) {
	columns, err := t.readHeader(boxRequired, boxOptional)
	if err != nil {
		return nil, err
	}
	return newBoxRow(t, columns), nil
}

func newBoxRow(t *table, columns []int) *BoxRow {
	t.mayPlain = t.mayBePlain()
	return &BoxRow{t: t, columns: [numBoxColumns]int(columns), intern: map[string]string{}}
}

func (r *BoxRow) on(t *table) *BoxRow { return newBoxRow(t, r.columns[:]) }

// LabelID returns the row's label id.
func (r *BoxRow) LabelID() []byte { return r.t.field(r.columns[colLabel]) }

// ImageID returns the row's image id.
func (r *BoxRow) ImageID() []byte { return r.t.field(r.columns[colImageID]) }

// Source returns who drew the box; nil when the file does not say.
func (r *BoxRow) Source() []byte { return r.optional(colSource) }

// Confidence returns the row's confidence; nil when the file does not say.
func (r *BoxRow) Confidence() []byte { return r.optional(colConfidence) }

// Coordinate returns one of XMin, XMax, YMin and YMax, by its number from 0.
func (r *BoxRow) Coordinate(i int) []byte { return r.t.field(r.columns[colXMin+i]) }

// Flag returns the row's answer to a.
func (r *BoxRow) Flag(a Attribute) Flag {
	f, _ := parseFlag(r.optional(colFlags + int(a)))
	return f
}

// Box copies the row.
func (r *BoxRow) Box() Box {
	// One string holds the texts that differ from row to row; the others are few.
	var (
		columns = [...]int{colImageID, colXMin, colXMax, colYMin, colYMax}
		texts   [len(columns)]string
		scratch [maxID + 4*32]byte
	)
	all := scratch[:0]
	for _, c := range columns {
		all = append(all, r.t.field(r.columns[c])...)
	}
	rest := string(all)
	for i, c := range columns {
		n := len(r.t.field(r.columns[c]))
		texts[i], rest = rest[:n], rest[n:]
	}
	b := Box{
		ImageID:    ImageID(texts[0]),
		Source:     r.shared(r.optional(colSource)),
		LabelID:    LabelID(r.shared(r.LabelID())),
		Confidence: Fraction(r.shared(r.optional(colConfidence))),
		XMin:       Fraction(texts[1]),
		XMax:       Fraction(texts[2]),
		YMin:       Fraction(texts[3]),
		YMax:       Fraction(texts[4]),
	}
	for a := range NumAttributes {
		b.Flags[a] = r.Flag(a)
	}
	return b
}

// Empty reports whether the box has no area.
func (r *BoxRow) Empty() bool {
	at := func(column int) float64 { return fractionValue(r.t.field(r.columns[column])) }
	return !(at(colXMin) < at(colXMax) && at(colYMin) < at(colYMax))
}

// optional returns a field, or nil when the file does not have the column.
func (r *BoxRow) optional(column int) []byte {
	if r.columns[column] < 0 {
		return nil
	}
	return r.t.field(r.columns[column])
}

// shared returns text as a string that equal texts share.
func (r *BoxRow) shared(text []byte) string {
	s, ok := r.intern[string(text)]
	if !ok {
		s = string(text)
		r.intern[s] = s
	}
	return s
}

// check finds the first fault of the row, from left to right in the order of the
// official columns.
func (r *BoxRow) check() error {
	if err := checkImageID(r.ImageID()); err != nil {
		return r.fault(colImageID, err)
	}
	if err := checkLabelID(r.LabelID()); err != nil {
		return r.fault(colLabel, err)
	}
	if c := r.optional(colConfidence); len(c) > 0 {
		if err := checkFraction(c); err != nil {
			return r.fault(colConfidence, errNotNumber)
		}
	}
	for c := colXMin; c <= colYMax; c++ {
		if err := checkFraction(r.t.field(r.columns[c])); err != nil {
			return r.fault(c, err)
		}
	}
	for c := colFlags; c < numBoxColumns; c++ {
		if _, err := parseFlag(r.optional(c)); err != nil {
			return r.fault(c, err)
		}
	}
	return nil
}

func (r *BoxRow) fault(column int, problem error) error {
	return r.t.faultIn(r.columns[column], problem)
}

var errNotFlag = errors.New("want 1, 0 or -1")

// parseFlag reads a flag. A missing one is unknown; pandas writes a column in which
// some are missing as floats.
func parseFlag(b []byte) (Flag, error) {
	if len(b) == 1 {
		switch b[0] {
		case '0':
			return No, nil
		case '1':
			return Yes, nil
		}
	}
	switch string(b) {
	case "-1", "-1.0", "":
		return Unknown, nil
	case "0.0":
		return No, nil
	case "1.0":
		return Yes, nil
	}
	return Unknown, errNotFlag
}

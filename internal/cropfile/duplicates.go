package cropfile

import (
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/table"
)

// The names of the tables about pictures that show the same.
const (
	DuplicatesFile     = "duplicates.csv"
	ContradictionsFile = "contradictions.csv"
)

// How two photos were found to show the same.
type How string

// The ways.
const (
	SameBytes How = "bytes"   // the files are equal
	SamePhoto How = "photo"   // the photos look the same, as a whole
	SameCrop  How = "crop"    // a crop of one looks like one of the other
	SameBox   How = "overlap" // of two crops of one photo: their boxes cover nearly the same
)

// Duplicate says that a photo shows the same as another one. The photos of a group are
// those of its rows, from each of which rows lead to all others.
type Duplicate struct {
	Group   openimages.ImageID // the first photo of the group by id, which stands for it
	ImageID openimages.ImageID
	Like    openimages.ImageID // the other photo; its id is greater
	How     How
	Alike   float64 // up to 1, with three decimals
}

// Contradiction says that two crops show the same and have different labels. A crop is
// empty where the photos are meant: they look the same, and no label of one is one of the
// other's.
type Contradiction struct {
	A, B           openimages.ImageID
	CropA, CropB   string // paths in the tree of crops
	LabelA, LabelB string
	How            How
}

var (
	duplicateColumns     = []string{"Group", "ImageID", "Like", "How", "Alike"}
	contradictionColumns = []string{"ImageA", "ImageB", "CropA", "CropB", "LabelA", "LabelB", "How"}
)

// WriteDuplicates writes duplicates.csv in the order of duplicates.
func WriteDuplicates(w io.Writer, duplicates iter.Seq[Duplicate]) error {
	return table.Write(w, duplicateColumns, func(yield func([]string) bool) {
		for d := range duplicates {
			if !yield([]string{string(d.Group), string(d.ImageID), string(d.Like), string(d.How), strconv.FormatFloat(d.Alike, 'f', 3, 64)}) {
				return
			}
		}
	})
}

// Duplicates reads duplicates.csv from src, which messages call file. The first fault ends
// the sequence.
func Duplicates(src io.Reader, file string) iter.Seq2[Duplicate, error] {
	return table.Read(src, file, duplicateColumns, func(row []string) (Duplicate, error) {
		alike, err := strconv.ParseFloat(row[4], 64)
		if err != nil || !(alike >= 0 && alike <= 1) {
			return Duplicate{}, fmt.Errorf("%s: want a number from 0 to 1, got %q", duplicateColumns[4], row[4])
		}
		d := Duplicate{
			Group: openimages.ImageID(row[0]), ImageID: openimages.ImageID(row[1]), Like: openimages.ImageID(row[2]), How: How(row[3]), Alike: alike,
		}
		if d.Group > d.ImageID || d.ImageID >= d.Like {
			return Duplicate{}, fmt.Errorf("want the first photo of a group, and two photos in their order, got %s, %s and %s", d.Group, d.ImageID, d.Like)
		}
		return d, nil
	})
}

// WriteContradictions writes contradictions.csv in the order of contradictions.
func WriteContradictions(w io.Writer, contradictions iter.Seq[Contradiction]) error {
	return table.Write(w, contradictionColumns, func(yield func([]string) bool) {
		for c := range contradictions {
			if !yield([]string{string(c.A), string(c.B), c.CropA, c.CropB, c.LabelA, c.LabelB, string(c.How)}) {
				return
			}
		}
	})
}

// Contradictions reads contradictions.csv from src, which messages call file. The first
// fault ends the sequence.
func Contradictions(src io.Reader, file string) iter.Seq2[Contradiction, error] {
	return table.Read(src, file, contradictionColumns, func(row []string) (Contradiction, error) {
		return Contradiction{
			A: openimages.ImageID(row[0]), B: openimages.ImageID(row[1]), CropA: row[2], CropB: row[3],
			LabelA: row[4], LabelB: row[5], How: How(row[6]),
		}, nil
	})
}

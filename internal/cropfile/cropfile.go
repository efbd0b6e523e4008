// Package cropfile reads and writes the tables about crops that stages exchange:
// crops.csv says what each crop is cut from, split.csv what it is for. It is the one
// place that knows their columns.
package cropfile

import (
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/table"
)

// The names of the tables in the trees that hold them.
const (
	CropsFile = "crops.csv"
	SplitFile = "split.csv"
)

// Crop is one crop of a photo.
type Crop struct {
	Path                     string // in the tree of crops
	Label                    string // the class that it is an example of
	ImageID                  openimages.ImageID
	Subset                   string
	Box                      openimages.BoxID
	Left, Top, Right, Bottom int // pixels of the upright photo; right and bottom are exclusive
	PhotoWidth, PhotoHeight  int // pixels
}

// Set is what a crop is used for.
type Set string

// The sets.
const (
	Train      Set = "train"      // the model learns from it
	Validation Set = "validation" // decides when training stops
	Test       Set = "test"       // only measured, once
)

// Sets are all sets, in the order in which reports list them.
func Sets() []Set { return []Set{Train, Validation, Test} }

// Assignment says which set a crop belongs to.
type Assignment struct {
	Path    string // in the tree of crops
	Label   string
	ImageID openimages.ImageID
	Set     Set
}

var (
	cropColumns = []string{
		"Crop", "Label", "ImageID", "Subset", "Box", "Left", "Top", "Right", "Bottom", "PhotoWidth", "PhotoHeight",
	}
	splitColumns = []string{"Crop", "Label", "ImageID", "Set"}
)

// WriteCrops writes crops.csv in the order of crops.
func WriteCrops(w io.Writer, crops iter.Seq[Crop]) error {
	return table.Write(w, cropColumns, func(yield func([]string) bool) {
		for c := range crops {
			row := []string{c.Path, c.Label, string(c.ImageID), c.Subset, string(c.Box)}
			for _, n := range []int{c.Left, c.Top, c.Right, c.Bottom, c.PhotoWidth, c.PhotoHeight} {
				row = append(row, strconv.Itoa(n))
			}
			if !yield(row) {
				return
			}
		}
	})
}

// Crops reads crops.csv from src, which messages call file. The first fault ends the
// sequence.
func Crops(src io.Reader, file string) iter.Seq2[Crop, error] {
	return table.Read(src, file, cropColumns, func(row []string) (Crop, error) {
		var numbers [6]int
		for i := range numbers {
			n, err := strconv.Atoi(row[5+i])
			if err != nil {
				return Crop{}, fmt.Errorf("%s: want a number of pixels, got %q", cropColumns[5+i], row[5+i])
			}
			numbers[i] = n
		}
		return Crop{
			Path: row[0], Label: row[1], ImageID: openimages.ImageID(row[2]), Subset: row[3], Box: openimages.BoxID(row[4]),
			Left: numbers[0], Top: numbers[1], Right: numbers[2], Bottom: numbers[3],
			PhotoWidth: numbers[4], PhotoHeight: numbers[5],
		}, nil
	})
}

// WriteSplit writes split.csv in the order of assignments.
func WriteSplit(w io.Writer, assignments iter.Seq[Assignment]) error {
	return table.Write(w, splitColumns, func(yield func([]string) bool) {
		for a := range assignments {
			if !yield([]string{a.Path, a.Label, string(a.ImageID), string(a.Set)}) {
				return
			}
		}
	})
}

// Split reads split.csv from src, which messages call file. The first fault ends the
// sequence. Rows must be sorted by path, so that no crop can stand in two sets.
func Split(src io.Reader, file string) iter.Seq2[Assignment, error] {
	last := ""
	return table.Read(src, file, splitColumns, func(row []string) (Assignment, error) {
		a := Assignment{Path: row[0], Label: row[1], ImageID: openimages.ImageID(row[2]), Set: Set(row[3])}
		if a.Label == "" {
			return Assignment{}, fmt.Errorf("want the label of %s", a.Path)
		}
		if a.Path <= last {
			return Assignment{}, fmt.Errorf("want each crop once, sorted: %q after %q", a.Path, last)
		}
		last = a.Path
		switch a.Set {
		case Train, Validation, Test:
			return a, nil
		default:
			return Assignment{}, fmt.Errorf("want the set %s, %s or %s, got %q", Train, Validation, Test, row[3])
		}
	})
}

package cropfile

import (
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/table"
)

// MeasuresFile is the name of the table of what was measured of crops.
const MeasuresFile = "measures.csv"

// Measured says how good the picture of a crop is. Its numbers have two decimals.
type Measured struct {
	Path      string  // in the tree of crops
	Sharpness float64 // variance of the Laplacian of the luminance
	Contrast  float64 // standard deviation of the luminance
	Colour    float64 // mean distance of the chroma from grey
	Dropped   string  // the rule that leaves the crop out; empty when it stays
}

var measuredColumns = []string{"Crop", "Sharpness", "Contrast", "Colour", "Dropped"}

// WriteMeasures writes measures.csv in the order of crops.
func WriteMeasures(w io.Writer, crops iter.Seq[Measured]) error {
	return table.Write(w, measuredColumns, func(yield func([]string) bool) {
		for m := range crops {
			row := []string{m.Path}
			for _, v := range []float64{m.Sharpness, m.Contrast, m.Colour} {
				row = append(row, strconv.FormatFloat(v, 'f', 2, 64))
			}
			if !yield(append(row, m.Dropped)) {
				return
			}
		}
	})
}

// Measures reads measures.csv from src, which messages call file. The first fault ends the
// sequence.
func Measures(src io.Reader, file string) iter.Seq2[Measured, error] {
	return table.Read(src, file, measuredColumns, func(row []string) (Measured, error) {
		m := Measured{Path: row[0], Dropped: row[4]}
		for i, to := range []*float64{&m.Sharpness, &m.Contrast, &m.Colour} {
			v, err := strconv.ParseFloat(row[1+i], 64)
			if err != nil || !(v >= 0) {
				return Measured{}, fmt.Errorf("%s: want a number from 0, got %q", measuredColumns[1+i], row[1+i])
			}
			*to = v
		}
		return m, nil
	})
}

package cropfile

import (
	"io"
	"iter"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/table"
)

// QuarantineFile is the name of the table of photos that could not be used.
const QuarantineFile = "quarantine.csv"

// Quarantined says why no crop was made of a photo.
type Quarantined struct {
	ImageID openimages.ImageID
	Reason  string // short, the same in every build
}

var quarantineColumns = []string{"ImageID", "Reason"}

// WriteQuarantine writes quarantine.csv in the order of photos.
func WriteQuarantine(w io.Writer, photos iter.Seq[Quarantined]) error {
	return table.Write(w, quarantineColumns, func(yield func([]string) bool) {
		for p := range photos {
			if !yield([]string{string(p.ImageID), p.Reason}) {
				return
			}
		}
	})
}

// Quarantine reads quarantine.csv from src, which messages call file. The first fault
// ends the sequence.
func Quarantine(src io.Reader, file string) iter.Seq2[Quarantined, error] {
	return table.Read(src, file, quarantineColumns, func(row []string) (Quarantined, error) {
		return Quarantined{ImageID: openimages.ImageID(row[0]), Reason: row[1]}, nil
	})
}

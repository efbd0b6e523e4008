package boxindex

import (
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// Change is how the boxes of a label differ between two states of a data set.
type Change struct {
	Added   int64 // boxes at a place of a photo that had none of the label
	Removed int64 // those that are there no more
	Changed int64 // those at the same place whose source, confidence or flags are others
}

// place is what a box is where: the same in both states for the same box.
type place struct {
	image                  openimages.ImageID
	xMin, xMax, yMin, yMax openimages.Fraction
}

// rest is what else a row says.
type rest struct {
	source     string
	confidence openimages.Fraction
	flags      [openimages.NumAttributes]openimages.Flag
}

// Diff compares the files of a label. One that is empty has no boxes. Boxes that are there twice
// count twice.
func Diff(old, now []byte) (Change, error) {
	var c Change
	was := map[place][]rest{}
	if err := eachOf(old, func(p place, r rest) { was[p] = append(was[p], r) }); err != nil {
		return c, err
	}
	// What is the same is set aside first: of two boxes at one place, one may be as it was.
	var others []place
	err := eachOf(now, func(p place, r rest) {
		at := slices.Index(was[p], r)
		if at < 0 {
			others = append(others, p)
			return
		}
		was[p] = slices.Delete(was[p], at, at+1)
	})
	for _, p := range others {
		if len(was[p]) == 0 {
			c.Added++
			continue
		}
		c.Changed++
		was[p] = was[p][1:]
	}
	for _, left := range was {
		c.Removed += int64(len(left))
	}
	return c, err
}

func eachOf(file []byte, each func(place, rest)) error {
	if len(file) == 0 {
		return nil
	}
	for b, err := range Boxes(file) {
		if err != nil {
			return err
		}
		each(place{b.ImageID, b.XMin, b.XMax, b.YMin, b.YMax}, rest{b.Source, b.Confidence, b.Flags})
	}
	return nil
}

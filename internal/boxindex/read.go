package boxindex

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/parquet"
)

// Boxes yields the boxes of a label's file, in the order in which the box file had them. The
// first fault ends the sequence.
func Boxes(file []byte) iter.Seq2[openimages.Box, error] {
	return func(yield func(openimages.Box, error) bool) {
		f, err := open(file)
		if err != nil {
			yield(openimages.Box{}, err)
			return
		}
		for i := range f.Groups {
			for box, err := range groupBoxes(&f.Groups[i]) {
				if !yield(box, err) || err != nil {
					return
				}
			}
		}
	}
}

// Photos yields the photos of the boxes of a label's file, in their order, and may yield one
// again. It reads no more than these, a tenth of what Boxes does. The first fault ends the sequence.
func Photos(file []byte) iter.Seq2[openimages.ImageID, error] {
	return func(yield func(openimages.ImageID, error) bool) {
		f, err := open(file)
		if err != nil {
			yield("", err)
			return
		}
		for i := range f.Groups {
			images, err := f.Groups[i].Read(colImageID)
			if err == nil && images.At == nil {
				err = errDamaged
			}
			if err != nil {
				yield("", err)
				return
			}
			for _, id := range images.Texts.Strings() {
				if !yield(openimages.ImageID(id), nil) {
					return
				}
			}
		}
	}
}

func open(file []byte) (*parquet.File, error) {
	f, err := parquet.Open(file)
	if err == nil && !slices.Equal(f.Columns, columns) {
		err = errDamaged
	}
	return f, err
}

func groupBoxes(g *parquet.Group) iter.Seq2[openimages.Box, error] {
	return func(yield func(openimages.Box, error) bool) {
		values := make([]parquet.Values, len(columns))
		for c := range columns {
			var err error
			if values[c], err = g.Read(c); err != nil {
				yield(openimages.Box{}, err)
				return
			}
			if plain := c >= colXMin && c < colFlags; plain != (values[c].At == nil) {
				yield(openimages.Box{}, errDamaged)
				return
			}
		}
		var (
			entry                              = func(c, row int) uint32 { return values[c].At[row] }
			images, sources, labels, spellings = values[colImageID].Texts.Strings(), values[colSource].Texts.Strings(),
				values[colLabel].Texts.Strings(), values[colSpelling].Texts.Strings()
			texts speller
		)
		for row := range g.Rows {
			b := openimages.Box{
				ImageID: openimages.ImageID(images[entry(colImageID, row)]),
				Source:  sources[entry(colSource, row)],
				LabelID: openimages.LabelID(labels[entry(colLabel, row)]),
			}
			for a := range b.Flags {
				b.Flags[a] = openimages.Flag(values[colFlags+a].Ints[entry(colFlags+a, row)])
				if b.Flags[a] < openimages.Unknown || b.Flags[a] > openimages.Yes {
					yield(openimages.Box{}, errDamaged)
					return
				}
			}
			var now [numbers]float32
			for i := range now[:4] {
				now[i] = values[colXMin+i].Floats[row]
			}
			now[4] = values[colConfidence].Floats[entry(colConfidence, row)]
			text, err := texts.spell(now, values[colDecimals].Ints[entry(colDecimals, row)], spellings[entry(colSpelling, row)])
			if err != nil {
				yield(openimages.Box{}, err)
				return
			}
			b.XMin, b.XMax, b.YMin, b.YMax, b.Confidence = text[0], text[1], text[2], text[3], text[4]
			if !yield(b, nil) {
				return
			}
		}
	}
}

// speller writes the numbers of boxes as they were written. Confidences are mostly one text.
type speller struct {
	confidence float32
	decimals   int
	text       string
	scratch    []byte
}

func (s *speller) spell(values [numbers]float32, packed int32, spelling string) (texts [numbers]openimages.Fraction, err error) {
	sound := false // the coordinates need no other look
	if packed == spelled {
		fields := strings.Split(spelling, " ")
		if len(fields) != numbers {
			return texts, errDamaged
		}
		for i, f := range fields {
			texts[i] = openimages.Fraction(f)
		}
	} else {
		sound = true
		decimals := unpack(packed)
		if values[4] != s.confidence || decimals[4] != s.decimals {
			s.text, s.confidence, s.decimals = spell(values[4], decimals[4]), values[4], decimals[4]
		}
		texts[4] = openimages.Fraction(s.text)
		all := s.scratch[:0]
		var ends [4]int
		for i, v := range values[:4] {
			all = appendSpelt(all, v, decimals[i])
			sound = sound && sixPlaces(v, decimals[i])
			ends[i] = len(all)
		}
		s.scratch = all
		text, from := string(all), 0
		for i, end := range ends {
			texts[i] = openimages.Fraction(text[from:end])
			from = end
		}
	}
	if sound {
		return texts, nil
	}
	for _, t := range texts[:4] {
		if _, err := openimages.ParseFraction(string(t)); err != nil {
			return texts, fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	return texts, nil
}

package boxindex

import (
	"math"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/parquet"
)

// group is a row group at work: a column of values for each of columns. All but the coordinates
// have dictionaries.
type group struct {
	rows      int
	values    []parquet.Values
	label     string
	last      string // image
	sources   map[uint16]uint32
	numbers   map[uint32]uint32 // confidences, by their bits
	decimals  map[int32]uint32
	spellings map[string]uint32
}

func newGroup(label string) *group {
	g := &group{
		values: make([]parquet.Values, len(columns)), label: label, sources: map[uint16]uint32{},
		numbers: map[uint32]uint32{}, decimals: map[int32]uint32{}, spellings: map[string]uint32{},
	}
	g.reset()
	return g
}

// flagValues is the dictionary of flags: that of a flag is entry flagEntry.
var flagValues = []int32{0, 1, -1}

// flagEntry takes a flag and one.
var flagEntry = [4]uint32{2, 0, 1, 2}

func (g *group) reset() {
	for i := range g.values {
		v := &g.values[i]
		*v = parquet.Values{Texts: v.Texts[:0], Ints: v.Ints[:0], Floats: v.Floats[:0], At: v.At[:0]}
		if columns[i].Type == parquet.Int8 {
			v.Ints = append(v.Ints, flagValues...)
		}
	}
	g.values[colLabel].Texts = append(g.values[colLabel].Texts, g.label)
	g.rows, g.last = 0, ""
	clear(g.sources)
	clear(g.numbers)
	clear(g.decimals)
	clear(g.spellings)
}

// write writes the group, if it has rows, and empties it.
func (g *group) write(to *parquet.Writer) error {
	if g.rows == 0 {
		return nil
	}
	for c := colXMin; c < colFlags; c++ {
		g.values[c].At = nil // no dictionary
	}
	err := to.Group(g.rows, g.values)
	g.reset()
	return err
}

// add adds a record.
func (g *group) add(rec record, sources []string) {
	at := func(column int, entry uint32) { g.values[column].At = append(g.values[column].At, entry) }
	if rec.image != g.last || g.rows == 0 {
		g.values[colImageID].Texts = append(g.values[colImageID].Texts, rec.image)
		g.last = rec.image
	}
	at(colImageID, uint32(len(g.values[colImageID].Texts)-1))
	at(colSource, entryOf(g.sources, rec.source, func() {
		g.values[colSource].Texts = append(g.values[colSource].Texts, sources[rec.source])
	}))
	at(colLabel, 0)
	for a := range int(openimages.NumAttributes) {
		at(colFlags+a, flagEntry[rec.flags>>(2*a)&3])
	}
	values, decimals, spelling := rec.numbers()
	for i, v := range values[:4] {
		g.values[colXMin+i].Floats = append(g.values[colXMin+i].Floats, v)
	}
	confidence := values[4]
	at(colConfidence, entryOf(g.numbers, math.Float32bits(confidence), func() {
		g.values[colConfidence].Floats = append(g.values[colConfidence].Floats, confidence)
	}))
	at(colDecimals, entryOf(g.decimals, decimals, func() {
		g.values[colDecimals].Ints = append(g.values[colDecimals].Ints, decimals)
	}))
	at(colSpelling, entryOf(g.spellings, spelling, func() {
		g.values[colSpelling].Texts = append(g.values[colSpelling].Texts, spelling)
	}))
	g.rows++
}

// entryOf returns the entry of a value in a dictionary, which enter adds to it.
func entryOf[K comparable](entries map[K]uint32, value K, enter func()) uint32 {
	entry, ok := entries[value]
	if !ok {
		entry = uint32(len(entries))
		entries[value] = entry
		enter()
	}
	return entry
}

// numbers returns the values of a record's numbers, and how they were written.
func (rec *record) numbers() (values [numbers]float32, decimals int32, spelling string) {
	if rec.plain {
		for i, n := range rec.six {
			values[i] = float32(float64(n) / 1e6)
		}
		values[4] = 1
		return values, plainDecimals, ""
	}
	var each [numbers]int
	all := true
	for i, text := range rec.texts {
		var ok bool
		values[i], each[i], ok = decimalsOf(text)
		all = all && ok
	}
	if all {
		return values, pack(each), ""
	}
	return values, spelled, strings.Join(rec.texts[:], " ")
}

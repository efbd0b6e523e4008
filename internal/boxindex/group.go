package boxindex

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/parquet"
)

// groupRows are the rows of a row group, so many that 16 bits tell entries of its dictionaries.
const groupRows = 1 << 16

// group is a row group at work.
type group struct {
	rows      []row
	label     string
	images    parquet.Texts
	sources   dictionary[uint16]
	numbers   dictionary[uint32] // confidences, by their bits
	decimals  dictionary[int32]
	spellings dictionary[string]

	// Of the column that is written.
	texts  parquet.Texts
	at     []uint32
	floats []float32
}

// row is what a row of a group has of its own, and its entries in dictionaries.
type row struct {
	sides                                  [4]float32
	image                                  uint16
	source, confidence, decimals, spelling uint16
	flags                                  uint16
}

// reset empties the group. What follows is of a label that has so many boxes.
func (g *group) reset(label string, boxes int64) {
	g.label = label
	g.rows = slices.Grow(g.rows[:0], int(min(boxes, groupRows)))
	g.images.Reset()
	g.sources.reset()
	g.numbers.reset()
	g.decimals.reset()
	g.spellings.reset()
}

// add adds a record.
func (g *group) add(rec *record) {
	if n := g.images.Len(); n == 0 || !bytes.Equal(g.images.At(n-1), rec.image) {
		g.images.Append(rec.image)
	}
	values, decimals, spelling := rec.numbers()
	g.rows = append(g.rows, row{
		sides:      [4]float32(values[:4]),
		image:      uint16(g.images.Len() - 1),
		source:     g.sources.entry(rec.source),
		confidence: g.numbers.entry(math.Float32bits(values[4])),
		decimals:   g.decimals.entry(decimals),
		spelling:   g.spellings.entry(spelling),
		flags:      rec.flags,
	})
}

// flagValues is the dictionary of flags, and flagEntry the entry of a flag, to which one is added.
var (
	flagValues = []int32{0, 1, -1}
	flagEntry  = [4]uint32{2, 0, 1, 2}
)

// column returns the values of a column, until it is called again. All but the coordinates have
// dictionaries.
func (g *group) column(c int, sources []string) parquet.Values {
	var v parquet.Values
	switch c {
	case colImageID:
		v.Texts, v.At = &g.images, g.entries(func(r *row) uint32 { return uint32(r.image) })
	case colSource:
		g.texts.Reset()
		for _, number := range g.sources.values {
			g.texts.Append([]byte(sources[number]))
		}
		v.Texts, v.At = &g.texts, g.entries(func(r *row) uint32 { return uint32(r.source) })
	case colLabel:
		g.texts.Reset()
		g.texts.Append([]byte(g.label))
		v.Texts, v.At = &g.texts, g.entries(func(*row) uint32 { return 0 })
	case colConfidence:
		for _, bits := range g.numbers.values {
			v.Floats = append(v.Floats, math.Float32frombits(bits))
		}
		v.At = g.entries(func(r *row) uint32 { return uint32(r.confidence) })
	case colDecimals:
		v.Ints, v.At = g.decimals.values, g.entries(func(r *row) uint32 { return uint32(r.decimals) })
	case colSpelling:
		g.texts.Reset()
		for _, spelling := range g.spellings.values {
			g.texts.Append([]byte(spelling))
		}
		v.Texts, v.At = &g.texts, g.entries(func(r *row) uint32 { return uint32(r.spelling) })
	default:
		if c < colFlags {
			g.floats = slices.Grow(g.floats[:0], len(g.rows))
			for i := range g.rows {
				g.floats = append(g.floats, g.rows[i].sides[c-colXMin])
			}
			return parquet.Values{Floats: g.floats}
		}
		a := openimages.Attribute(c - colFlags)
		v.Ints, v.At = flagValues, g.entries(func(r *row) uint32 { return flagEntry[flagAt(r.flags, a)+1] })
	}
	return v
}

// entries collects an entry of each row.
func (g *group) entries(of func(*row) uint32) []uint32 {
	g.at = slices.Grow(g.at[:0], len(g.rows))
	for i := range g.rows {
		g.at = append(g.at, of(&g.rows[i]))
	}
	return g.at
}

// dictionary numbers values in the order in which they come.
type dictionary[K comparable] struct {
	values []K
	number map[K]uint16
	last   uint16
}

func (d *dictionary[K]) reset() {
	d.values, d.last = d.values[:0], 0
	clear(d.number)
}

// entry returns the number of a value.
func (d *dictionary[K]) entry(value K) uint16 {
	if len(d.values) > 0 && d.values[d.last] == value { // neighbours are mostly alike
		return d.last
	}
	n, ok := d.number[value]
	if !ok {
		if d.number == nil {
			d.number = map[K]uint16{}
		}
		n = uint16(len(d.values))
		d.values = append(d.values, value)
		d.number[value] = n
	}
	d.last = n
	return n
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

// Package parquet writes and reads tables as Parquet files: flat, without missing values,
// uncompressed. Any reader of Parquet reads them; this one reads only such.
//
// It is our own because the libraries are made for everything that Parquet can do: parquet-go 0.32
// makes a stripped program 9.0 MB larger and takes 7.6 ms of processor time at its start and for one
// row, where process start is 1.8; arrow-go 18.8 compiles for minutes. What they write
// changes from version to version, while ours must be the same bytes for ever. What is needed of the
// format is little: dictionaries for what repeats, plain numbers for what does not. They make an
// official box file a third of its CSV.
package parquet

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/bits"
	"slices"
)

// Type is the type of a column.
type Type int

// The types.
const (
	Text Type = iota // UTF-8
	Int8             // stored as 32 bits, as Parquet has it
	Int32
	Float // 32 bits
)

// Column is a column of a table.
type Column struct {
	Name string
	Type Type
}

// Values are the values of one column in some rows. For a text, or where At is not nil,
// there is a dictionary, and the value of row i is entry At[i] of it; otherwise the value is
// entry i.
type Values struct {
	Texts  *Texts
	Ints   []int32 // of Int8 and Int32
	Floats []float32
	At     []uint32
}

func (v Values) entries() int { return v.Texts.Len() + len(v.Ints) + len(v.Floats) }

// Numbers of the format.
const (
	magic = "PAR1"

	physicalInt32     = 1
	physicalFloat     = 4
	physicalByteArray = 6

	convertedUTF8 = 0
	convertedInt8 = 15

	encodingPlain      = 0
	encodingRLE        = 3
	encodingDictionary = 8

	pageData       = 0
	pageDictionary = 2

	required     = 0
	uncompressed = 0
)

func (t Type) physical() int32 {
	switch t {
	case Text:
		return physicalByteArray
	case Float:
		return physicalFloat
	case Int8, Int32:
	}
	return physicalInt32
}

// Writer writes a file.
type Writer struct {
	w       io.Writer
	columns []Column
	at      int64 // bytes written
	rows    int64
	groups  [][]written
	sizes   []int64 // rows of each group
	page    []byte  // the page at work
	err     error
}

// written is a column of a row group in the file.
type written struct {
	dictionary, data, end int64 // offsets; without a dictionary, data is where it starts
	hasDictionary         bool
	least, most           string // of texts
}

// NewWriter returns a writer of a table with columns.
func NewWriter(w io.Writer, columns []Column) *Writer {
	p := &Writer{columns: columns}
	p.Reset(w)
	return p
}

// Reset makes the writer begin another file, to w, with the same columns and in the same memory.
func (w *Writer) Reset(to io.Writer) {
	*w = Writer{w: to, columns: w.columns, groups: w.groups[:0], sizes: w.sizes[:0], page: w.page}
	w.write([]byte(magic))
}

func (w *Writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
		w.at += int64(len(b))
	}
}

// Group writes some rows, which stand together in the file. It asks for the values of one column
// after the other, so that they can be in the same memory.
func (w *Writer) Group(rows int, column func(i int) Values) error {
	group := make([]written, 0, len(w.columns))
	for i, c := range w.columns {
		group = append(group, w.column(c.Type, rows, column(i)))
	}
	w.groups = append(w.groups, group)
	w.sizes = append(w.sizes, int64(rows))
	w.rows += int64(rows)
	return w.err
}

func (w *Writer) column(t Type, rows int, v Values) written {
	var c written
	plain := w.page[:0]
	switch t {
	case Text:
		plain = v.Texts.appendPlain(plain)
		c.least, c.most = v.Texts.bounds()
	case Int8, Int32:
		for _, n := range v.Ints {
			plain = binary.LittleEndian.AppendUint32(plain, uint32(n))
		}
	case Float:
		for _, f := range v.Floats {
			plain = binary.LittleEndian.AppendUint32(plain, math.Float32bits(f))
		}
	}
	w.page = plain
	if c.hasDictionary = v.At != nil || t == Text; c.hasDictionary {
		c.dictionary = w.at
		w.writePage(pageDictionary, v.entries(), encodingPlain)
		width := indexWidth(v.entries())
		w.page = appendIndexes(append(w.page[:0], byte(width)), v.At, width)
	}
	c.data = w.at
	encoding := int32(encodingPlain)
	if c.hasDictionary {
		encoding = encodingDictionary
	}
	w.writePage(pageData, rows, encoding)
	c.end = w.at
	return c
}

func (w *Writer) writePage(kind int32, values int, encoding int32) {
	var e encoder
	e.open()
	e.i32(1, kind)
	e.i32(2, int32(len(w.page)))
	e.i32(3, int32(len(w.page)))
	if kind == pageData {
		e.openField(5)
		e.i32(1, int32(values))
		e.i32(2, encoding)
		e.i32(3, encodingRLE) // of the levels, which a required column has none of
		e.i32(4, encodingRLE)
		e.close()
	} else {
		e.openField(7)
		e.i32(1, int32(values))
		e.i32(2, encoding)
		e.close()
	}
	e.close()
	w.write(e.b)
	w.write(w.page)
}

// indexWidth is how many bits an index into so many entries takes; at least one, since some
// readers stumble over none.
func indexWidth(entries int) int { return max(bits.Len(uint(max(entries, 1)-1)), 1) }

// appendIndexes appends indexes in the hybrid of runs and packed bits: as one run where they
// are all the same, and packed otherwise.
func appendIndexes(b []byte, at []uint32, width int) []byte {
	if len(at) == 0 {
		return b
	}
	if !slices.ContainsFunc(at, func(x uint32) bool { return x != at[0] }) {
		b = binary.AppendUvarint(b, uint64(len(at))<<1)
		for shift := 0; shift < width; shift += 8 {
			b = append(b, byte(at[0]>>shift))
		}
		return b
	}
	groups := (len(at) + 7) / 8
	b = binary.AppendUvarint(b, uint64(groups)<<1|1)
	var word uint64
	have := 0
	for i := range groups * 8 {
		if i < len(at) {
			word |= uint64(at[i]) << have
		}
		for have += width; have >= 8; have -= 8 {
			b = append(b, byte(word))
			word >>= 8
		}
	}
	return b
}

// Close writes the footer. Note is kept in the file under the name "sandwich".
func (w *Writer) Close(note string) error {
	var e encoder
	e.open()
	e.i32(1, 1)
	e.list(2, typeStruct, 1+len(w.columns))
	e.open()
	e.text(4, "table")
	e.i32(5, int32(len(w.columns)))
	e.close()
	for _, c := range w.columns {
		e.open()
		e.i32(1, c.Type.physical())
		e.i32(3, required)
		e.text(4, c.Name)
		switch c.Type {
		case Text:
			e.i32(6, convertedUTF8)
		case Int8:
			e.i32(6, convertedInt8)
		case Int32, Float:
		}
		e.close()
	}
	e.i64(3, w.rows)
	e.list(4, typeStruct, len(w.groups))
	for i, group := range w.groups {
		w.encodeGroup(&e, group, w.sizes[i])
	}
	e.list(5, typeStruct, 1)
	e.open()
	e.text(1, noteKey)
	e.text(2, note)
	e.close()
	e.text(6, "sandwich")
	e.close()
	footer := binary.LittleEndian.AppendUint32(e.b, uint32(len(e.b)))
	w.write(append(footer, magic...))
	return w.err
}

const noteKey = "sandwich"

func (w *Writer) encodeGroup(e *encoder, group []written, rows int64) {
	e.open()
	e.list(1, typeStruct, len(group))
	start := func(c written) int64 {
		if c.hasDictionary {
			return c.dictionary
		}
		return c.data
	}
	for i, c := range group {
		e.open()
		e.i64(2, start(c))
		e.openField(3)
		e.i32(1, w.columns[i].Type.physical())
		encodings := []int64{encodingPlain}
		if c.hasDictionary {
			encodings = []int64{encodingPlain, encodingRLE, encodingDictionary}
		}
		e.list(2, typeInt32, len(encodings))
		for _, x := range encodings {
			e.b = binary.AppendVarint(e.b, x)
		}
		e.list(3, typeBinary, 1)
		e.bytes(w.columns[i].Name)
		e.i32(4, uncompressed)
		e.i64(5, rows)
		e.i64(6, c.end-start(c))
		e.i64(7, c.end-start(c))
		e.i64(9, c.data)
		if c.hasDictionary {
			e.i64(11, c.dictionary)
		}
		e.openField(12)
		e.i64(3, 0) // no value is missing
		if w.columns[i].Type == Text {
			e.text(5, c.most)
			e.text(6, c.least)
		}
		e.close()
		e.close()
		e.close()
	}
	size := group[len(group)-1].end - start(group[0])
	e.i64(2, size)
	e.i64(3, rows)
	e.i64(5, start(group[0]))
	e.i64(6, size)
	e.close()
}

var errNotOurs = errors.New("this is not a Parquet file that sandwich wrote")

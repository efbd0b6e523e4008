package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// File is a file that a Writer wrote, in memory.
type File struct {
	Columns []Column
	Rows    int64
	Note    string
	Groups  []Group

	data []byte
}

// Group is a row group of a file.
type Group struct {
	Rows    int
	file    *File
	columns []place
}

// place is where a column of a row group is.
type place struct {
	kind, codec      int32
	dictionary, data int64
	size             int64 // of both
}

const (
	maxColumns = 1 << 10
	maxRows    = 1 << 24 // of a row group
)

// Open reads the footer of a file.
func Open(data []byte) (*File, error) {
	n := len(data)
	if n < 12 || !bytes.HasPrefix(data, []byte(magic)) || !bytes.HasSuffix(data, []byte(magic)) {
		return nil, errNotOurs
	}
	size := binary.LittleEndian.Uint32(data[n-8:])
	if uint64(size) > uint64(n-12) {
		return nil, errNotOurs
	}
	f := &File{data: data[:n-8-int(size)]}
	d := &decoder{b: data[n-8-int(size) : n-8]}
	d.each(func(id, kind int) {
		switch {
		case id == 2:
			d.elements(kind, func(int) { f.readColumn(d) })
		case id == 3 && kind == typeInt64:
			f.Rows = d.int()
		case id == 4:
			d.elements(kind, func(int) { f.readGroup(d) })
		case id == 5:
			d.elements(kind, func(int) { f.readNote(d) })
		default:
			d.skip(kind)
		}
	})
	if d.err != nil {
		return nil, d.err
	}
	rows := int64(0)
	for _, g := range f.Groups {
		rows += int64(g.Rows)
		if len(g.columns) != len(f.Columns) {
			return nil, errThrift
		}
	}
	if rows != f.Rows {
		return nil, errThrift
	}
	return f, nil
}

// readColumn reads an element of the schema. The root is one, too.
func (f *File) readColumn(d *decoder) {
	var (
		c                   Column
		physical, converted int64 = -1, -1
		root                bool
	)
	d.each(func(id, kind int) {
		switch id {
		case 1:
			physical = d.int()
		case 3:
			if d.int() != required {
				d.fail()
			}
		case 4:
			c.Name = d.text()
		case 5:
			root = true
			d.int()
		case 6:
			converted = d.int()
		default:
			d.skip(kind)
		}
	})
	switch {
	case root:
		return
	case physical == physicalByteArray:
		c.Type = Text
	case physical == physicalFloat:
		c.Type = Float
	case physical == physicalInt32 && converted == convertedInt8:
		c.Type = Int8
	case physical == physicalInt32:
		c.Type = Int32
	default:
		d.fail()
	}
	if f.Columns = append(f.Columns, c); len(f.Columns) > maxColumns {
		d.fail()
	}
}

func (f *File) readGroup(d *decoder) {
	g := Group{file: f}
	d.each(func(id, kind int) {
		switch {
		case id == 1:
			d.elements(kind, func(int) {
				d.each(func(id, kind int) {
					if id != 3 || kind != typeStruct {
						d.skip(kind)
						return
					}
					g.columns = append(g.columns, readPlace(d))
				})
			})
		case id == 3 && kind == typeInt64:
			rows := d.int()
			if rows < 0 || rows > maxRows {
				d.fail()
			}
			g.Rows = int(rows)
		default:
			d.skip(kind)
		}
	})
	f.Groups = append(f.Groups, g)
}

func readPlace(d *decoder) place {
	p := place{dictionary: -1}
	d.each(func(id, kind int) {
		switch id {
		case 1:
			p.kind = int32(d.int())
		case 4:
			p.codec = int32(d.int())
		case 7:
			p.size = d.int()
		case 9:
			p.data = d.int()
		case 11:
			p.dictionary = d.int()
		default:
			d.skip(kind)
		}
	})
	return p
}

func (f *File) readNote(d *decoder) {
	var key, value string
	d.each(func(id, kind int) {
		switch id {
		case 1:
			key = d.text()
		case 2:
			value = d.text()
		default:
			d.skip(kind)
		}
	})
	if key == noteKey {
		f.Note = value
	}
}

var errPage = errors.New("a page is damaged, or of a form that sandwich does not write")

// Read returns the values of a column of the group.
func (g *Group) Read(column int) (Values, error) {
	v, err := g.read(column)
	if err != nil {
		return v, fmt.Errorf("column %s: %w", g.file.Columns[column].Name, err)
	}
	return v, nil
}

func (g *Group) read(column int) (Values, error) {
	t, p := g.file.Columns[column].Type, g.columns[column]
	if p.kind != t.physical() || p.codec != uncompressed {
		return Values{}, errPage
	}
	if p.dictionary < 0 {
		n, page, err := g.file.page(p.data, pageData, encodingPlain)
		if err != nil || n != g.Rows {
			return Values{}, errors.Join(errPage, err)
		}
		return plainValues(t, n, page)
	}
	entries, page, err := g.file.page(p.dictionary, pageDictionary, encodingPlain)
	if err != nil {
		return Values{}, err
	}
	v, err := plainValues(t, entries, page)
	if err != nil {
		return Values{}, err
	}
	n, page, err := g.file.page(p.data, pageData, encodingDictionary)
	if err != nil || n != g.Rows || len(page) == 0 {
		return Values{}, errors.Join(errPage, err)
	}
	if v.At, err = readIndexes(page[1:], n, int(page[0])); err != nil {
		return Values{}, err
	}
	for _, at := range v.At {
		if int(at) >= entries {
			return Values{}, errPage
		}
	}
	return v, nil
}

// page returns the page at an offset, and how many values it says it has.
func (f *File) page(offset int64, wantKind, wantEncoding int64) (values int, page []byte, err error) {
	if offset < 0 || offset >= int64(len(f.data)) {
		return 0, nil, errPage
	}
	d := &decoder{b: f.data[offset:]}
	var kind, size, n, encoding int64 = -1, -1, -1, -1
	d.each(func(id, k int) {
		switch {
		case id == 1:
			kind = d.int()
		case id == 3:
			size = d.int()
		case (id == 5 || id == 7) && k == typeStruct:
			d.each(func(id, k int) {
				switch id {
				case 1:
					n = d.int()
				case 2:
					encoding = d.int()
				default:
					d.skip(k)
				}
			})
		default:
			d.skip(k)
		}
	})
	if d.err != nil || kind != wantKind || encoding != wantEncoding || size < 0 || size > int64(len(d.b)) || n < 0 || n > maxRows {
		return 0, nil, errPage
	}
	return int(n), d.b[:size], nil
}

func plainValues(t Type, n int, page []byte) (Values, error) {
	var v Values
	if t != Text && len(page) != 4*n || len(page) < 4*n {
		return v, errPage
	}
	switch t {
	case Text:
		v.Texts = &Texts{all: make([]byte, 0, len(page)-4*n), ends: make([]int, 0, n)}
		at := 0
		for range n {
			if len(page)-at < 4 {
				return v, errPage
			}
			size := binary.LittleEndian.Uint32(page[at:])
			if at += 4; uint64(size) > uint64(len(page)-at) {
				return v, errPage
			}
			v.Texts.Append(page[at : at+int(size)])
			at += int(size)
		}
	case Int8, Int32:
		v.Ints = make([]int32, n)
		for i := range v.Ints {
			v.Ints[i] = int32(binary.LittleEndian.Uint32(page[4*i:]))
		}
	case Float:
		v.Floats = make([]float32, n)
		for i := range v.Floats {
			v.Floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(page[4*i:]))
		}
	}
	return v, nil
}

// readIndexes reads n indexes of so many bits.
func readIndexes(b []byte, n, width int) ([]uint32, error) {
	if width < 1 || width > 32 {
		return nil, errPage
	}
	at := make([]uint32, 0, n)
	for len(at) < n {
		head, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errPage
		}
		b = b[size:]
		run := head >> 1
		if head&1 == 0 {
			bytes := (width + 7) / 8
			if run == 0 || run > uint64(n-len(at)) || len(b) < bytes {
				return nil, errPage
			}
			var value uint32
			for i := range bytes {
				value |= uint32(b[i]) << (8 * i)
			}
			for range run {
				at = append(at, value)
			}
			b = b[bytes:]
			continue
		}
		if run == 0 || run > uint64(len(b)/width) {
			return nil, errPage
		}
		var word uint64
		have, mask := 0, uint64(1)<<width-1
		for _, c := range b[:int(run)*width] {
			word |= uint64(c) << have
			for have += 8; have >= width && len(at) < n; have -= width {
				at = append(at, uint32(word&mask))
				word >>= width
			}
		}
		b = b[int(run)*width:]
	}
	return at, nil
}

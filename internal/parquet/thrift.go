package parquet

import (
	"encoding/binary"
	"errors"
)

// The compact protocol of Thrift, as much of it as Parquet's footers and page headers need.

// Types of fields and of elements of lists.
const (
	typeTrue   = 1
	typeFalse  = 2
	typeInt8   = 3
	typeInt16  = 4
	typeInt32  = 5
	typeInt64  = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
)

// encoder appends a struct, field by field in ascending order.
type encoder struct {
	b    []byte
	last []int // the field that was written last, of each struct that is open
}

func (e *encoder) field(id, kind int) {
	at := len(e.last) - 1
	e.b = append(e.b, byte(id-e.last[at])<<4|byte(kind)) // ids of Parquet are less than 15 apart
	e.last[at] = id
}

func (e *encoder) int(id, kind int, v int64) {
	e.field(id, kind)
	e.b = binary.AppendVarint(e.b, v)
}

func (e *encoder) i32(id int, v int32) { e.int(id, typeInt32, int64(v)) }
func (e *encoder) i64(id int, v int64) { e.int(id, typeInt64, v) }

func (e *encoder) text(id int, v string) {
	e.field(id, typeBinary)
	e.bytes(v)
}

func (e *encoder) bytes(v string) {
	e.b = binary.AppendUvarint(e.b, uint64(len(v)))
	e.b = append(e.b, v...)
}

func (e *encoder) list(id, kind, n int) {
	e.field(id, typeList)
	if n < 15 {
		e.b = append(e.b, byte(n)<<4|byte(kind))
		return
	}
	e.b = append(e.b, 0xf0|byte(kind))
	e.b = binary.AppendUvarint(e.b, uint64(n))
}

// open begins a struct that is an element of a list, or the whole.
func (e *encoder) open() { e.last = append(e.last, 0) }

// openField begins a struct that is a field.
func (e *encoder) openField(id int) {
	e.field(id, typeStruct)
	e.open()
}

func (e *encoder) close() {
	e.b = append(e.b, 0)
	e.last = e.last[:len(e.last)-1]
}

var errThrift = errors.New("the metadata are damaged")

// maxDepth bounds how deep structs are nested; Parquet's are 5 deep.
const maxDepth = 32

// decoder reads what encoder wrote, or others did. The first error stays.
type decoder struct {
	b     []byte
	err   error
	depth int
}

func (d *decoder) fail() {
	d.b, d.err = nil, errThrift
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// each calls field for every field of a struct. What field does not read it must skip.
func (d *decoder) each(field func(id, kind int)) {
	if d.depth++; d.depth > maxDepth {
		d.fail()
	}
	defer func() { d.depth-- }()
	for id := 0; ; {
		head := d.byte()
		if head == 0 {
			return
		}
		if delta := int(head >> 4); delta > 0 {
			id += delta
		} else {
			id = int(d.int())
		}
		field(id, int(head&15))
		if d.err != nil {
			return
		}
	}
}

// elements calls element for every element of a list.
func (d *decoder) elements(kind int, element func(kind int)) {
	if kind != typeList && kind != typeSet {
		d.fail()
		return
	}
	head := d.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = d.uvarint()
	}
	for range n {
		if d.err != nil || len(d.b) == 0 {
			d.fail()
			return
		}
		element(int(head & 15))
	}
}

// skip passes over a value.
func (d *decoder) skip(kind int) { d.skipIn(kind, false) }

// skipIn passes over a value; in a list, a truth value has a byte of its own.
func (d *decoder) skipIn(kind int, inList bool) {
	switch kind {
	case typeTrue, typeFalse:
		if inList {
			d.byte()
		}
	case typeInt8:
		d.byte()
	case typeInt16, typeInt32, typeInt64:
		d.int()
	case typeDouble:
		for range 8 {
			d.byte()
		}
	case typeBinary:
		d.text()
	case typeList, typeSet:
		if d.depth++; d.depth > maxDepth {
			d.fail()
		}
		d.elements(kind, func(kind int) { d.skipIn(kind, true) })
		d.depth--
	case typeStruct:
		d.each(func(_, kind int) { d.skip(kind) })
	default: // Parquet has no maps
		d.fail()
	}
}

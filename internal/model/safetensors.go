package model

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// The safetensors format: eight bytes with the length of a JSON header, the header,
// the arrays. https://github.com/huggingface/safetensors#format

// maxHeader is the length of a header that is still read. Our own are below 2 KiB.
const maxHeader = 1 << 20

// maxRank is the number of axes of a tensor that is still read.
const maxRank = 8

// headerEntry describes one tensor. The fields are written in this order.
type headerEntry struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"` // into the data after the header, end exclusive
}

// EncodeSafetensors writes tensors in the canonical form: sorted by name, the header
// padded with spaces to a multiple of eight, float32 little-endian. Equal tensors give
// equal bytes, in whatever order they are given.
func EncodeSafetensors(tensors []Tensor) ([]byte, error) {
	sorted := slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b Tensor) int { return cmp.Compare(a.Name, b.Name) })

	var header bytes.Buffer
	header.WriteByte('{')
	offset := 0
	for i, t := range sorted {
		if i > 0 {
			if sorted[i-1].Name == t.Name {
				return nil, fmt.Errorf("encode safetensors: two tensors are named %q", t.Name)
			}
			header.WriteByte(',')
		}
		size := 4 * len(t.Data)
		if 4*product(t.Dims) != size {
			return nil, fmt.Errorf("encode safetensors: %s has %d values for shape %v", t.Name, len(t.Data), t.Dims)
		}
		if err := writeEntry(&header, t, offset, offset+size); err != nil {
			return nil, fmt.Errorf("encode safetensors: %w", err)
		}
		offset += size
	}
	header.WriteByte('}')
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}

	out := make([]byte, 0, 8+header.Len()+offset)
	out = binary.LittleEndian.AppendUint64(out, uint64(header.Len()))
	out = append(out, header.Bytes()...)
	for _, t := range sorted {
		for _, v := range t.Data {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
	}
	return out, nil
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func writeEntry(header *bytes.Buffer, t Tensor, begin, end int) error {
	name, err := json.Marshal(t.Name)
	if err != nil {
		return err
	}
	shape := t.Dims
	if shape == nil {
		shape = []int{} // a scalar is "[]", not "null"
	}
	entry, err := json.Marshal(headerEntry{DType: "F32", Shape: shape, Offsets: [2]int{begin, end}})
	if err != nil {
		return err
	}
	header.Write(name)
	header.WriteByte(':')
	header.Write(entry)
	return nil
}

// DecodeSafetensors reads a file of float32 tensors, sorted by where their data stands.
// It refuses what the format refuses (overlaps, holes, data beyond the last tensor) and
// every other type; it allocates no more than the file is long.
func DecodeSafetensors(file []byte) ([]Tensor, error) {
	tensors, err := decodeSafetensors(file)
	if err != nil {
		return nil, fmt.Errorf("decode safetensors: %w", err)
	}
	return tensors, nil
}

func decodeSafetensors(file []byte) ([]Tensor, error) {
	if len(file) < 8 {
		return nil, errors.New("shorter than its first field")
	}
	length := binary.LittleEndian.Uint64(file)
	rest := file[8:]
	if length > maxHeader || length > uint64(len(rest)) {
		return nil, fmt.Errorf("a header of %d bytes in a file of %d", length, len(file))
	}
	entries, err := parseHeader(rest[:length])
	if err != nil {
		return nil, err
	}
	data := rest[length:]
	tensors := make([]Tensor, 0, len(entries))
	offset := 0
	for _, e := range entries {
		t, err := e.tensor(data, offset)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.name, err)
		}
		tensors = append(tensors, t)
		offset = e.Offsets[1]
	}
	if offset != len(data) {
		return nil, fmt.Errorf("%d bytes after the last tensor", len(data)-offset)
	}
	return tensors, nil
}

type namedEntry struct {
	name string
	headerEntry
}

// parseHeader returns the entries in the order of their data. It reads the object key
// by key, because decoding into a map would hide a name that stands twice.
func parseHeader(header []byte) ([]namedEntry, error) {
	d := json.NewDecoder(bytes.NewReader(header))
	d.DisallowUnknownFields()
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("header: want a JSON object")
	}
	var entries []namedEntry
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
		name, ok := token.(string)
		if !ok || seen[name] {
			return nil, fmt.Errorf("header: want a new name, got %v", token)
		}
		seen[name] = true
		if name == "__metadata__" {
			var ignored map[string]string
			if err := d.Decode(&ignored); err != nil {
				return nil, fmt.Errorf("header: metadata: %w", err)
			}
			continue
		}
		entry := namedEntry{name: name}
		if err := d.Decode(&entry.headerEntry); err != nil {
			return nil, fmt.Errorf("header: %q: %w", name, err)
		}
		entries = append(entries, entry)
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, fmt.Errorf("header: %w", err)
	}
	if len(bytes.TrimRight(header[d.InputOffset():], " ")) > 0 {
		return nil, errors.New("header: something stands after the JSON object")
	}
	slices.SortFunc(entries, func(a, b namedEntry) int {
		return cmp.Or(cmp.Compare(a.Offsets[0], b.Offsets[0]), cmp.Compare(a.Offsets[1], b.Offsets[1]), cmp.Compare(a.name, b.name))
	})
	return entries, nil
}

// tensor reads the entry's values; its data must begin at offset begin.
func (e namedEntry) tensor(data []byte, begin int) (Tensor, error) {
	if e.DType != "F32" {
		return Tensor{}, fmt.Errorf("want type F32, got %q", e.DType)
	}
	if e.Offsets[0] != begin || e.Offsets[1] < begin || e.Offsets[1] > len(data) {
		return Tensor{}, fmt.Errorf("data at %v, want it to begin at %d and end within %d", e.Offsets, begin, len(data))
	}
	if len(e.Shape) > maxRank {
		return Tensor{}, fmt.Errorf("%d axes, the limit is %d", len(e.Shape), maxRank)
	}
	size := e.Offsets[1] - begin
	values := 1
	for _, dim := range e.Shape {
		// The quotient keeps the product from overflowing: no tensor has more values
		// than the file has bytes.
		if dim < 0 || (dim > 0 && values > len(data)/dim) {
			return Tensor{}, fmt.Errorf("shape %v does not fit into %d bytes", e.Shape, size)
		}
		values *= dim
	}
	if 4*values != size {
		return Tensor{}, fmt.Errorf("shape %v does not fit into %d bytes", e.Shape, size)
	}
	t := Tensor{Name: e.name, Dims: e.Shape, Data: make([]float32, values)}
	for i := range t.Data {
		t.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[begin+4*i:]))
	}
	return t, nil
}

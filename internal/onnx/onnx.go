// Package onnx writes ONNX models: graphs of operations on float32 tensors, as protocol
// buffers. Equal models give equal bytes.
//
// It knows the messages and fields of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
// that such a model needs, and no operation.
package onnx

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The versions that are written: those of ONNX 1.12, of 2022.
const (
	irVersion    = 8
	opsetVersion = 17
)

// Element types of tensors.
const (
	Float32 = 1
	Uint8   = 2
)

// Model is a graph with what is said about it.
type Model struct {
	Producer string
	Name     string
	Nodes    []Node   // in an order in which inputs come before their uses
	Weights  []Tensor // constants
	Inputs   []Value
	Outputs  []Value
	Metadata [][2]string // keys and values
}

// Node is one operation.
type Node struct {
	Op         string
	Inputs     []string
	Outputs    []string
	Attributes []Attribute
}

// Attribute is a setting of an operation; one of the values is set.
type Attribute struct {
	Name  string
	Int   *int64
	Ints  []int64
	Float *float32
}

// Int is an attribute with a whole number.
func Int(name string, v int) Attribute {
	wide := int64(v)
	return Attribute{Name: name, Int: &wide}
}

// Ints is an attribute with whole numbers.
func Ints(name string, list ...int) Attribute {
	a := Attribute{Name: name, Ints: make([]int64, len(list))}
	for i, v := range list {
		a.Ints[i] = int64(v)
	}
	return a
}

// Float is an attribute with a number.
func Float(name string, v float32) Attribute { return Attribute{Name: name, Float: &v} }

// Tensor is a constant of float32 values, row-major.
type Tensor struct {
	Name string
	Dims []int
	Data []float32
}

// Value is an input or an output. A dimension of 0 is any number of pictures.
type Value struct {
	Name string
	Type int
	Dims []int
}

// Encode writes the model.
func (m Model) Encode() []byte {
	var b message
	b.varint(1, irVersion)
	b.text(2, m.Producer)
	b.bytes(7, m.graph())
	var opset message
	opset.varint(2, opsetVersion)
	b.bytes(8, opset)
	for _, pair := range m.Metadata {
		var entry message
		entry.text(1, pair[0])
		entry.text(2, pair[1])
		b.bytes(14, entry)
	}
	return b
}

func (m Model) graph() message {
	var b message
	for _, n := range m.Nodes {
		b.bytes(1, n.encode())
	}
	b.text(2, m.Name)
	for _, t := range m.Weights {
		b.bytes(5, t.encode())
	}
	for _, v := range m.Inputs {
		b.bytes(11, v.encode())
	}
	for _, v := range m.Outputs {
		b.bytes(12, v.encode())
	}
	return b
}

func (n Node) encode() message {
	var b message
	for _, name := range n.Inputs {
		b.text(1, name)
	}
	for _, name := range n.Outputs {
		b.text(2, name)
	}
	if len(n.Outputs) > 0 {
		b.text(3, n.Outputs[0])
	}
	b.text(4, n.Op)
	for _, a := range n.Attributes {
		b.bytes(5, a.encode())
	}
	return b
}

func (a Attribute) encode() message {
	const typeFloat, typeInt, typeInts = 1, 2, 7
	var b message
	b.text(1, a.Name)
	switch {
	case a.Float != nil:
		b = protowire.AppendTag(b, 2, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(*a.Float))
		b.varint(20, typeFloat)
	case a.Int != nil:
		b.varint(3, uint64(*a.Int))
		b.varint(20, typeInt)
	default:
		for _, v := range a.Ints {
			b.varint(8, uint64(v))
		}
		b.varint(20, typeInts)
	}
	return b
}

func (t Tensor) encode() message {
	var b message
	for _, d := range t.Dims {
		b.varint(1, uint64(d))
	}
	b.varint(2, Float32)
	b.text(8, t.Name)
	raw := make([]byte, 0, 4*len(t.Data))
	for _, v := range t.Data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	b.bytes(9, raw)
	return b
}

func (v Value) encode() message {
	var shape message
	for _, d := range v.Dims {
		var dim message
		if d == 0 {
			dim.text(2, "pictures")
		} else {
			dim.varint(1, uint64(d))
		}
		shape.bytes(1, dim)
	}
	var tensor, kind, b message
	tensor.varint(1, uint64(v.Type))
	tensor.bytes(2, shape)
	kind.bytes(1, tensor)
	b.text(1, v.Name)
	b.bytes(2, kind)
	return b
}

// message is an encoded message to which fields are added, in the order of their numbers
// where that matters to nobody.
type message []byte

func (b *message) varint(field protowire.Number, v uint64) {
	*b = protowire.AppendVarint(protowire.AppendTag(*b, field, protowire.VarintType), v)
}

func (b *message) bytes(field protowire.Number, v []byte) {
	*b = protowire.AppendBytes(protowire.AppendTag(*b, field, protowire.BytesType), v)
}

func (b *message) text(field protowire.Number, v string) { b.bytes(field, []byte(v)) }

package onnx

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields returns the fields of a message, by number.
func fields(t *testing.T, b []byte) map[protowire.Number][][]byte {
	t.Helper()
	all := make(map[protowire.Number][][]byte)
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, kind, b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		value := b[:n]
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(b)
		}
		all[number] = append(all[number], value)
		b = b[n:]
	}
	return all
}

// What the fields mean is tested with ONNX Runtime, in package neural.
func TestEncode(t *testing.T) {
	m := Model{
		Producer: "p", Name: "g",
		Nodes:    []Node{{Op: "Elu", Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: []Attribute{Float("alpha", 1), Int("axis", -1), Ints("pads", 1, 2)}}},
		Weights:  []Tensor{{Name: "w", Dims: []int{2}, Data: []float32{1, -2}}},
		Inputs:   []Value{{Name: "x", Type: Uint8, Dims: []int{0, 3}}},
		Outputs:  []Value{{Name: "y", Type: Float32, Dims: []int{0, 3}}},
		Metadata: [][2]string{{"k", "v"}},
	}
	encoded := m.Encode()
	if !bytes.Equal(encoded, m.Encode()) {
		t.Error("encoded again, the model has other bytes")
	}
	graph := fields(t, fields(t, encoded)[7][0])
	node, weight := fields(t, graph[1][0]), fields(t, graph[5][0])
	if got := string(node[4][0]); got != "Elu" || len(node[5]) != 3 {
		t.Errorf("the operation is %q with %d attributes", got, len(node[5]))
	}
	if want := []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}; !bytes.Equal(weight[9][0], want) {
		t.Errorf("the weights are % x, want % x", weight[9][0], want)
	}
	if len(graph[11]) != 1 || len(graph[12]) != 1 {
		t.Errorf("%d inputs, %d outputs", len(graph[11]), len(graph[12]))
	}
}

package model

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file puts a header and data together.
func file(header string, data ...byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

func TestSafetensorsBytes(t *testing.T) {
	tensors := []Tensor{
		{Name: "b/kernel", Dims: []int{1, 2}, Data: []float32{1, -2}},
		{Name: "a", Dims: nil, Data: []float32{0.5}},
		{Name: "c", Dims: []int{0}, Data: nil},
	}
	const header = `{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},` +
		`"b/kernel":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},` +
		`"c":{"dtype":"F32","shape":[0],"data_offsets":[12,12]}}     `
	want := file(header, 0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0)
	got, err := EncodeSafetensors(tensors)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	decoded, err := DecodeSafetensors(got)
	if err != nil {
		t.Fatal(err)
	}
	sorted := []Tensor{
		{Name: "a", Dims: []int{}, Data: []float32{0.5}},
		{Name: "b/kernel", Dims: []int{1, 2}, Data: []float32{1, -2}},
		{Name: "c", Dims: []int{0}, Data: []float32{}},
	}
	if diff := cmp.Diff(sorted, decoded); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestEncodeSafetensorsRefuses(t *testing.T) {
	for name, tensors := range map[string][]Tensor{
		"twice the same name": {{Name: "a", Dims: []int{0}}, {Name: "a", Dims: []int{0}}},
		"another shape":       {{Name: "a", Dims: []int{2}, Data: []float32{1}}},
	} {
		if _, err := EncodeSafetensors(tensors); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDecodeSafetensorsRefuses(t *testing.T) {
	const one = `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	tests := map[string]struct {
		file []byte
		want string
	}{
		"empty":              {nil, "shorter than its first field"},
		"long header":        {file(one)[:20], "a header of"},
		"huge header":        {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "a header of"},
		"not JSON":           {file("hello"), "want a JSON object"},
		"an array":           {file("[]"), "want a JSON object"},
		"cut JSON":           {file(`{"a":`), "header"},
		"after the header":   {file(one+"{}", 0, 0, 0, 0), "something stands after"},
		"a name twice":       {file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`), "want a new name"},
		"unknown field":      {file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":1}}`), "unknown field"},
		"another type":       {file(strings.Replace(one, "F32", "F16", 1), 0, 0, 0, 0), "want type F32"},
		"no data":            {file(one), "data at [0 4]"},
		"too much data":      {file(one, 0, 0, 0, 0, 0), "1 bytes after"},
		"hole":               {file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`, 0, 0, 0, 0), "want it to begin at 0"},
		"backwards":          {file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,-4]}}`), "data at [0 -4]"},
		"overlap":            {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 0, 0, 0, 0), "want it to begin at 4"},
		"wrong shape":        {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 0, 0, 0, 0), "does not fit into 4 bytes"},
		"negative shape":     {file(`{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`, 0, 0, 0, 0), "does not fit"},
		"overflowing shape":  {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`), "does not fit"},
		"too many axes":      {file(`{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, 0, 0, 0, 0), "9 axes"},
		"metadata not texts": {file(`{"__metadata__":{"a":1}}`), "metadata"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeSafetensors(test.file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func FuzzDecodeSafetensors(f *testing.F) {
	valid, err := EncodeSafetensors([]Tensor{
		{Name: "conv1/kernel", Dims: []int{1, 1, 3, 2}, Data: []float32{1, 2, 3, 4, 5, 6}},
		{Name: "conv1/bias", Dims: []int{2}, Data: []float32{0, -1}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add(file(`{}`))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := DecodeSafetensors(data)
		if err != nil {
			return
		}
		// What was read can be written, and its canonical form reads as the same.
		canonical, err := EncodeSafetensors(tensors)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		again, err := DecodeSafetensors(canonical)
		if err != nil {
			t.Fatalf("decode the canonical form: %v", err)
		}
		recoded, err := EncodeSafetensors(again)
		if err != nil || !bytes.Equal(canonical, recoded) {
			t.Fatalf("the canonical form is not stable (%v):\n%q\n%q", err, canonical, recoded)
		}
	})
}

package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/sandwich-build/sandwich/manifest"
)

// The names of a model's two files.
const (
	DescriptionFile = "model.json"
	WeightsFile     = "model.safetensors"
)

// version is that of model.json. A file with another one is refused.
const version = 2

// maxDescription is the size of a model.json that is still read.
const maxDescription = 1 << 20

// Counts say what a model was trained on, for those who read its description.
type Counts struct {
	Train      int `json:"train"`      // pictures
	Validation int `json:"validation"` // pictures
	Epochs     int `json:"epochs"`     // passes over the training pictures
	BestEpoch  int `json:"best_epoch"` // the one the weights are of
}

// Model is all that it takes to answer: a network, its weights, and how a picture is
// brought to its input.
type Model struct {
	Network *Network
	Input   Preparation
	Weights []Tensor // in the order of Network.Parameters
	Counts  Counts
}

// description is model.json. Its fields are written in this order.
type description struct {
	Version    int              `json:"version"`
	Labels     []string         `json:"labels"` // in the order of the probabilities
	Input      inputDoc         `json:"input"`
	Layers     []manifest.Layer `json:"layers"` // without the output layer
	Output     string           `json:"output"` // sigmoid or softmax
	Parameters int              `json:"parameters"`
	Trained    Counts           `json:"trained"`
}

type inputDoc struct {
	Height   int     `json:"height"`
	Width    int     `json:"width"`
	Channels int     `json:"channels"` // red, green, blue
	Shape    Shape   `json:"shape"`    // what becomes of a picture with other proportions
	Resize   Resize  `json:"resize"`   // and with another size
	Scale    float64 `json:"scale"`    // what a byte is multiplied by
}

// Encode returns the bytes of model.json and model.safetensors. Equal models give
// equal bytes.
func (m *Model) Encode() (desc, weights []byte, err error) {
	n := m.Network
	doc := description{
		Version: version,
		Labels:  n.labels,
		Input: inputDoc{
			Height: n.side, Width: n.side, Channels: Channels,
			Shape: m.Input.Shape, Resize: m.Input.Resize, Scale: 1.0 / 255,
		},
		Layers:     n.Described(),
		Output:     n.outputFunction(),
		Parameters: n.ParameterCount(),
		Trained:    m.Counts,
	}
	var buffer bytes.Buffer
	e := json.NewEncoder(&buffer)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", DescriptionFile, err)
	}
	weights, err = EncodeSafetensors(m.Weights)
	if err != nil {
		return nil, nil, err
	}
	return buffer.Bytes(), weights, nil
}

// values is the number of values in all arrays.
func (n *Network) values() int {
	sum := 0
	for _, p := range n.params {
		sum += p.Size()
	}
	return sum
}

func (n *Network) outputFunction() string {
	if len(n.labels) == 2 {
		return "sigmoid"
	}
	return "softmax"
}

// Decode reads a model from the bytes of its two files. They may be anyone's: what is
// wrong is an error, and memory stays in proportion to their length.
func Decode(desc, weights []byte) (*Model, error) {
	m, err := decodeDescription(desc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", DescriptionFile, err)
	}
	tensors, err := DecodeSafetensors(weights)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", WeightsFile, err)
	}
	if m.Weights, err = m.Network.arrange(tensors); err != nil {
		return nil, fmt.Errorf("%s: %w", WeightsFile, err)
	}
	for _, t := range m.Weights {
		for _, v := range t.Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("%s: %s holds %v", WeightsFile, t.Name, v)
			}
		}
	}
	return m, nil
}

func decodeDescription(data []byte) (*Model, error) {
	if len(data) > maxDescription {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(data), maxDescription)
	}
	var doc description
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands after the JSON object")
	}
	in := doc.Input
	input := Preparation{Shape: in.Shape, Resize: in.Resize}
	switch {
	case doc.Version != version:
		return nil, fmt.Errorf("version %d, this program reads version %d", doc.Version, version)
	case in.Height != in.Width || in.Channels != Channels:
		return nil, fmt.Errorf("input: want a square with %d channels, got %d × %d with %d", Channels, in.Width, in.Height, in.Channels)
	case in.Scale != 1.0/255:
		return nil, fmt.Errorf("input: want a scale of 1/255, got %v", in.Scale)
	}
	if err := input.check(); err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	n, err := New(doc.Layers, in.Height, doc.Labels)
	if err != nil {
		return nil, err
	}
	if doc.Output != n.outputFunction() || doc.Parameters != n.ParameterCount() {
		return nil, fmt.Errorf("want output %s with %d parameters, got %q with %d",
			n.outputFunction(), n.ParameterCount(), doc.Output, doc.Parameters)
	}
	return &Model{Network: n, Input: input, Counts: doc.Trained}, nil
}

// Load reads a model from the root of a folder, such as the model/ of a package.
func Load(ctx context.Context, folder fs.FS) (*Model, error) {
	desc, err := readFile(folder, DescriptionFile, maxDescription)
	if err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	m, err := decodeDescription(desc)
	if err != nil {
		return nil, fmt.Errorf("load model: %s: %w", DescriptionFile, err)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	weights, err := readFile(folder, WeightsFile, 8+maxHeader+4*int64(m.Network.values()))
	if err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	m, err = Decode(desc, weights)
	if err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	return m, nil
}

// readFile reads a file of at most limit bytes.
func readFile(folder fs.FS, name string, limit int64) (data []byte, err error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: longer than the %d bytes that the network takes", name, limit)
	}
	return data, nil
}

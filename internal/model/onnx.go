package model

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/sandwich-build/sandwich/internal/onnx"
	"github.com/sandwich-build/sandwich/manifest"
)

// ONNXFile is the model for other programs.
const ONNXFile = "model.onnx"

// The names of the input and the output.
const (
	onnxInput  = "pictures"
	onnxOutput = "probabilities"
)

// ONNX returns the bytes of model.onnx. The graph reads pixels as they are, uint8 in the
// shape pictures × side × side × 3 (red, green, blue), and answers with the probability of
// each label; scaling is part of it. How a picture is brought to the size is in the
// metadata, as are the labels. Equal models give equal bytes.
func (m *Model) ONNX() ([]byte, error) {
	n := m.Network
	labels, err := json.Marshal(n.labels)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", ONNXFile, err)
	}
	e := &exporter{weights: m.Weights}
	x := e.add("Cast", []string{onnxInput}, onnx.Int("to", onnx.Float32))
	x = e.add("Mul", []string{x, e.scalar(scale)})
	x = e.add("Transpose", []string{x}, onnx.Ints("perm", 0, 3, 1, 2))
	x = e.layers(n.layers, x)
	if n.Outputs() == 1 {
		second := e.add("Sigmoid", []string{x})
		first := e.add("Sub", []string{e.scalar(1), second})
		e.addAs(onnxOutput, "Concat", []string{first, second}, onnx.Int("axis", 1))
	} else {
		e.addAs(onnxOutput, "Softmax", []string{x}, onnx.Int("axis", 1))
	}
	model := onnx.Model{
		Producer: "sandwich",
		Name:     "classifier",
		Nodes:    e.nodes,
		Weights:  e.constants,
		Inputs:   []onnx.Value{{Name: onnxInput, Type: onnx.Uint8, Dims: []int{0, n.side, n.side, Channels}}},
		Outputs:  []onnx.Value{{Name: onnxOutput, Type: onnx.Float32, Dims: []int{0, len(n.labels)}}},
		Metadata: [][2]string{{"labels", string(labels)}, {"resize", string(m.Input.Resize)}, {"shape", string(m.Input.Shape)}},
	}
	return model.Encode(), nil
}

// exporter writes a network as ONNX operations. Pictures are channels first there.
type exporter struct {
	weights   []Tensor
	nodes     []onnx.Node
	constants []onnx.Tensor
	count     int
}

func (e *exporter) name() string {
	e.count++
	return fmt.Sprintf("value%d", e.count)
}

func (e *exporter) add(op string, inputs []string, attributes ...onnx.Attribute) string {
	return e.addAs(e.name(), op, inputs, attributes...)
}

func (e *exporter) addAs(name, op string, inputs []string, attributes ...onnx.Attribute) string {
	e.nodes = append(e.nodes, onnx.Node{Op: op, Inputs: inputs, Outputs: []string{name}, Attributes: attributes})
	return name
}

func (e *exporter) constant(t onnx.Tensor) string {
	e.constants = append(e.constants, t)
	return t.Name
}

func (e *exporter) scalar(v float32) string {
	return e.constant(onnx.Tensor{Name: e.name(), Data: []float32{v}})
}

// parameter adds the i-th array of a layer as it is.
func (e *exporter) parameter(l Layer, i int) string {
	return e.constant(onnx.Tensor(e.weights[l.First+i]))
}

func (e *exporter) layers(layers []Layer, x string) string {
	for _, l := range layers {
		x = e.layer(l, x)
	}
	return x
}

func (e *exporter) layer(l Layer, x string) string {
	switch {
	case l.Conv != nil:
		return e.convolve(l, *l.Conv, x)
	case l.Depthwise != nil:
		return e.convolve(l, l.Depthwise.Conv(l.In.Channels), x)
	case l.BatchNorm != nil:
		inputs := []string{x}
		for i := range 4 {
			inputs = append(inputs, e.parameter(l, i))
		}
		return e.add("BatchNormalization", inputs, onnx.Float("epsilon", float32(l.BatchNorm.Epsilon)))
	case l.Activation != nil:
		return e.activate(l.Activation.Name, x)
	case l.MaxPool != nil:
		return e.add("MaxPool", []string{x}, windows(l.In.Side, l.MaxPool.Size, l.MaxPool.Step(), 1, l.MaxPool.Padding)...)
	case l.AveragePool != nil:
		return e.add("AveragePool", []string{x}, append(
			windows(l.In.Side, l.AveragePool.Size, l.AveragePool.Step(), 1, l.AveragePool.Padding), onnx.Int("count_include_pad", 0))...)
	case l.GlobalPool != nil:
		op := "GlobalAveragePool"
		if l.GlobalPool.Of == "max" {
			op = "GlobalMaxPool"
		}
		return e.add("Flatten", []string{e.add(op, []string{x})}, onnx.Int("axis", 1))
	case l.Flatten != nil:
		last := e.add("Transpose", []string{x}, onnx.Ints("perm", 0, 2, 3, 1))
		return e.add("Flatten", []string{last}, onnx.Int("axis", 1))
	case l.Dense != nil:
		return e.activate(l.Dense.Activation, e.add("Gemm", []string{x, e.parameter(l, 0), e.parameter(l, 1)}))
	case l.Residual != nil:
		sum := e.add("Add", []string{e.layers(l.Body, x), e.layers(l.Shortcut, x)})
		return e.activate(l.Residual.Activation, sum)
	}
	return x // dropout
}

// windows are the attributes of an operation with windows.
func windows(side, size, stride, dilation int, padding string) []onnx.Attribute {
	_, before, after, err := manifest.Windows(side, size, stride, dilation, padding)
	if err != nil {
		panic(err) // the network was checked
	}
	return []onnx.Attribute{
		onnx.Ints("kernel_shape", size, size), onnx.Ints("strides", stride, stride), onnx.Ints("pads", before, before, after, after),
	}
}

func (e *exporter) convolve(l Layer, c manifest.Conv, x string) string {
	inputs := []string{x, e.constant(channelsFirst(e.weights[l.First]))}
	if c.Bias {
		inputs = append(inputs, e.parameter(l, 1))
	}
	attributes := append(windows(l.In.Side, c.Kernel, c.Stride, c.Dilation, c.Padding),
		onnx.Ints("dilations", c.Dilation, c.Dilation), onnx.Int("group", c.Groups))
	return e.activate(c.Activation, e.add("Conv", inputs, attributes...))
}

// channelsFirst turns a kernel from height, width, input, output to output, input, height,
// width.
func channelsFirst(kernel Tensor) onnx.Tensor {
	h, w, in, out := kernel.Dims[0], kernel.Dims[1], kernel.Dims[2], kernel.Dims[3]
	t := onnx.Tensor{Name: kernel.Name, Dims: []int{out, in, h, w}, Data: make([]float32, len(kernel.Data))}
	for i := range h * w {
		for j := range in {
			for k := range out {
				t.Data[(k*in+j)*h*w+i] = kernel.Data[(i*in+j)*out+k]
			}
		}
	}
	return t
}

func (e *exporter) activate(name, x string) string {
	switch name {
	case "relu":
		return e.add("Relu", []string{x})
	case "relu6":
		return e.add("Clip", []string{x, e.scalar(0), e.scalar(6)})
	case "leaky_relu":
		return e.add("LeakyRelu", []string{x}, onnx.Float("alpha", 0.01))
	case "elu":
		return e.add("Elu", []string{x}, onnx.Float("alpha", 1))
	case "silu":
		return e.add("Mul", []string{x, e.add("Sigmoid", []string{x})})
	case "gelu":
		cube := e.add("Mul", []string{x, e.add("Mul", []string{x, x})})
		inner := e.add("Add", []string{x, e.add("Mul", []string{cube, e.scalar(0.044715)})})
		tanh := e.add("Tanh", []string{e.add("Mul", []string{inner, e.scalar(float32(math.Sqrt(2 / math.Pi)))})})
		return e.add("Mul", []string{e.add("Mul", []string{x, e.scalar(0.5)}), e.add("Add", []string{tanh, e.scalar(1)})})
	case "sigmoid":
		return e.add("Sigmoid", []string{x})
	case "tanh":
		return e.add("Tanh", []string{x})
	}
	return x
}

package neural

import (
	"math"
	"testing"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
)

// definition computes a network in float64, by the definition of each layer, on a batch of
// pictures. masks are, for each dropout layer, those of each picture; training makes
// batch normalization use the batch.
type definition struct {
	weights  []model.Tensor
	masks    [][][]float64
	training bool
}

// logits returns those of each picture.
func logits(n *model.Network, weights []model.Tensor, b *Batch, training bool) [][]float64 {
	d := &definition{weights: weights, training: training}
	for i, l := range n.Dropouts() {
		var masks [][]float64
		for row := range b.Rows {
			size := l.In.Values()
			masks = append(masks, wide(b.Masks[i][row*size:(row+1)*size]))
		}
		d.masks = append(d.masks, masks)
	}
	var x [][]float64
	for row := range b.Rows {
		x = append(x, wide(b.Picture(row)))
	}
	return d.layers(n.Layers(), x)
}

func wide(values []float32) []float64 {
	list := make([]float64, len(values))
	for i, v := range values {
		list[i] = float64(v)
	}
	return list
}

func (d *definition) layers(layers []model.Layer, x [][]float64) [][]float64 {
	for _, l := range layers {
		x = d.layer(l, x)
	}
	return x
}

func (d *definition) layer(l model.Layer, x [][]float64) [][]float64 {
	each := func(f func(i int, x []float64) []float64) [][]float64 {
		var out [][]float64
		for i := range x {
			out = append(out, f(i, x[i]))
		}
		return out
	}
	weight := func(i int) []float32 { return d.weights[l.First+i].Data }
	switch {
	case l.Conv != nil:
		return each(func(_ int, x []float64) []float64 { return d.conv(l, *l.Conv, x) })
	case l.Depthwise != nil:
		w := l.Depthwise
		c := manifest.Conv{Filters: l.In.Channels, Groups: l.In.Channels, Kernel: w.Kernel, Stride: w.Stride, Padding: w.Padding, Dilation: w.Dilation, Bias: w.Bias, Activation: w.Activation}
		return each(func(_ int, x []float64) []float64 { return d.conv(l, c, x) })
	case l.BatchNorm != nil:
		return d.normalize(l, x)
	case l.Activation != nil:
		return each(func(_ int, x []float64) []float64 { return apply(l.Activation.Name, x) })
	case l.MaxPool != nil:
		return each(func(_ int, x []float64) []float64 { return pooled(l, *l.MaxPool, true, x) })
	case l.AveragePool != nil:
		return each(func(_ int, x []float64) []float64 { return pooled(l, *l.AveragePool, false, x) })
	case l.GlobalPool != nil:
		whole := manifest.Pool{Size: l.In.Side, Padding: "valid"}
		return each(func(_ int, x []float64) []float64 {
			return pooled(model.Layer{In: l.In, Out: manifest.Shape{Side: 1}}, whole, l.GlobalPool.Of == "max", x)
		})
	case l.Dense != nil:
		return each(func(_ int, x []float64) []float64 {
			y := wide(weight(1))
			for o := range y {
				for i, v := range x {
					y[o] += v * float64(weight(0)[i*len(y)+o])
				}
			}
			return apply(l.Dense.Activation, y)
		})
	case l.Dropout != nil && d.training:
		masks := d.masks[0]
		d.masks = d.masks[1:]
		return each(func(i int, x []float64) []float64 {
			y := make([]float64, len(x))
			for j := range x {
				y[j] = x[j] * masks[i][j]
			}
			return y
		})
	case l.Residual != nil:
		body := d.layers(l.Body, x)
		shortcut := d.layers(l.Shortcut, x)
		for i := range body {
			for j := range body[i] {
				body[i][j] += shortcut[i][j]
			}
			body[i] = apply(l.Residual.Activation, body[i])
		}
		return body
	}
	return x
}

func apply(name string, x []float64) []float64 {
	f := map[string]func(v float64) float64{
		"none":       func(v float64) float64 { return v },
		"relu":       func(v float64) float64 { return max(v, 0) },
		"relu6":      func(v float64) float64 { return min(max(v, 0), 6) },
		"leaky_relu": func(v float64) float64 { return max(v, 0.01*v) },
		"elu": func(v float64) float64 {
			if v > 0 {
				return v
			}
			return math.Expm1(v)
		},
		"silu":    func(v float64) float64 { return v / (1 + math.Exp(-v)) },
		"gelu":    func(v float64) float64 { return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v))) },
		"sigmoid": func(v float64) float64 { return 1 / (1 + math.Exp(-v)) },
		"tanh":    math.Tanh,
	}[name]
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

// before is how many pixels are laid before a picture, as TensorFlow's documentation of
// "same" padding has it.
func before(side, size, stride, dilation int, padding string) int {
	if padding == "valid" {
		return 0
	}
	reach := (size-1)*dilation + 1
	rest := side % stride
	if rest == 0 {
		rest = stride
	}
	return max(reach-rest, 0) / 2
}

func (d *definition) conv(l model.Layer, c manifest.Conv, x []float64) []float64 {
	in, out, kernel := l.In, l.Out, d.weights[l.First].Data
	at := before(in.Side, c.Kernel, c.Stride, c.Dilation, c.Padding)
	deep, wide := in.Channels/c.Groups, out.Channels/c.Groups
	var y []float64
	for row := range out.Side {
		for column := range out.Side {
			for filter := range out.Channels {
				sum := 0.0
				if c.Bias {
					sum = float64(d.weights[l.First+1].Data[filter])
				}
				for i := range c.Kernel {
					for j := range c.Kernel {
						r, s := row*c.Stride+i*c.Dilation-at, column*c.Stride+j*c.Dilation-at
						if r < 0 || s < 0 || r >= in.Side || s >= in.Side {
							continue
						}
						for k := range deep {
							channel := filter/wide*deep + k
							sum += x[(r*in.Side+s)*in.Channels+channel] * float64(kernel[((i*c.Kernel+j)*deep+k)*out.Channels+filter])
						}
					}
				}
				y = append(y, sum)
			}
		}
	}
	return apply(c.Activation, y)
}

func pooled(l model.Layer, p manifest.Pool, largest bool, x []float64) []float64 {
	at := before(l.In.Side, p.Size, p.Step(), 1, p.Padding)
	var y []float64
	for row := range l.Out.Side {
		for column := range l.Out.Side {
			for channel := range l.In.Channels {
				most, sum, count := math.Inf(-1), 0.0, 0.0
				for i := range p.Size {
					for j := range p.Size {
						r, s := row*p.Step()+i-at, column*p.Step()+j-at
						if r < 0 || s < 0 || r >= l.In.Side || s >= l.In.Side {
							continue
						}
						v := x[(r*l.In.Side+s)*l.In.Channels+channel]
						most, sum, count = max(most, v), sum+v, count+1
					}
				}
				if !largest {
					most = sum / count
				}
				y = append(y, most)
			}
		}
	}
	return y
}

func (d *definition) normalize(l model.Layer, x [][]float64) [][]float64 {
	w := d.weights[l.First : l.First+4]
	y := make([][]float64, len(x))
	for i := range y {
		y[i] = make([]float64, len(x[i]))
	}
	for channel := range l.In.Channels {
		mean, variance := float64(w[2].Data[channel]), float64(w[3].Data[channel])
		if d.training {
			mean, variance = moments(x, channel, l.In.Channels)
		}
		for i := range x {
			for j := channel; j < len(x[i]); j += l.In.Channels {
				y[i][j] = (x[i][j]-mean)/math.Sqrt(variance+l.BatchNorm.Epsilon)*float64(w[0].Data[channel]) + float64(w[1].Data[channel])
			}
		}
	}
	return y
}

// moments are the mean and the variance (divided by n) of a channel over a batch.
func moments(x [][]float64, channel, channels int) (mean, variance float64) {
	n := 0.0
	for i := range x {
		for j := channel; j < len(x[i]); j += channels {
			mean, n = mean+x[i][j], n+1
		}
	}
	mean /= n
	for i := range x {
		for j := channel; j < len(x[i]); j += channels {
			variance += (x[i][j] - mean) * (x[i][j] - mean) / n
		}
	}
	return mean, variance
}

// networks cover every layer, padding, odd sizes, and both sorts of output.
func networks(tb testing.TB) map[string]*model.Network {
	activations := []manifest.Layer{{Flatten: &manifest.Flatten{}}}
	for _, name := range manifest.Activations() {
		activations = append(activations, manifest.Layer{Activation: &manifest.Activation{Name: name}}, norm())
	}
	strided := func(c manifest.Conv) manifest.Layer { return manifest.Layer{Conv: &c} }
	return map[string]*model.Network{
		"two labels":   network(tb, []manifest.Layer{conv(3, 3, "valid"), pool(2), conv(4, 3, "same"), flatten(), dense(5), dropout(0.3)}, 9, twoLabels),
		"three labels": network(tb, []manifest.Layer{conv(3, 2, "same"), pool(3), conv(4, 2, "valid"), dropout(0.5), flatten(), dropout(0.1)}, 8, threeLabels),
		"linear":       network(tb, []manifest.Layer{flatten()}, 2, twoLabels),
		"pools": network(tb, []manifest.Layer{
			pool(1), {MaxPool: &manifest.Pool{Size: 3, Stride: 2, Padding: "same"}},
			{AveragePool: &manifest.Pool{Size: 2, Stride: 1, Padding: "same"}}, {AveragePool: &manifest.Pool{Size: 2, Padding: "valid"}}, flatten(),
		}, 8, threeLabels),
		"strides": network(tb, []manifest.Layer{
			strided(manifest.Conv{Filters: 4, Kernel: 3, Stride: 2, Padding: "same", Dilation: 1, Groups: 1, Bias: true, Activation: "tanh"}),
			strided(manifest.Conv{Filters: 6, Kernel: 3, Stride: 1, Padding: "same", Dilation: 2, Groups: 2, Activation: "leaky_relu"}),
			strided(manifest.Conv{Filters: 4, Kernel: 1, Stride: 2, Padding: "valid", Dilation: 1, Groups: 1, Bias: true, Activation: "none"}),
			{GlobalPool: &manifest.GlobalPool{Of: "average"}},
		}, 9, threeLabels),
		"strides over an even side": network(tb, []manifest.Layer{
			strided(manifest.Conv{Filters: 4, Kernel: 3, Stride: 2, Padding: "same", Dilation: 1, Groups: 1, Bias: true, Activation: "relu6"}),
			strided(manifest.Conv{Filters: 4, Kernel: 2, Stride: 2, Padding: "same", Dilation: 1, Groups: 4, Bias: true, Activation: "silu"}),
			{GlobalPool: &manifest.GlobalPool{Of: "max"}},
		}, 10, twoLabels),
		"depthwise": network(tb, []manifest.Layer{
			{Depthwise: &manifest.Depthwise{Kernel: 3, Stride: 2, Padding: "same", Dilation: 1, Bias: true, Activation: "gelu"}},
			conv(5, 1, "valid"),
			{Depthwise: &manifest.Depthwise{Kernel: 2, Stride: 1, Padding: "valid", Dilation: 2, Activation: "elu"}}, flatten(),
		}, 9, threeLabels),
		"batch norm": network(tb, []manifest.Layer{norm(), conv(3, 3, "valid"), norm(), pool(2), flatten(), dense(4), norm()}, 7, threeLabels),
		"residual": network(tb, []manifest.Layer{
			conv(4, 3, "same"),
			{Residual: &manifest.Residual{Layers: []manifest.Layer{conv(4, 3, "same"), norm(), dropout(0.2), conv(4, 3, "same")}, Activation: "relu"}},
			{Residual: &manifest.Residual{
				Layers:   []manifest.Layer{conv(4, 2, "same"), pool(2)},
				Shortcut: []manifest.Layer{pool(2), dropout(0.1)}, Activation: "none",
			}},
			{GlobalPool: &manifest.GlobalPool{Of: "average"}},
		}, 6, twoLabels),
		"activations": network(tb, activations, 2, threeLabels),
	}
}

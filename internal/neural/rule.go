package neural

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/sandwich-build/sandwich/manifest"
)

// rule says how a step changes the parameters.
type rule struct {
	slots int // arrays of the parameter's shape that it remembers, 0 at the start

	// settings are the numbers of step number, from 1, at a learning rate.
	settings func(rate float64, number int) []float32

	// update returns the new weight, and replaces the slots by the new ones. decays tells
	// the weights that decay.
	update func(weight, gradient *graph.Node, slots, settings []*graph.Node, decays bool) *graph.Node

	longest float64 // that all gradients together may be; 0 for any
}

// CheckOptimizer reports what is wrong with an optimizer.
func CheckOptimizer(o manifest.Optimizer) error {
	_, err := newRule(o)
	return err
}

func newRule(o manifest.Optimizer) (rule, error) {
	var r rule
	switch o.Name {
	case "sgd":
		r = sgd(o)
	case "rmsprop":
		r = rmsprop(o)
	case "adam", "adamw":
		r = adam(o)
	default:
		return rule{}, fmt.Errorf("unknown optimizer %q", o.Name)
	}
	r.longest = o.ClipNorm
	return r, nil
}

// only makes settings of the learning rate alone.
func only(rate float64, _ int) []float32 { return []float32{float32(rate)} }

// sgd is torch.optim.SGD:
//
//	v ← momentum · v + g        w ← w - rate · v
//
// and with Nesterov's momentum w ← w - rate · (g + momentum · v).
func sgd(o manifest.Optimizer) rule {
	r := rule{settings: only}
	if o.Momentum > 0 {
		r.slots = 1
	}
	r.update = func(weight, gradient *graph.Node, slots, settings []*graph.Node, decays bool) *graph.Node {
		step := decayed(o, weight, gradient, decays)
		if o.Momentum > 0 {
			gradient := step
			step = graph.Add(scaled(slots[0], o.Momentum), gradient)
			slots[0] = step
			if o.Nesterov {
				step = graph.Add(gradient, scaled(step, o.Momentum))
			}
		}
		return graph.Sub(weight, graph.Mul(settings[0], step))
	}
	return r
}

// rmsprop is the update rule of Keras' RMSprop: without bias correction, with epsilon
// outside of the root. (gomlx's own is another: corrected, and with another decay.)
//
//	a ← rho · a + (1 - rho) · g²        w ← w - rate · g / (√a + epsilon)
func rmsprop(o manifest.Optimizer) rule {
	return rule{
		slots:    1,
		settings: only,
		update: func(weight, gradient *graph.Node, slots, settings []*graph.Node, decays bool) *graph.Node {
			gradient = decayed(o, weight, gradient, decays)
			squares := average(slots[0], graph.Square(gradient), o.Rho)
			slots[0] = squares
			step := graph.Div(graph.Mul(settings[0], gradient), shifted(graph.Sqrt(squares), o.Epsilon))
			return graph.Sub(weight, step)
		},
	}
}

// adam is torch.optim.Adam and torch.optim.AdamW (Kingma and Ba, ICLR 2015; Loshchilov and
// Hutter, ICLR 2019). In step t:
//
//	m ← beta1 · m + (1 - beta1) · g        v ← beta2 · v + (1 - beta2) · g²
//	w ← w - rate / (1 - beta1ᵗ) · m / (√v / √(1 - beta2ᵗ) + epsilon)
//
// AdamW decays the weight first, w ← w - rate · decay · w, and Adam its gradient.
func adam(o manifest.Optimizer) rule {
	return rule{
		slots: 2,
		settings: func(rate float64, number int) []float32 {
			first, second := 1-power(o.Beta1, number), 1-power(o.Beta2, number)
			return []float32{float32(rate / first), float32(math.Sqrt(second)), float32(float64(rate * o.WeightDecay))}
		},
		update: func(weight, gradient *graph.Node, slots, settings []*graph.Node, decays bool) *graph.Node {
			if o.Name == "adam" {
				gradient = decayed(o, weight, gradient, decays)
			} else if decays && o.WeightDecay > 0 {
				weight = graph.Sub(weight, graph.Mul(settings[2], weight))
			}
			slots[0] = average(slots[0], gradient, o.Beta1)
			slots[1] = average(slots[1], graph.Square(gradient), o.Beta2)
			root := shifted(graph.Div(graph.Sqrt(slots[1]), settings[1]), o.Epsilon)
			return graph.Sub(weight, graph.Div(graph.Mul(settings[0], slots[0]), root))
		},
	}
}

// power is base to the exponent, by squaring: package math's Pow has assembly on some
// processors only.
func power(base float64, exponent int) float64 {
	result := 1.0
	for ; exponent > 0; exponent >>= 1 {
		if exponent&1 == 1 {
			result *= base
		}
		base *= base
	}
	return result
}

// decayed adds to a gradient the weight's decay, as an L2 penalty of half the decay does.
func decayed(o manifest.Optimizer, weight, gradient *graph.Node, decays bool) *graph.Node {
	if !decays || o.WeightDecay == 0 {
		return gradient
	}
	return graph.Add(gradient, scaled(weight, o.WeightDecay))
}

// clip shortens the gradients, all by the same factor, as torch.nn.utils.clip_grad_norm_
// does.
func (r rule) clip(gradients []*graph.Node) []*graph.Node {
	if r.longest == 0 {
		return gradients
	}
	var squares *graph.Node
	for _, g := range gradients {
		sum := graph.ReduceAllSum(graph.Square(g))
		if squares == nil {
			squares = sum
		} else {
			squares = graph.Add(squares, sum)
		}
	}
	longest := graph.Scalar(squares.Graph(), float, float32(r.longest))
	factor := graph.Div(longest, shifted(graph.Sqrt(squares), 1e-6))
	one := graph.ScalarOne(squares.Graph(), float)
	factor = graph.Where(graph.LessThan(factor, one), factor, one)
	clipped := make([]*graph.Node, len(gradients))
	for i, g := range gradients {
		clipped[i] = graph.Mul(g, factor)
	}
	return clipped
}

// average moves a mean by a new value: decay · mean + (1 - decay) · value.
func average(mean, value *graph.Node, decay float64) *graph.Node {
	return graph.Add(scaled(mean, decay), scaled(value, float64(1-float32(decay))))
}

func scaled(x *graph.Node, factor float64) *graph.Node {
	return graph.MulScalar(x, float64(float32(factor)))
}

func shifted(x *graph.Node, by float64) *graph.Node {
	return graph.AddScalar(x, float64(float32(by)))
}

package neural

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/sandwich-build/sandwich/manifest"
)

// rule says how a step changes a parameter.
type rule struct {
	slots int // arrays of the parameter's shape that it remembers, 0 at the start

	// settings are the numbers of step number, from 1, at a learning rate.
	settings func(rate float64, number int) []float32

	// update returns the new weight, and replaces the slots by the new ones.
	update func(weight, gradient *graph.Node, slots, settings []*graph.Node) *graph.Node
}

// CheckOptimizer reports what is wrong with an optimizer.
func CheckOptimizer(o manifest.Optimizer) error {
	_, err := newRule(o)
	return err
}

func newRule(o manifest.Optimizer) (rule, error) {
	switch o.Name {
	case "rmsprop":
		return rmsprop(o), nil
	}
	return rule{}, fmt.Errorf("unknown optimizer %q", o.Name)
}

// rmsprop is the update rule of Keras' RMSprop: without bias correction, with epsilon
// outside of the root. (gomlx's own is another: corrected, and with another decay.)
func rmsprop(o manifest.Optimizer) rule {
	return rule{
		slots:    1,
		settings: func(rate float64, _ int) []float32 { return []float32{float32(rate)} },
		update: func(weight, gradient *graph.Node, slots, settings []*graph.Node) *graph.Node {
			squares := average(slots[0], graph.Square(gradient), o.Rho)
			slots[0] = squares
			step := graph.Div(graph.Mul(settings[0], gradient), graph.AddScalar(graph.Sqrt(squares), float64(float32(o.Epsilon))))
			return graph.Sub(weight, step)
		},
	}
}

// average moves a mean by a new value: decay · mean + (1 - decay) · value.
func average(mean, value *graph.Node, decay float64) *graph.Node {
	kept := float32(decay)
	return graph.Add(graph.MulScalar(mean, float64(kept)), graph.MulScalar(value, float64(1-kept)))
}

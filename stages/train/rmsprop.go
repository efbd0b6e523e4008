package train

import (
	"math"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
)

// rmsprop is the update rule of Keras' RMSprop: without bias correction, with epsilon
// outside of the root. (gomlx's own is another: corrected, and with another decay.)
type rmsprop struct {
	rate, rho, epsilon float32
	average            [][]float32 // of the squared gradients, for each weight
}

func newRMSprop(o manifest.Optimizer, weights []model.Tensor) *rmsprop {
	r := &rmsprop{rate: float32(o.LearningRate), rho: float32(o.Rho), epsilon: float32(o.Epsilon)}
	for _, w := range weights {
		r.average = append(r.average, make([]float32, len(w.Data)))
	}
	return r
}

// update changes the weights by one step. The conversions of products to float32 keep
// the compiler from fusing them into the sums, which would give other bits on arm64.
func (r *rmsprop) update(weights, gradients []model.Tensor) {
	rest := 1 - r.rho
	for i, w := range weights {
		average, gradient := r.average[i], gradients[i].Data
		for j, g := range gradient {
			a := float32(r.rho*average[j]) + float32(rest*float32(g*g))
			average[j] = a
			root := float32(math.Sqrt(float64(a)))
			w.Data[j] -= float32(r.rate*g) / (root + r.epsilon)
		}
	}
}

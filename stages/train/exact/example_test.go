package exact_test

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/sandwich-build/sandwich/stages/train/exact"
)

// A training step of gomlx's: three steps down the slope of a line's squared error. The
// bits of the weights are the same with any number of workers, any kernels, on any machine.
func Example() {
	exact.Register()
	backend, err := compute.NewWithConfig("exact:workers=2")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backend.Finalize()

	step := graph.MustNewExec(backend, func(weights, x, y *graph.Node) (moved, loss *graph.Node) {
		guess := graph.DotGeneral(x, []int{1}, nil, weights, []int{0}, nil)
		loss = graph.ReduceAllMean(graph.Square(graph.Sub(guess, y)))
		slope := graph.Gradient(loss, weights)[0]
		return graph.Sub(weights, graph.MulScalar(slope, 0.1)), loss
	})
	x := [][]float32{{1, 0}, {1, 1}, {1, 2}, {1, 3}} // 1 and where on the line
	y := []float32{1, 3, 5, 7}                       // 1 + 2x
	weights := tensors.FromValue([]float32{0, 0})
	for range 3 {
		var loss *tensors.Tensor
		weights, loss = step.MustCall2(weights, x, y)
		fmt.Printf("loss %v, then weights %v\n", loss.Value(), weights.Value())
	}

	// Output:
	// loss 21, then weights [0.8 1.7]
	// loss 0.53499985, then weights [0.93 1.97]
	// loss 0.01434999, then weights [0.953 2.012]
}

// Without a registry: a backend is made, and says what it computes with.
func ExampleNew() {
	backend, err := exact.New("workers=1,kernels=portable")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backend.Finalize()
	fmt.Println(backend.Description())

	// Output:
	// exact: the same bits everywhere (portable kernels, 1 workers)
}

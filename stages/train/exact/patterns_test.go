package exact

import (
	"fmt"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
)

// planned compiles a graph that gomlx builds, executes it, and returns how many steps
// and bytes of arena its program has.
func planned(t *testing.T, build func(in []*graph.Node) []*graph.Node, shapes ...[]int) (steps, arena int) {
	t.Helper()
	b := newBackend(t, "workers=2")
	var last *graph.Graph
	exec, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
		last = in[0].Graph()
		return build(in)
	})
	if err != nil {
		t.Fatal(err)
	}
	d := draws(7)
	var args []any
	for _, dims := range shapes {
		args = append(args, d.tensor(1, dims...))
	}
	if _, err := exec.Call(args...); err != nil {
		t.Fatal(err)
	}
	program := last.Executable().(*executable).program
	return program.Steps(), program.Arena()
}

func convolved(in []*graph.Node) *graph.Node { return graph.Convolve(in[0], in[1]).NoPadding().Done() }

func pooledRelu(in []*graph.Node) *graph.Node {
	return activation.Relu(biased(graph.MaxPool(convolved(in)).Window(2).Done(), in[2]))
}

// What gomlx's functions build is computed in as few steps as it can be.
func TestGomlxsGraphsTakeTheFastWay(t *testing.T) {
	picture, kernel, bias := []int{2, 30, 30, 8}, []int{3, 3, 8, 16}, []int{16}
	rms := func(in []*graph.Node) []*graph.Node {
		average := graph.Add(graph.MulScalar(in[2], 0.9), graph.MulScalar(graph.Square(in[1]), 0.1))
		return []*graph.Node{graph.Sub(in[0], graph.Div(graph.MulScalar(in[1], 1e-3), graph.AddScalar(graph.Sqrt(average), 1e-7))), average}
	}
	for name, c := range map[string]struct {
		build func(in []*graph.Node) []*graph.Node
		in    [][]int
		steps int
	}{
		"convolution, bias, ReLU, pooling: packing, the rest": {func(in []*graph.Node) []*graph.Node {
			x := activation.Relu(biased(convolved(in), in[2]))
			return []*graph.Node{graph.MaxPool(x).Window(2).Done()}
		}, [][]int{picture, kernel, bias}, 2},
		"convolution, pooling, bias, ReLU": {func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{pooledRelu(in)}
		}, [][]int{picture, kernel, bias}, 2},
		"convolution, normalization, residual, ReLU": {func(in []*graph.Node) []*graph.Node {
			x := graph.Add(graph.Mul(convolved(in), graph.ExpandLeftToRank(in[2], 4)), graph.ExpandLeftToRank(in[2], 4))
			return []*graph.Node{activation.Relu(graph.Add(x, in[3]))}
		}, [][]int{picture, kernel, bias, {2, 28, 28, 16}}, 2},
		"dense layer, bias, ReLU": {func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{activation.Relu(biased(graph.Dot(in[0], in[1]).Product(), in[2]))}
		}, [][]int{{64, 40}, {40, 16}, {16}}, 2},
		"RMSprop: the average, the weights": {rms, [][]int{{100, 50}, {100, 50}, {100, 50}}, 2},
		"depthwise convolution": {func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{graph.Convolve(in[0], in[1]).NoPadding().ChannelGroupCount(8).Done()}
		}, [][]int{picture, {3, 3, 1, 8}}, 1},
	} {
		if got, _ := planned(t, c.build, c.in...); got > c.steps {
			t.Errorf("%s: %d steps, want %d", name, got, c.steps)
		}
	}
}

// The gradient of a depthwise convolution is one grouped convolution again, however many
// channels gomlx cuts it into.
func TestGradientsOfDepthwiseConvolutionsAreRegrouped(t *testing.T) {
	steps := func(channels int) int {
		got, _ := planned(t, func(in []*graph.Node) []*graph.Node {
			y := graph.Convolve(in[0], in[1]).PadSame().ChannelGroupCount(channels).Done()
			return graph.Gradient(graph.ReduceAllSum(graph.Mul(y, y)), in[0], in[1])
		}, []int{2, 10, 10, channels}, []int{3, 3, 1, channels})
		return got
	}
	if few, many := steps(4), steps(32); many > few {
		t.Errorf("%d steps for 4 channels, %d for 32", few, many)
	}
}

// What a convolution computes before its pooling is not kept for the gradient.
func TestPooledConvolutionsAreNotStored(t *testing.T) {
	_, arena := planned(t, func(in []*graph.Node) []*graph.Node {
		return graph.Gradient(graph.ReduceAllSum(pooledRelu(in)), in[1], in[2])
	}, []int{2, 66, 66, 8}, []int{3, 3, 8, 16}, []int{16})
	// The gradient of the convolution is as large as what it computes, and is stored.
	if whole := 2 * 64 * 64 * 16 * 4; arena >= 2*whole {
		t.Errorf("the arena has %d bytes, want less than twice the %d of the convolution", arena, whole)
	}
}

// The ways to the same values that exist for speed give the same bits as those that can
// do anything: a second look at what is between, as an output, forces the latter.
func TestFastWaysGiveTheSameBits(t *testing.T) {
	for _, size := range []int{9, 10, 23} {
		for _, channels := range []int{5, 16, 19} {
			outputs := func(seen bool) string {
				exec, err := graph.NewExec(newBackend(t, "workers=2"), func(in []*graph.Node) []*graph.Node {
					y := pooledRelu(in)
					out := append([]*graph.Node{y}, graph.Gradient(graph.ReduceAllSum(graph.Mul(y, y)), in...)...)
					if seen {
						out = append(out, convolved(in))
					}
					return out
				})
				if err != nil {
					t.Fatal(err)
				}
				d := draws(size * channels)
				out, err := exec.Call(d.tensor(1, 3, size, size, 4), d.tensor(1, 3, 3, 4, channels), d.tensor(1, channels))
				if err != nil {
					t.Fatal(err)
				}
				return digest(t, out[:4])
			}
			if outputs(false) != outputs(true) {
				t.Errorf("%d × %d pixels, %d channels: other bits than when the convolution is stored", size, size, channels)
			}
		}
	}
}

// A grouped convolution and its gradients, in one go and group by group, as gomlx cuts
// them when it derives gradients.
func TestGroupedConvolutionsGiveTheSameBits(t *testing.T) {
	const groups = 3
	for _, channels := range []int{3, 6, 12} {
		run := func(build func(in []*graph.Node) *graph.Node) string {
			exec, err := graph.NewExec(newBackend(t, ""), func(in []*graph.Node) []*graph.Node {
				y := build(in)
				return append([]*graph.Node{y}, graph.Gradient(graph.ReduceAllSum(graph.Mul(y, y)), in...)...)
			})
			if err != nil {
				t.Fatal(err)
			}
			d := draws(channels)
			out, err := exec.Call(d.tensor(1, 2, 7, 8, channels), d.tensor(1, 3, 3, channels/groups, 2*groups))
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(digest(t, out[:1]), digest(t, out[1:2]), digest(t, out[2:]))
		}
		whole := run(func(in []*graph.Node) *graph.Node {
			return graph.Convolve(in[0], in[1]).PadSame().ChannelGroupCount(groups).Done()
		})
		apart := run(func(in []*graph.Node) *graph.Node {
			pictures, kernels := graph.Split(in[0], 3, groups), graph.Split(in[1], 3, groups)
			parts := make([]*graph.Node, groups)
			for i := range parts {
				// Twice the half is the same, and no slice any more.
				half := graph.MulScalar(graph.MulScalar(pictures[i], 0.5), 2)
				parts[i] = graph.Convolve(half, kernels[i]).PadSame().Done()
			}
			return graph.Concatenate(parts, 3)
		})
		if whole != apart {
			t.Errorf("%d channels in %d groups: %s, want %s", channels, groups, whole, apart)
		}
	}
}

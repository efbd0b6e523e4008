package exact

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/compute/support/testutil"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// growth builds a random graph: each step takes values that exist and adds one. The
// same seed builds the same graph on any backend.
type growth struct {
	f    compute.Function
	d    draws
	list []compute.Value
}

func (g *growth) pick(n int) int { return int((g.d.next() + 1) / 2 * float32(n) * 0.9999) }

func (g *growth) any() compute.Value { return g.list[g.pick(len(g.list))] }

// dims of every value: [2, 6, 6, 3]; what an operation changes is changed back.
var grown = []int{2, 6, 6, 3}

func (g *growth) step() (compute.Value, error) {
	f, x, y := g.f, g.any(), g.any()
	whole := shapes.Make(dtypes.Float32, grown...)
	switch g.pick(18) {
	case 0:
		return f.Add(x, y)
	case 1:
		return f.Sub(x, y)
	case 2:
		return f.Mul(x, y)
	case 3:
		return f.Max(x, y)
	case 4:
		return f.Tanh(x)
	case 5:
		return f.Logistic(x)
	case 6:
		condition, err := f.GreaterThan(x, y)
		if err != nil {
			return nil, err
		}
		return f.Where(condition, y, x)
	case 7:
		return f.Reverse(x, g.pick(4))
	case 8:
		return f.Transpose(x, 0, 2, 1, 3)
	case 9: // over the channels, and back by broadcasting
		sum, err := f.ReduceSum(x, 3)
		if err != nil {
			return nil, err
		}
		return f.BroadcastInDim(sum, whole, []int{0, 1, 2})
	case 10: // over the places, back along the channels
		most, err := f.ReduceMax(x, 0, 1, 2)
		if err != nil {
			return nil, err
		}
		return f.BroadcastInDim(most, whole, []int{3})
	case 11:
		part, err := f.Slice(x, []int{0, 1, 0, 0}, []int{2, 6, 6, 3}, []int{1, 2, 1, 1})
		if err != nil {
			return nil, err
		}
		return f.Concatenate(1, part, part)
	case 12:
		zero, err := f.Constant([]float32{0.5})
		if err != nil {
			return nil, err
		}
		wide, err := f.Pad(x, zero, compute.PadAxis{}, compute.PadAxis{Start: 1, Interior: 1}, compute.PadAxis{End: 2})
		if err != nil {
			return nil, err
		}
		return f.Slice(wide, []int{0, 3, 2, 0}, []int{2, 9, 8, 3}, nil)
	case 13:
		return f.ReduceWindow(x, compute.ReduceOpMax, []int{1, 3, 3, 1}, []int{1, 1, 1, 1}, nil, nil, [][2]int{{0, 0}, {1, 1}, {1, 1}, {0, 0}})
	case 14:
		source, err := f.ReduceWindow(y, compute.ReduceOpSum, []int{1, 2, 2, 1}, nil, nil, nil, nil)
		if err != nil {
			return nil, err
		}
		return f.SelectAndScatterMax(x, source, []int{1, 2, 2, 1}, []int{1, 2, 2, 1}, nil)
	case 15:
		kernel, err := f.Slice(y, []int{0, 0, 0, 0}, []int{1, 3, 3, 3}, nil)
		if err != nil {
			return nil, err
		}
		if kernel, err = f.BroadcastInDim(kernel, shapes.Make(dtypes.Float32, 3, 3, 3, 3), []int{0, 1, 2, 3}); err != nil {
			return nil, err
		}
		axes := compute.ConvolveAxesConfig{
			InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
			KernelSpatial: []int{0, 1}, KernelInputChannels: 2, KernelOutputChannels: 3,
			OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
		}
		return f.ConvGeneral(x, kernel, axes, []int{1, 1}, [][2]int{{2, 2}, {2, 2}}, nil, []int{2, 2}, 1, 1)
	case 16:
		square, err := f.DotGeneral(x, []int{3, 1}, []int{0}, y, []int{3, 1}, []int{0}, compute.DotGeneralConfig{})
		if err != nil {
			return nil, err
		}
		return f.BroadcastInDim(square, whole, []int{0, 1, 2})
	}
	// Keeps values from growing without bound.
	limit, err := f.Constant([]float32{0.25})
	if err != nil {
		return nil, err
	}
	return f.Mul(x, limit)
}

func (g *growth) run(b compute.Backend, seed uint64, size int) ([]any, error) {
	return testutil.Exec(b, nil, func(f compute.Function, _ []compute.Value) ([]compute.Value, error) {
		g.f, g.d, g.list = f, draws(seed), nil
		for range 3 {
			values := make([]float32, steps.Product(grown))
			for i := range values {
				values[i] = g.d.next()
			}
			c, err := f.Constant(values, grown...)
			if err != nil {
				return nil, err
			}
			g.list = append(g.list, c)
		}
		for range size {
			v, err := g.step()
			if err != nil {
				return nil, err
			}
			// Bounded, so that a small difference of one operation stays small.
			if v, err = f.Tanh(v); err != nil {
				return nil, err
			}
			g.list = append(g.list, v)
		}
		return []compute.Value{g.list[len(g.list)-1], g.any()}, nil
	})
}

func FuzzRandomGraphs(f *testing.F) {
	reference, err := gobackend.New("ops_sequential")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(reference.Finalize)
	for seed := range uint64(60) {
		f.Add(seed, uint8(seed%14))
	}
	f.Fuzz(func(t *testing.T, seed uint64, size uint8) {
		var g growth
		want, err := g.run(reference, seed, 1+int(size)%16)
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.run(newBackend(t, "workers=2"), seed, 1+int(size)%16)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if ok, diff := testutil.IsInDelta(want[i], got[i], 2e-3); !ok {
				t.Errorf("output %d differs from gomlx's:\n%s", i, diff)
			}
		}
	})
}

// compiled builds y = tanh(x·w + 1) + x, with a part that nobody needs.
func compiled(tb testing.TB, b *Backend, size int) *executable {
	tb.Helper()
	builder := b.Builder("test")
	f := builder.Main()
	must := func(v compute.Value, err error) compute.Value {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
	x := must(f.Parameter("x", shapes.Make(dtypes.Float32, size, size), nil))
	one := must(f.Constant([]float32{1}))
	must(f.Exp(must(f.DotGeneral(x, []int{0}, nil, x, []int{0}, nil, compute.DotGeneralConfig{}))))
	y := must(f.DotGeneral(x, []int{1}, nil, x, []int{0}, nil, compute.DotGeneralConfig{}))
	y = must(f.Add(must(f.Tanh(must(f.Add(y, one)))), x))
	if err := f.Return([]compute.Value{y}, nil); err != nil {
		tb.Fatal(err)
	}
	e, err := builder.Compile()
	if err != nil {
		tb.Fatal(err)
	}
	return e.(*executable)
}

func TestPlanDropsDeadCodeAndFuses(t *testing.T) {
	e := compiled(t, newBackend(t, ""), 8)
	// Packing; then multiplication, addition, tanh and addition, band by band.
	if count := e.program.Steps(); count != 2 {
		t.Errorf("the plan has %d steps, want 2", count)
	}
}

func TestPlanReusesMemory(t *testing.T) {
	b := newBackend(t, "")
	f := b.Builder("chain").Main().(*function)
	v, err := f.Parameter("x", shapes.Make(dtypes.Float32, 1000), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if v, err = f.Reverse(v, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Return([]compute.Value{v}, nil); err != nil {
		t.Fatal(err)
	}
	e, err := f.builder.Compile()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.(*executable).program.Arena(), 2*4032; got != want {
		t.Errorf("twenty steps in a row take %d bytes, want %d for two of them", got, want)
	}
}

func TestManyGoroutinesExecuteOneGraph(t *testing.T) {
	b := newBackend(t, "workers=3")
	e := compiled(t, b, 40)
	input := func(seed uint64) compute.Buffer {
		d := draws(seed)
		values := make([]float32, 1600)
		for i := range values {
			values[i] = d.next()
		}
		buffer, err := b.BufferFromFlatData(0, values, shapes.Make(dtypes.Float32, 40, 40))
		if err != nil {
			t.Error(err)
		}
		return buffer
	}
	result := func(seed uint64) string {
		out, err := e.Execute([]compute.Buffer{input(seed)}, []bool{true}, 0)
		if err != nil {
			t.Error(err)
			return ""
		}
		flat, err := out[0].Data()
		if err != nil {
			t.Error(err)
		}
		text := fmt.Sprint(flat)
		if err := out[0].Finalize(); err != nil {
			t.Error(err)
		}
		return text
	}
	var want [8]string
	for seed := range want {
		want[seed] = result(uint64(seed))
	}
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			for k := range 5 {
				seed := (i + k) % len(want)
				if got := result(uint64(seed)); got != want[seed] {
					t.Errorf("goroutine %d: another result than alone", i)
				}
			}
		})
	}
	group.Wait()
}

func TestExecuteAllocatesNoTensors(t *testing.T) {
	b := newBackend(t, "workers=1")
	e := compiled(t, b, 64)
	in, _, err := b.NewSharedBuffer(0, shapes.Make(dtypes.Float32, 64, 64))
	if err != nil {
		t.Fatal(err)
	}
	inputs := []compute.Buffer{in}
	once := func() {
		out, err := e.Execute(inputs, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := out[0].Finalize(); err != nil {
			t.Fatal(err)
		}
	}
	once()
	// What is returned: the list of outputs, and their headers.
	if got := testing.AllocsPerRun(20, once); got > 2 {
		t.Errorf("an execution allocates %v times, want twice", got)
	}
}

func TestUnsupportedIsNamed(t *testing.T) {
	f := newBackend(t, "").Builder("test").Main()
	x, err := f.Parameter("x", shapes.Make(dtypes.Float32, 2), nil)
	if err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{}
	_, errs["FFT"] = f.FFT(x, compute.FFTForward, []int{2})
	_, errs["FusedSoftmax"] = f.FusedSoftmax(x, 0)
	_, errs["closure"] = f.Closure()
	_, errs["Complex64"] = f.Parameter("c", shapes.Make(dtypes.Complex64, 2), nil)
	_, errs["Bitcast"] = f.Bitcast(x, dtypes.Complex64)
	for name, err := range errs {
		if !errors.Is(err, compute.ErrNotImplemented) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one that names it and is compute.ErrNotImplemented", name, err)
		}
	}
	other := newBackend(t, "").Builder("other").Main()
	if _, err := other.Neg(x); err == nil {
		t.Error("a value of another graph: no error")
	}
}

func TestBatchNormalization(t *testing.T) {
	b := newBackend(t, "")
	x := [][]float32{{1, 10}, {3, 20}, {5, 60}}
	normalized, mean, variance, err := testutil.Exec3(b, []any{x, []float32{2, 1}, []float32{0, 5}}, func(f compute.Function, p []compute.Value) (compute.Value, compute.Value, compute.Value, error) {
		return f.BatchNormForTraining(p[0], p[1], p[2], 0, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	r := float32(math.Sqrt(1.5))
	s := float32(1 / math.Sqrt(1400.0/3))
	for name, c := range map[string][2]any{
		"mean":       {[]float32{3, 30}, mean},
		"variance":   {[]float32{8.0 / 3, 1400.0 / 3}, variance},
		"normalized": {[][]float32{{-2 * r, 5 - 20*s}, {0, 5 - 10*s}, {2 * r, 5 + 30*s}}, normalized},
	} {
		if ok, diff := testutil.IsInDelta(c[0], c[1], 1e-4); !ok {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	// The gradient of the training output by the operand, against difference quotients.
	gradient := [][]float32{{1, 0}, {0, -1}, {2, 0.5}}
	byOperand, byScale, byOffset, err := testutil.Exec3(b, []any{x, []float32{2, 1}, mean, variance, gradient}, func(f compute.Function, p []compute.Value) (compute.Value, compute.Value, compute.Value, error) {
		return f.BatchNormGradient(p[0], p[1], p[2], p[3], p[4], 0, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	at := func(row, col int, by float32) float64 {
		moved := [][]float32{{1, 10}, {3, 20}, {5, 60}}
		moved[row][col] += by
		out, _, _, err := testutil.Exec3(b, []any{moved, []float32{2, 1}, []float32{0, 5}}, func(f compute.Function, p []compute.Value) (compute.Value, compute.Value, compute.Value, error) {
			return f.BatchNormForTraining(p[0], p[1], p[2], 0, 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for i, line := range out.([][]float32) {
			for j, v := range line {
				sum += float64(v * gradient[i][j])
			}
		}
		return sum
	}
	for row := range x {
		for col := range x[row] {
			want := (at(row, col, 0.05) - at(row, col, -0.05)) / 0.1
			if got := float64(byOperand.([][]float32)[row][col]); math.Abs(got-want) > 2e-3 {
				t.Errorf("gradient by operand %d, %d is %v, want %v", row, col, got, want)
			}
		}
	}
	if ok, diff := testutil.IsInDelta([]float32{3, -0.5}, byOffset, 1e-5); !ok {
		t.Errorf("gradient by offset:\n%s", diff)
	}
	if ok, diff := testutil.IsInDelta([]float32{r, 25 * s}, byScale, 1e-4); !ok {
		t.Errorf("gradient by scale:\n%s", diff)
	}
}

// layer is a convolution with bias, ReLU and max pooling in Keras' order. If seen, what
// is before the pooling is an output too, and must be computed.
func layer(tb testing.TB, b *Backend, seen bool) (out any, planned int) {
	tb.Helper()
	f := b.Builder("layer").Main().(*function)
	must := func(v compute.Value, err error) compute.Value {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
	d := draws(5)
	drawn := func(dims ...int) compute.Value {
		values := make([]float32, steps.Product(dims))
		for i := range values {
			values[i] = d.next()
		}
		return must(f.Constant(values, dims...))
	}
	axes := compute.ConvolveAxesConfig{
		InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
		KernelSpatial: []int{0, 1}, KernelInputChannels: 2, KernelOutputChannels: 3,
		OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
	}
	x := must(f.ConvGeneral(drawn(2, 9, 9, 3), drawn(3, 3, 3, 5), axes, nil, nil, nil, nil, 1, 1))
	x = must(f.Add(x, must(f.BroadcastInDim(drawn(5), shapes.Make(dtypes.Float32, 2, 7, 7, 5), []int{3}))))
	relu := must(f.Max(x, must(f.Constant([]float32{0}))))
	outputs := []compute.Value{must(f.ReduceWindow(relu, compute.ReduceOpMax, []int{1, 2, 2, 1}, nil, nil, nil, nil))}
	if seen {
		outputs = append(outputs, relu)
	}
	if err := f.Return(outputs, nil); err != nil {
		tb.Fatal(err)
	}
	e, err := f.builder.Compile()
	if err != nil {
		tb.Fatal(err)
	}
	buffers, err := e.Execute(nil, nil, 0)
	if err != nil {
		tb.Fatal(err)
	}
	out, err = buffers[0].Data()
	if err != nil {
		tb.Fatal(err)
	}
	return out, e.(*executable).program.Steps()
}

func TestPoolingGoesFirst(t *testing.T) {
	b := newBackend(t, "")
	want, _ := layer(t, b, true)
	got, count := layer(t, b, false)
	if ok, diff := testutil.IsEqual(want, got); !ok {
		t.Errorf("pooling before bias and ReLU gives something else:\n%s", diff)
	}
	// Packing; then convolution, pooling, bias and ReLU, strip by strip.
	if count != 2 {
		t.Errorf("the plan has %d steps, want 2", count)
	}
}

// Tensors without elements go through every kind of operation.
func TestEmptyTensors(t *testing.T) {
	b := newBackend(t, "")
	for name, build := range map[string]func(f compute.Function, x compute.Value) (compute.Value, error){
		"neg":     func(f compute.Function, x compute.Value) (compute.Value, error) { return f.Neg(x) },
		"sum":     func(f compute.Function, x compute.Value) (compute.Value, error) { return f.ReduceSum(x, 0) },
		"reverse": func(f compute.Function, x compute.Value) (compute.Value, error) { return f.Reverse(x, 0, 1) },
		"concat":  func(f compute.Function, x compute.Value) (compute.Value, error) { return f.Concatenate(0, x, x) },
		"dot": func(f compute.Function, x compute.Value) (compute.Value, error) {
			return f.DotGeneral(x, []int{0}, nil, x, []int{0}, nil, compute.DotGeneralConfig{})
		},
		"outer": func(f compute.Function, x compute.Value) (compute.Value, error) {
			return f.DotGeneral(x, []int{1}, nil, x, []int{1}, nil, compute.DotGeneralConfig{})
		},
	} {
		_, err := testutil.Exec1(b, nil, func(f compute.Function, _ []compute.Value) (compute.Value, error) {
			x, err := f.Constant([]float32{}, 0, 3)
			if err != nil {
				return nil, err
			}
			return build(f, x)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

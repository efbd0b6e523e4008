package exact

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/support/testutil"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
)

// conv2D is a convolution of pictures [batch, height, width, channels].
type conv2D struct {
	batch, height, width, channels, filters    int // channels and filters of a group
	kernel, stride, dilation, holes, pad, more int
	groups                                     int
}

func (c conv2D) out(size int) int {
	return (size+(size-1)*(c.holes-1)+2*c.pad+c.more-(c.kernel-1)*c.dilation-1)/c.stride + 1
}

func (c conv2D) values() (x, k []float32) {
	d := draws(uint64(c.height*1000 + c.kernel))
	x = make([]float32, c.batch*c.height*c.width*c.channels*c.groups)
	k = make([]float32, c.kernel*c.kernel*c.channels*c.filters*c.groups)
	for _, list := range [][]float32{x, k} {
		for i := range list {
			list[i] = d.next()
		}
	}
	return x, k
}

func (c conv2D) run(t *testing.T, config string) []float32 {
	t.Helper()
	x, k := c.values()
	out, err := testutil.Exec1(newBackend(t, config), nil, func(f compute.Function, _ []compute.Value) (compute.Value, error) {
		input, err := f.Constant(x, c.batch, c.height, c.width, c.channels*c.groups)
		if err != nil {
			return nil, err
		}
		kernel, err := f.Constant(k, c.kernel, c.kernel, c.channels, c.filters*c.groups)
		if err != nil {
			return nil, err
		}
		axes := compute.ConvolveAxesConfig{
			InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
			KernelSpatial: []int{0, 1}, KernelInputChannels: 2, KernelOutputChannels: 3,
			OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
		}
		pad := [2]int{c.pad, c.pad + c.more}
		y, err := f.ConvGeneral(input, kernel, axes, []int{c.stride, c.stride}, [][2]int{pad, pad},
			[]int{c.holes, c.holes}, []int{c.dilation, c.dilation}, c.groups, 1)
		if err != nil {
			return nil, err
		}
		return f.Reshape(y, c.batch*c.out(c.height)*c.out(c.width)*c.filters*c.groups)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.([]float32)
}

// definition is the convolution as one chain for each element, zeros of the padding
// and of the holes included, in the order kernel row, kernel column, channel.
func (c conv2D) definition() []float32 {
	x, k := c.values()
	at := func(n, row, col, channel int) float32 {
		row, col = row-c.pad, col-c.pad
		if row < 0 || col < 0 || row%c.holes != 0 || col%c.holes != 0 || row/c.holes >= c.height || col/c.holes >= c.width {
			return 0
		}
		return x[((n*c.height+row/c.holes)*c.width+col/c.holes)*c.channels*c.groups+channel]
	}
	var out []float32
	for n := range c.batch {
		for row := range c.out(c.height) {
			for col := range c.out(c.width) {
				for filter := range c.filters * c.groups {
					group := filter / c.filters
					var sum float32
					for i := range c.kernel {
						for j := range c.kernel {
							for channel := range c.channels {
								value := at(n, row*c.stride+i*c.dilation, col*c.stride+j*c.dilation, group*c.channels+channel)
								sum = kernels.FMA(value, k[((i*c.kernel+j)*c.channels+channel)*c.filters*c.groups+filter], sum)
							}
						}
					}
					out = append(out, sum)
				}
			}
		}
	}
	return out
}

func FuzzConvolution(f *testing.F) {
	f.Add(uint64(0))
	for seed := range uint64(40) {
		f.Add(seed * 0x9E3779B97F4A7C15)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		take := func(n uint64) int { v := seed % n; seed /= n; return int(v) }
		c := conv2D{
			batch: 1 + take(3), height: 1 + take(9), width: 1 + take(9), channels: 1 + take(5), filters: 1 + take(20),
			kernel: 1 + take(3), stride: 1 + take(3), dilation: 1 + take(2), holes: 1 + take(2), pad: take(3), more: take(2), groups: 1 + take(3),
		}
		if span := (c.kernel-1)*c.dilation + 1; min(c.height, c.width)+2*c.pad < span {
			t.Skip("the window is larger than the picture")
		}
		want := bitsOf(c.definition())
		for _, set := range kernels.All() {
			for _, workers := range []string{"workers=1", "workers=3"} {
				if got := bitsOf(c.run(t, workers+",kernels="+set.Name)); !slices.Equal(got, want) {
					t.Errorf("%+v with %s and %s kernels: not the bits of the definition", c, workers, set.Name)
				}
			}
		}
	})
}

func bitsOf(values []float32) []uint32 {
	list := make([]uint32, len(values))
	for i, v := range values {
		list[i] = math.Float32bits(v)
	}
	return list
}

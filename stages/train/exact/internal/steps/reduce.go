package steps

import (
	"unsafe"

	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// Reduction combines, for each kept element, what lies at the taken offsets from it.
type Reduction struct {
	From, To program.Slot
	Zero     []byte // the value that changes nothing
	Kernel   kernels.Elementwise
	Fold     func(acc, from unsafe.Pointer, n int) // combines n elements side by side into one, if there is such a loop
	width    int
	kept     []int32 // where each run of kept elements begins
	run      int     // kept elements that lie side by side
	taken    []int32 // where each run of taken elements begins, from a kept one
	inner    int     // taken elements that lie side by side
}

// Lay sets the reduction out along some axes of a shape: keep and take together are all.
func (t *Reduction) Lay(shape shapes.Shape, keep, take []int) {
	t.run, t.inner, t.width = 1, 1, shape.DType.Size()
	dims, strides := shape.Dimensions, Strides(shape.Dimensions)
	t.run, keep = sideBySide(dims, strides, keep)
	if t.run == 1 && t.Fold != nil {
		t.inner, take = sideBySide(dims, strides, take)
	}
	t.kept = Offsets(Pick(dims, keep), Pick(strides, keep))
	t.taken = Offsets(Pick(dims, take), Pick(strides, take))
}

// sideBySide splits the last of some axes off that form one run of memory.
func sideBySide(dims, strides, axes []int) (int, []int) {
	length := 1
	for len(axes) > 0 && strides[axes[len(axes)-1]] == length {
		length *= dims[axes[len(axes)-1]]
		axes = axes[:len(axes)-1]
	}
	return length, axes
}

// Plan plans the reduction: one chain for each kept element, in the order in which the
// taken ones lie in memory.
func (t *Reduction) Plan(p *Plan) {
	units := t.run * len(t.kept)
	p.Do(units, max(Elements/max(1, len(t.taken)*t.inner), min(t.run, 64/t.width)), t.work, t.From, t.To)
}

func (t *Reduction) work(r *program.Run, _ *program.Scratch, lo, hi int) {
	for lo < hi {
		first := lo % t.run
		n := min(hi-lo, t.run-first)
		acc := slotAt(r, t.To, lo*t.width)
		src := slotAt(r, t.From, (int(t.kept[lo/t.run])+first)*t.width)
		Fill(acc, unsafe.Pointer(&t.Zero[0]), t.width, n)
		for _, o := range t.taken {
			at := unsafe.Add(src, int(o)*t.width)
			if t.inner > 1 {
				t.Fold(acc, at, t.inner)
			} else {
				t.Kernel(acc, acc, at, nil, n)
			}
		}
		lo += n
	}
}

// stretch is how many elements a sum of float32 adds one by one before it goes on with
// the next stretch: the sums of the stretches are then added in their turn, so that a
// long sum loses fewer digits than one chain would, and its stretches can be worked on
// at once.
const stretch = 1024

// PlanSum plans a sum of float32. Its order is that of Plan within stretches.
func (t *Reduction) PlanSum(p *Plan) {
	if t.inner > 1 || len(t.taken) <= 1 {
		t.Plan(p)
		return
	}
	units := t.run * len(t.kept)
	count := (len(t.taken) + stretch - 1) / stretch
	taken := inBytes(t.taken)
	partial := t.To
	if count > 1 {
		partial = p.Temporary(count * units * 4)
	}
	sumRows := p.Kernels.SumRows
	p.Do(count*len(t.kept), Elements/max(1, t.run*min(stretch, len(taken))), func(r *program.Run, _ *program.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			at, kept := i/len(t.kept), i%len(t.kept)
			rows := taken[at*stretch : min((at+1)*stretch, len(taken))]
			acc := slotAt(r, partial, (at*units+kept*t.run)*4)
			clear(unsafe.Slice((*float32)(acc), t.run))
			sumRows(acc, slotAt(r, t.From, int(t.kept[kept])*4), &rows[0], len(rows), t.run)
		}
	}, t.From, partial)
	if count == 1 {
		return
	}
	rows := make([]int32, count)
	for i := range rows {
		rows[i] = int32(i * units * 4)
	}
	p.Do(units, Elements/count, func(r *program.Run, _ *program.Scratch, lo, hi int) {
		acc := slotAt(r, t.To, lo*4)
		clear(unsafe.Slice((*float32)(acc), hi-lo))
		sumRows(acc, slotAt(r, partial, lo*4), &rows[0], count, hi-lo)
	}, partial, t.To)
}

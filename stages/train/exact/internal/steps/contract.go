package steps

import (
	"math"
	"slices"
	"unsafe"

	"github.com/gomlx/compute/dtypes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/program"
)

// Contraction is every matrix product and every convolution, with its gradients:
//
//	C[batch, m, n] = Σ over k of A[batch, m, k] · B[batch, k, n]
//
// where the element A[batch, m, k] lies at ABatch[batch] + ARow[m] + ADepth[k] in the
// left operand, in elements, and so on. Any axes can so be rows, columns or depth
// without moving a byte of A; a convolution's windows overlap in it.
//
// The sum runs over k from 0 on, in one chain of fused multiply-adds per element of C.
type Contraction struct {
	ABatch, ARow, ADepth []int32
	BBatch, BDepth, BCol []int32
	CBatch, CRow, CCol   []int32
	A, B, C              program.Slot
}

// Plan plans the contraction for the type of its operands.
func (t *Contraction) Plan(p *Plan, dtype dtypes.DType) {
	if len(t.ADepth) == 0 {
		size := len(t.CBatch) * len(t.CRow) * len(t.CCol) * dtype.Size()
		p.Do(size, 1<<30, func(r *program.Run, _ *program.Scratch, _, _ int) {
			clear(program.Values[byte](r, t.C, size))
		}, t.C)
		return
	}
	if len(t.CBatch)*len(t.CRow)*len(t.CCol) == 0 {
		return
	}
	switch dtype {
	case dtypes.Float32:
		if t.diagonal() {
			t.planLanes(p)
			return
		}
		newProduct(t, p).plan(p)
	case dtypes.Float64:
		planOther(t, p, float64Chain)
	case dtypes.Int8:
		planOther(t, p, integerChain[int8])
	case dtypes.Int16:
		planOther(t, p, integerChain[int16])
	case dtypes.Int32:
		planOther(t, p, integerChain[int32])
	case dtypes.Int64:
		planOther(t, p, integerChain[int64])
	case dtypes.Uint8:
		planOther(t, p, integerChain[uint8])
	case dtypes.Uint16:
		planOther(t, p, integerChain[uint16])
	case dtypes.Uint32:
		planOther(t, p, integerChain[uint32])
	case dtypes.Uint64:
		planOther(t, p, integerChain[uint64])
	}
}

// planOther plans a contraction of another type: the definition, in a plain loop that
// computes a chain.
func planOther[T kernels.Number](t *Contraction, p *Plan, chain func(a, b unsafe.Pointer, aSteps, bSteps []int32) T) {
	size := int(unsafe.Sizeof(T(0)))
	p.Do(len(t.ABatch)*len(t.ARow), Elements/max(1, len(t.ADepth)*len(t.BCol)), func(r *program.Run, _ *program.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			batch, row := i/len(t.ARow), i%len(t.ARow)
			a := slotAt(r, t.A, int(t.ABatch[batch]+t.ARow[row])*size)
			for n, col := range t.BCol {
				b := slotAt(r, t.B, int(t.BBatch[batch]+col)*size)
				*(*T)(slotAt(r, t.C, int(t.CBatch[batch]+t.CRow[row]+t.CCol[n])*size)) = chain(a, b, t.ADepth, t.BDepth)
			}
		}
	}, t.A, t.B, t.C)
}

func integerChain[T kernels.Integer](a, b unsafe.Pointer, aSteps, bSteps []int32) (sum T) {
	size := int(unsafe.Sizeof(T(0)))
	for k, o := range aSteps {
		sum += *(*T)(unsafe.Add(a, int(o)*size)) * *(*T)(unsafe.Add(b, int(bSteps[k])*size))
	}
	return sum
}

func float64Chain(a, b unsafe.Pointer, aSteps, bSteps []int32) (sum float64) {
	for k, o := range aSteps {
		sum = math.FMA(*(*float64)(unsafe.Add(a, int(o)*8)), *(*float64)(unsafe.Add(b, int(bSteps[k])*8)), sum)
	}
	return sum
}

// diagonal says whether the batch is the last axis of all three operands and there is
// one column: a depthwise convolution or one of its gradients. Eight elements of a
// batch then make a vector, where a tile would compute one column of sixteen.
func (t *Contraction) diagonal() bool {
	if len(t.BCol) != 1 || len(t.ABatch) < 2 {
		return false
	}
	return consecutive(t.ABatch) && consecutive(t.BBatch) && consecutive(t.CBatch)
}

func (t *Contraction) planLanes(p *Plan) {
	n, k := len(t.ABatch), len(t.ADepth)
	aSteps, bSteps := inBytes(t.ADepth), inBytes(t.BDepth)
	lanes := p.Kernels.Lanes
	work := func(r *program.Run, _ *program.Scratch, lo, hi int) {
		b := unsafe.Add(r.At(t.B), int(t.BBatch[0]+t.BCol[0])*4)
		for i := lo; i < hi; i++ {
			a := unsafe.Add(r.At(t.A), int(t.ABatch[0]+t.ARow[i])*4)
			c := unsafe.Add(r.At(t.C), int(t.CBatch[0]+t.CRow[i]+t.CCol[0])*4)
			lanes(c, a, b, &aSteps[0], &bSteps[0], k, n)
		}
	}
	band := program.Band{}
	if dense(t.CRow, n) {
		band = program.Band{Slot: t.C, Elements: n, Total: n * len(t.CRow)}
	}
	p.DoBand(band, len(t.ARow), Elements/(n*k), work, t.A, t.B, t.C)
}

// consecutive says whether each element is one more than the one before.
func consecutive(list []int32) bool { return dense(list, 1) }

// dense says whether the i-th element is i·apart more than the first.
func dense(list []int32, apart int) bool {
	for i, o := range list {
		if int(o-list[0]) != i*apart {
			return false
		}
	}
	return true
}

func inBytes(offsets []int32) []int32 {
	list := slices.Clone(offsets)
	for i := range list {
		list[i] *= 4
	}
	return list
}

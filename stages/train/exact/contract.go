package exact

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// contraction is every matrix product and every convolution, with its gradients:
//
//	C[batch, m, n] = Σ over k of A[batch, m, k] · B[batch, k, n]
//
// where the element A[batch, m, k] lies at aBatch[batch] + aRow[m] + aDepth[k] in the
// left operand, and so on. Any axes can so be rows, columns or depth without moving a
// byte of A; a convolution's windows overlap in it. B is packed once into panels.
//
// The sum runs over k from 0 on, in one chain of fused multiply-adds per element of C.
type contraction struct {
	aBatch, aRow, aDepth []int32
	bBatch, bDepth, bCol []int32
	cBatch, cRow, cCol   []int32
	bRuns, cRuns         []bool // for each panel: its columns lie side by side
	a, b, packed, c      slot
	rows                 int // of C; aRow is filled up to whole tiles
	tile                 tile
}

const (
	// depth is how much of k is done at a time: a panel of B of that depth is 16 KB,
	// half a first-level cache. Between, the sums wait in memory: same chain, same bits.
	depth = 256
	// group is how many tiles are done with a panel before the next.
	group = 16
)

func (t *contraction) panels() int { return (len(t.bCol) + tileCols - 1) / tileCols }

// plan plans a contraction of float32 operands.
func (t *contraction) plan(p *plan) {
	// The kernels step through A in bytes.
	inBytes(t.aRow)
	inBytes(t.aDepth)
	t.bRuns, t.cRuns = runs(t.bCol), runs(t.cCol)
	t.tile = p.backend.kernels.tile
	// Rows that are not there repeat the last one; nobody stores them.
	t.rows = len(t.aRow)
	for len(t.aRow)%tileRows != 0 {
		t.aRow = append(t.aRow, t.aRow[t.rows-1])
	}
	t.packed = p.temporary(len(t.bBatch) * t.panels() * len(t.bDepth) * tileCols * 4)
	rows := len(t.bBatch) * t.panels() * len(t.bDepth)
	p.do(rows, elements/tileCols, t.pack, t.b, t.packed)
	groups := (len(t.aRow)/tileRows + group - 1) / group
	p.do(len(t.aBatch)*t.panels()*groups, 1, t.multiply, t.a, t.packed, t.c)
}

func inBytes(offsets []int32) {
	for i := range offsets {
		offsets[i] *= 4
	}
}

// pack copies lines of B, tileCols columns of one k each, to where the kernels want
// them: batch, panel, k. Columns that are not there are 0.
func (t *contraction) pack(r *run, _ *scratch, lo, hi int) {
	dst := slice[float32](r, t.packed, len(t.bBatch)*t.panels()*len(t.bDepth)*tileCols)
	for i := lo; i < hi; i++ {
		k, panel := i%len(t.bDepth), i/len(t.bDepth)%t.panels()
		line := dst[i*tileCols:][:tileCols]
		base := unsafe.Add(r.at[t.b], int(t.bBatch[i/len(t.bDepth)/t.panels()]+t.bDepth[k])*4)
		cols := t.bCol[panel*tileCols : min((panel+1)*tileCols, len(t.bCol))]
		if t.bRuns[panel] && len(cols) == tileCols {
			copyLine(unsafe.Pointer(&line[0]), unsafe.Add(base, int(cols[0])*4))
			continue
		}
		for j, o := range cols {
			line[j] = *(*float32)(unsafe.Add(base, int(o)*4))
		}
		clear(line[len(cols):])
	}
}

// multiply does groups of tiles.
func (t *contraction) multiply(r *run, s *scratch, lo, hi int) {
	sums := unsafe.Slice((*float32)(s.at(group*tileSize*4).base), group*tileSize)
	tiles := len(t.aRow) / tileRows
	groups := (tiles + group - 1) / group
	for i := lo; i < hi; i++ {
		first, panel, batch := i%groups*group, i/groups%t.panels(), i/groups/t.panels()
		count := min(group, tiles-first)
		clear(sums[:count*tileSize])
		t.sum(r, sums, first, count, panel, batch)
		for j := range count {
			t.store(r, sums[j*tileSize:], (first+j)*tileRows, panel*tileCols, batch)
		}
	}
}

func (t *contraction) sum(r *run, sums []float32, first, count, panel, batch int) {
	a := (*byte)(unsafe.Add(r.at[t.a], int(t.aBatch[batch])*4))
	b := slice[float32](r, t.packed, len(t.bBatch)*t.panels()*len(t.bDepth)*tileCols)
	b = b[(batch*t.panels()+panel)*len(t.bDepth)*tileCols:]
	for from := 0; from < len(t.aDepth); from += depth {
		n := min(depth, len(t.aDepth)-from)
		for j := range count {
			t.tile(&sums[j*tileSize], a, &t.aRow[(first+j)*tileRows], &t.aDepth[from], &b[from*tileCols], n)
		}
	}
}

func (t *contraction) store(r *run, sums []float32, row, col, batch int) {
	cols := t.cCol[col:min(col+tileCols, len(t.cCol))]
	dense := t.cRuns[col/tileCols]
	for i, o := range t.cRow[row:min(row+tileRows, len(t.cRow))] {
		base := unsafe.Add(r.at[t.c], int(t.cBatch[batch]+o)*4)
		from := sums[i*tileCols:]
		if dense && len(cols) == tileCols {
			copyLine(unsafe.Add(base, int(cols[0])*4), unsafe.Pointer(&from[0]))
			continue
		}
		if dense {
			copy(unsafe.Slice((*float32)(unsafe.Add(base, int(cols[0])*4)), len(cols)), from)
			continue
		}
		for j, c := range cols {
			*(*float32)(unsafe.Add(base, int(c)*4)) = from[j]
		}
	}
}

// copyLine copies a line of a tile. By way of a variable it needs no call: the compiler
// sees that the two do not overlap.
func copyLine(dst, src unsafe.Pointer) {
	line := *(*[tileCols]float32)(src)
	*(*[tileCols]float32)(dst) = line
}

// runs says for each panel whether its columns lie one after the other.
func runs(cols []int32) []bool {
	var list []bool
	for panel := range slices.Chunk(cols, tileCols) {
		run := true
		for j, o := range panel {
			run = run && o == panel[0]+int32(j)
		}
		list = append(list, run)
	}
	return list
}

// planOther plans a contraction of another type: the definition, in a plain loop.
func planOther[T number](t *contraction, p *plan) {
	p.do(len(t.aBatch)*len(t.aRow), elements/max(1, len(t.aDepth)*len(t.bCol)), func(r *run, _ *scratch, lo, hi int) {
		at := func(s slot, o int32) *T {
			return (*T)(unsafe.Add(r.at[s], int(o)*int(unsafe.Sizeof(T(0)))))
		}
		for i := lo; i < hi; i++ {
			batch, row := i/len(t.aRow), i%len(t.aRow)
			for n, col := range t.bCol {
				var sum T
				for k, o := range t.aDepth {
					x, y := *at(t.a, t.aBatch[batch]+t.aRow[row]+o), *at(t.b, t.bBatch[batch]+t.bDepth[k]+col)
					sum = multiplyAdd(x, y, sum)
				}
				*at(t.c, t.cBatch[batch]+t.cRow[row]+t.cCol[n]) = sum
			}
		}
	}, t.a, t.b, t.c)
}

// multiplyAdd is a fused multiply-add for float64, which is left to Go otherwise: a
// compiler may fuse or not, by processor.
func multiplyAdd[T number](x, y, sum T) T {
	if f, ok := any(sum).(float64); ok {
		return T(math.FMA(float64(x), float64(y), f))
	}
	return x*y + sum
}

// contract plans the contraction for the type of its operands.
func (t *contraction) contract(p *plan, dtype dtypes.DType) {
	if len(t.aDepth) == 0 {
		p.do(len(t.cBatch)*len(t.cRow)*len(t.cCol), 1<<30, func(r *run, _ *scratch, _, _ int) {
			clear(slice[byte](r, t.c, len(t.cBatch)*len(t.cRow)*len(t.cCol)*dtype.Size()))
		}, t.c)
		return
	}
	if len(t.cBatch)*len(t.cRow)*len(t.cCol) == 0 {
		return
	}
	switch dtype {
	case dtypes.Float32:
		t.plan(p)
	case dtypes.Float64:
		planOther[float64](t, p)
	case dtypes.Int8:
		planOther[int8](t, p)
	case dtypes.Int16:
		planOther[int16](t, p)
	case dtypes.Int32:
		planOther[int32](t, p)
	case dtypes.Int64:
		planOther[int64](t, p)
	case dtypes.Uint8:
		planOther[uint8](t, p)
	case dtypes.Uint16:
		planOther[uint16](t, p)
	case dtypes.Uint32:
		planOther[uint32](t, p)
	case dtypes.Uint64:
		planOther[uint64](t, p)
	}
}

// largest is how many bytes an operand of a contraction may have: kernels step through
// it with 32-bit offsets.
const largest = math.MaxInt32

func checkContraction(op compute.OpType, operands ...shapes.Shape) error {
	for _, s := range operands {
		if s.DType == dtypes.Bool {
			return unsupported(fmt.Sprintf("%s on %s", op, s.DType))
		}
		if byteSize(s) > largest {
			return unsupported(fmt.Sprintf("%s on %s, which is over 2 GiB", op, s))
		}
	}
	return nil
}

func (f *function) DotGeneral(lhs compute.Value, lhsContracting, lhsBatch []int, rhs compute.Value, rhsContracting, rhsBatch []int, config compute.DotGeneralConfig) (compute.Value, error) {
	in, err := f.values(lhs, rhs)
	if err != nil {
		return nil, err
	}
	for i, x := range in {
		for _, list := range [][]int{lhsContracting, lhsBatch, rhsContracting, rhsBatch}[i*2:][:2] {
			for _, axis := range list {
				if axis < 0 || axis >= x.shape.Rank() {
					return nil, fmt.Errorf("exact backend: DotGeneral axis %d of %s: there is no such axis", axis, x.shape)
				}
			}
		}
	}
	shape, err := shapeinference.DotGeneral(in[0].shape, lhsContracting, lhsBatch, in[1].shape, rhsContracting, rhsBatch, config)
	if err != nil {
		return nil, err
	}
	work := config.AccumulatorDType
	if work == dtypes.InvalidDType {
		work = in[0].shape.DType
	}
	if !types[work] || !types[shape.DType] {
		return nil, unsupported(fmt.Sprintf("DotGeneral of %s in %s to %s", in[0].shape.DType, work, shape.DType))
	}
	if work.IsHalfPrecision() {
		work = dtypes.Float32
	}
	a, b := f.convert(in[0], work), f.convert(in[1], work)
	if err := checkContraction(compute.OpTypeDotGeneral, a.shape, b.shape, withType(shape, work)); err != nil {
		return nil, err
	}
	n := f.node(compute.OpTypeDotGeneral, withType(shape, work), a, b)
	n.lower = func(p *plan) {
		t := &contraction{a: p.slot(a), b: p.slot(b)}
		t.c = p.result(n)
		along := func(x *node, axes []int) []int32 {
			return offsets(pick(x.shape.Dimensions, axes), pick(steps(x.shape.Dimensions), axes))
		}
		// The depth in the order in which it lies in A.
		order := others(len(lhsContracting))
		slices.SortFunc(order, func(i, j int) int { return lhsContracting[i] - lhsContracting[j] })
		lhsRows, rhsCols := others(a.shape.Rank(), lhsContracting, lhsBatch), others(b.shape.Rank(), rhsContracting, rhsBatch)
		t.aBatch, t.aRow, t.aDepth = along(a, lhsBatch), along(a, lhsRows), along(a, pick(lhsContracting, order))
		t.bBatch, t.bCol, t.bDepth = along(b, rhsBatch), along(b, rhsCols), along(b, pick(rhsContracting, order))
		axes := others(n.shape.Rank())
		batch, rows := len(lhsBatch), len(lhsRows)
		t.cBatch, t.cRow, t.cCol = along(n, axes[:batch]), along(n, axes[batch:batch+rows]), along(n, axes[batch+rows:])
		t.contract(p, work)
	}
	return f.convert(n, shape.DType), nil
}

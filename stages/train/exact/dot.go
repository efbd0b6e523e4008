package exact

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

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
		t := &steps.Contraction{A: p.slot(a), B: p.slot(b), C: p.result(n)}
		along := func(x *node, axes []int) []int32 {
			return steps.Offsets(steps.Pick(x.shape.Dimensions, axes), steps.Pick(steps.Strides(x.shape.Dimensions), axes))
		}
		// The depth in the order in which it lies in A.
		order := steps.Others(len(lhsContracting))
		slices.SortFunc(order, func(i, j int) int { return lhsContracting[i] - lhsContracting[j] })
		lhsRows, rhsCols := steps.Others(a.shape.Rank(), lhsContracting, lhsBatch), steps.Others(b.shape.Rank(), rhsContracting, rhsBatch)
		t.ABatch, t.ARow, t.ADepth = along(a, lhsBatch), along(a, lhsRows), along(a, steps.Pick(lhsContracting, order))
		t.BBatch, t.BCol, t.BDepth = along(b, rhsBatch), along(b, rhsCols), along(b, steps.Pick(rhsContracting, order))
		axes := steps.Others(n.shape.Rank())
		batch, rows := len(lhsBatch), len(lhsRows)
		t.CBatch, t.CRow, t.CCol = along(n, axes[:batch]), along(n, axes[batch:batch+rows]), along(n, axes[batch+rows:])
		t.Plan(&p.Plan, work)
	}
	return f.convert(n, shape.DType), nil
}

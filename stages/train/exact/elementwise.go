package exact

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"

	"github.com/sandwich-build/sandwich/stages/train/exact/internal/kernels"
	"github.com/sandwich-build/sandwich/stages/train/exact/internal/steps"
)

// operations lists what a function has a method for.
var operations = map[compute.OpType]bool{
	compute.OpTypeAbs:                      true,
	compute.OpTypeAdd:                      true,
	compute.OpTypeArgMinMax:                true,
	compute.OpTypeAtan2:                    true,
	compute.OpTypeBatchNormForInference:    true,
	compute.OpTypeBatchNormForTraining:     true,
	compute.OpTypeBatchNormGradient:        true,
	compute.OpTypeBitCount:                 true,
	compute.OpTypeBitcast:                  true,
	compute.OpTypeBitwiseAnd:               true,
	compute.OpTypeBitwiseNot:               true,
	compute.OpTypeBitwiseOr:                true,
	compute.OpTypeBitwiseXor:               true,
	compute.OpTypeBroadcastInDim:           true,
	compute.OpTypeCeil:                     true,
	compute.OpTypeClamp:                    true,
	compute.OpTypeClz:                      true,
	compute.OpTypeConcatenate:              true,
	compute.OpTypeConstant:                 true,
	compute.OpTypeConvGeneral:              true,
	compute.OpTypeConvertDType:             true,
	compute.OpTypeCos:                      true,
	compute.OpTypeDiv:                      true,
	compute.OpTypeDotGeneral:               true,
	compute.OpTypeDynamicSlice:             true,
	compute.OpTypeDynamicUpdateSlice:       true,
	compute.OpTypeEqual:                    true,
	compute.OpTypeEqualTotalOrder:          true,
	compute.OpTypeErf:                      true,
	compute.OpTypeExp:                      true,
	compute.OpTypeExpm1:                    true,
	compute.OpTypeFloor:                    true,
	compute.OpTypeGather:                   true,
	compute.OpTypeGreaterOrEqual:           true,
	compute.OpTypeGreaterOrEqualTotalOrder: true,
	compute.OpTypeGreaterThan:              true,
	compute.OpTypeGreaterThanTotalOrder:    true,
	compute.OpTypeIdentity:                 true,
	compute.OpTypeIota:                     true,
	compute.OpTypeIsFinite:                 true,
	compute.OpTypeIsNaN:                    true,
	compute.OpTypeLessOrEqual:              true,
	compute.OpTypeLessOrEqualTotalOrder:    true,
	compute.OpTypeLessThan:                 true,
	compute.OpTypeLessThanTotalOrder:       true,
	compute.OpTypeLog:                      true,
	compute.OpTypeLog1p:                    true,
	compute.OpTypeLogicalAnd:               true,
	compute.OpTypeLogicalNot:               true,
	compute.OpTypeLogicalOr:                true,
	compute.OpTypeLogicalXor:               true,
	compute.OpTypeLogistic:                 true,
	compute.OpTypeMax:                      true,
	compute.OpTypeMin:                      true,
	compute.OpTypeMul:                      true,
	compute.OpTypeNeg:                      true,
	compute.OpTypeNotEqual:                 true,
	compute.OpTypeNotEqualTotalOrder:       true,
	compute.OpTypeOptimizationBarrier:      true,
	compute.OpTypePad:                      true,
	compute.OpTypeParameter:                true,
	compute.OpTypePow:                      true,
	compute.OpTypeRNGBitGenerator:          true,
	compute.OpTypeReduceBitwiseAnd:         true,
	compute.OpTypeReduceBitwiseOr:          true,
	compute.OpTypeReduceBitwiseXor:         true,
	compute.OpTypeReduceLogicalAnd:         true,
	compute.OpTypeReduceLogicalOr:          true,
	compute.OpTypeReduceLogicalXor:         true,
	compute.OpTypeReduceMax:                true,
	compute.OpTypeReduceMin:                true,
	compute.OpTypeReduceProduct:            true,
	compute.OpTypeReduceSum:                true,
	compute.OpTypeReduceWindow:             true,
	compute.OpTypeRem:                      true,
	compute.OpTypeReshape:                  true,
	compute.OpTypeReverse:                  true,
	compute.OpTypeRound:                    true,
	compute.OpTypeRsqrt:                    true,
	compute.OpTypeScatterMax:               true,
	compute.OpTypeScatterMin:               true,
	compute.OpTypeScatterSum:               true,
	compute.OpTypeSchedulingBarrier:        true,
	compute.OpTypeSelectAndScatterMax:      true,
	compute.OpTypeSelectAndScatterMin:      true,
	compute.OpTypeShiftLeft:                true,
	compute.OpTypeShiftRightArithmetic:     true,
	compute.OpTypeShiftRightLogical:        true,
	compute.OpTypeSign:                     true,
	compute.OpTypeSin:                      true,
	compute.OpTypeSlice:                    true,
	compute.OpTypeSqrt:                     true,
	compute.OpTypeSub:                      true,
	compute.OpTypeTanh:                     true,
	compute.OpTypeTranspose:                true,
	compute.OpTypeWhere:                    true,
}

// unary applies an element-wise operation of one operand.
func (f *function) unary(op compute.OpType, v compute.Value) (compute.Value, error) {
	in, err := f.values(v)
	if err != nil {
		return nil, err
	}
	shape := in[0].shape.Clone()
	switch op {
	case compute.OpTypeIsFinite, compute.OpTypeIsNaN:
		shape.DType = dtypes.Bool
	default:
		if shape, err = shapeinference.UnaryOp(op, in[0].shape); err != nil {
			return nil, err
		}
	}
	return one(f.elementwise(op, shape, in...))
}

// binary applies an element-wise operation of two operands, which are broadcast.
func (f *function) binary(op compute.OpType, infer func(compute.OpType, shapes.Shape, shapes.Shape) (shapes.Shape, error), a, b compute.Value) (compute.Value, error) {
	in, err := f.values(a, b)
	if err != nil {
		return nil, err
	}
	shape, err := infer(op, in[0].shape, in[1].shape)
	if err != nil {
		return nil, err
	}
	return one(f.elementwise(op, shape, f.broadcast(in[0], shape.Dimensions), f.broadcast(in[1], shape.Dimensions)))
}

// elementwise makes the node of an operation on operands of one size. Half precision
// is computed in float32 and rounded.
func (f *function) elementwise(op compute.OpType, shape shapes.Shape, in ...*node) (*node, error) {
	operand := in[0].shape.DType
	if operand.IsHalfPrecision() {
		wide := make([]*node, len(in))
		for i, x := range in {
			wide[i] = f.convert(x, dtypes.Float32)
		}
		result := shape.DType
		if result == operand {
			shape = withType(shape, dtypes.Float32)
		}
		n, err := f.elementwise(op, shape, wide...)
		if err != nil || result != operand {
			return n, err
		}
		return f.convert(n, result), nil
	}
	k := f.kernelFor(op, operand)
	if k == nil {
		return nil, fmt.Errorf("exact backend: operation %s on %s: %w", op, operand, compute.ErrNotImplemented)
	}
	n := f.node(op, shape, in...)
	n.kernel = k
	return n, nil
}

// kernelFor returns the kernel of an element-wise operation, nil if there is none.
func (f *function) kernelFor(op compute.OpType, dtype dtypes.DType) kernels.Elementwise {
	return f.builder.backend.kernels.Elementwise(op, dtype)
}

func withType(shape shapes.Shape, dtype dtypes.DType) shapes.Shape {
	return shapes.Make(dtype, shape.Dimensions...)
}

// convert changes the type of the elements. What has no direct way goes by float32.
func (f *function) convert(x *node, to dtypes.DType) *node {
	from := x.shape.DType
	if from == to {
		return x
	}
	if direct := from == dtypes.Float32 || from == dtypes.Float64; (to.IsHalfPrecision() && !direct) ||
		(from.IsHalfPrecision() && to != dtypes.Float32) {
		return f.convert(f.convert(x, dtypes.Float32), to)
	}
	n := f.node(compute.OpTypeConvertDType, withType(x.shape, to), x)
	n.kernel = f.builder.backend.kernels.Convert(from, to)
	return n
}

// broadcast repeats x along the axes where it has one element, or all if it is a scalar.
func (f *function) broadcast(x *node, dims []int) *node {
	if slices.Equal(x.shape.Dimensions, dims) {
		return x
	}
	strides := make([]int, len(dims))
	if x.shape.Rank() == len(dims) {
		strides = broadcastStrides(x.shape.Dimensions, dims)
	}
	return f.viewOf(compute.OpTypeBroadcastInDim, x, shapes.Make(x.shape.DType, dims...), steps.View{Strides: strides})
}

func broadcastStrides(from, to []int) []int {
	strides := steps.Strides(from)
	for axis := range strides {
		if from[axis] == 1 && to[axis] != 1 {
			strides[axis] = 0
		}
	}
	return strides
}

func (f *function) IsNaN(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeIsNaN, x)
}

func (f *function) ConvertDType(x compute.Value, dtype dtypes.DType) (compute.Value, error) {
	in, err := f.values(x)
	if err != nil {
		return nil, err
	}
	if !types[dtype] {
		return nil, unsupported("ConvertDType to " + dtype.String())
	}
	return f.convert(in[0], dtype), nil
}

func (f *function) Where(condition, onTrue, onFalse compute.Value) (compute.Value, error) {
	in, err := f.values(condition, onTrue, onFalse)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Where(in[0].shape, in[1].shape, in[2].shape)
	if err != nil {
		return nil, err
	}
	for i := range in {
		in[i] = f.broadcast(in[i], shape.Dimensions)
	}
	if isReLU(in) {
		n := f.node(compute.OpTypeWhere, shape, in[1])
		n.kernel = f.builder.backend.kernels.ReLU
		return n, nil
	}
	n := f.node(compute.OpTypeWhere, shape, in...)
	n.kernel = f.builder.backend.kernels.Where(shape.DType.Size())
	return n, nil
}

// isReLU says whether the operands of Where are x > 0, x and 0.
func isReLU(in []*node) bool {
	c, x := in[0], in[1]
	return c.op == compute.OpTypeGreaterThan && len(c.in) == 2 && c.in[0] == x && x.shape.DType == dtypes.Float32 && isZero(c.in[1]) && isZero(in[2])
}

func (f *function) Clamp(least, x, most compute.Value) (compute.Value, error) {
	raised, err := f.Max(x, least)
	if err != nil {
		return nil, err
	}
	return f.Min(raised, most)
}

func (f *function) Abs(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeAbs, x)
}

func (f *function) BitCount(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeBitCount, x)
}

func (f *function) BitwiseNot(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeBitwiseNot, x)
}

func (f *function) Ceil(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeCeil, x)
}

func (f *function) Clz(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeClz, x)
}

func (f *function) Cos(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeCos, x)
}

func (f *function) Erf(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeErf, x)
}

func (f *function) Exp(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeExp, x)
}

func (f *function) Expm1(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeExpm1, x)
}

func (f *function) Floor(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeFloor, x)
}

func (f *function) IsFinite(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeIsFinite, x)
}

func (f *function) Log(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeLog, x)
}

func (f *function) Log1p(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeLog1p, x)
}

func (f *function) LogicalNot(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeLogicalNot, x)
}

func (f *function) Logistic(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeLogistic, x)
}

func (f *function) Neg(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeNeg, x)
}

func (f *function) Round(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeRound, x)
}

func (f *function) Rsqrt(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeRsqrt, x)
}

func (f *function) Sign(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeSign, x)
}

func (f *function) Sin(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeSin, x)
}

func (f *function) Sqrt(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeSqrt, x)
}

func (f *function) Tanh(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeTanh, x)
}

func (f *function) Add(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeAdd, shapeinference.BinaryOp, a, b)
}

func (f *function) Atan2(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeAtan2, shapeinference.BinaryOp, a, b)
}

func (f *function) BitwiseAnd(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeBitwiseAnd, shapeinference.BinaryOp, a, b)
}

func (f *function) BitwiseOr(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeBitwiseOr, shapeinference.BinaryOp, a, b)
}

func (f *function) BitwiseXor(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeBitwiseXor, shapeinference.BinaryOp, a, b)
}

func (f *function) Div(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeDiv, shapeinference.BinaryOp, a, b)
}

func (f *function) LogicalAnd(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLogicalAnd, shapeinference.BinaryOp, a, b)
}

func (f *function) LogicalOr(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLogicalOr, shapeinference.BinaryOp, a, b)
}

func (f *function) LogicalXor(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLogicalXor, shapeinference.BinaryOp, a, b)
}

func (f *function) Max(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMax, shapeinference.BinaryOp, a, b)
}

func (f *function) Min(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMin, shapeinference.BinaryOp, a, b)
}

func (f *function) Mul(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMul, shapeinference.BinaryOp, a, b)
}

func (f *function) Pow(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypePow, shapeinference.BinaryOp, a, b)
}

func (f *function) Rem(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeRem, shapeinference.BinaryOp, a, b)
}

func (f *function) ShiftLeft(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeShiftLeft, shapeinference.BinaryOp, a, b)
}

func (f *function) ShiftRightArithmetic(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeShiftRightArithmetic, shapeinference.BinaryOp, a, b)
}

func (f *function) ShiftRightLogical(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeShiftRightLogical, shapeinference.BinaryOp, a, b)
}

func (f *function) Sub(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeSub, shapeinference.BinaryOp, a, b)
}

func (f *function) Equal(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeEqual, shapeinference.ComparisonOp, a, b)
}

func (f *function) EqualTotalOrder(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeEqualTotalOrder, shapeinference.ComparisonOp, a, b)
}

func (f *function) GreaterOrEqual(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeGreaterOrEqual, shapeinference.ComparisonOp, a, b)
}

func (f *function) GreaterOrEqualTotalOrder(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeGreaterOrEqualTotalOrder, shapeinference.ComparisonOp, a, b)
}

func (f *function) GreaterThan(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeGreaterThan, shapeinference.ComparisonOp, a, b)
}

func (f *function) GreaterThanTotalOrder(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeGreaterThanTotalOrder, shapeinference.ComparisonOp, a, b)
}

func (f *function) LessOrEqual(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLessOrEqual, shapeinference.ComparisonOp, a, b)
}

func (f *function) LessOrEqualTotalOrder(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLessOrEqualTotalOrder, shapeinference.ComparisonOp, a, b)
}

func (f *function) LessThan(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLessThan, shapeinference.ComparisonOp, a, b)
}

func (f *function) LessThanTotalOrder(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLessThanTotalOrder, shapeinference.ComparisonOp, a, b)
}

func (f *function) NotEqual(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeNotEqual, shapeinference.ComparisonOp, a, b)
}

func (f *function) NotEqualTotalOrder(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeNotEqualTotalOrder, shapeinference.ComparisonOp, a, b)
}

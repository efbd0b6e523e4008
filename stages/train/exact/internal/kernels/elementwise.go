package kernels

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
)

// Elementwise computes n elements from n elements of each operand. Operands that an
// operation does not have are nil.
type Elementwise func(dst, a, b, c unsafe.Pointer, n int)

// Integer is a type of integers.
type Integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// Float is a type of floating-point numbers.
type Float interface{ float32 | float64 }

// Number is a type with arithmetic.
type Number interface{ Integer | Float }

func unary[R, T any](f func(d []R, a []T)) Elementwise {
	return func(dst, a, _, _ unsafe.Pointer, n int) {
		f(unsafe.Slice((*R)(dst), n), unsafe.Slice((*T)(a), n))
	}
}

func binary[R, T any](f func(d []R, a, b []T)) Elementwise {
	return func(dst, a, b, _ unsafe.Pointer, n int) {
		f(unsafe.Slice((*R)(dst), n), unsafe.Slice((*T)(a), n), unsafe.Slice((*T)(b), n))
	}
}

// each applies a function of one element. The call costs more than simple arithmetic,
// so what is hot has a loop of its own.
func each[R, T any](f func(T) R) Elementwise {
	return unary(func(d []R, a []T) {
		for i, v := range a {
			d[i] = f(v)
		}
	})
}

func pairs[R, T any](f func(a, b T) R) Elementwise {
	return binary(func(d []R, a, b []T) {
		for i, v := range a {
			d[i] = f(v, b[i])
		}
	})
}

// elementwise returns the kernel of an element-wise operation on operands of a type, nil
// if there is none.
func elementwise(op compute.OpType, dtype dtypes.DType) Elementwise {
	switch dtype {
	case dtypes.Bool:
		return boolKernel(op)
	case dtypes.Int8:
		return integerKernel[int8](op)
	case dtypes.Int16:
		return integerKernel[int16](op)
	case dtypes.Int32:
		return integerKernel[int32](op)
	case dtypes.Int64:
		return integerKernel[int64](op)
	case dtypes.Uint8:
		return integerKernel[uint8](op)
	case dtypes.Uint16:
		return integerKernel[uint16](op)
	case dtypes.Uint32:
		return integerKernel[uint32](op)
	case dtypes.Uint64:
		return integerKernel[uint64](op)
	case dtypes.Float32:
		if f := narrow[op]; f != nil {
			return each(f)
		}
		return floatKernel[float32](op)
	case dtypes.Float64:
		return floatKernel[float64](op)
	}
	return nil
}

func boolKernel(op compute.OpType) Elementwise {
	switch op {
	case compute.OpTypeLogicalAnd:
		return pairs(func(a, b bool) bool { return a && b })
	case compute.OpTypeLogicalOr:
		return pairs(func(a, b bool) bool { return a || b })
	case compute.OpTypeLogicalXor, compute.OpTypeNotEqual:
		return pairs(func(a, b bool) bool { return a != b })
	case compute.OpTypeEqual:
		return pairs(func(a, b bool) bool { return a == b })
	case compute.OpTypeLogicalNot:
		return each(func(a bool) bool { return !a })
	}
	return nil
}

// numberKernel holds what integers and floats have in common.
func numberKernel[T Number](op compute.OpType) Elementwise {
	switch op {
	case compute.OpTypeAdd:
		return binary(func(d, a, b []T) {
			for i, v := range a {
				d[i] = v + b[i]
			}
		})
	case compute.OpTypeSub:
		return binary(func(d, a, b []T) {
			for i, v := range a {
				d[i] = v - b[i]
			}
		})
	case compute.OpTypeMul:
		return binary(func(d, a, b []T) {
			for i, v := range a {
				d[i] = v * b[i]
			}
		})
	case compute.OpTypeMax:
		return binary(maximum[T])
	case compute.OpTypeMin:
		return binary(minimum[T])
	case compute.OpTypeNeg:
		return unary(func(d, a []T) {
			for i, v := range a {
				d[i] = -v
			}
		})
	case compute.OpTypeEqual:
		return pairs(func(a, b T) bool { return a == b })
	case compute.OpTypeNotEqual:
		return pairs(func(a, b T) bool { return a != b })
	case compute.OpTypeGreaterThan:
		return binary(func(d []bool, a, b []T) {
			for i, v := range a {
				d[i] = v > b[i]
			}
		})
	case compute.OpTypeGreaterOrEqual:
		return binary(func(d []bool, a, b []T) {
			for i, v := range a {
				d[i] = v >= b[i]
			}
		})
	case compute.OpTypeLessThan:
		return pairs(func(a, b T) bool { return a < b })
	case compute.OpTypeLessOrEqual:
		return pairs(func(a, b T) bool { return a <= b })
	}
	return nil
}

// maximum is the larger of each pair; NaN if there is one, b if they are equal. The
// test of v against itself finds NaN.
func maximum[T Number](d, a, b []T) {
	for i, v := range a {
		w := b[i]
		if v > w || v != v {
			w = v
		}
		d[i] = w
	}
}

func minimum[T Number](d, a, b []T) {
	for i, v := range a {
		w := b[i]
		if v < w || v != v {
			w = v
		}
		d[i] = w
	}
}

func integerKernel[T Integer](op compute.OpType) Elementwise {
	width := int(unsafe.Sizeof(T(0)) * 8)
	signed := ^T(0) < 0
	switch op {
	case compute.OpTypeDiv:
		return pairs(func(a, b T) T {
			if b == 0 {
				return ^T(0) // XLA's answer
			}
			return a / b
		})
	case compute.OpTypeRem:
		return pairs(func(a, b T) T {
			if b == 0 {
				return a
			}
			return a % b
		})
	case compute.OpTypePow:
		return pairs(integerPower[T])
	case compute.OpTypeBitwiseAnd:
		return pairs(func(a, b T) T { return a & b })
	case compute.OpTypeBitwiseOr:
		return pairs(func(a, b T) T { return a | b })
	case compute.OpTypeBitwiseXor:
		return pairs(func(a, b T) T { return a ^ b })
	case compute.OpTypeBitwiseNot:
		return each(func(a T) T { return ^a })
	case compute.OpTypeBitCount:
		return each(func(a T) T { return T(bits.OnesCount64(unsignedBits(a, width))) })
	case compute.OpTypeClz:
		return each(func(a T) T { return T(bits.LeadingZeros64(unsignedBits(a, width)) - 64 + width) })
	case compute.OpTypeShiftLeft:
		return pairs(func(a, b T) T { return a << unsignedBits(b, width) })
	case compute.OpTypeShiftRightArithmetic:
		return pairs(func(a, b T) T {
			return T(int64(unsignedBits(a, width)<<(64-width)) >> (64 - width) >> unsignedBits(b, width))
		})
	case compute.OpTypeShiftRightLogical:
		return pairs(func(a, b T) T { return T(unsignedBits(a, width) >> unsignedBits(b, width)) })
	case compute.OpTypeAbs:
		return each(func(a T) T {
			if a < 0 {
				return -a
			}
			return a
		})
	case compute.OpTypeSign:
		return each(func(a T) T {
			if a > 0 {
				return 1
			}
			if signed && a < 0 {
				return ^T(0)
			}
			return 0
		})
	}
	return numberKernel[T](op)
}

func unsignedBits[T Integer](a T, width int) uint64 { return uint64(a) << (64 - width) >> (64 - width) }

func integerPower[T Integer](base, exponent T) T {
	if exponent < 0 {
		switch base {
		case 1:
			return 1
		case ^T(0):
			if exponent&1 == 0 {
				return 1
			}
			return base
		}
		return 0
	}
	result := T(1)
	for ; exponent > 0; exponent >>= 1 {
		if exponent&1 == 1 {
			result *= base
		}
		base *= base
	}
	return result
}

func floatKernel[T Float](op compute.OpType) Elementwise {
	switch op {
	case compute.OpTypeDiv:
		return binary(func(d, a, b []T) {
			for i, v := range a {
				d[i] = v / b[i]
			}
		})
	case compute.OpTypeAbs:
		return each(func(a T) T { return T(math.Abs(float64(a))) })
	case compute.OpTypeSqrt:
		return unary(func(d, a []T) {
			for i, v := range a {
				d[i] = T(math.Sqrt(float64(v)))
			}
		})
	case compute.OpTypeSign:
		return each(func(a T) T {
			switch {
			case a > 0:
				return 1
			case a < 0:
				return -1
			}
			return a // a zero with its sign, or NaN
		})
	case compute.OpTypeIsFinite:
		return each(func(a T) bool { return a-a == 0 })
	case compute.OpTypeIsNaN:
		return each(func(a T) bool { return math.IsNaN(float64(a)) })
	case compute.OpTypeEqualTotalOrder:
		return pairs(func(a, b T) bool { return totalOrder(a) == totalOrder(b) })
	case compute.OpTypeNotEqualTotalOrder:
		return pairs(func(a, b T) bool { return totalOrder(a) != totalOrder(b) })
	case compute.OpTypeGreaterThanTotalOrder:
		return pairs(func(a, b T) bool { return totalOrder(a) > totalOrder(b) })
	case compute.OpTypeGreaterOrEqualTotalOrder:
		return pairs(func(a, b T) bool { return totalOrder(a) >= totalOrder(b) })
	case compute.OpTypeLessThanTotalOrder:
		return pairs(func(a, b T) bool { return totalOrder(a) < totalOrder(b) })
	case compute.OpTypeLessOrEqualTotalOrder:
		return pairs(func(a, b T) bool { return totalOrder(a) <= totalOrder(b) })
	}
	if f := unaryMath[op]; f != nil {
		return each(func(a T) T { return T(f(float64(a))) })
	}
	if f := binaryMath[op]; f != nil {
		return pairs(func(a, b T) T { return T(f(float64(a), float64(b))) })
	}
	return numberKernel[T](op)
}

// totalOrder maps floats to integers in the order -NaN < -Inf < … < -0 < +0 < … < NaN.
func totalOrder[T Float](a T) int64 {
	b := int64(math.Float64bits(float64(a)))
	return b ^ int64(uint64(b>>63)>>1)
}

// where returns the kernel that chooses by its first operand, of bools, between a and b, moved as raw words of their size.
func where(size int) Elementwise {
	switch size {
	case 1:
		return choose[uint8]
	case 2:
		return choose[uint16]
	case 4:
		return choose[uint32]
	}
	return choose[uint64]
}

func choose[T any](dst, condition, a, b unsafe.Pointer, n int) {
	d, x, y := unsafe.Slice((*T)(dst), n), unsafe.Slice((*T)(a), n), unsafe.Slice((*T)(b), n)
	for i, c := range unsafe.Slice((*bool)(condition), n) {
		v, other := y[i], x[i] // both, so that no branch is needed
		if c {
			v = other
		}
		d[i] = v
	}
}

// Convert converts between types. Half precision converts to and from float32
// only, bool to and from any number; the graph goes by float32 where it must.
func convert(from, to dtypes.DType) Elementwise {
	switch from {
	case dtypes.Float16:
		return each(func(v float16.Float16) float32 { return v.Float32() })
	case dtypes.BFloat16:
		return each(func(v bfloat16.BFloat16) float32 { return v.Float32() })
	case dtypes.Bool:
		return convertFrom(to, func(v bool) int64 {
			if v {
				return 1
			}
			return 0
		})
	case dtypes.Int8:
		return convertNumber[int8](to)
	case dtypes.Int16:
		return convertNumber[int16](to)
	case dtypes.Int32:
		return convertNumber[int32](to)
	case dtypes.Int64:
		return convertNumber[int64](to)
	case dtypes.Uint8:
		return convertNumber[uint8](to)
	case dtypes.Uint16:
		return convertNumber[uint16](to)
	case dtypes.Uint32:
		return convertNumber[uint32](to)
	case dtypes.Uint64:
		return convertNumber[uint64](to)
	case dtypes.Float32:
		return convertFloat[float32](to)
	case dtypes.Float64:
		return convertFloat[float64](to)
	}
	return nil
}

func convertNumber[T Number](to dtypes.DType) Elementwise {
	if to == dtypes.Bool {
		return each(func(v T) bool { return v != 0 })
	}
	return convertFrom(to, func(v T) T { return v })
}

// convertFloat rounds towards zero and, where Go leaves it to the processor, to the
// nearest value that there is; NaN becomes 0.
func convertFloat[T Float](to dtypes.DType) Elementwise {
	switch to {
	case dtypes.Float16:
		return each(func(v T) float16.Float16 { return float16.FromFloat32(float32(v)) })
	case dtypes.BFloat16:
		return each(func(v T) bfloat16.BFloat16 { return bfloat16.FromFloat32(float32(v)) })
	case dtypes.Int8:
		return each(saturate[int8, T])
	case dtypes.Int16:
		return each(saturate[int16, T])
	case dtypes.Int32:
		return each(saturate[int32, T])
	case dtypes.Int64:
		return each(saturate[int64, T])
	case dtypes.Uint8:
		return each(saturate[uint8, T])
	case dtypes.Uint16:
		return each(saturate[uint16, T])
	case dtypes.Uint32:
		return each(saturate[uint32, T])
	case dtypes.Uint64:
		return each(saturate[uint64, T])
	}
	return convertNumber[T](to)
}

func saturate[R Integer, T Float](v T) R {
	lowest, highest := R(0), ^R(0)
	if ^R(0) < 0 {
		lowest = R(1) << (unsafe.Sizeof(R(0))*8 - 1)
		highest = ^lowest
	}
	switch f := float64(v); {
	case f != f: // NaN
		return 0
	case f <= float64(lowest):
		return lowest
	case f >= float64(highest):
		return highest
	}
	return R(v)
}

func convertFrom[T any, N Number](to dtypes.DType, f func(T) N) Elementwise {
	switch to {
	case dtypes.Int8:
		return each(func(v T) int8 { return int8(f(v)) })
	case dtypes.Int16:
		return each(func(v T) int16 { return int16(f(v)) })
	case dtypes.Int32:
		return each(func(v T) int32 { return int32(f(v)) })
	case dtypes.Int64:
		return each(func(v T) int64 { return int64(f(v)) })
	case dtypes.Uint8:
		return each(func(v T) uint8 { return uint8(f(v)) })
	case dtypes.Uint16:
		return each(func(v T) uint16 { return uint16(f(v)) })
	case dtypes.Uint32:
		return each(func(v T) uint32 { return uint32(f(v)) })
	case dtypes.Uint64:
		return each(func(v T) uint64 { return uint64(f(v)) })
	case dtypes.Float32:
		return each(func(v T) float32 { return float32(f(v)) })
	case dtypes.Float64:
		return each(func(v T) float64 { return float64(f(v)) })
	}
	return nil
}

// Fold returns a loop that combines n elements side by side into one, nil if there
// is none for the operation.
func Fold(with compute.OpType, dtype dtypes.DType) func(acc, from unsafe.Pointer, n int) {
	switch dtype {
	case dtypes.Float32:
		return foldNumber[float32](with)
	case dtypes.Float64:
		return foldNumber[float64](with)
	case dtypes.Int32:
		return foldNumber[int32](with)
	case dtypes.Int64:
		return foldNumber[int64](with)
	}
	return nil
}

func foldNumber[T Number](with compute.OpType) func(acc, from unsafe.Pointer, n int) {
	switch with {
	case compute.OpTypeAdd:
		return func(acc, from unsafe.Pointer, n int) {
			sum := *(*T)(acc)
			for _, v := range unsafe.Slice((*T)(from), n) {
				sum += v
			}
			*(*T)(acc) = sum
		}
	case compute.OpTypeMax:
		return func(acc, from unsafe.Pointer, n int) {
			most := *(*T)(acc)
			for _, v := range unsafe.Slice((*T)(from), n) {
				if !(most > v || most != most) {
					most = v
				}
			}
			*(*T)(acc) = most
		}
	}
	return nil
}

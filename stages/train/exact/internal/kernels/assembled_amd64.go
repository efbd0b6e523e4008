package kernels

import (
	"maps"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sys/cpu"
)

// assembled returns the sets in assembly that this processor, and its operating system,
// can run, the fastest first.
func assembled() []Set {
	var sets []Set
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return nil
	}
	if cpu.X86.HasAVX512F {
		sets = append(sets, avx512())
	}
	return append(sets, avx2())
}

func avx2() Set {
	return Set{
		Name:  "avx2",
		Tiles: []Tile{{Rows: 6, Cols: 16, name: tile6x16}},
		MaxWindow: func(dst, from unsafe.Pointer, inside *int32, count, n int) {
			whole := n &^ 7
			if whole > 0 {
				maxWindowAVX2((*byte)(dst), (*byte)(from), inside, count, whole)
			}
			if whole < n {
				portableMaxWindow(unsafe.Add(dst, whole*4), unsafe.Add(from, whole*4), inside, count, n-whole)
			}
		},
		Winner: func(number, from unsafe.Pointer, inside *int32, count, n int) {
			whole := n &^ 7
			if whole > 0 {
				winnerAVX2((*byte)(number), (*byte)(from), inside, count, whole)
			}
			if whole < n {
				portableWinner(unsafe.Add(number, whole), unsafe.Add(from, whole*4), inside, count, n-whole)
			}
		},
		Spread: func(to, number, source unsafe.Pointer, inside *int32, count, n int) {
			whole := n &^ 7
			if whole > 0 {
				spreadAVX2((*byte)(to), (*byte)(number), (*byte)(source), inside, count, whole)
			}
			if whole < n {
				portableSpread(unsafe.Add(to, whole*4), unsafe.Add(number, whole), unsafe.Add(source, whole*4), inside, count, n-whole)
			}
		},
		SumRows: func(acc, from unsafe.Pointer, rows *int32, count, n int) {
			whole := n &^ 7
			if whole > 0 {
				sumRowsAVX2((*byte)(acc), (*byte)(from), rows, count, whole)
			}
			if whole < n {
				portableSumRows(unsafe.Add(acc, whole*4), unsafe.Add(from, whole*4), rows, count, n-whole)
			}
		},
		Lanes: func(dst, a, b unsafe.Pointer, aSteps, bSteps *int32, k, n int) {
			whole := n &^ 7
			if whole > 0 {
				lanesAVX2((*byte)(dst), (*byte)(a), (*byte)(b), aSteps, bSteps, k, whole)
			}
			if whole < n {
				portableLanes(unsafe.Add(dst, whole*4), unsafe.Add(a, whole*4), unsafe.Add(b, whole*4), aSteps, bSteps, k, n-whole)
			}
		},
		ReLU:    single(4, reluAVX2, portableReLU),
		vectors: vectors(),
	}
}

// avx512 is wider where that pays: in products, and in arithmetic on what is in the cache.
func avx512() Set {
	s := avx2()
	s.Name = "avx512"
	s.Tiles = []Tile{
		{Rows: 8, Cols: 32, name: tile8x32},
		{Rows: 8, Cols: 16, name: tile8x16},
	}
	maps.Copy(s.vectors, map[key]Elementwise{
		{compute.OpTypeAdd, dtypes.Float32}: pairwise(16, 4, addAVX512, compute.OpTypeAdd),
		{compute.OpTypeSub, dtypes.Float32}: pairwise(16, 4, subAVX512, compute.OpTypeSub),
		{compute.OpTypeMul, dtypes.Float32}: pairwise(16, 4, mulAVX512, compute.OpTypeMul),
		{compute.OpTypeDiv, dtypes.Float32}: pairwise(16, 4, divAVX512, compute.OpTypeDiv),
		{compute.OpTypeMax, dtypes.Float32}: pairwise(16, 4, maxAVX512, compute.OpTypeMax),
		{compute.OpTypeMin, dtypes.Float32}: pairwise(16, 4, minAVX512, compute.OpTypeMin),
	})
	return s
}

func vectors() map[key]Elementwise {
	const f32 = dtypes.Float32
	return map[key]Elementwise{
		{compute.OpTypeAdd, f32}:            pairwise(8, 4, addAVX2, compute.OpTypeAdd),
		{compute.OpTypeSub, f32}:            pairwise(8, 4, subAVX2, compute.OpTypeSub),
		{compute.OpTypeMul, f32}:            pairwise(8, 4, mulAVX2, compute.OpTypeMul),
		{compute.OpTypeDiv, f32}:            pairwise(8, 4, divAVX2, compute.OpTypeDiv),
		{compute.OpTypeMax, f32}:            pairwise(8, 4, maxAVX2, compute.OpTypeMax),
		{compute.OpTypeMin, f32}:            pairwise(8, 4, minAVX2, compute.OpTypeMin),
		{compute.OpTypeEqual, f32}:          pairwise(8, 1, equalAVX2, compute.OpTypeEqual),
		{compute.OpTypeNotEqual, f32}:       pairwise(8, 1, notEqualAVX2, compute.OpTypeNotEqual),
		{compute.OpTypeLessThan, f32}:       pairwise(8, 1, lessAVX2, compute.OpTypeLessThan),
		{compute.OpTypeLessOrEqual, f32}:    pairwise(8, 1, lessEqualAVX2, compute.OpTypeLessOrEqual),
		{compute.OpTypeGreaterThan, f32}:    pairwise(8, 1, greaterAVX2, compute.OpTypeGreaterThan),
		{compute.OpTypeGreaterOrEqual, f32}: pairwise(8, 1, greaterEqualAVX2, compute.OpTypeGreaterOrEqual),
		{compute.OpTypeNeg, f32}:            single(4, negAVX2, elementwise(compute.OpTypeNeg, f32)),
		{compute.OpTypeAbs, f32}:            single(4, absAVX2, elementwise(compute.OpTypeAbs, f32)),
		{compute.OpTypeSqrt, f32}:           single(4, sqrtAVX2, elementwise(compute.OpTypeSqrt, f32)),
		{compute.OpTypeSign, f32}:           single(4, signAVX2, elementwise(compute.OpTypeSign, f32)),
		{compute.OpTypeExp, f32}:            single(4, expAVX2, elementwise(compute.OpTypeExp, f32)),
		{compute.OpTypeLog, f32}:            single(4, logAVX2, elementwise(compute.OpTypeLog, f32)),
		{compute.OpTypeLogistic, f32}:       single(4, logisticAVX2, elementwise(compute.OpTypeLogistic, f32)),
		{compute.OpTypeTanh, f32}:           single(4, tanhAVX2, elementwise(compute.OpTypeTanh, f32)),

		{compute.OpTypeConvertDType, dtypes.Bool}: single(1, fromBoolAVX2, convert(dtypes.Bool, f32)),
		{compute.OpTypeWhere, f32}:                chooseEights,
	}
}

// pairwise does as many elements as it can in vectors of some lanes, with results of
// size bytes, and the rest with the portable kernel.
func pairwise(lanes, size int, f func(dst, a, b *byte, n int), op compute.OpType) Elementwise {
	rest := elementwise(op, dtypes.Float32)
	return func(dst, a, b, _ unsafe.Pointer, n int) {
		whole := n &^ (lanes - 1)
		if whole > 0 {
			f((*byte)(dst), (*byte)(a), (*byte)(b), whole)
		}
		if whole < n {
			rest(unsafe.Add(dst, whole*size), unsafe.Add(a, whole*4), unsafe.Add(b, whole*4), nil, n-whole)
		}
	}
}

// single is pairwise for one operand, of size bytes, and results of four.
func single(size int, f func(dst, a *byte, n int), rest Elementwise) Elementwise {
	return func(dst, a, _, _ unsafe.Pointer, n int) {
		whole := n &^ 7
		if whole > 0 {
			f((*byte)(dst), (*byte)(a), whole)
		}
		if whole < n {
			rest(unsafe.Add(dst, whole*4), unsafe.Add(a, whole*size), nil, nil, n-whole)
		}
	}
}

func chooseEights(dst, condition, a, b unsafe.Pointer, n int) {
	whole := n &^ 7
	if whole > 0 {
		chooseAVX2((*byte)(dst), (*byte)(condition), (*byte)(a), (*byte)(b), whole)
	}
	if whole < n {
		choose[uint32](unsafe.Add(dst, whole*4), unsafe.Add(condition, whole), unsafe.Add(a, whole*4), unsafe.Add(b, whole*4), n-whole)
	}
}

func (t Tile) assembled(p *Product) {
	at := (*byte)(unsafe.Pointer(p))
	switch t.name {
	case tile6x16:
		tile6x16AVX2(at)
	case tile8x32:
		tile8x32AVX512(at)
	case tile8x16:
		tile8x16AVX512(at)
	}
}

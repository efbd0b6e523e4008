package exact

import (
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sys/cpu"
)

// assembled returns the kernels in assembly that this processor can run, the fastest
// first.
func assembled() []kernels {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return nil
	}
	avx2 := kernels{name: "avx2", tile: tileAVX2, selectMax: selectMaxAVX2, vectors: make(map[compute.OpType]kernel)}
	for op, f := range map[compute.OpType]func(dst, a, b *float32, n int){
		compute.OpTypeAdd: addAVX2, compute.OpTypeSub: subAVX2, compute.OpTypeMul: mulAVX2,
		compute.OpTypeDiv: divAVX2, compute.OpTypeMax: maxAVX2, compute.OpTypeMin: minAVX2,
	} {
		avx2.vectors[op] = eights(f, kernelFor(op, dtypes.Float32))
	}
	return []kernels{avx2}
}

// eights does as many elements as it can with vectors and the rest with another kernel.
func eights(f func(dst, a, b *float32, n int), rest kernel) kernel {
	return func(dst, a, b, _ unsafe.Pointer, n int) {
		if whole := n &^ 7; whole > 0 {
			f((*float32)(dst), (*float32)(a), (*float32)(b), whole)
			if whole == n {
				return
			}
			n -= whole
			dst, a, b = unsafe.Add(dst, whole*4), unsafe.Add(a, whole*4), unsafe.Add(b, whole*4)
		}
		rest(dst, a, b, nil, n)
	}
}

package exact

import "golang.org/x/sys/cpu"

// assembled returns the kernels in assembly that this processor can run, the fastest
// first.
func assembled() []tile {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		return []tile{{"avx2", tileAVX2}}
	}
	return nil
}

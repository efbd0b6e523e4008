//go:build unix

// Package peak tells how much memory a program that was measured had.
package peak

import (
	"os"
	"runtime"
	"syscall"
)

// Memory returns the most memory that a process, or one that it waited for, had at a time, in
// bytes; 0 where the system does not tell.
func Memory(s *os.ProcessState) int64 {
	use, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return use.Maxrss
	}
	return use.Maxrss << 10
}

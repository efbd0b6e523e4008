//go:build unix

package machine

import "golang.org/x/sys/unix"

// OpenFiles returns how many files this process may have open at once, or 0 where the system does
// not tell. The runtime of Go has raised it as far as it may.
func OpenFiles() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // some systems have it signed
}

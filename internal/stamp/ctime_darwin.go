package stamp

import (
	"io/fs"
	"syscall"
)

// changeTime returns when the kernel last saw a file change, and which file it is.
func changeTime(info fs.FileInfo) (nanoseconds int64, inode uint64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ctimespec.Nano(), st.Ino
	}
	return 0, 0
}

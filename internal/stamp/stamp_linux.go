package stamp

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// changeTime returns when the kernel last saw a file change, and which file it is.
func changeTime(info fs.FileInfo) (nanoseconds int64, inode uint64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ctim.Nano(), st.Ino
	}
	return 0, 0
}

// namesChangeTimes tells whether a directory is on one of the file systems that are known
// to change its times whenever the names in it change.
func namesChangeTimes(fd int) bool {
	var st unix.Statfs_t
	if again(func() error { return unix.Fstatfs(fd, &st) }) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}

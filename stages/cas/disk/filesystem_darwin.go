package disk

import (
	"slices"

	"golang.org/x/sys/unix"
)

// fileSystem describes the file system that a folder is in.
func fileSystem(dir string) (name string, shared bool, free int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "", false, -1
	}
	name = unix.ByteSliceToString(st.Fstypename[:])
	return name, slices.Contains([]string{"nfs", "smbfs", "afpfs", "webdav", "macfuse"}, name), int64(st.Bavail) * int64(st.Bsize)
}

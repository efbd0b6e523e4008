package disk

import "golang.org/x/sys/unix"

// fileSystems are those that a store may be found on, by the number that Linux gives them. Those of
// a network, or of another machine below a virtual one, are shared.
var fileSystems = map[uint32]struct {
	name   string
	shared bool
}{
	unix.EXT4_SUPER_MAGIC: {name: "ext4"}, unix.XFS_SUPER_MAGIC: {name: "xfs"}, unix.BTRFS_SUPER_MAGIC: {name: "btrfs"},
	unix.TMPFS_MAGIC: {name: "tmpfs"}, unix.OVERLAYFS_SUPER_MAGIC: {name: "overlay"}, unix.F2FS_SUPER_MAGIC: {name: "f2fs"},
	unix.MSDOS_SUPER_MAGIC: {name: "fat"}, unix.EXFAT_SUPER_MAGIC: {name: "exfat"}, 0x2fc12fc1: {name: "zfs"},
	unix.NFS_SUPER_MAGIC: {"nfs", true}, unix.SMB2_SUPER_MAGIC: {"smb", true}, unix.CIFS_SUPER_MAGIC: {"cifs", true},
	unix.FUSE_SUPER_MAGIC: {"fuse", true}, unix.V9FS_MAGIC: {"9p", true}, unix.CEPH_SUPER_MAGIC: {"ceph", true},
	unix.AFS_SUPER_MAGIC: {"afs", true}, unix.CODA_SUPER_MAGIC: {"coda", true},
}

// fileSystem describes the file system that a folder is in.
func fileSystem(dir string) (name string, shared bool, free int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "", false, -1
	}
	known := fileSystems[uint32(st.Type)]
	return known.name, known.shared, int64(st.Bavail) * st.Bsize
}

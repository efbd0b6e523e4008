//go:build linux || darwin

package stamp

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Dir is a directory whose files are asked for their stamps. Asking relative to the open
// directory spares the kernel the path, and the memory of os.Lstat: 1.1 instead of 2.6 µs
// a file.
type Dir struct{ f *os.File }

// OpenDir opens a directory, which must be closed.
func OpenDir(name string) (Dir, error) {
	f, err := os.Open(name)
	return Dir{f}, err
}

// Close closes the directory.
func (d Dir) Close() error { return d.f.Close() }

// Lstat returns the stamp and the type of what has a name in the directory.
func (d Dir) Lstat(name string) (Stamp, fs.FileMode, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Stamp{}, 0, &fs.PathError{Op: "lstat", Path: d.f.Name() + "/" + name, Err: err}
	}
	mode := fs.ModeIrregular
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		mode = 0
	case unix.S_IFDIR:
		mode = fs.ModeDir
	}
	return Stamp{Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Inode: st.Ino}, mode, nil
}

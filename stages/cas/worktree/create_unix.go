//go:build linux || darwin

package worktree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// directory makes files by their name in an open directory, so that the kernel does not
// walk its path for each.
type directory struct{ f *os.File }

func openDir(name string) (directory, error) {
	f, err := os.Open(name)
	return directory{f}, err
}

func (d directory) close() error { return d.f.Close() }

// rawFile is a file without what os.File does for pipes and sockets, which costs more
// than a small file does.
type rawFile int

func (d directory) create(name string) (io.WriteCloser, error) {
	for {
		fd, err := unix.Openat(int(d.f.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o666)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "create", Path: filepath.Join(d.f.Name(), name), Err: err}
		}
		return rawFile(fd), nil
	}
}

// Write implements io.Writer.
func (f rawFile) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Write(int(f), p[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// Close implements io.Closer.
func (f rawFile) Close() error { return unix.Close(int(f)) }

//go:build !linux && !darwin

package worktree

import (
	"io"
	"os"
	"path/filepath"
)

// directory makes files in a directory.
type directory string

func openDir(name string) (directory, error) { return directory(name), nil }

func (d directory) close() error { return nil }

func (d directory) create(name string) (io.WriteCloser, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

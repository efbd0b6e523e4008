//go:build !linux && !darwin

package stamp

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// changeTime knows nothing of this system.
func changeTime(fs.FileInfo) (nanoseconds int64, inode uint64) { return 0, 0 }

// Dir is a directory whose files are asked for their stamps.
type Dir string

// OpenDir opens a directory, which must be closed.
func OpenDir(name string) (Dir, error) { return Dir(name), nil }

// Close closes the directory.
func (d Dir) Close() error { return nil }

// Stamp returns the zero stamp: it is not known whether directories tell of new names.
func (d Dir) Stamp() (Stamp, error) { return Stamp{}, nil }

// Names returns the names in the directory, in no order.
func (d Dir) Names() ([]string, error) {
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// Lstat returns the stamp and the type of what has a name in the directory.
func (d Dir) Lstat(name string) (Stamp, fs.FileMode, error) {
	info, err := os.Lstat(filepath.Join(string(d), name))
	if err != nil {
		return Stamp{}, 0, err
	}
	return From(info), info.Mode().Type(), nil
}

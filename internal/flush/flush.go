// Package flush puts on the disk what was written, many files at a time. To flush each of
// ten thousand small files takes a hundred times as long.
package flush

import (
	"errors"
	"os"
)

// Whole says that the system can flush a whole file system. Where it can not, each file has
// to be flushed.
const Whole = whole

// FileSystem waits until all that was written to the file system that dir is in, by
// whomever, is on its disk; errors.ErrUnsupported unless Whole.
func FileSystem(dir *os.File) error { return fileSystem(dir) }

// Begin lets the system begin to write a range of a file to the disk, and does not wait: a
// later flush then has less to do. It is a hint, and nothing where the system has none.
func Begin(f *os.File, offset, length int64) { begin(f, offset, length) }

// Folder makes the names in a folder survive a loss of power, where the system can do that
// for a folder alone.
func Folder(dir *os.File) error {
	err := dir.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrInvalid) {
		return nil
	}
	return err
}

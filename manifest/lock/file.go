package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a lock file that is open. Whoever replaces it does not change what this one
// reads.
type File struct {
	Lock
	file *os.File
	size int64
}

// Open opens the lock file at path. The error is fs.ErrNotExist when there is none, and a
// *FormatError when it is not a lock.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	opened, err := decodeFile(path, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return opened, nil
}

func decodeFile(path string, f *os.File) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	l, err := Decode(path, f, info.Size())
	if err != nil {
		return nil, err
	}
	return &File{Lock: *l, file: f, size: info.Size()}, nil
}

// Text reads the file's bytes, which are those of Encode.
func (f *File) Text() io.Reader { return io.NewSectionReader(f.file, 0, f.size) }

// Stat describes the file.
func (f *File) Stat() (fs.FileInfo, error) { return f.file.Stat() }

// Close closes the file. Its photos cannot be read any more.
func (f *File) Close() error { return f.file.Close() }

// Write puts the lock at path and says whether that changed the file. A file that
// already has these bytes is left alone. Another reader, or a crash at any moment, sees
// the old file or the new one.
func Write(path string, l *Lock) (changed bool, err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return false, fmt.Errorf("write lock: %w", err)
	}
	changed, err = replace(path, temp, l)
	if err = errors.Join(err, temp.Close()); !changed || err != nil {
		if gone := os.Remove(temp.Name()); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		return false, fmt.Errorf("write lock: %w", err)
	}
	return changed, nil
}

// replace writes the lock to temp and, if that is not what path has, renames it there
// once it is on the disk.
func replace(path string, temp *os.File, l *Lock) (changed bool, err error) {
	if err := Encode(temp, l); err != nil {
		return false, err
	}
	if equal, err := equalFiles(temp, path); equal || err != nil {
		return false, err
	}
	// CreateTemp's 0600 would hide the lock from the rest of a team.
	if err := errors.Join(temp.Chmod(0o644), temp.Sync()); err != nil {
		return false, err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return false, err
	}
	return true, syncDir(filepath.Dir(path))
}

// equalFiles reports whether there is a file at path with the bytes of temp.
func equalFiles(temp *os.File, path string) (_ bool, err error) {
	old, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	was, err := old.Stat()
	if err != nil {
		return false, err
	}
	is, err := temp.Stat()
	if err != nil || was.Size() != is.Size() {
		return false, err
	}
	a, b := io.NewSectionReader(old, 0, was.Size()), io.NewSectionReader(temp, 0, is.Size())
	var x, y [bufferSize]byte
	for {
		n, errA := io.ReadFull(a, x[:])
		_, errB := io.ReadFull(b, y[:n])
		if errB != nil || !bytes.Equal(x[:n], y[:n]) {
			return false, errB
		}
		if errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF) {
			return true, nil
		}
		if errA != nil {
			return false, errA
		}
	}
}

// syncDir makes the rename itself survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

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

// maxSize bounds what Read takes into memory. Open Images has nine million photos
// of some 110 bytes each.
const maxSize = 2 << 30

// Read reads the lock file at path. The error is fs.ErrNotExist when there is none,
// and a *FormatError when it is not a lock.
func Read(path string) (*Lock, error) {
	l, _, err := ReadFile(path)
	return l, err
}

// ReadFile is Read that returns the file's bytes as well, which are those of Encode.
func ReadFile(path string) (*Lock, []byte, error) {
	src, err := readFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read lock: %w", err)
	}
	l, err := Decode(path, src)
	return l, src, err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSize {
		return nil, &FormatError{File: path, Line: 1, Message: fmt.Sprintf("the file is larger than a lock may be, %d GiB", maxSize>>30)}
	}
	var b bytes.Buffer
	b.Grow(int(info.Size()) + bytes.MinRead) // so that ReadFrom need not grow it
	_, err = b.ReadFrom(io.LimitReader(f, maxSize))
	return b.Bytes(), err
}

// WriteFile puts the lock at path and says whether that changed the file. A file
// that already has these bytes is left alone. Another reader, or a crash at any
// moment, sees the old file or the new one.
func WriteFile(path string, l *Lock) (changed bool, err error) {
	text, err := Encode(l)
	if err != nil {
		return false, err
	}
	old, err := readFile(path)
	switch {
	case err == nil && bytes.Equal(old, text):
		return false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("write lock: %w", err)
	}
	if err := replace(path, text); err != nil {
		return false, fmt.Errorf("write lock: %w", err)
	}
	return true, nil
}

// replace renames a temporary file to path, once it is on the disk.
func replace(path string, text []byte) error {
	temp, err := writeTemp(path, text)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		if temp != "" {
			err = errors.Join(err, os.Remove(temp))
		}
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeTemp writes text to a new file beside path. Its name is returned with an
// error too, when there is a file to remove.
func writeTemp(path string, text []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err == nil {
		// CreateTemp's 0600 would hide the lock from the rest of a team.
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	return f.Name(), errors.Join(err, f.Close())
}

// syncDir makes the rename itself survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

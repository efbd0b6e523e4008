// Package workdir gives a program that runs a folder of its own, which goes with this process: what one
// that was killed has left is removed by the next one.
package workdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// lockSuffix is that of the file by whose lock others see that the folder beside it is in use.
const lockSuffix = ".lock"

// pattern is that of the names of such files.
const pattern = "run-*" + lockSuffix

// Make makes an empty folder below parent, which need not be there, and removes those that nobody uses any
// more. remove removes the folder with all that is in it then.
func Make(parent string) (dir string, remove func() error, err error) {
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return "", nil, err
	}
	err = alone(parent, func() error {
		if err := sweep(parent); err != nil {
			return err
		}
		file, err := os.CreateTemp(parent, pattern)
		if err != nil {
			return err
		}
		lock := flock.New(file.Name())
		if _, err := lock.TryLock(); err != nil {
			return errors.Join(err, file.Close())
		}
		dir = strings.TrimSuffix(file.Name(), lockSuffix)
		remove = func() error { return errors.Join(removeAll(dir), lock.Unlock(), forget(file.Name())) }
		if err := errors.Join(file.Close(), os.Mkdir(dir, 0o777)); err != nil {
			return errors.Join(err, remove())
		}
		return nil
	})
	if err != nil {
		return "", nil, fmt.Errorf("make a folder to work in: %w", err)
	}
	return dir, remove, nil
}

// Sweep removes the folders below parent that nobody uses any more.
func Sweep(parent string) error {
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return alone(parent, func() error { return sweep(parent) })
}

// alone does something while no other process does anything below parent: the lock of a new folder must not
// be swept before it is held.
func alone(parent string, do func() error) error {
	lock := flock.New(filepath.Join(parent, "lock"), flock.SetPermissions(0o666))
	if err := lock.Lock(); err != nil {
		return err
	}
	return errors.Join(do(), lock.Unlock())
}

func sweep(parent string) error {
	locks, err := filepath.Glob(filepath.Join(parent, pattern))
	if err != nil {
		return err
	}
	for _, name := range locks {
		lock := flock.New(name)
		free, err := lock.TryLock()
		if err != nil {
			return err
		}
		if !free {
			continue
		}
		if err := errors.Join(removeAll(strings.TrimSuffix(name, lockSuffix)), lock.Unlock(), forget(name)); err != nil {
			return err
		}
	}
	return nil
}

// forget removes a file, unless another process has.
func forget(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeAll removes a folder, even one in which a program has taken rights away.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(name, 0o700) // what cannot be changed fails below
		}
		return nil
	})
	return os.RemoveAll(dir)
}

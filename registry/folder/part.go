package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// partName is the folder that an install collects its files in: inside of the
// destination where that exists, which is surely on the same file system and writable,
// and else beside it with the destination's name in front. It is found again when the
// install was cut off.
const partName = ".sandwich-part"

// lockName is the file in the part folder whose lock an install holds.
const lockName = "lock"

// ErrBusy says that another install is at work in the same folder.
var ErrBusy = errors.New("another install is at work there")

// withPart calls fill with the part folder, made and locked, and removes it afterwards. When
// fill fails the folder stays, for the next install to go on with. Where two names of the
// package are one, that is an error before anything is written.
func (i *install) withPart(part string, fill func(part string) error) error {
	unlock, err := lockPart(part)
	if err != nil {
		return err
	}
	if err := checkTwins(part, i.pkg.Entries, i.same); err != nil {
		err = errors.Join(err, unlock())
		_ = errors.Join(os.Remove(filepath.Join(part, lockName)), os.Remove(part)) // which keeps what another install left
		return err
	}
	if err := fill(part); err != nil {
		return errors.Join(err, unlock())
	}
	return removePart(part, unlock)
}

// lockPart makes a part folder and takes its lock. The lock's file is removed together
// with the folder, so an install that comes right then makes new ones.
func lockPart(part string) (unlock func() error, err error) {
	if info, err := os.Lstat(part); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", part)
	}
	if err := os.MkdirAll(part, 0o777); err != nil {
		return nil, err
	}
	name := filepath.Join(part, lockName)
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	lock := flock.New(name)
	locked, err := lock.TryLock()
	if err == nil && !locked {
		err = ErrBusy
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock.Close, nil
}

// removePart removes a part folder, and its lock last. A file server, or a file system that
// is a program, keeps the file of the lock under another name until it is closed, and the
// folder with it.
func removePart(part string, unlock func() error) error {
	err := os.RemoveAll(part)
	if closeErr := unlock(); closeErr != nil {
		return closeErr
	}
	if err == nil {
		return nil
	}
	if again := os.Remove(part); again == nil || errors.Is(again, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Package unpacked keeps folders that are made of what a store has, such as unpacked images: each is made once,
// and processes that want the same one at once wait for each other. Nothing in one is ever written to, and each can
// be made again.
package unpacked

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/sandwich-build/sandwich/internal/flush"
)

// Cache is a folder of such folders.
type Cache struct{ Dir string }

// poll is how often a process that waits looks whether another one is done.
const poll = 100 * time.Millisecond

const (
	lockSuffix = ".lock"
	partSuffix = ".part" // of one that is being made
)

// folderMode is that of a folder while files are put into it.
const folderMode = 0o700

// Open returns the folder of a name, which names its content too, and has no slash. fill fills it, an empty folder,
// where it is not there. It stays until release is called.
func (c Cache) Open(ctx context.Context, name string, fill func(dir string) error) (dir string, release func() error, err error) {
	dir = filepath.Join(c.Dir, name)
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return "", nil, err
	}
	lock := flock.New(dir+lockSuffix, flock.SetPermissions(0o666))
	for {
		if _, err := lock.TryRLockContext(ctx, poll); err != nil {
			return "", nil, err
		}
		if _, err := os.Stat(dir); err == nil {
			return dir, lock.Unlock, nil
		}
		if err := errors.Join(lock.Unlock(), c.make(ctx, lock, dir, fill)); err != nil {
			return "", nil, err
		}
	}
}

// make makes a folder, unless another process has.
func (c Cache) make(ctx context.Context, lock *flock.Flock, dir string, fill func(string) error) (err error) {
	if _, err := lock.TryLockContext(ctx, poll); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	part := dir + partSuffix
	if err := os.RemoveAll(part); err != nil { // of a process that was killed
		return err
	}
	if err := os.Mkdir(part, folderMode); err != nil {
		return err
	}
	if err := fill(part); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	if err := durable(part); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// durable waits until what was unpacked is on the disk: a folder of the name means a whole one.
func durable(dir string) error {
	if !flush.Whole {
		return nil // what is unpacked runs on Linux
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(flush.FileSystem(d), d.Close())
}

// Clean removes the folders that nobody uses, and returns how many they are and how many bytes their
// files have. With dry it removes nothing.
func (c Cache) Clean(dry bool) (folders int, bytes int64, err error) {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("clean up: %w", err)
	}
	for _, e := range entries {
		name, isLock := strings.CutSuffix(e.Name(), lockSuffix)
		if !isLock {
			continue
		}
		size, gone, err := clean(filepath.Join(c.Dir, name), dry)
		if err != nil {
			return folders, bytes, fmt.Errorf("clean up: %w", err)
		}
		if gone {
			folders, bytes = folders+1, bytes+size
		}
	}
	return folders, bytes, nil
}

// clean removes a folder, if it is there and nobody uses it.
func clean(dir string, dry bool) (bytes int64, gone bool, err error) {
	lock := flock.New(dir+lockSuffix, flock.SetPermissions(0o666))
	free, err := lock.TryLock()
	if err != nil || !free {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if !dry { // what a killed process left
		if err := os.RemoveAll(dir + partSuffix); err != nil {
			return 0, false, err
		}
	}
	bytes, err = size(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil || dry {
		return bytes, err == nil, err
	}
	// It is renamed first: were this process killed, half a folder must not have the name.
	if err := os.Rename(dir, dir+partSuffix); err != nil {
		return 0, false, err
	}
	return bytes, true, os.RemoveAll(dir + partSuffix)
}

// size is how many bytes the files in a folder have.
func size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sandwich-build/sandwich/internal/clone"
	"github.com/sandwich-build/sandwich/internal/stamp"
)

// Condition is what a folder gives a store.
type Condition struct {
	Folder     string     // the store's, absolute; where there is none yet, the folder above it that there is
	Made       bool       // whether Folder is the store's
	Owner      int        // the user whose folder it is; -1 where the system does not tell
	FileSystem string     // such as "ext4"; empty where the system does not tell
	Shared     bool       // other machines may have the file system too, so that locks and times may be no other's
	Free       int64      // bytes that this user may still write; -1 where the system does not tell
	DeadLocks  int        // locks of actions whose process has died; they are free
	Cleaning   *BusyError // who cleans the store up at the moment; nil for nobody

	// Write says why nothing can be written into Folder. What follows is known where it is nil.
	Write       error
	Sync        error         // why what is written cannot be made durable
	ChangeTimes bool          // the file system tells when a file was changed, which nobody can set
	Skew        time.Duration // by how much its clock is before that of this machine
	Clones      bool          // files can share their bytes
}

// Inspect looks at the folder of a store, which need not be there, and leaves it as it is: what it
// tries, it tries in a folder of its own, which it removes.
func Inspect(ctx context.Context, dir string) (Condition, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Condition{}, fmt.Errorf("inspect store %s: %w", dir, err)
	}
	c := Condition{Folder: abs, Made: true}
	for {
		info, err := os.Stat(c.Folder)
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "inspect store", Path: c.Folder, Err: errors.New("is not a folder")}
		}
		if err == nil {
			c.Owner = owner(info)
			break
		}
		if up := filepath.Dir(c.Folder); errors.Is(err, fs.ErrNotExist) && up != c.Folder {
			c.Folder, c.Made = up, false
			continue
		}
		return c, fmt.Errorf("inspect store: %w", err)
	}
	if _, err := os.Stat(filepath.Join(c.Folder, tmpDir)); err != nil {
		c.Made = false // a folder that no store was opened in yet
	}
	c.FileSystem, c.Shared, c.Free = fileSystem(c.Folder)
	c.Write = c.try()
	if c.Made {
		c.Cleaning = cleaning(filepath.Join(c.Folder, useLockFile))
		c.DeadLocks = deadLocks(ctx, c.Folder)
	}
	return c, context.Cause(ctx)
}

// try writes a file, and looks at what becomes of it.
func (c *Condition) try() (err error) {
	in := c.Folder
	if c.Made {
		in = filepath.Join(in, tmpDir) // where gc finds it if this process is killed
	}
	dir, err := os.MkdirTemp(in, "inspect-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	before := time.Now()
	if _, err := f.WriteString("sandwich\n"); err != nil {
		return err
	}
	c.Sync = f.Sync()
	s, err := stamp.Of(f)
	if err != nil {
		return err
	}
	c.ChangeTimes, c.Skew = s.Ctime != 0, time.Duration(s.Mtime-before.UnixNano())
	copied, cloneErr := clone.File(f, filepath.Join(dir, "clone"))
	if c.Clones = cloneErr == nil; c.Clones {
		return copied.Close()
	}
	return nil
}

// cleaning says who has the store alone, as gc has it.
func cleaning(name string) *BusyError {
	if _, err := os.Stat(name); err != nil || !held(name) {
		return nil
	}
	return &BusyError{Cleaning: true, By: holder(name)}
}

// deadLocks counts the locks that name a process and that none holds.
func deadLocks(ctx context.Context, root string) (dead int) {
	names, err := filepath.Glob(filepath.Join(root, locksDir, "*", "*"))
	if err != nil {
		return 0
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return dead
		}
		if h := holder(name); h.PID != 0 && !held(name) {
			dead++
		}
	}
	return dead
}

// Package dirindex looks at folders that a person owns: what is in them, and which of their
// files are what they were when they were read last. So a folder of 100,000 files is read
// once, and asked about its times after that, as git does with its index.
package dirindex

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Stamp is what the file system says of a file. One that was written has another one,
// unless that was within the same tick of the file system's clock (see Index).
type Stamp struct {
	Size         int64
	Mtime, Ctime int64 // nanoseconds since 1970
	Inode        uint64
}

// File is a regular file.
type File struct {
	Name  string
	Stamp Stamp
}

// Dir is one of the directories of a folder, without those below it.
type Dir struct {
	Path  string   // slash-separated, relative to the folder; "." for the folder itself
	Files []File   // by name
	Dirs  []string // names of the directories in it, sorted
	Other []string // names of what is neither, such as symbolic links, sorted
}

// batch is how many files are asked for their stamps at a time.
const batch = 256

// List returns the directories of a folder, by path, with the stamps of all files. It
// follows no symbolic link, and leaves out the directories for which skip, which may be
// nil, returns true.
func List(ctx context.Context, root string, skip func(path string) bool) ([]Dir, error) {
	l := lister{root: root, skip: skip}
	if err := l.names(ctx); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range l.dirs {
		for files := range slices.Chunk(l.dirs[i].Files, batch) {
			group.Go(func() error {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				return stampAll(filepath.Join(root, filepath.FromSlash(l.dirs[i].Path)), files)
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("list %s: %w", root, err)
	}
	return l.dirs, nil
}

// lister reads the names, directory by directory and level by level.
type lister struct {
	root string
	skip func(string) bool
	dirs []Dir
}

func (l *lister) names(ctx context.Context) error {
	for level := []string{"."}; len(level) > 0; {
		var mu sync.Mutex // guards l.dirs and below
		var below []string
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for _, name := range level {
			group.Go(func() error {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				d, err := l.read(name)
				mu.Lock()
				defer mu.Unlock()
				l.dirs = append(l.dirs, d)
				for _, sub := range d.Dirs {
					below = append(below, path.Join(name, sub))
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return fmt.Errorf("list %s: %w", l.root, err)
		}
		level = below
	}
	slices.SortFunc(l.dirs, func(a, b Dir) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

func (l *lister) read(name string) (Dir, error) {
	d := Dir{Path: name}
	entries, err := os.ReadDir(filepath.Join(l.root, filepath.FromSlash(name)))
	if err != nil {
		return d, err
	}
	d.Files = make([]File, 0, len(entries))
	for _, e := range entries {
		switch {
		case e.Type().IsRegular():
			d.Files = append(d.Files, File{Name: e.Name()})
		case !e.IsDir():
			d.Other = append(d.Other, e.Name())
		case l.skip == nil || !l.skip(path.Join(name, e.Name())):
			d.Dirs = append(d.Dirs, e.Name())
		}
	}
	return d, nil
}

// StampOf returns the stamp of an open file.
func StampOf(f *os.File) (Stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return Stamp{}, err
	}
	return stampOf(info), nil
}

// errChanged says that a file became something else while the folder was listed.
func errChanged(name string) error {
	return &fs.PathError{Op: "list", Path: name, Err: fmt.Errorf("is no file any more: %w", fs.ErrInvalid)}
}

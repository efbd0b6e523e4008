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

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/stamp"
)

// File is a regular file.
type File struct {
	Name  string
	Stamp stamp.Stamp
}

// Dir is one of the directories of a folder, without those below it.
type Dir struct {
	Path  string   // slash-separated, relative to the folder; "." for the folder itself
	Files []File   // by name
	Dirs  []string // names of the directories in it, sorted
	Other []string // names of what is neither, such as symbolic links, sorted
}

// batch is how many names are asked for their stamps at a time.
const batch = 256

// List returns the directories of a folder, by path, with the stamps of all files. It
// follows no symbolic link, and leaves out the directories for which skip, which may be
// nil, returns true.
func List(ctx context.Context, root string, skip func(path string) bool) ([]Dir, error) {
	l := lister{root: root, skip: skip}
	for level := []string{"."}; len(level) > 0; {
		var err error
		if level, err = l.list(ctx, level); err != nil {
			return nil, fmt.Errorf("list %s: %w", root, err)
		}
	}
	slices.SortFunc(l.dirs, func(a, b Dir) int { return cmp.Compare(a.Path, b.Path) })
	return l.dirs, nil
}

// lister lists the directories level by level: their names first, and then the stamps,
// which tell what is a directory.
type lister struct {
	root string
	skip func(string) bool
	dirs []Dir
}

// entry is a name in a directory.
type entry struct {
	name  string
	mode  fs.FileMode // its type
	stamp stamp.Stamp
}

// list adds the directories of one level, and returns those of the next.
func (l *lister) list(ctx context.Context, level []string) (below []string, err error) {
	entries := make([][]entry, len(level))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range level {
		group.Go(func() (err error) {
			if err = context.Cause(groupCtx); err == nil {
				entries[i], err = readNames(l.abs(name))
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	group, groupCtx = errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range level {
		for some := range slices.Chunk(entries[i], batch) {
			group.Go(func() error {
				if err := context.Cause(groupCtx); err != nil {
					return err
				}
				return stampAll(l.abs(name), some)
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, name := range level {
		d := l.sort(name, entries[i])
		entries[i] = nil // half of the memory of a large folder
		l.dirs = append(l.dirs, d)
		for _, sub := range d.Dirs {
			below = append(below, path.Join(name, sub))
		}
	}
	return below, nil
}

func (l *lister) abs(name string) string { return filepath.Join(l.root, filepath.FromSlash(name)) }

// readNames returns the names in a directory, sorted.
func readNames(dir string) ([]entry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	entries := make([]entry, len(names))
	for i, name := range names {
		entries[i].name = name
	}
	return entries, nil
}

// stampAll fills in what the file system says of names in a directory.
func stampAll(dir string, entries []entry) error {
	d, err := stamp.OpenDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // it was only asked
	for i := range entries {
		e := &entries[i]
		if e.stamp, e.mode, err = d.Lstat(e.name); err != nil {
			return err
		}
	}
	return nil
}

// sort tells apart what is in a directory.
func (l *lister) sort(name string, entries []entry) Dir {
	d := Dir{Path: name, Files: make([]File, 0, len(entries))}
	for _, e := range entries {
		switch {
		case e.mode.IsRegular():
			d.Files = append(d.Files, File{Name: e.name, Stamp: e.stamp})
		case !e.mode.IsDir():
			d.Other = append(d.Other, e.name)
		case l.skip == nil || !l.skip(path.Join(name, e.name)):
			d.Dirs = append(d.Dirs, e.name)
		}
	}
	return d
}

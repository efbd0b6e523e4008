// Package dirindex looks at folders that a person owns: what is in them, and which of their
// files are what they were when they were read last. So a folder of 100,000 files is read
// once, and asked about its times after that, as git does with its index.
package dirindex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	Sum   Sum // zero while it is not known
}

// Dir is one of the directories of a folder, without those below it.
type Dir struct {
	Path  string   // slash-separated, relative to the folder; "." for the folder itself
	Files []File   // by name; nil where the directory is what it was, until Load
	Dirs  []string // names of the directories in it, sorted
	Other []string // names of what is neither, such as symbolic links, sorted

	stamp stamp.Stamp // of the directory, from before it was read
	was   *memory     // what was remembered of it, when nothing of that has changed
}

// Same tells whether the directory is what it was, but for what is in the directories
// below it, and what note was kept of it.
func (d *Dir) Same() (note []byte, same bool) {
	if d.was == nil {
		return nil, false
	}
	return d.was.note, true
}

// Load fills in the files of a directory that is what it was.
func (d *Dir) Load() {
	if d.was == nil || d.Files != nil {
		return
	}
	r := d.was.files
	d.Files = make([]File, d.was.totals.Files)
	for i := range d.Files {
		name, was, sum := r.file()
		d.Files[i] = File{Name: string(name), Stamp: was, Sum: sum}
	}
}

// Forget makes the sum of one of the files unknown, so that it is read again. The directory
// is not what it was any more: nobody knows what will be read.
func (d *Dir) Forget(file int) {
	d.Files[file].Sum = Sum{}
	d.was = nil
}

// Totals sums up the files of a directory.
type Totals struct {
	Files          int
	Bytes, Largest int64
}

// Totals returns how many files there are, and their sizes.
func (d *Dir) Totals() Totals {
	if d.was != nil {
		return d.was.totals
	}
	t := Totals{Files: len(d.Files)}
	for _, f := range d.Files {
		t.Bytes += f.Stamp.Size
		t.Largest = max(t.Largest, f.Stamp.Size)
	}
	return t
}

// Filter tells whether a file or a directory belongs to a folder. The path is relative to
// the folder. An index knows nothing of the filter: each filter wants one of its own.
type Filter func(path string, dir bool) bool

// Scan returns the directories of the folder, by path, with the stamps of all files, and
// the sums of those that are known. It follows no symbolic link. A nil filter leaves
// nothing out.
func (x *Index) Scan(ctx context.Context, filter Filter) ([]Dir, error) {
	var dirs []Dir
	for level := []string{"."}; len(level) > 0; {
		found := make([]Dir, len(level))
		err := parallel(ctx, len(level), 1, func(from, _ int) (err error) {
			found[from], err = x.scan(ctx, level[from], filter)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", x.folder, err)
		}
		level = nil
		for _, d := range found {
			for _, name := range d.Dirs {
				level = append(level, path.Join(d.Path, name))
			}
		}
		dirs = append(dirs, found...)
	}
	slices.SortFunc(dirs, func(a, b Dir) int { return cmp.Compare(a.Path, b.Path) })
	return dirs, nil
}

// batch is how many files are asked for their stamps at a time.
const batch = 256

// parallel calls do for 0 ≤ from < to ≤ n in pieces of at most size, several at once.
func parallel(ctx context.Context, n, size int, do func(from, to int) error) error {
	if err := context.Cause(ctx); err != nil || n == 0 {
		return err
	}
	if n <= size {
		return do(0, n)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < n; from += size {
		group.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			return do(from, min(from+size, n))
		})
	}
	return group.Wait()
}

// scan returns one directory. Where the names in it are those that are known, only the
// files are asked for their stamps, and nothing is allocated for them.
func (x *Index) scan(ctx context.Context, name string, filter Filter) (_ Dir, err error) {
	open, err := stamp.OpenDir(filepath.Join(x.folder, filepath.FromSlash(name)))
	if err != nil {
		return Dir{}, err
	}
	defer func() { _ = open.Close() }() // it was only asked
	d := Dir{Path: name}
	if d.stamp, err = open.Stamp(); err != nil {
		return Dir{}, err
	}
	known := x.recall(name)
	if known != nil && known.stamp == d.stamp && unchanged(ctx, open, known.files, known.totals.Files) {
		d.Dirs, d.Other, d.was = known.dirs, known.other, known
		return d, nil
	}
	if err := d.list(ctx, open, filter); err != nil {
		return Dir{}, err
	}
	if known != nil && d.compare(known) {
		d.was = known
	}
	return d, nil
}

// errChanged says that a file is not what it was.
var errChanged = errors.New("changed")

// unchanged tells whether the n files of a block have the stamps that they had.
func unchanged(ctx context.Context, open stamp.Dir, files decoder, n int) bool {
	var pieces []decoder
	for i := range n {
		if i%batch == 0 {
			pieces = append(pieces, files)
		}
		files.file()
	}
	return files.ok() && parallel(ctx, n, batch, func(from, to int) error {
		piece := pieces[from/batch]
		for range to - from {
			name, was, _ := piece.file()
			now, mode, err := open.Lstat(string(name))
			if err != nil || !mode.IsRegular() || now != was {
				return errChanged
			}
		}
		return nil
	}) == nil
}

// list fills in what is in a directory.
func (d *Dir) list(ctx context.Context, open stamp.Dir, filter Filter) error {
	names, err := open.Names()
	if err != nil {
		return err
	}
	slices.Sort(names)
	files, modes := make([]File, len(names)), make([]fs.FileMode, len(names))
	err = parallel(ctx, len(names), batch, func(from, to int) (err error) {
		for i := from; i < to && err == nil; i++ {
			files[i].Name = names[i]
			files[i].Stamp, modes[i], err = open.Lstat(names[i])
		}
		return err
	})
	if err != nil {
		return err
	}
	d.Files = files[:0]
	for i, f := range files {
		isDir := modes[i].IsDir()
		switch {
		case (isDir || modes[i].IsRegular()) && filter != nil && !filter(path.Join(d.Path, f.Name), isDir):
		case isDir:
			d.Dirs = append(d.Dirs, f.Name)
		case modes[i].IsRegular():
			d.Files = append(d.Files, f)
		default:
			d.Other = append(d.Other, f.Name)
		}
	}
	return nil
}

// Package folder is packages as folders on this machine: it lists a folder to push it,
// compares one with a package, and installs a package in one.
//
// Symbolic links are never followed, and nothing outside of the folder is read or
// written, whatever a package or the folder hold.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// atOnce is how many files are read or written at once. Small files wait for the disk
// rather than for a core.
const atOnce = 8

// file is a regular file of a folder.
type file struct {
	key  string // slash-separated, relative to the folder
	size int64
}

// listing is what a folder holds, each list in the order of packages.
type listing struct {
	files     []file
	dirs      []string // each behind the one that it is in
	irregular []string // anything else, such as symbolic links, which are not followed
}

// scan lists a folder, but for what the rules leave out and the part folder of an
// unfinished install.
func scan(ctx context.Context, root *os.Root, ignore quilt.Ignore) (listing, error) {
	var l listing
	// The names of each folder come sorted, which is the order by segments.
	err := fs.WalkDir(root.FS(), ".", func(key string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
		switch {
		case key == ".":
			l.dirs = append(l.dirs, key)
			return nil
		case d.IsDir() && (key == partName || ignore.Match(key, true)):
			return fs.SkipDir
		case ignore.Match(key, false):
			return nil
		case d.IsDir():
			l.dirs = append(l.dirs, key)
			return nil
		case !d.Type().IsRegular():
			l.irregular = append(l.irregular, key)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		l.files = append(l.files, file{key: key, size: info.Size()})
		return nil
	})
	return l, err
}

// hash returns the hash of a file of a folder, and counts what it reads.
func (f file) hash(ctx context.Context, root *os.Root, kind string, meter *transfer.Meter) (quilt.Hash, error) {
	hash, err := f.read(ctx, root, kind, meter)
	if err != nil {
		return quilt.Hash{}, fmt.Errorf("hash %s: %w", f.key, err)
	}
	return hash, nil
}

func (f file) read(ctx context.Context, root *os.Root, kind string, meter *transfer.Meter) (_ quilt.Hash, err error) {
	hasher, err := quilt.NewHasher(kind, f.size)
	if err != nil {
		return quilt.Hash{}, err
	}
	opened, err := root.Open(f.key)
	if err != nil {
		return quilt.Hash{}, err
	}
	counted := meter.File(f.size)
	r := counted.Reader(opened)
	defer func() { err = errors.Join(err, r.Close()) }()
	if _, err := copyBytes(ctx, hasher, r); err != nil {
		return quilt.Hash{}, err
	}
	counted.Done()
	return hasher.Hash(), nil
}

// is reports whether a file, which has the size of an entry, has its hash too.
func (f file) is(ctx context.Context, root *os.Root, e quilt.Entry, meter *transfer.Meter) (bool, error) {
	got, err := f.hash(ctx, root, e.Hash().Type, meter)
	return err == nil && got == e.Hash(), err
}

// matching tells of each entry whether the folder holds it as it should be. Both are
// sorted, so they are walked through together. report, which may be nil, is told what is
// read for it.
func matching(ctx context.Context, root *os.Root, entries []quilt.Entry, files []file, pace *transfer.Pace, report func(transfer.State)) ([]bool, error) {
	right := make([]bool, len(entries))
	var candidates, partners []int // entries, and the files of their keys and sizes
	var all int64
	for i, j := 0, 0; i < len(entries) && j < len(files); {
		switch order := quilt.CompareKeys(entries[i].Key, files[j].key); {
		case order < 0:
			i++
		case order > 0:
			j++
		default:
			if size := files[j].size; size == entries[i].Size() {
				candidates, partners = append(candidates, i), append(partners, j)
				all += size
			}
			i, j = i+1, j+1
		}
	}
	meter := transfer.NewMeter(report, len(candidates), all)
	return right, pace.Each(ctx, len(candidates), func(ctx context.Context, n int) (moved int64, err error) {
		i := candidates[n]
		right[i], err = files[partners[n]].is(ctx, root, entries[i], meter)
		return entries[i].Size(), err
	})
}

// Folder is a folder whose files can be pushed or compared with a package.
type Folder struct {
	root  *os.Root
	files []file
}

// Open lists a folder, whose caller closes it, without what its .quiltignore leaves out. A
// symbolic link, or another thing that is no file, is an error: leaving it out in silence
// would lose it.
func Open(ctx context.Context, path string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	var found listing
	rules, err := root.ReadFile(quilt.IgnoreFile)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		found, err = scan(ctx, root, quilt.ParseIgnore(string(rules)))
	}
	if err == nil && len(found.irregular) > 0 {
		err = fmt.Errorf("%s in %s is neither a file nor a folder", found.irregular[0], path)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Folder{root: root, files: found.files}, nil
}

// Close closes the folder, and with it what Files returned.
func (f *Folder) Close() error { return f.root.Close() }

// Files returns the files, to push them.
func (f *Folder) Files() []objects.File {
	files := make([]objects.File, len(f.files))
	for i, file := range f.files {
		files[i] = objects.File{Key: file.key, Size: file.size, Open: func(context.Context) (io.ReadCloser, error) { return f.root.Open(file.key) }}
	}
	return files
}

// OpenFile opens a file.
func (f *Folder) OpenFile(key string) (io.ReadCloser, error) { return f.root.Open(key) }

// Content reads all files and returns the package that they would be, without physical
// keys and with an empty header.
func (f *Folder) Content(ctx context.Context) (*quilt.Package, error) {
	batch, err := objects.Hash(ctx, f.Files(), transfer.Fixed(atOnce), nil)
	if err != nil {
		return nil, err
	}
	return quilt.New(quilt.NewHeader(quilt.Value{}, quilt.Value{}, ""), batch.Entries)
}

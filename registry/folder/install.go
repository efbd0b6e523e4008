package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// ForeignError says that a folder holds files that neither the package to install nor
// another revision of it in the registry has, so that replacing them could lose them.
type ForeignError struct {
	Dest  string
	Files []string // slash-separated, relative to Dest, sorted
}

func (e *ForeignError) Error() string {
	const shown = 3
	names, more := e.Files, ""
	if len(names) > shown {
		names, more = names[:shown], fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return fmt.Sprintf("%s holds files that no revision of this package has: %s%s", e.Dest, strings.Join(names, ", "), more)
}

// Source is where the bytes of a package are.
type Source interface {
	// Open reads the bytes of an entry. The reader verifies: it does not yield the last
	// bytes of a wrong file.
	Open(ctx context.Context, e quilt.Entry) (io.ReadCloser, error)
	// OpenRange reads length bytes of an entry from offset on, which need not be right.
	OpenRange(ctx context.Context, e quilt.Entry, offset, length int64) (io.ReadCloser, error)
}

// Lookup returns the entry of a revision with a key.
type Lookup func(key string) (quilt.Entry, bool)

// Options say how to install.
type Options struct {
	Pace     *transfer.Pace       // of the files and ranges
	Checking func(transfer.State) // is told what is read of files that may be right already; nil tells nobody
	Progress func(transfer.State) // is told what is there; nil tells nobody
	// Nearby opens a file of this machine that may have the bytes of an entry, which need
	// not be right; fs.ErrNotExist when there is none. nil knows of none.
	Nearby func(ctx context.Context, e quilt.Entry) (io.ReadCloser, error)
	// Older yields the other revisions of the package, whose files may be replaced.
	Older iter.Seq2[Lookup, error]
}

// Installed says what an install did.
type Installed struct {
	Fetched int   // files that were read from the source
	Bytes   int64 // of those files
	Copied  int   // files that were copied from elsewhere on this machine
	Kept    int   // files that were there already
	Removed int   // files of another revision that this one does not have
}

// Install makes dest a folder with exactly the files of p. Every key is checked before
// anything is written, and every file while it is read.
//
// A folder that does not exist yet appears complete or not at all. One that exists is
// updated when all files are at hand: those that are right stay untouched, those of
// another revision are replaced or removed. Any other file in it is a *ForeignError, and
// a symbolic link as well; then nothing is changed. An install that was cut off is
// resumed by installing again.
//
// Files are on the disk before they get their names, so a power cut is like any other one.
func Install(ctx context.Context, p *quilt.Package, source Source, dest string, opts Options) (Installed, error) {
	i := &install{
		pkg: p, source: source, opts: opts, pace: opts.Pace, same: sameName,
		meter: transfer.NewMeter(opts.Progress, len(p.Entries), p.Size()),
	}
	if err := i.run(ctx, dest); err != nil {
		return Installed{}, err
	}
	return i.done, nil
}

// install is one run of Install.
type install struct {
	pkg    *quilt.Package
	source Source
	opts   Options
	pace   *transfer.Pace
	meter  *transfer.Meter

	staging string // the path of the folder that files are collected in
	same    func(dir *os.Root, names [2]string) (bool, error)

	mu   sync.Mutex // guards done
	done Installed
}

func (i *install) run(ctx context.Context, dest string) error {
	if err := checkEntries(i.pkg.Entries); err != nil {
		return err
	}
	dest, err := filepath.Abs(dest)
	if err != nil {
		return err
	}
	info, err := os.Lstat(dest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return i.create(ctx, dest)
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return errors.New("the destination is a symbolic link")
	case !info.IsDir():
		return errors.New("the destination is not a folder")
	}
	return i.update(ctx, dest)
}

// create installs in a folder that does not exist.
func (i *install) create(ctx context.Context, dest string) error {
	parent := filepath.Dir(dest)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	return i.withPart(filepath.Join(parent, "."+filepath.Base(dest)+partName), func(part string) error {
		if err := i.collect(ctx, part, i.pkg.Entries); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(part, "files"), dest); err != nil {
			return err
		}
		return flushFolder(parent)
	})
}

// update installs in a folder that exists.
func (i *install) update(ctx context.Context, dest string) (err error) {
	root, err := os.OpenRoot(dest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	found, err := scan(ctx, root, quilt.Ignore{})
	if err != nil {
		return err
	}
	right, err := matching(ctx, root, i.pkg.Entries, found.files, i.pace, i.opts.Checking)
	if err != nil {
		return err
	}
	wanted := i.missing(i.pkg.Entries, right)
	found.files = slices.DeleteFunc(found.files, func(f file) bool {
		n, ok := i.index(f.key)
		return ok && right[n]
	})
	if err := i.checkForeign(ctx, root, dest, found); err != nil {
		return err
	}
	if len(wanted) == 0 {
		return errors.Join(i.replace(root, found, nil), root.RemoveAll(partName))
	}
	return i.withPart(filepath.Join(dest, partName), func(part string) error {
		if err := i.collect(ctx, part, wanted); err != nil {
			return err
		}
		if err := i.replace(root, found, wanted); err != nil {
			return err
		}
		return flushFolder(dest)
	})
}

// missing returns the entries that are not right, and counts the others.
func (i *install) missing(entries []quilt.Entry, right []bool) []quilt.Entry {
	var wanted []quilt.Entry
	for n, e := range entries {
		if !right[n] {
			wanted = append(wanted, e)
			continue
		}
		i.done.Kept++
		i.meter.Have(e.Size())
	}
	return wanted
}

// index returns which entry has a key.
func (i *install) index(key string) (int, bool) {
	return slices.BinarySearchFunc(i.pkg.Entries, key, func(e quilt.Entry, key string) int { return quilt.CompareKeys(e.Key, key) })
}

// checkForeign returns a *ForeignError unless each of the files is of some revision of
// the package, so that it can be had again.
func (i *install) checkForeign(ctx context.Context, root *os.Root, dest string, found listing) error {
	foreign, err := i.unknown(ctx, root, found.files)
	if err != nil {
		return err
	}
	names := append(slices.Clone(found.irregular), foreign...)
	if len(names) == 0 {
		return nil
	}
	slices.SortFunc(names, quilt.CompareKeys)
	return &ForeignError{Dest: dest, Files: names}
}

// unknown returns the keys of those files that no revision of the package has.
func (i *install) unknown(ctx context.Context, root *os.Root, files []file) ([]string, error) {
	left := make(map[string]*suspect, len(files))
	for _, f := range files {
		left[f.key] = &suspect{file: f, hashes: map[string]quilt.Hash{}}
	}
	if len(left) > 0 && i.opts.Older != nil {
		for entry, err := range i.opts.Older {
			if err != nil {
				return nil, err
			}
			for key, s := range left {
				e, ok := entry(key)
				if !ok {
					continue
				}
				same, err := s.is(ctx, root, e)
				var unsupported *quilt.UnsupportedHashError
				if err != nil && !errors.As(err, &unsupported) {
					return nil, err
				}
				if same {
					delete(left, key)
				}
			}
			if len(left) == 0 {
				break
			}
		}
	}
	var keys []string
	for key := range left {
		keys = append(keys, key)
	}
	return keys, nil
}

// suspect is a file that is compared with several revisions.
type suspect struct {
	file
	hashes map[string]quilt.Hash // by hash type
}

func (s *suspect) is(ctx context.Context, root *os.Root, e quilt.Entry) (bool, error) {
	if s.size != e.Size() {
		return false, nil
	}
	want := e.Hash()
	got, ok := s.hashes[want.Type]
	if !ok {
		var err error
		if got, err = s.hash(ctx, root, want.Type, transfer.NewMeter(nil, 0, 0)); err != nil {
			return false, err
		}
		s.hashes[want.Type] = got
	}
	return got == want, nil
}

// replace moves the collected files to their places and removes the other files that
// were found. All of this is renaming. When it is cut off, the next install finds files
// that are right, files of another revision, and the rest in the part folder.
func (i *install) replace(root *os.Root, found listing, wanted []quilt.Entry) error {
	for _, f := range found.files {
		if _, ok := i.index(f.key); ok {
			continue // is renamed over
		}
		if err := root.Remove(f.key); err != nil {
			return err
		}
		removeEmpty(root, path.Dir(f.key))
		i.done.Removed++
	}
	for _, dir := range slices.Backward(found.dirs) {
		// An empty folder in the place of a file. One that is not empty fails below.
		if i.inPlaceOfFile(dir) {
			removeEmpty(root, dir)
		}
	}
	for _, e := range wanted {
		if err := root.MkdirAll(path.Dir(e.Key), 0o777); err != nil {
			return err
		}
		if err := root.Rename(path.Join(partName, "files", e.Key), e.Key); err != nil {
			return err
		}
	}
	return nil
}

// inPlaceOfFile reports whether dir, or a folder that it is in, is a file of the package.
func (i *install) inPlaceOfFile(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := i.index(dir); ok {
			return true
		}
	}
	return false
}

// removeEmpty removes a folder and those above it that hold nothing any more.
func removeEmpty(root *os.Root, dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		if root.Remove(dir) != nil {
			return
		}
	}
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

// partName is the folder that an install collects its files in: inside of the
// destination where that exists, which is surely on the same file system and writable,
// and else beside it with the destination's name in front. It is found again when the
// install was cut off.
const partName = ".sandwich-part"

// ErrBusy says that another install is at work in the same folder.
var ErrBusy = errors.New("another install is at work there")

// InstallOptions say how to install. The zero InstallOptions are fine.
type InstallOptions struct {
	Workers  int                     // files at once; 0 for the default
	Progress func(done, total int64) // bytes of the package that are there
}

// Installed says what an install did.
type Installed struct {
	Fetched int   // files that were read from the registry
	Bytes   int64 // of those files
	Kept    int   // files that were there already
	Removed int   // files of another revision that this one does not have
}

// Install makes dest a folder with exactly the files of p. Every key is checked before
// anything is written, and every file while it is read.
//
// A folder that does not exist yet appears complete or not at all. One that exists is
// updated when all files are at hand: those that are right stay untouched, those of
// another revision of the package in this registry are replaced or removed. Any other
// file in it is a *ForeignError, and a symbolic link as well; then nothing is changed.
// An install that was cut off is resumed by installing again.
func (r *Registry) Install(ctx context.Context, p *Package, dest string, opts InstallOptions) (Installed, error) {
	i := &install{
		registry: r,
		pkg:      p,
		workers:  r.atOnce(opts.Workers),
		count:    &progress{report: opts.Progress, total: p.Content.Size()},
		ranges:   semaphore.NewWeighted(int64(r.atOnce(opts.Workers))),
	}
	if err := i.run(ctx, dest); err != nil {
		return Installed{}, fmt.Errorf("install %s in %s: %w", p.Ref(), dest, err)
	}
	return i.done, nil
}

// install is one run of Install.
type install struct {
	registry *Registry
	pkg      *Package
	workers  int
	count    *progress
	ranges   *semaphore.Weighted // of large files that are read at once

	mu   sync.Mutex // guards done and, below the part folder, the names of files
	done Installed
}

func (i *install) run(ctx context.Context, dest string) error {
	if err := checkEntries(i.pkg.Content.Entries); err != nil {
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
func (i *install) create(ctx context.Context, dest string) (err error) {
	part := filepath.Join(filepath.Dir(dest), "."+filepath.Base(dest)+partName)
	if err := os.MkdirAll(filepath.Dir(dest), 0o777); err != nil {
		return err
	}
	unlock, err := lockPart(part)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := i.collect(ctx, part, i.pkg.Content.Entries); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(part, "files"), dest); err != nil {
		return err
	}
	return os.RemoveAll(part)
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
	name := filepath.Join(part, "lock")
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

// update installs in a folder that exists.
func (i *install) update(ctx context.Context, dest string) (err error) {
	root, err := os.OpenRoot(dest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	found, err := scan(ctx, root)
	if err != nil {
		return err
	}
	right, err := matching(ctx, i.pkg.Content.Entries, found.files, i.workers)
	if err != nil {
		return err
	}
	var wanted []quilt.Entry
	for _, e := range i.pkg.Content.Entries {
		if !right[e.Key] {
			wanted = append(wanted, e)
			continue
		}
		delete(found.files, e.Key)
		i.done.Kept++
		i.count.add(e.Size())
	}
	if err := i.checkForeign(ctx, dest, found); err != nil {
		return err
	}
	if len(wanted) > 0 {
		part := filepath.Join(dest, partName)
		unlock, lockErr := lockPart(part)
		if lockErr != nil {
			return lockErr
		}
		defer func() { err = errors.Join(err, unlock()) }()
		if err := i.collect(ctx, part, wanted); err != nil {
			return err
		}
	}
	if err := i.replace(root, found, wanted); err != nil {
		return err
	}
	return root.RemoveAll(partName)
}

// checkForeign returns a *ForeignError unless each of the files is of some revision of
// the package, so that it can be had again.
func (i *install) checkForeign(ctx context.Context, dest string, found listing) error {
	foreign := maps.Clone(found.files)
	if len(foreign) > 0 {
		if err := i.dropKnown(ctx, foreign); err != nil {
			return err
		}
	}
	names := slices.AppendSeq(found.irregular, maps.Keys(foreign))
	if len(names) == 0 {
		return nil
	}
	slices.SortFunc(names, quilt.CompareKeys)
	return &ForeignError{Dest: dest, Files: names}
}

// dropKnown removes from files those that are of some revision of the package.
func (i *install) dropKnown(ctx context.Context, files map[string]*localFile) error {
	pushes, err := i.registry.pushes(ctx, i.pkg.Name)
	var unknown *NotFoundError
	if errors.As(err, &unknown) || errors.Is(err, errors.ErrUnsupported) { // which a web server says
		return nil
	}
	if err != nil {
		return err
	}
	for _, push := range pushes {
		if len(files) == 0 {
			return nil
		}
		if push.Err != nil {
			continue
		}
		content, err := i.registry.load(ctx, push.TopHash)
		var damage *DamageError
		if errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) {
			continue // a revision that can not be had vouches for no file
		}
		if err != nil {
			return err
		}
		for key, file := range files {
			e, ok := content.Entry(i.pkg.prefix + key)
			if !ok {
				continue
			}
			same, err := file.is(ctx, e)
			var unsupported *quilt.UnsupportedHashError
			if err != nil && !errors.As(err, &unsupported) {
				return err
			}
			if same {
				delete(files, key)
			}
		}
	}
	return nil
}

// replace moves the collected files to their places and removes the other files that
// were found. All of this is renaming. When it is cut off, the next install finds files
// that are right, files of another revision, and the rest in the part folder.
func (i *install) replace(root *os.Root, found listing, wanted []quilt.Entry) error {
	for key := range found.files {
		if _, ok := i.pkg.Content.Entry(key); ok {
			continue // is renamed over
		}
		if err := root.Remove(key); err != nil {
			return err
		}
		removeEmpty(root, path.Dir(key))
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
		if _, ok := i.pkg.Content.Entry(dir); ok {
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

// collect fills the folder "files" of the part folder with exactly the entries. What an
// install that was cut off has left there is kept as far as it is right.
func (i *install) collect(ctx context.Context, part string, entries []quilt.Entry) (err error) {
	root, err := os.OpenRoot(part)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := errors.Join(root.MkdirAll("files", 0o777), root.MkdirAll("large", 0o777), root.RemoveAll("new"), root.Mkdir("new", 0o777)); err != nil {
		return err
	}
	files, err := root.OpenRoot("files")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	missing, err := i.keep(ctx, files, entries)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(i.workers)
	for n, e := range missing {
		group.Go(func() error { return i.fetch(ctx, root, "new/"+strconv.Itoa(n), e) })
	}
	return group.Wait()
}

// keep removes from a folder what is none of the entries, and returns the entries that
// it lacks.
func (i *install) keep(ctx context.Context, root *os.Root, entries []quilt.Entry) ([]quilt.Entry, error) {
	found, err := scan(ctx, root)
	if err != nil {
		return nil, err
	}
	right, err := matching(ctx, entries, found.files, i.workers)
	if err != nil {
		return nil, err
	}
	wrong := found.irregular
	for key := range found.files {
		if !right[key] {
			wrong = append(wrong, key)
		}
	}
	for _, key := range wrong {
		if err := root.Remove(key); err != nil {
			return nil, err
		}
	}
	for _, dir := range slices.Backward(found.dirs) {
		removeEmpty(root, dir)
	}
	var missing []quilt.Entry
	for _, e := range entries {
		if !right[e.Key] {
			missing = append(missing, e)
			continue
		}
		i.done.Kept++
		i.count.add(e.Size())
	}
	return missing, nil
}

// fetch reads the bytes of an entry to a temporary file and moves that, once it is
// verified, below "files".
func (i *install) fetch(ctx context.Context, root *os.Root, temp string, e quilt.Entry) error {
	read := i.fetchWhole
	if i.registry.home.bucket != "" && e.Size() >= largeFile && e.Hash().Type == quilt.SHA256Chunked {
		temp, read = largeName(e), i.fetchRanges
	}
	if err := read(ctx, root, temp, e); err != nil {
		return fmt.Errorf("fetch %s: %w", e.Key, err)
	}
	target := path.Join("files", e.Key)
	i.mu.Lock()
	defer i.mu.Unlock()
	// Where upper and lower case are one, two keys can be one file.
	if _, err := root.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(&quilt.KeyError{Key: e.Key, Reason: "is the same file as another key on this file system"}, err)
	}
	err := root.Rename(temp, target)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(root.MkdirAll(path.Dir(target), 0o777), root.Rename(temp, target))
	}
	if err != nil {
		return err
	}
	i.done.Fetched++
	i.done.Bytes += e.Size()
	return nil
}

// fetchWhole reads and verifies a file in one stream.
func (i *install) fetchWhole(ctx context.Context, root *os.Root, temp string, e quilt.Entry) error {
	body, err := i.registry.openEntry(ctx, e)
	if err != nil {
		return err
	}
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return errors.Join(err, body.Close())
	}
	_, err = io.Copy(f, i.count.reader(body))
	return errors.Join(err, f.Close(), body.Close())
}

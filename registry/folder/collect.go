package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/sandwich-build/sandwich/internal/clone"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// collect fills the folder "files" of the part folder with exactly the entries. What an
// install that was cut off has left there is kept as far as it is right, so a file is
// written in its place at once: half a file is found by its hash.
func (i *install) collect(ctx context.Context, part string, entries []quilt.Entry) (err error) {
	root, err := os.OpenRoot(part)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := errors.Join(root.MkdirAll("files", 0o777), root.MkdirAll("large", 0o777)); err != nil {
		return err
	}
	i.staging = filepath.Join(part, "files")
	files, err := root.OpenRoot("files")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	missing, err := i.keep(ctx, files, entries)
	if err != nil {
		return err
	}
	if err := makeDirs(files, missing); err != nil {
		return err
	}
	err = i.pace.Each(ctx, len(missing), func(ctx context.Context, n int) (int64, error) {
		e := missing[n]
		if err := i.fetch(ctx, root, files, e); err != nil {
			return 0, fmt.Errorf("fetch %s: %w", e.Key, err)
		}
		return e.Size(), nil
	})
	if err != nil {
		return err
	}
	return i.flush(ctx, files, entries)
}

// keep removes from a folder what is none of the entries, and returns the entries that
// it lacks.
func (i *install) keep(ctx context.Context, root *os.Root, entries []quilt.Entry) ([]quilt.Entry, error) {
	found, err := scan(ctx, root, quilt.Ignore{})
	if err != nil || len(found.files)+len(found.dirs)+len(found.irregular) == 0 {
		return entries, err
	}
	right, err := matching(ctx, root, entries, found.files, i.pace, i.opts.Checking)
	if err != nil {
		return nil, err
	}
	wrong := found.irregular
	kept := 0 // of the entries, those before it
	for _, f := range found.files {
		for kept < len(entries) && quilt.CompareKeys(entries[kept].Key, f.key) < 0 {
			kept++
		}
		if kept == len(entries) || entries[kept].Key != f.key || !right[kept] {
			wrong = append(wrong, f.key)
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
	return i.missing(entries, right), nil
}

// makeDirs makes the folders of the entries.
func makeDirs(root *os.Root, entries []quilt.Entry) error {
	made := map[string]bool{".": true}
	for _, e := range entries {
		dir := path.Dir(e.Key)
		if made[dir] {
			continue
		}
		made[dir] = true
		if err := root.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	return nil
}

// fetch makes the file of an entry, from bytes of this machine or of the source.
func (i *install) fetch(ctx context.Context, root, files *os.Root, e quilt.Entry) error {
	if copied, err := i.copyNearby(ctx, files, e); copied || err != nil {
		return err
	}
	var err error
	if e.Size() >= largeFile && e.Hash().Type == quilt.SHA256Chunked {
		err = i.fetchLarge(ctx, root, e)
	} else {
		err = i.fetchWhole(ctx, files, e)
	}
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.done.Fetched++
	i.done.Bytes += e.Size()
	return nil
}

// create creates the file of an entry. One that is there is a *TwinsError: of names that only
// this file system takes for one.
func create(files *os.Root, e quilt.Entry) (*os.File, error) {
	f, err := files.OpenFile(e.Key, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, &TwinsError{Key: e.Key}
	}
	return f, err
}

// fetchWhole reads and verifies a file in one stream.
func (i *install) fetchWhole(ctx context.Context, files *os.Root, e quilt.Entry) error {
	body, err := i.source.Open(ctx, e)
	if err != nil {
		return err
	}
	f, err := create(files, e)
	if err != nil {
		return errors.Join(err, body.Close())
	}
	count := i.meter.File(e.Size())
	_, err = copyBytes(ctx, f, count.Reader(body))
	if err = errors.Join(err, f.Close(), body.Close()); err == nil {
		count.Done()
	}
	return err
}

// copyNearby makes the file of an entry of bytes that this machine has, and reports
// whether it could. Bytes that turn out to be wrong, or can not be read, are no error: the
// source has them.
func (i *install) copyNearby(ctx context.Context, files *os.Root, e quilt.Entry) (bool, error) {
	if i.opts.Nearby == nil {
		return false, nil
	}
	body, err := i.opts.Nearby(ctx, e)
	if err != nil {
		return false, nil
	}
	hasher, err := quilt.NewHasher(e.Hash().Type, e.Size())
	if err != nil {
		return false, errors.Join(err, body.Close())
	}
	f, err := i.cloneOrCopy(ctx, files, e, body, hasher)
	if f == nil {
		return false, errors.Join(err, body.Close())
	}
	if err = errors.Join(err, f.Close(), body.Close()); err != nil || hasher.Hash() != e.Hash() {
		return false, errors.Join(context.Cause(ctx), files.Remove(e.Key))
	}
	i.meter.Have(e.Size())
	i.mu.Lock()
	defer i.mu.Unlock()
	i.done.Copied++
	return true, nil
}

// cloneOrCopy makes the file of an entry of the bytes of body and writes them to sum as
// well. Where the file system can let two files share their bytes until one of them is
// changed, they do. The file is nil where it could not be made.
func (i *install) cloneOrCopy(ctx context.Context, files *os.Root, e quilt.Entry, body io.Reader, sum io.Writer) (*os.File, error) {
	if from, ok := body.(*os.File); ok {
		if f, err := clone.File(from, filepath.Join(i.staging, filepath.FromSlash(e.Key))); err == nil {
			_, err = copyBytes(ctx, sum, f)
			return f, err
		}
	}
	f, err := create(files, e)
	if err != nil {
		return nil, err
	}
	_, err = copyBytes(ctx, io.MultiWriter(f, sum), body)
	return f, err
}

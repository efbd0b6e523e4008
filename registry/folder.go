package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// localFile is a regular file of a folder. Its hashes are computed when asked for, and
// kept.
type localFile struct {
	root *os.Root
	key  string // slash-separated, relative to the root
	size int64

	mu     sync.Mutex            // guards hashes, and lets one goroutine compute them
	hashes map[string]quilt.Hash // by hash type
}

// listing is what a folder holds.
type listing struct {
	files     map[string]*localFile // regular files by key
	dirs      []string              // folders, each behind the one that it is in
	irregular []string              // anything else, such as symbolic links, which are not followed
}

// scan lists a folder, but for the part folder of an unfinished install.
func scan(ctx context.Context, root *os.Root) (listing, error) {
	l := listing{files: map[string]*localFile{}}
	err := fs.WalkDir(root.FS(), ".", func(key string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
		switch {
		case d.IsDir() && key == partName:
			return fs.SkipDir
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
		l.files[key] = &localFile{root: root, key: key, size: info.Size()}
		return nil
	})
	return l, err
}

// is reports whether the file has the size and the hash of an entry.
func (f *localFile) is(ctx context.Context, e quilt.Entry) (bool, error) {
	if f.size != e.Size() {
		return false, nil
	}
	want := e.Hash()
	f.mu.Lock()
	defer f.mu.Unlock()
	got, ok := f.hashes[want.Type]
	if !ok {
		var err error
		if got, err = f.hash(ctx, want.Type); err != nil {
			return false, fmt.Errorf("hash %s: %w", f.key, err)
		}
		if f.hashes == nil {
			f.hashes = map[string]quilt.Hash{}
		}
		f.hashes[want.Type] = got
	}
	return got == want, nil
}

func (f *localFile) hash(ctx context.Context, kind string) (quilt.Hash, error) {
	hasher, err := quilt.NewHasher(kind, f.size)
	if err != nil {
		return quilt.Hash{}, err
	}
	open := func(context.Context) (io.ReadCloser, error) { return f.root.Open(f.key) }
	if err := blob.Copy(ctx, hasher, blob.Body{Size: f.size, Open: open}); err != nil {
		return quilt.Hash{}, err
	}
	return hasher.Hash(), nil
}

// matching returns the keys of those entries that files holds as they should be.
func matching(ctx context.Context, entries []quilt.Entry, files map[string]*localFile, workers int) (map[string]bool, error) {
	var mu sync.Mutex // guards match
	match := make(map[string]bool, len(entries))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, e := range entries {
		file, ok := files[e.Key]
		if !ok {
			continue
		}
		group.Go(func() error {
			same, err := file.is(ctx, e)
			if same {
				mu.Lock()
				defer mu.Unlock()
				match[e.Key] = true
			}
			return err
		})
	}
	return match, group.Wait()
}

// Folder is a folder whose files can be pushed or compared with a package. Symbolic links
// in it are not followed.
type Folder struct {
	root  *os.Root
	files []*localFile // by key
}

// OpenFolder lists a folder, whose caller closes it. A symbolic link, or another thing
// that is no file, is an error: leaving it out in silence would lose it.
func OpenFolder(ctx context.Context, path string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	found, err := scan(ctx, root)
	if err == nil && len(found.irregular) > 0 {
		err = fmt.Errorf("%s in %s is neither a file nor a folder", found.irregular[0], path)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	f := &Folder{root: root}
	for _, key := range slices.SortedFunc(maps.Keys(found.files), quilt.CompareKeys) {
		f.files = append(f.files, found.files[key])
	}
	return f, nil
}

// Close closes the folder, and with it what Files returned.
func (f *Folder) Close() error { return f.root.Close() }

// Files returns the files, for a Revision.
func (f *Folder) Files() []File {
	files := make([]File, len(f.files))
	for i, file := range f.files {
		files[i] = File{Key: file.key, Size: file.size, Open: func(context.Context) (io.ReadCloser, error) { return f.root.Open(file.key) }}
	}
	return files
}

// Open opens a file.
func (f *Folder) Open(key string) (io.ReadCloser, error) { return f.root.Open(key) }

// Content reads all files and returns the package that they would be, without physical
// keys and with an empty header.
func (f *Folder) Content(ctx context.Context) (*quilt.Package, error) {
	p := &pushing{rev: Revision{Files: f.Files()}, workers: folderWorkers}
	err := p.compose(ctx)
	return p.content, err
}

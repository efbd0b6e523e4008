package worktree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// cloner is the ability of a store to give a blob without copying its bytes. ok is false
// when it cannot.
type cloner interface {
	CloneTo(ctx context.Context, d cas.Digest, name string) (ok bool, err error)
}

// Written says what Write has done.
type Written struct {
	Files  int
	Bytes  int64
	Cloned int // of the files, those that share their bytes with the store
}

// batch is how many bytes of one directory a goroutine writes at a time. Small files are
// so many that a directory has one goroutine: two that create names in one directory wait
// for each other, which took twice the time of the system on ext4.
const batch = 32 << 20

// Write makes the folder dest, which must not exist or be empty, with the files of a tree.
// Every byte is verified. The folder appears whole or not at all.
func Write(ctx context.Context, s cas.Store, id cas.TreeID, dest string) (_ Written, err error) {
	if err := os.MkdirAll(filepath.Dir(dest), 0o777); err != nil {
		return Written{}, err
	}
	if err := os.Remove(dest); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Written{}, err // a folder that is not empty, or a file that is in use
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dest), "."+filepath.Base(dest)+".*")
	if err != nil {
		return Written{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", dest, err), os.RemoveAll(tmp))
		}
	}()
	w := writing{store: s, root: tmp}
	w.cloner, w.clones = s.(cloner)
	if err := w.tree(ctx, cas.NewTree(s, id)); err != nil {
		return Written{}, err
	}
	if err := errors.Join(os.Chmod(tmp, 0o755), os.Rename(tmp, dest)); err != nil {
		return Written{}, err
	}
	return Written{Files: w.files, Bytes: w.bytes, Cloned: int(w.cloned.Load())}, nil
}

// writing is one run of Write.
type writing struct {
	store  cas.Store
	root   string
	cloner cloner
	clones bool // whether the store can clone
	cloned atomic.Int64
	files  int
	bytes  int64
}

// tree makes the directories in one goroutine, since creating names in one directory
// takes its lock, and writes their files in others.
func (w *writing) tree(ctx context.Context, t cas.Tree) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	var files []cas.File // of the directory made, not written yet
	made, size := ".", int64(0)
	flush := func() {
		full := files
		group.Go(func() error { return w.write(groupCtx, full) })
		files, size = nil, 0
	}
	for f, err := range t.Files(groupCtx) {
		if err != nil {
			return errors.Join(group.Wait(), err)
		}
		dir := path.Dir(f.Path)
		if size >= batch || dir != made {
			flush()
		}
		if dir != made {
			if err := os.MkdirAll(filepath.Join(w.root, filepath.FromSlash(dir)), 0o777); err != nil {
				return errors.Join(group.Wait(), err)
			}
			made = dir
		}
		files = append(files, f)
		size += f.Digest.Size()
		w.files++
		w.bytes += f.Digest.Size()
	}
	flush()
	return group.Wait()
}

// write writes files of one directory.
func (w *writing) write(ctx context.Context, files []cas.File) error {
	if len(files) == 0 {
		return nil
	}
	dir, err := openDir(filepath.Join(w.root, filepath.FromSlash(path.Dir(files[0].Path))))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err = context.Cause(ctx); err != nil {
			break
		}
		if err = w.file(ctx, dir, f); err != nil {
			err = fmt.Errorf("%s: %w", f.Path, err)
			break
		}
	}
	return errors.Join(err, dir.close())
}

func (w *writing) file(ctx context.Context, dir directory, f cas.File) (err error) {
	if w.clones {
		ok, err := w.cloner.CloneTo(ctx, f.Digest, filepath.Join(w.root, filepath.FromSlash(f.Path)))
		if err != nil {
			return err
		}
		if ok {
			w.cloned.Add(1)
			return nil
		}
	}
	r, err := w.store.Open(ctx, f.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return &cas.BlobError{Digest: f.Digest, Err: cas.ErrLost}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	out, err := dir.create(path.Base(f.Path))
	if err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{r}, *buf)
	return errors.Join(err, out.Close())
}

// buffers are shared: see package disk.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// Package dir is a blob store in a folder: the key of a blob is its path.
//
// Every write goes to a temporary file first and is renamed, so that readers and
// writers in other processes, also on other machines that share the folder, never see
// a part of a blob. A conditional write holds a lock of the operating system, which
// ends with the process that holds it.
//
// A write survives the death of its process. A conditional write survives a power cut too,
// and whatever the Store has put before it; so a pointer that is written last never leads to
// a blob that was lost. Of what is put without one, a power cut can damage what is newest.
package dir

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/sandwich-build/sandwich/internal/flush"
	"github.com/sandwich-build/sandwich/registry/blob"
)

const (
	// scratch is the folder of temporary files and of the lock. It lies inside of the
	// store's folder, since a rename works within one file system only, and is no part
	// of the keys.
	scratch = ".sandwich/tmp"
	// lockPoll is how often a taken lock is tried again. It is held for two small file
	// operations.
	lockPoll = 2 * time.Millisecond
	// abandoned is the age from which a temporary file belongs to no living writer: each
	// write moves the time of its file forward.
	abandoned = 24 * time.Hour
)

// Store is a store in a folder. It implements blob.Conditional.
type Store struct {
	root  string
	sweep sync.Once   // removes what killed writers left, before the first write
	loose atomic.Bool // something was put that may not be on the disk
}

var _ blob.Conditional = (*Store)(nil)

// New returns the store in the folder root. The folder comes into being with the first
// blob.
func New(root string) *Store { return &Store{root: root} }

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	info, err := stat(path)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat blob: %w", err)
	}
	return blob.Info{Key: key, Size: info.Size()}, nil
}

// stat describes a regular file. Another one is no blob; opening it could block.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	return info, plain(err)
}

// plain makes an absent blob of a path that leads through another blob.
func plain(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && isNotDir(pathErr.Err) {
		return &fs.PathError{Op: pathErr.Op, Path: pathErr.Path, Err: fs.ErrNotExist}
	}
	return err
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return nil, err
	}
	if _, err := stat(path); err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("open blob: %w", err), f.Close())
	}
	var r io.Reader = f
	if length >= 0 {
		r = io.LimitReader(f, length)
	}
	return struct {
		io.Reader
		io.Closer
	}{blob.NewReader(ctx, r), f}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, body blob.Body) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	if err := s.put(ctx, path, body, false); err != nil {
		return fmt.Errorf("put blob %s: %w", key, err)
	}
	return nil
}

// put writes a temporary file and renames it to path. What is durable is on the disk then.
func (s *Store) put(ctx context.Context, path string, body blob.Body, durable bool) (err error) {
	s.sweep.Do(s.removeAbandoned)
	f, err := s.createTemp()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreAbsent(os.Remove(f.Name())))
		}
	}()
	err = blob.Copy(ctx, f, body)
	if err == nil && (durable || !flush.Whole) {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := rename(f.Name(), path); err != nil {
		return err
	}
	if !durable {
		s.loose.Store(true)
		return nil
	}
	return inFolder(filepath.Dir(path), flush.Folder)
}

// settle puts on the disk what was put before. One call for all of it takes a hundredth of
// the time of one for each blob.
func (s *Store) settle() error {
	if !flush.Whole || !s.loose.Swap(false) {
		return nil
	}
	if err := inFolder(s.root, flush.FileSystem); err != nil {
		s.loose.Store(true)
		return err
	}
	return nil
}

// inFolder calls do with an open folder.
func inFolder(path string, do func(*os.File) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// createTemp creates a file that only this writer has. Its name is random because the
// folder may be shared between machines; it does not outlive the write.
func (s *Store) createTemp() (*os.File, error) {
	path := filepath.Join(s.root, filepath.FromSlash(scratch), rand.Text())
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	// Not os.CreateTemp: its files can be read by their owner only.
	f, err := os.OpenFile(path, flags, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return nil, err
		}
		return os.OpenFile(path, flags, 0o666)
	}
	return f, err
}

func rename(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		return os.Rename(from, to)
	}
	return err
}

// removeAbandoned removes temporary files of writers that were killed. It is a courtesy:
// what it can not remove stays.
func (s *Store) removeAbandoned() {
	dir := filepath.Join(s.root, filepath.FromSlash(scratch))
	files, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, file := range files {
		info, err := file.Info()
		if err == nil && file.Name() != lockName && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(filepath.Join(dir, file.Name()))
		}
	}
}

// List implements blob.Store. It does not follow symbolic links.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		s.list(ctx, prefix[:strings.LastIndex(prefix, "/")+1], prefix, yield)
	}
}

// list yields the blobs below dir, which is empty or ends with a slash, and reports
// whether more are wanted.
func (s *Store) list(ctx context.Context, dir, prefix string, yield func(blob.Info, error) bool) bool {
	fail := func(err error) bool {
		yield(blob.Info{}, fmt.Errorf("list blobs %s: %w", prefix, err))
		return false
	}
	if err := context.Cause(ctx); err != nil {
		return fail(err)
	}
	if dir == scratch+"/" || dir != "" && blob.CheckKey(strings.TrimSuffix(dir, "/")) != nil {
		return true // no key starts so
	}
	entries, err := os.ReadDir(filepath.Join(s.root, filepath.FromSlash(dir)))
	if err = plain(err); errors.Is(err, fs.ErrNotExist) {
		return true
	} else if err != nil {
		return fail(err)
	}
	// As it stands in a key, a folder's name is followed by a slash.
	name := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(name(a), name(b)) })
	for _, e := range entries {
		key := dir + name(e)
		switch {
		case e.IsDir():
			related := strings.HasPrefix(key, prefix) || strings.HasPrefix(prefix, key)
			if related && !s.list(ctx, key, prefix, yield) {
				return false
			}
		case e.Type().IsRegular() && strings.HasPrefix(key, prefix):
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since
			} else if err != nil {
				return fail(err)
			}
			if !yield(blob.Info{Key: key, Size: info.Size()}, nil) {
				return false
			}
		}
	}
	return true
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	if _, err := stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := ignoreAbsent(os.Remove(path)); err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

// ReadTagged implements blob.Conditional.
func (s *Store) ReadTagged(ctx context.Context, key string) ([]byte, blob.Tag, error) {
	data, err := blob.ReadAll(ctx, s, key, blob.MaxTagged)
	if err != nil {
		return nil, "", err
	}
	return data, tagOf(data), nil
}

// PutIf implements blob.Conditional.
func (s *Store) PutIf(ctx context.Context, key string, data []byte, tag blob.Tag) (err error) {
	path, err := s.path(ctx, key)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("put blob %s: lock: %w", key, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	_, now, err := s.ReadTagged(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if now != tag {
		return fmt.Errorf("put blob %s: %w", key, blob.ErrChanged)
	}
	if err = s.settle(); err == nil {
		err = s.put(ctx, path, blob.Bytes(data), true)
	}
	if err != nil {
		return fmt.Errorf("put blob %s: %w", key, err)
	}
	return nil
}

const lockName = "lock"

// lock takes the lock of all conditional writes of the store.
func (s *Store) lock(ctx context.Context) (func() error, error) {
	dir := filepath.Join(s.root, filepath.FromSlash(scratch))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o666))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock.Close, nil
}

// path returns the file of a key.
func (s *Store) path(ctx context.Context, key string) (string, error) {
	if err := context.Cause(ctx); err != nil {
		return "", fmt.Errorf("blob %s: %w", key, err)
	}
	if err := blob.CheckKey(key); err != nil {
		return "", err
	}
	if key == scratch || strings.HasPrefix(key, scratch+"/") {
		return "", fmt.Errorf("blob key %q: reserved for temporary files", key)
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func tagOf(data []byte) blob.Tag {
	return blob.Tag(fmt.Sprintf("%x", sha256.Sum256(data)))
}

// Package disk is the store on a disk: blobs, the results of actions, and the history of
// builds, in a folder that several processes may use at the same time. README.md in the
// folder above has its layout, and what is promised after a crash.
package disk

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/clone"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// Store is a store and a cache in a folder:
//
//	packs/000001.pack   many small blobs; .index finds them, .lock is held by who appends
//	blobs/ab/cdef…      large blobs, read-only, named by their SHA-256
//	results/ab/cdef…    what the action of that digest produced
//	latest/ab/cdef…     the last action noted under the name of that digest
//	locks/ab/cdef…      held by the process that is running the action
//	damaged/…           blobs that did not match their name, kept for a look
//	tmp/…               writes under way
//	folders/ab/cdef…    what a folder of the user's held when it was last read
//	roots/ab/cdef…      locks and installed packages that need something here
//	removals            another random text whenever blobs are removed
//	in-use.lock         shared by all who have the store open; alone for gc
//
// Several processes may use one folder at the same time.
type Store struct {
	root  string
	packs packs
	use   *useLock
	gone  removals

	mu       sync.Mutex // guards unsynced
	unsynced []string   // files of large blobs that the next Record makes durable
}

const (
	packsDir   = "packs"
	blobsDir   = "blobs"
	resultsDir = "results"
	latestDir  = "latest"
	locksDir   = "locks"
	damagedDir = "damaged"
	tmpDir     = "tmp"
	foldersDir = "folders"
)

// copyBuffers are shared by all writes: page faults on fresh memory cost more than the
// copy itself on virtual machines. They have room for the record of a small blob and
// the byte more that tells a blob is not small.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, pack.HeaderSize+pack.MaxBlob+1); return &b }}

// Open opens the store in dir and makes it where there is none. A store that may
// only be read can be opened too; storing in it fails. While another process cleans the
// store up Open waits for it, and gives up with a *BusyError.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	for _, sub := range []string{packsDir, blobsDir, resultsDir, latestDir, locksDir, damagedDir, tmpDir} {
		if err := os.MkdirAll(filepath.Join(abs, sub), 0o777); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	use, err := openUseLock(filepath.Join(abs, useLockFile))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	gone := removals{filepath.Join(abs, removalsFile)}
	s := &Store{root: abs, packs: packs{dir: filepath.Join(abs, packsDir), limit: packLimit, gone: gone}, use: use, gone: gone}
	if err := s.packs.refresh(); err != nil {
		return nil, fmt.Errorf("open store: %w", errors.Join(err, use.release()))
	}
	return s, nil
}

// Close makes durable what was stored, and lets go of the store's files and locks. A
// process that ends need not call it: the operating system frees the locks.
func (s *Store) Close() error {
	if err := errors.Join(s.packs.close(), s.use.release()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Root returns the absolute path of the folder.
func (s *Store) Root() string { return s.root }

// FolderFile returns the file in which the store at root remembers a folder of the user's
// (see package dirindex). It need not exist.
func FolderFile(root, dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	sum := cas.Sum([]byte(dir)).Hex()
	return filepath.Join(root, foldersDir, sum[:2], sum[2:])
}

func (s *Store) path(kind string, d cas.Digest) string {
	sum := d.Hex()
	return filepath.Join(s.root, kind, sum[:2], sum[2:])
}

// Open implements Store. A blob that is found damaged is set aside, so that the next
// look is a miss. A packed one is checked before Open returns.
func (s *Store) Open(_ context.Context, d cas.Digest) (io.ReadCloser, error) {
	at, ok, err := s.packs.find(d, true)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	if ok {
		data, whole, err := at.read()
		if err != nil {
			return nil, fmt.Errorf("open blob: %w", err)
		}
		if !whole {
			s.takeOut(at, data)
			return nil, &cas.BlobError{Digest: d, Err: cas.ErrDamaged}
		}
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	f, err := os.Open(s.path(blobsDir, d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &cas.BlobError{Digest: d, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return cas.Verify(f, d, func() { s.setAside(d) }), nil
}

// setAside moves a damaged file out of the way. An error changes nothing for the
// reader, who is told about the damage itself.
func (s *Store) setAside(d cas.Digest) {
	_ = s.gone.note(func() error {
		err := os.Rename(s.path(blobsDir, d), filepath.Join(s.root, damagedDir, d.Hex()))
		if err != nil {
			err = os.Remove(s.path(blobsDir, d))
		}
		return err
	})
}

// takeOut does for a packed blob what setAside does for a file.
func (s *Store) takeOut(at found, data []byte) {
	_ = s.gone.note(func() error { return at.pack.TakeOut(at.place) })
	_ = os.WriteFile(filepath.Join(s.root, damagedDir, at.place.Digest.Hex()), data, 0o444)
}

// Missing implements Store. A blob of another size than its digest says counts as
// missing, as does one behind the end of a pack that was cut; its bytes are checked when
// they are read.
func (s *Store) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	unpacked, err := s.packs.lacking(ctx, ds)
	if err != nil {
		return nil, fmt.Errorf("look for blob: %w", err)
	}
	var missing []cas.Digest
	for _, d := range unpacked {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		info, err := os.Stat(s.path(blobsDir, d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look for blob: %w", err)
		}
		if err != nil || info.Size() != d.Size() {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// Put implements Store. A blob of up to pack.MaxBlob bytes goes into a pack, a larger one
// becomes a file. When r is a file and the file system can, the two share their bytes until
// its owner edits it; otherwise they are copied. They are never linked: the blob would
// change with the file.
func (s *Store) Put(ctx context.Context, r io.Reader) (cas.Digest, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	in := contextReader{ctx, r}
	n, err := fill((*buf)[pack.HeaderSize:], in)
	if err != nil {
		return cas.Digest{}, fmt.Errorf("store blob: %w", err)
	}
	if n > pack.MaxBlob {
		d, ok, err := s.putClone(ctx, r, int64(n), *buf)
		if !ok && err == nil {
			d, err = s.putFile(in, *buf)
		}
		if err != nil {
			return cas.Digest{}, fmt.Errorf("store blob: %w", err)
		}
		return d, nil
	}
	record := (*buf)[:pack.HeaderSize+n]
	d := cas.Sum(record[pack.HeaderSize:])
	if err := s.packs.put(d, record); err != nil {
		return cas.Digest{}, fmt.Errorf("store blob: %w", err)
	}
	return d, nil
}

// fill reads from r until b is full or r ends. Unlike io.ReadFull it tells an end from
// an io.ErrUnexpectedEOF of r, which is how a download that broke off ends.
func fill(b []byte, r io.Reader) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	if err == io.EOF { // an error that wraps io.EOF is not the end of a reader
		err = nil
	}
	return n, err
}

// putFile stores a large blob: the bytes in buf behind pack.HeaderSize, and those that r
// still has. It uses buf.
func (s *Store) putFile(r io.Reader, buf []byte) (_ cas.Digest, err error) {
	tmp, err := os.CreateTemp(filepath.Join(s.root, tmpDir), "put-*")
	if err != nil {
		return cas.Digest{}, err
	}
	defer discard(tmp, &err)
	h := sha256.New()
	out := io.MultiWriter(tmp, h)
	first, err := out.Write(buf[pack.HeaderSize:])
	if err != nil {
		return cas.Digest{}, err
	}
	n, err := io.CopyBuffer(out, r, buf)
	if err != nil {
		return cas.Digest{}, err
	}
	d := cas.DigestOf([sha256.Size]byte(h.Sum(nil)), int64(first)+n)
	return d, s.keep(tmp, d)
}

// discard closes and removes a temporary file after an error.
func discard(tmp *os.File, err *error) {
	if *err != nil {
		_ = tmp.Close() // closed already on most paths; the first error is the one to tell
		_ = os.Remove(tmp.Name())
	}
}

// keep makes tmp the file of the large blob d.
func (s *Store) keep(tmp *os.File, d cas.Digest) error {
	name := s.path(blobsDir, d)
	if err := s.publish(tmp, name); err != nil {
		return err
	}
	s.mu.Lock()
	s.unsynced = append(s.unsynced, name)
	s.mu.Unlock()
	return nil
}

// putClone stores the file r, of which n bytes were read, as a large blob that shares its
// bytes. ok is false when that cannot be. The blob's digest is that of the clone, which
// does not change while it is read, as the file may. It uses buf.
func (s *Store) putClone(ctx context.Context, r io.Reader, n int64, buf []byte) (d cas.Digest, ok bool, err error) {
	src, isFile := r.(*os.File)
	if !isFile {
		return cas.Digest{}, false, nil
	}
	if at, err := src.Seek(0, io.SeekCurrent); err != nil || at != n {
		return cas.Digest{}, false, nil // a pipe, or not read from its beginning
	}
	name := filepath.Join(s.root, tmpDir, "clone-"+rand.Text())
	tmp, err := clone.File(src, name)
	if err != nil {
		return cas.Digest{}, false, nil
	}
	defer discard(tmp, &err)
	h := sha256.New()
	size, err := io.CopyBuffer(h, contextReader{ctx, tmp}, buf)
	if err != nil {
		return cas.Digest{}, false, err
	}
	d = cas.DigestOf([sha256.Size]byte(h.Sum(nil)), size)
	return d, true, s.keep(tmp, d)
}

// CloneTo makes the file name, which must not exist, with the bytes of a blob that is a
// file of its own, so that the two share them until one is written. ok is false when that
// cannot be, and the bytes have to be copied. They are verified as by Open.
func (s *Store) CloneTo(ctx context.Context, d cas.Digest, name string) (ok bool, err error) {
	if d.Size() <= pack.MaxBlob {
		return false, nil
	}
	f, err := os.Open(s.path(blobsDir, d))
	if err != nil {
		return false, nil // whoever opens it is told why
	}
	src := cas.Verify(f, d, func() { s.setAside(d) })
	defer func() { err = errors.Join(err, src.Close()) }()
	made, err := clone.File(f, name)
	if err != nil {
		return false, nil
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{contextReader{ctx, src}}, *buf)
	if err = errors.Join(err, made.Close()); err != nil {
		return false, errors.Join(err, os.Remove(name))
	}
	return true, nil
}

// publish closes tmp and gives it its name. A file that is there already is replaced:
// it has the same bytes, or it is damaged.
func (s *Store) publish(tmp *os.File, name string) error {
	if err := tmp.Chmod(0o444); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	err := os.Rename(tmp.Name(), name)
	if errors.Is(err, fs.ErrNotExist) { // the first blob of its prefix
		if err = os.MkdirAll(filepath.Dir(name), 0o777); err == nil {
			err = os.Rename(tmp.Name(), name)
		}
	}
	return err
}

// syncParallel is how many files are made durable at once: file systems with a journal
// commit what is waiting together.
const syncParallel = 8

// sync makes every blob durable that this process has stored.
func (s *Store) sync() error {
	s.mu.Lock()
	names := s.unsynced
	s.unsynced = nil
	s.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(syncParallel)
	for _, name := range names {
		group.Go(func() error { return syncFile(name) })
	}
	err := errors.Join(group.Wait(), s.packs.sync())
	if err != nil {
		s.mu.Lock()
		s.unsynced = append(s.unsynced, names...)
		s.mu.Unlock()
	}
	return err
}

// syncFile makes a file durable. One that is gone was found damaged and set aside.
func syncFile(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

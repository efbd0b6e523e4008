package cas

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Disk is a store and a cache in a folder:
//
//	blobs/ab/cdef…      the bytes, read-only, named by their SHA-256
//	results/ab/cdef…    what the action of that digest produced
//	latest/ab/cdef…     the last action noted under the name of that digest
//	locks/ab/cdef…      held by the process that is running the action
//	damaged/…           blobs that did not match their name, kept for a look
//	tmp/…               writes under way
//
// Several processes may use one folder at the same time.
type Disk struct {
	root string
}

const (
	blobsDir   = "blobs"
	resultsDir = "results"
	latestDir  = "latest"
	locksDir   = "locks"
	damagedDir = "damaged"
	tmpDir     = "tmp"
)

// copyBuffers are shared by all writes: page faults on fresh memory cost more than the
// copy itself on virtual machines.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// OpenDisk opens the store in dir and makes it where there is none.
func OpenDisk(dir string) (*Disk, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	for _, sub := range []string{blobsDir, resultsDir, latestDir, locksDir, damagedDir, tmpDir} {
		if err := os.MkdirAll(filepath.Join(abs, sub), 0o777); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	return &Disk{root: abs}, nil
}

// Root returns the absolute path of the folder.
func (s *Disk) Root() string { return s.root }

func (s *Disk) path(kind string, d Digest) string {
	sum := d.Hex()
	return filepath.Join(s.root, kind, sum[:2], sum[2:])
}

// Open implements Store. A blob found damaged while it is read is set aside, so that
// the next look is a miss.
func (s *Disk) Open(_ context.Context, d Digest) (io.ReadCloser, error) {
	f, err := os.Open(s.path(blobsDir, d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notExist(d)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return newVerifier(f, d, func(error) { s.setAside(d) }), nil
}

// setAside moves a damaged blob out of the way. An error changes nothing for the
// reader, who is told about the damage itself.
func (s *Disk) setAside(d Digest) {
	if err := os.Rename(s.path(blobsDir, d), filepath.Join(s.root, damagedDir, d.Hex())); err != nil {
		_ = os.Remove(s.path(blobsDir, d))
	}
}

// Missing implements Store. A blob of another size than its digest says counts as
// missing; its bytes are checked when they are read.
func (s *Disk) Missing(ctx context.Context, ds []Digest) ([]Digest, error) {
	var missing []Digest
	for _, d := range ds {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		info, err := os.Stat(s.path(blobsDir, d))
		switch {
		case errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() != d.size):
			missing = append(missing, d)
		case err != nil:
			return nil, fmt.Errorf("stat blob: %w", err)
		}
	}
	return missing, nil
}

// Put implements Store.
func (s *Disk) Put(ctx context.Context, r io.Reader) (_ Digest, err error) {
	tmp, err := os.CreateTemp(filepath.Join(s.root, tmpDir), "put-*")
	if err != nil {
		return Digest{}, fmt.Errorf("store blob: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // closed already on most paths; the first error is the one to tell
			_ = os.Remove(tmp.Name())
		}
	}()
	h := sha256.New()
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(io.MultiWriter(tmp, h), contextReader{ctx, r}, *buf)
	if err != nil {
		return Digest{}, fmt.Errorf("store blob: %w", err)
	}
	d := Digest{sum: [sha256.Size]byte(h.Sum(nil)), size: n}
	if err := s.publish(tmp, s.path(blobsDir, d)); err != nil {
		return Digest{}, fmt.Errorf("store blob: %w", err)
	}
	return d, nil
}

// publish closes tmp and gives it its name. A file that is there already is replaced:
// it has the same bytes, or it is damaged.
func (s *Disk) publish(tmp *os.File, name string) error {
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

// Result returns what an action produced, or fs.ErrNotExist. An entry that is damaged
// does not exist.
func (s *Disk) Result(_ context.Context, action Digest) (Result, error) {
	data, err := os.ReadFile(s.path(resultsDir, action))
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, notExist(action)
	}
	if err != nil {
		return Result{}, fmt.Errorf("read result: %w", err)
	}
	sum, body, _ := strings.Cut(string(data), "\n")
	if want := sha256.Sum256([]byte(body)); sum != hex.EncodeToString(want[:]) {
		return Result{}, notExist(action)
	}
	var r Result
	if err := r.UnmarshalBinary([]byte(body)); err != nil {
		return Result{}, notExist(action)
	}
	return r, nil
}

// Record remembers what an action produced. The tree's blobs must be in the store.
func (s *Disk) Record(_ context.Context, action Digest, r Result) error {
	body, err := r.MarshalBinary()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	entry := append(fmt.Appendf(nil, "%x\n", sum), body...)
	// A result promises that its blobs exist, so it must not reach the disk as an empty
	// name; blobs are checked when they are read and need no such care.
	if err := s.write(s.path(resultsDir, action), entry, true); err != nil {
		return fmt.Errorf("record result: %w", err)
	}
	return nil
}

// write makes data the content of the file name, whole or not at all.
func (s *Disk) write(name string, data []byte, sync bool) (err error) {
	tmp, err := os.CreateTemp(filepath.Join(s.root, tmpDir), "entry-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // closed already on most paths; the first error is the one to tell
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if sync {
		if err := tmp.Sync(); err != nil {
			return err
		}
	}
	return s.publish(tmp, name)
}

// Forget removes the result of an action, so that it runs again.
func (s *Disk) Forget(_ context.Context, action Digest) error {
	err := os.Remove(s.path(resultsDir, action))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget result: %w", err)
	}
	return nil
}

// Latest returns the action that was last noted under name, or fs.ErrNotExist.
func (s *Disk) Latest(_ context.Context, name string) (Digest, error) {
	data, err := os.ReadFile(s.path(latestDir, Sum([]byte(name))))
	if err != nil {
		return Digest{}, fmt.Errorf("latest action: %w", err)
	}
	var sum string
	var size int64
	if _, err := fmt.Sscanf(string(data), "%s %d\n", &sum, &size); err != nil {
		return Digest{}, fmt.Errorf("latest action: %w", fs.ErrNotExist)
	}
	return NewDigest(sum, size)
}

// Note makes action the latest of name.
func (s *Disk) Note(_ context.Context, name string, action Digest) error {
	entry := fmt.Appendf(nil, "%s %d\n", action.Hex(), action.Size())
	if err := s.write(s.path(latestDir, Sum([]byte(name))), entry, false); err != nil {
		return fmt.Errorf("note action: %w", err)
	}
	return nil
}

// lockPoll is how often a waiting process looks whether the lock is free. The lock is
// held for as long as a stage runs, so a quarter of a second is not felt.
const lockPoll = 250 * time.Millisecond

// Lock makes this process the only one to run an action until the returned function is
// called. It calls waiting once when another process holds the lock. The operating
// system frees the lock of a process that dies.
func (s *Disk) Lock(ctx context.Context, action Digest, waiting func()) (unlock func(), err error) {
	name := s.path(locksDir, action)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return nil, fmt.Errorf("lock action: %w", err)
	}
	lock := flock.New(name)
	ok, err := lock.TryLock()
	if err == nil && !ok {
		waiting()
		ok, err = lock.TryLockContext(ctx, lockPoll)
	}
	if err != nil {
		return nil, fmt.Errorf("lock action: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("lock action %s: not granted", action)
	}
	return func() { _ = lock.Unlock() }, nil
}

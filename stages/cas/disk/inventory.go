package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// Location is where the store has a blob. A blob can be in several places, of which the
// store reads one.
type Location struct {
	Digest cas.Digest
	File   string // the absolute path of the pack, or of the blob's own file
	Offset int64  // of the bytes in File

	packed *found // nil for a file of its own
}

// Packed tells whether the blob shares its file with others.
func (l Location) Packed() bool { return l.packed != nil }

// Blobs yields every place in which the store has a blob, without reading the bytes.
func (s *Store) Blobs(ctx context.Context) iter.Seq2[Location, error] {
	return func(yield func(Location, error) bool) {
		if err := s.packs.refresh(); err != nil {
			yield(Location{}, err)
			return
		}
		for _, p := range s.packs.known() {
			more := true
			err := p.Places(func(at pack.Place) bool {
				l := Location{Digest: at.Digest, File: p.File(), Offset: at.Offset, packed: &found{p.Pack, at}}
				more = ctx.Err() == nil && yield(l, nil)
				return more
			})
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(Location{}, err)
			}
			if err != nil || !more {
				return
			}
		}
		s.files(ctx, blobsDir, func(name string, sum [sha256.Size]byte, info fs.FileInfo, err error) bool {
			return yield(Location{Digest: cas.DigestOf(sum, size(info)), File: name}, err)
		})
	}
}

func size(info fs.FileInfo) int64 {
	if info == nil {
		return 0
	}
	return info.Size()
}

// files calls yield for each file below a folder of the store whose path is a sum, until
// it returns false. After an error nothing follows.
func (s *Store) files(ctx context.Context, kind string, yield func(name string, sum [sha256.Size]byte, info fs.FileInfo, err error) bool) {
	dir := filepath.Join(s.root, kind)
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || e.IsDir() {
			return err
		}
		d, err := cas.NewDigest(filepath.Base(filepath.Dir(name))+e.Name(), 0)
		if err != nil {
			return nil // nothing of ours
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since the folder was read
		}
		if err != nil {
			return err
		}
		if !yield(name, d.SHA256(), info, nil) {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		yield("", [sha256.Size]byte{}, nil, err)
	}
}

// Check reads a blob where it is, and sets it aside and returns a *cas.BlobError when it is
// not what its digest says.
func (s *Store) Check(ctx context.Context, l Location) error {
	if l.packed != nil {
		data, whole, err := l.packed.read()
		if err != nil {
			return err
		}
		if !whole {
			s.takeOut(*l.packed, data)
			return &cas.BlobError{Digest: l.Digest, Err: cas.ErrDamaged}
		}
		return nil
	}
	f, err := os.Open(l.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // set aside by somebody else since it was listed
	}
	if err != nil {
		return err
	}
	v := cas.Verify(f, l.Digest, func() { s.setAside(l.Digest) })
	_, err = io.Copy(io.Discard, contextReader{ctx, v})
	return errors.Join(err, v.Close())
}

// CachedResult is an entry of the cache.
type CachedResult struct {
	Action  cas.Digest // zero when the entry is damaged
	Result  cas.Result
	Used    time.Time // when it was last recorded or used, to the hour
	File    string    // its absolute path
	Damaged bool      // it says nothing, and is as good as absent
}

// Results yields every entry of the cache. It does not count as a use.
func (s *Store) Results(ctx context.Context) iter.Seq2[CachedResult, error] {
	return func(yield func(CachedResult, error) bool) {
		s.files(ctx, resultsDir, func(name string, sum [sha256.Size]byte, info fs.FileInfo, err error) bool {
			if err != nil {
				return yield(CachedResult{}, err)
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return yield(CachedResult{}, err)
			}
			action, r, ok := cas.DecodeResult(data)
			c := CachedResult{File: name, Used: info.ModTime()}
			if c.Damaged = !ok || action.SHA256() != sum; !c.Damaged {
				c.Action, c.Result = action, r
			}
			return yield(c, nil)
		})
	}
}

// Reindex finds blobs in packs whose index does not know them, which is so after the
// index was damaged or lost, and returns how many it has added to it. Packs that another
// process appends to are left out.
func (s *Store) Reindex(ctx context.Context) (added int, err error) {
	if err := s.packs.refresh(); err != nil {
		return 0, err
	}
	for _, p := range s.packs.known() {
		n, err := p.Reindex(func() error { return context.Cause(ctx) })
		added += n
		if err != nil && !errors.Is(err, pack.ErrLocked) {
			return added, fmt.Errorf("index of pack %d: %w", p.id, err)
		}
	}
	return added, nil
}

// ForgetEntry removes an entry of the cache, so that its action runs again.
func (s *Store) ForgetEntry(c CachedResult) error {
	if err := os.Remove(c.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget result: %w", err)
	}
	return nil
}

package cas

import (
	"bytes"
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
)

// Location is where the store has a blob. A blob can be in several places, of which the
// store reads one.
type Location struct {
	Digest Digest
	File   string // the absolute path of the pack, or of the blob's own file
	Offset int64  // of the bytes in File

	packed *found // nil for a file of its own
}

// Packed tells whether the blob shares its file with others.
func (l Location) Packed() bool { return l.packed != nil }

// Blobs yields every place in which the store has a blob, without reading the bytes.
func (s *Disk) Blobs(ctx context.Context) iter.Seq2[Location, error] {
	return func(yield func(Location, error) bool) {
		if err := s.packs.refresh(); err != nil {
			yield(Location{}, err)
			return
		}
		for _, p := range s.packs.known() {
			more := true
			err := p.index.each(func(e place, slot int64) bool {
				at := &found{pack: p, place: e, slot: slot}
				more = ctx.Err() == nil && yield(Location{Digest: e.digest(), File: p.data.Name(), Offset: e.offset, packed: at}, nil)
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
			return yield(Location{Digest: Digest{sum: sum, size: size(info)}, File: name}, err)
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
func (s *Disk) files(ctx context.Context, kind string, yield func(name string, sum [sha256.Size]byte, info fs.FileInfo, err error) bool) {
	dir := filepath.Join(s.root, kind)
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || e.IsDir() {
			return err
		}
		d, err := NewDigest(filepath.Base(filepath.Dir(name))+e.Name(), 0)
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
		if !yield(name, d.sum, info, nil) {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		yield("", [sha256.Size]byte{}, nil, err)
	}
}

// Check reads a blob where it is, and sets it aside and returns a *BlobError when it is
// not what its digest says.
func (s *Disk) Check(ctx context.Context, l Location) error {
	if l.packed != nil {
		data, whole, err := l.packed.read(l.packed.place)
		if err != nil {
			return err
		}
		if !whole {
			s.takeOut(*l.packed, data)
			return &BlobError{Digest: l.Digest, Err: ErrDamaged}
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
	v := newVerifier(f, l.Digest, func(error) { s.setAside(l.Digest) })
	_, err = io.Copy(io.Discard, contextReader{ctx, v})
	return errors.Join(err, v.Close())
}

// CachedResult is an entry of the cache.
type CachedResult struct {
	Action  Digest // zero when the entry is damaged
	Result  Result
	Used    time.Time // when it was last recorded or used, to the hour
	File    string    // its absolute path
	Damaged bool      // it says nothing, and is as good as absent
}

// Results yields every entry of the cache. It does not count as a use.
func (s *Disk) Results(ctx context.Context) iter.Seq2[CachedResult, error] {
	return func(yield func(CachedResult, error) bool) {
		s.files(ctx, resultsDir, func(name string, sum [sha256.Size]byte, info fs.FileInfo, err error) bool {
			if err != nil {
				return yield(CachedResult{}, err)
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return yield(CachedResult{}, err)
			}
			action, r, ok := DecodeResult(data)
			c := CachedResult{File: name, Used: info.ModTime()}
			if c.Damaged = !ok || !bytes.Equal(action.sum[:], sum[:]); !c.Damaged {
				c.Action, c.Result = action, r
			}
			return yield(c, nil)
		})
	}
}

// Reindex finds blobs in packs whose index does not know them, which is so after the
// index was damaged or lost, and returns how many it has added to it. Packs that another
// process appends to are left out.
func (s *Disk) Reindex(ctx context.Context) (added int, err error) {
	if err := s.packs.refresh(); err != nil {
		return 0, err
	}
	for _, p := range s.packs.known() {
		n, err := s.reindex(ctx, p)
		added += n
		if err != nil {
			return added, fmt.Errorf("index of pack %d: %w", p.id, err)
		}
	}
	return added, nil
}

func (s *Disk) reindex(ctx context.Context, p *pack) (added int, err error) {
	lock, err := lockPack(s.packs.dir, p.id)
	if lock == nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	var fault error
	err = p.records(func(d Digest, offset int64) bool {
		fault = context.Cause(ctx)
		_, slot, ok, err := p.index.find(d)
		if fault = errors.Join(fault, err); fault != nil || ok {
			return fault == nil
		}
		e := place{sum: d.sum, offset: offset + headerSize, size: uint32(d.size)}
		if _, whole, err := p.read(e); err != nil || !whole {
			fault = err
			return err == nil
		}
		fault = p.index.add(slot, e)
		added++
		return fault == nil
	})
	return added, errors.Join(err, fault)
}

// ForgetEntry removes an entry of the cache, so that its action runs again.
func (s *Disk) ForgetEntry(c CachedResult) error {
	if err := os.Remove(c.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget result: %w", err)
	}
	return nil
}

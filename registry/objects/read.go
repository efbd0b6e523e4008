package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// Open reads the bytes of an entry. The reader verifies: before it would yield the last
// bytes of a wrong file it returns a *DamageError.
func (s *Store) Open(ctx context.Context, e quilt.Entry) (io.ReadCloser, error) {
	hasher, err := quilt.NewHasher(e.Hash().Type, e.Size())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", e.Key, err)
	}
	key, body, err := s.open(ctx, e, 0, -1)
	if err != nil {
		return nil, err
	}
	return &verifier{ReadCloser: body, object: key, hasher: hasher, want: e.Hash(), left: e.Size()}, nil
}

// OpenRange reads length bytes of an entry from offset on, which the caller verifies: they
// can be wrong, or fewer.
func (s *Store) OpenRange(ctx context.Context, e quilt.Entry, offset, length int64) (io.ReadCloser, error) {
	_, body, err := s.open(ctx, e, offset, length)
	return body, err
}

// open opens a range of the bytes of an entry and returns the key of the blob that it is
// of. A physical key is followed only to a place inside of the registry: a package must
// not make its reader open any file of the machine or any object that its credentials
// give access to. Otherwise the bytes are looked for under their hash, so that a registry
// can be moved.
func (s *Store) open(ctx context.Context, e quilt.Entry, offset, length int64) (string, io.ReadCloser, error) {
	at, outside := s.Home.inside(e.PhysicalKey)
	if outside == nil {
		body, err := s.openAt(ctx, at, offset, length)
		if !errors.Is(err, fs.ErrNotExist) {
			return at.key, body, err
		}
		outside = fmt.Errorf("its object %s is missing", at.key)
	}
	key, ok := hashed(e.Hash())
	if !ok || key == at.key {
		return "", nil, &DamageError{Object: e.Key, Err: outside}
	}
	body, err := s.Blobs.Open(ctx, key, offset, length)
	if errors.Is(err, fs.ErrNotExist) {
		err = &DamageError{Object: e.Key, Err: outside}
	}
	return key, body, err
}

// openAt reads a range of the bytes at a place.
func (s *Store) openAt(ctx context.Context, at place, offset, length int64) (io.ReadCloser, error) {
	if at.version == "" {
		return s.Blobs.Open(ctx, at.key, offset, length)
	}
	versions, ok := s.Blobs.(interface {
		OpenVersion(ctx context.Context, key, id string, offset, length int64) (io.ReadCloser, error)
	})
	if !ok {
		return nil, fmt.Errorf("open %s: this store has no versions: %w", at.key, fs.ErrNotExist)
	}
	return versions.OpenVersion(ctx, at.key, at.version, offset, length)
}

// verifier reads bytes that must have a size and a hash. It compares before it hands out
// the last of them, so that nobody gets the whole of a wrong file.
type verifier struct {
	io.ReadCloser
	object  string
	hasher  *quilt.Hasher
	want    quilt.Hash
	left    int64
	checked bool
	err     error // once damage was seen
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	n, err := v.ReadCloser.Read(p)
	if int64(n) > v.left {
		return v.fail(errors.New("has more bytes than it should"))
	}
	v.left -= int64(n)
	if _, err := v.hasher.Write(p[:n]); err != nil {
		return v.fail(err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		// A source that verifies by itself says more than that the sum is wrong.
		return n, err
	}
	if v.left > 0 && errors.Is(err, io.EOF) {
		return v.fail(fmt.Errorf("%d bytes are missing", v.left))
	}
	if v.left == 0 && !v.checked {
		v.checked = true
		if got := v.hasher.Hash(); got != v.want {
			return v.fail(fmt.Errorf("want %s %s, got %s", v.want.Type, v.want.Value, got.Value))
		}
	}
	return n, err
}

func (v *verifier) fail(err error) (int, error) {
	v.err = &DamageError{Object: v.object, Err: err}
	return 0, v.err
}

// Verify reads all bytes of the entries and returns the keys of those that are missing
// and of those that are wrong, in order. The error is about the reading.
func (s *Store) Verify(ctx context.Context, entries []quilt.Entry, meter *transfer.Meter) (missing, wrong []string, err error) {
	var mu sync.Mutex // guards missing and wrong
	err = s.Pace.Each(ctx, len(entries), func(ctx context.Context, i int) (int64, error) {
		e := entries[i]
		absent, err := s.verify(ctx, e, meter.File(e.Size()))
		var damage *DamageError
		if err == nil || !errors.As(err, &damage) {
			return e.Size(), err
		}
		mu.Lock()
		defer mu.Unlock()
		if absent {
			missing = append(missing, e.Key)
		} else {
			wrong = append(wrong, e.Key)
		}
		return 0, nil
	})
	slices.SortFunc(missing, quilt.CompareKeys)
	slices.SortFunc(wrong, quilt.CompareKeys)
	return missing, wrong, err
}

// verify reads an entry, and reports whether there is nothing to read.
func (s *Store) verify(ctx context.Context, e quilt.Entry, count *transfer.File) (absent bool, err error) {
	defer count.Done()
	body, err := s.Open(ctx, e)
	if err != nil {
		return true, err
	}
	_, err = io.Copy(io.Discard, count.Reader(body))
	return false, errors.Join(err, body.Close())
}

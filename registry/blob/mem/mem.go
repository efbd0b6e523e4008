// Package mem is a blob store in memory, for tests.
package mem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sandwich-build/sandwich/registry/blob"
)

// Store is an empty store as its zero value. It implements blob.Conditional.
type Store struct {
	mu    sync.Mutex        // guards blobs
	blobs map[string][]byte // the byte strings are never changed
}

var _ blob.Conditional = (*Store)(nil)

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	data, err := s.get(ctx, key)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat blob %s: %w", key, err)
	}
	return blob.Info{Key: key, Size: int64(len(data))}, nil
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	data, err := s.get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", key, err)
	}
	data = data[min(offset, int64(len(data))):]
	if length >= 0 {
		data = data[:min(length, int64(len(data)))]
	}
	return io.NopCloser(blob.NewReader(ctx, bytes.NewReader(data))), nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, body blob.Body) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("put blob %s: %w", key, err)
	}
	var buf bytes.Buffer
	if err := blob.Copy(ctx, &buf, body); err != nil {
		return fmt.Errorf("put blob %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, buf.Bytes())
	return nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		s.mu.Lock()
		blobs := maps.Clone(s.blobs)
		s.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(blobs)) {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			if err := context.Cause(ctx); err != nil {
				yield(blob.Info{}, fmt.Errorf("list blobs %s: %w", prefix, err))
				return
			}
			if !yield(blob.Info{Key: key, Size: int64(len(blobs[key]))}, nil) {
				return
			}
		}
	}
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, key)
	return nil
}

// ReadTagged implements blob.Conditional.
func (s *Store) ReadTagged(ctx context.Context, key string) ([]byte, blob.Tag, error) {
	data, err := s.get(ctx, key)
	if err == nil && len(data) > blob.MaxTagged {
		err = fmt.Errorf("%w: more than %d bytes", blob.ErrTooLarge, blob.MaxTagged)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read blob %s: %w", key, err)
	}
	return bytes.Clone(data), tagOf(data), nil
}

// PutIf implements blob.Conditional.
func (s *Store) PutIf(ctx context.Context, key string, data []byte, tag blob.Tag) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("put blob %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var now blob.Tag
	if old, ok := s.blobs[key]; ok {
		now = tagOf(old)
	}
	if now != tag {
		return fmt.Errorf("put blob %s: %w", key, blob.ErrChanged)
	}
	s.set(key, bytes.Clone(data))
	return nil
}

func (s *Store) get(ctx context.Context, key string) ([]byte, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.blobs[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

// set stores data; s.mu is held.
func (s *Store) set(key string, data []byte) {
	if s.blobs == nil {
		s.blobs = map[string][]byte{}
	}
	s.blobs[key] = data
}

func check(ctx context.Context, key string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return blob.CheckKey(key)
}

func tagOf(data []byte) blob.Tag {
	return blob.Tag(fmt.Sprintf("%x", sha256.Sum256(data)))
}

package cas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Memory is a store and a cache in memory, for tests and for small trees that are
// never kept.
type Memory struct {
	mu      sync.RWMutex // guards the maps
	blobs   map[Digest][]byte
	results map[Digest]Result
	latest  map[string]Digest
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{blobs: make(map[Digest][]byte), results: make(map[Digest]Result), latest: make(map[string]Digest)}
}

// Open implements Store.
func (m *Memory) Open(_ context.Context, d Digest) (io.ReadCloser, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	data, ok := m.blobs[d]
	if !ok {
		return nil, &BlobError{Digest: d, Err: fs.ErrNotExist}
	}
	return Verify(io.NopCloser(bytes.NewReader(data)), d, nil), nil
}

// Put implements Store.
func (m *Memory) Put(ctx context.Context, r io.Reader) (Digest, error) {
	data, err := io.ReadAll(r)
	if err := errors.Join(err, context.Cause(ctx)); err != nil {
		return Digest{}, err
	}
	d := Sum(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[d] = data
	return d, nil
}

// Missing implements Store.
func (m *Memory) Missing(_ context.Context, ds []Digest) ([]Digest, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var missing []Digest
	for _, d := range ds {
		if _, ok := m.blobs[d]; !ok {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// Result implements the engine's cache.
func (m *Memory) Result(_ context.Context, action Digest) (Result, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r, ok := m.results[action]
	if !ok {
		return Result{}, &BlobError{Digest: action, Err: fs.ErrNotExist}
	}
	return r, nil
}

// Record implements the engine's cache.
func (m *Memory) Record(_ context.Context, action Digest, r Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results[action] = r
	return nil
}

// Forget implements the engine's cache.
func (m *Memory) Forget(_ context.Context, action Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.results, action)
	return nil
}

// Latest implements the engine's cache.
func (m *Memory) Latest(_ context.Context, name string) (Digest, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, ok := m.latest[name]
	if !ok {
		return Digest{}, fmt.Errorf("latest action: %w", fs.ErrNotExist)
	}
	return d, nil
}

// Note implements the engine's cache.
func (m *Memory) Note(_ context.Context, name string, action Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latest[name] = action
	return nil
}

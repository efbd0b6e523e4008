package cas

import (
	"context"
	"crypto/sha256"
	"io"
	"io/fs"
)

// Nowhere is a store that keeps nothing: it tells which digests things would have.
type Nowhere struct{}

// Open implements Store.
func (Nowhere) Open(_ context.Context, d Digest) (io.ReadCloser, error) {
	return nil, &BlobError{Digest: d, Err: fs.ErrNotExist}
}

// Put implements Store.
func (Nowhere) Put(ctx context.Context, r io.Reader) (Digest, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err == nil {
		err = context.Cause(ctx)
	}
	return Digest{sum: [sha256.Size]byte(h.Sum(nil)), size: n}, err
}

// Missing implements Store: all of them are.
func (Nowhere) Missing(_ context.Context, ds []Digest) ([]Digest, error) { return ds, nil }

// Package cas is the content store: immutable blobs named by their SHA-256, Merkle
// trees of them, and the cache that remembers which tree an action produced.
//
// The data model is the Remote Execution API's (Digest, Directory, ActionResult), so
// that a disk, a team's cache server and a cluster can serve the same interface
// without translation. See README.md in this folder for the layout on disk and for
// what is promised after a crash.
package cas

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Store keeps blobs by digest. All methods are safe for concurrent use.
type Store interface {
	// Open returns the content of a blob. The error is fs.ErrNotExist when the store
	// does not have it. The reader verifies: with the last byte of a damaged blob, or
	// where a bare io.EOF would end it, Read returns a *BlobError. So it is noticed
	// also by who knows the size and reads no further.
	Open(ctx context.Context, d Digest) (io.ReadCloser, error)
	// Put stores what r yields and returns its digest. A blob becomes visible whole
	// or not at all.
	Put(ctx context.Context, r io.Reader) (Digest, error)
	// Missing returns those of the digests that the store does not have, in order.
	Missing(ctx context.Context, ds []Digest) ([]Digest, error)
}

// Layered is a store that has a part of its blobs elsewhere.
type Layered interface {
	Store
	// Near is the store that blobs are put into, and that has what is at hand.
	Near() Store
}

// Near returns the part of a store that is at hand.
func Near(s Store) Store {
	if l, ok := s.(Layered); ok {
		return l.Near()
	}
	return s
}

// ErrDamaged says that bytes do not match the digest that names them.
var ErrDamaged = errors.New("content does not match its digest")

// ErrLost says that a blob which a tree names is not in the store.
var ErrLost = errors.New("not in the store any more")

// BlobError says which blob could not be read, and why: fs.ErrNotExist, ErrLost or
// ErrDamaged.
// The engine answers both by setting the blob aside and building it again.
type BlobError struct {
	Digest Digest
	Err    error
}

func (e *BlobError) Error() string { return fmt.Sprintf("blob %s: %v", e.Digest, e.Err) }

// Unwrap returns the cause.
func (e *BlobError) Unwrap() error { return e.Err }

// ReadBlob returns the verified content of a blob.
func ReadBlob(ctx context.Context, s Store, d Digest) (_ []byte, err error) {
	r, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	// With less room behind the last byte, the buffer would become twice as large to find the end.
	buf := bytes.NewBuffer(make([]byte, 0, d.Size()+bytes.MinRead))
	if _, err := io.Copy(buf, r); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// PutBytes stores data, unless the store has it at hand already, and returns its digest.
func PutBytes(ctx context.Context, s Store, data []byte) (Digest, error) {
	s = Near(s)
	d := Sum(data)
	missing, err := s.Missing(ctx, []Digest{d})
	if err != nil || len(missing) == 0 {
		return d, err
	}
	return s.Put(ctx, bytes.NewReader(data))
}

// verifier checks a blob while it is read.
type verifier struct {
	src    io.ReadCloser
	want   Digest
	hash   hash.Hash
	seen   int64
	onFail func()
}

// Verify returns a reader of src that keeps the promise of Store.Open for the blob d.
// Before it tells of damage, it calls onFail, which may be nil, once.
func Verify(src io.ReadCloser, d Digest, onFail func()) io.ReadCloser {
	return &verifier{src: src, want: d, hash: sha256.New(), onFail: onFail}
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.src.Read(p)
	v.hash.Write(p[:n])
	v.seen += int64(n)
	if v.seen > v.want.size || ((v.seen == v.want.size || errors.Is(err, io.EOF)) && !v.matches()) {
		if v.onFail != nil {
			v.onFail()
			v.onFail = nil
		}
		return n, &BlobError{Digest: v.want, Err: ErrDamaged}
	}
	return n, err
}

func (v *verifier) matches() bool {
	return v.seen == v.want.size && [sha256.Size]byte(v.hash.Sum(nil)) == v.want.sum
}

func (v *verifier) Close() error { return v.src.Close() }

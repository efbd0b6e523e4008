// Package blob is the small store interface that registries and shared caches stand
// on: named byte strings that are written whole and read by range.
//
// A Store does only what every store can do. What some can do besides, such as
// Conditional writes, is an interface of its own that a caller asks for. An absent
// blob is fs.ErrNotExist everywhere. Package blobtest is the suite that every
// implementation passes.
package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
)

// Store keeps blobs by key. A key is a relative slash-separated path, as CheckKey says.
// All methods may be called at the same time.
type Store interface {
	// Stat describes a blob.
	Stat(ctx context.Context, key string) (Info, error)

	// Open reads length bytes of a blob from offset on, or up to its end when length is
	// negative. What lies behind the end is left out without an error.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Put writes a blob, over one that may be there. Readers see the old bytes or the
	// new ones, never a part. When the body fails or has not Size bytes, nothing is
	// changed.
	Put(ctx context.Context, key string, body Body) error

	// List yields the blobs whose key starts with prefix, ordered by the bytes of the
	// key. It ends at the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes a blob. It is no error when there is none.
	Delete(ctx context.Context, key string) error
}

// Info describes a blob.
type Info struct {
	Key  string
	Size int64 // bytes
}

// Body is what Put writes. It can be opened more than once, so that a write can be
// tried again.
type Body struct {
	Size int64 // bytes
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Bytes returns a Body of data, which must not change.
func Bytes(data []byte) Body {
	return Body{
		Size: int64(len(data)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// Tag names the content that a blob had at one moment. The empty Tag says that there
// was no blob.
type Tag string

// ErrChanged says that a conditional write found another content than it was to
// replace. Nothing was written.
var ErrChanged = errors.New("blob was changed by another writer")

// Conditional is the ability to replace a small blob only if nobody else has. It is
// for pointers: MaxTagged bounds the size.
type Conditional interface {
	Store

	// ReadTagged reads a whole blob and the tag of exactly these bytes.
	ReadTagged(ctx context.Context, key string) ([]byte, Tag, error)

	// PutIf writes a blob if its present content is the one that tag names, and
	// otherwise returns ErrChanged. Of several writers with one tag exactly one wins,
	// in other processes too.
	PutIf(ctx context.Context, key string, data []byte, tag Tag) error
}

// MaxTagged is the most bytes that ReadTagged reads.
const MaxTagged = 1 << 20

// CheckKey returns an error unless key is a path below the root of a store: segments
// divided by slashes, none of them empty, "." or "..".
func CheckKey(key string) error {
	if key == "." || !fs.ValidPath(key) || strings.Contains(key, "\x00") {
		return fmt.Errorf("blob key %+q: want a relative path without empty, . and .. parts", key)
	}
	return nil
}

// ErrTooLarge says that a blob is larger than a reader takes.
var ErrTooLarge = errors.New("blob is too large")

// ReadAll reads a whole blob. One of more than limit bytes is ErrTooLarge.
func ReadAll(ctx context.Context, s Store, key string, limit int64) (_ []byte, err error) {
	r, err := s.Open(ctx, key, 0, limit+1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", key, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read blob %s: %w: more than %d bytes", key, ErrTooLarge, limit)
	}
	return data, nil
}

// Copy writes the bytes of body to w. It returns an error when they are not Size
// bytes, or ctx ends. It is for implementations of Put.
func Copy(ctx context.Context, w io.Writer, body Body) (err error) {
	r, err := body.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	// One byte more than wanted, so that an excess is seen.
	n, err := io.Copy(w, io.LimitReader(NewReader(ctx, r), body.Size+1))
	if err != nil {
		return err
	}
	if n != body.Size {
		return fmt.Errorf("want %d bytes, got %d or more", body.Size, n)
	}
	return nil
}

// NewReader returns a reader of r that fails once ctx ended.
func NewReader(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

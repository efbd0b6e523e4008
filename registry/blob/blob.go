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
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
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

	// Sums are the sha256 of every Chunk bytes and of the rest behind them, where they
	// are known. Put refuses other bytes with ErrDiffers; a store whose server compares
	// need not hash again what was hashed before.
	Sums  [][sha256.Size]byte
	Chunk int64
}

// ErrDiffers says that a body has not the size or not the sums that it should have.
var ErrDiffers = errors.New("the bytes are not those that were described")

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

// Version is one content that was put under a key.
type Version struct {
	Info
	ID string // as the store names it; "" for what was put before it kept versions
	// Sum is the sha256 over the sha256 of each chunk, in the chunks that Quilt gives a
	// file of this size; nil where the store does not know it.
	Sum []byte
}

// Versioned is the ability to keep what is under a key when something else is put there.
type Versioned interface {
	Store

	// Versioned reports whether the store does so at present.
	Versioned(ctx context.Context) (bool, error)

	// PutVersion is Put, and returns the name of what it put.
	PutVersion(ctx context.Context, key string, body Body) (id string, err error)

	// OpenVersion is Open of a certain version; without id, of the newest.
	OpenVersion(ctx context.Context, key, id string, offset, length int64) (io.ReadCloser, error)

	// StatVersion describes the newest version, with its sum.
	StatVersion(ctx context.Context, key string) (Version, error)

	// ListVersions yields all versions, without sums, of the keys that start with prefix:
	// those of a key from the newest to the oldest.
	ListVersions(ctx context.Context, prefix string) iter.Seq2[Version, error]
}

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

// Copy writes the bytes of body to w. It returns ErrDiffers when they are not Size
// bytes or have other sums, and an error when ctx ends. It is for implementations of Put.
func Copy(ctx context.Context, w io.Writer, body Body) (err error) {
	r, err := body.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	// One byte more than wanted, so that an excess is seen.
	check := &summer{body: body, left: body.Chunk, hash: sha256.New()}
	if body.Sums != nil {
		w = io.MultiWriter(w, check)
	}
	n, err := io.Copy(w, io.LimitReader(NewReader(ctx, r), body.Size+1))
	if err != nil {
		return err
	}
	if n != body.Size {
		return fmt.Errorf("%w: want %d bytes, got %d or more", ErrDiffers, body.Size, n)
	}
	return check.finish()
}

// summer compares what is written to it with the sums of a body.
type summer struct {
	body Body
	hash hash.Hash // of the present chunk
	left int64     // bytes that it still takes
	n    int       // chunks before it
}

func (s *summer) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		part := p[:min(int64(len(p)), s.left)]
		s.hash.Write(part)
		p = p[len(part):]
		if s.left -= int64(len(part)); s.left == 0 {
			if err := s.next(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

// next compares the present chunk and starts another one.
func (s *summer) next() error {
	if s.n >= len(s.body.Sums) || [sha256.Size]byte(s.hash.Sum(nil)) != s.body.Sums[s.n] {
		return fmt.Errorf("%w: another sha256", ErrDiffers)
	}
	s.hash.Reset()
	s.n++
	s.left = s.body.Chunk
	return nil
}

// finish compares the last chunk. A body without bytes has one chunk or none.
func (s *summer) finish() error {
	if s.n < len(s.body.Sums) {
		if err := s.next(); err != nil {
			return err
		}
	}
	if s.n < len(s.body.Sums) {
		return fmt.Errorf("%w: fewer chunks", ErrDiffers)
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

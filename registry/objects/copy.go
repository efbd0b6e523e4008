package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// copier is the ability of a bucket to have its server copy from another one. Where the
// server does not, CopyFrom says so with errors.ErrUnsupported.
type copier interface {
	CopyFrom(ctx context.Context, key string, from quilt.PhysicalKey, size int64, sum [sha256.Size]byte) (version string, err error)
}

// Files returns the files of a package that is in the store, to send them to another one.
// A hash of the time before Quilt had chunks is replaced, where the bytes must be read for
// it only if the file has more than one.
func (s *Store) Files(content *quilt.Package) []File {
	files := make([]File, len(content.Entries))
	for i, e := range content.Entries {
		files[i] = File{
			Key: e.Key, Size: e.Size(), Meta: e.Meta, Hash: e.Hash(),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return s.Open(ctx, e) },
		}
		if e.Hash().Type == quilt.SHA256 {
			if sum, err := hex.DecodeString(e.Hash().Value); err == nil && len(sum) == sha256.Size {
				files[i].SHA256 = [sha256.Size]byte(sum)
			}
		}
		if at, err := s.Home.inside(e.PhysicalKey); err == nil && s.Home.Bucket != "" {
			files[i].Source = quilt.PhysicalKey{Bucket: s.Home.Bucket, Path: at.key, Version: at.version}
		}
	}
	return files
}

// put writes the bytes of a file of a batch, and returns their version where the store
// keeps versions. It reads them only if the server can not copy them.
func (s *Store) put(ctx context.Context, key string, b *Batch, i int, count *transfer.File) (version string, err error) {
	f := b.files[i]
	if store, ok := s.Blobs.(copier); ok && f.Source.Bucket != "" {
		sum, _ := b.Entries[i].Hash().Sum()
		version, err = store.CopyFrom(ctx, key, f.Source, f.Size, sum)
		if !errors.Is(err, errors.ErrUnsupported) {
			return version, err
		}
	}
	if store, ok := s.Blobs.(blob.Versioned); ok {
		return store.PutVersion(ctx, key, b.body(i, count))
	}
	return "", s.Blobs.Put(ctx, key, b.body(i, count))
}

package objects

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

// File is one file to send.
type File struct {
	Key  string // its logical key
	Size int64  // bytes
	// SHA256 is the plain sha256 of the bytes where it is known, and zero otherwise. With
	// it, a file up to 8 MiB that the registry has already is not opened.
	SHA256 [sha256.Size]byte
	Open   func(ctx context.Context) (io.ReadCloser, error)

	// Of a file of another registry, whose Open verifies, these are known as well.
	Hash   quilt.Hash        // in place of SHA256; zero otherwise
	Meta   quilt.Value       // of its entry
	Source quilt.PhysicalKey // in a bucket, whose server may copy it; zero otherwise
}

// Batch is the files of a revision, hashed.
type Batch struct {
	files []File
	sums  [][][sha256.Size]byte // of the chunks of each file
	pace  *transfer.Pace

	// Entries are the files in the order of packages. Their physical keys are empty until
	// they are sent.
	Entries []quilt.Entry
}

// Hash hashes files, which it sorts. It reads only those whose hash does not follow from
// what is known, and tells progress, which may be nil, of these. A key that could not be
// installed is a *quilt.KeyError.
func Hash(ctx context.Context, files []File, pace *transfer.Pace, progress func(transfer.State)) (*Batch, error) {
	unread, size := 0, int64(0)
	for _, file := range files {
		if err := quilt.CheckFileKey(file.Key); err != nil {
			return nil, err
		}
		if file.Size < 0 {
			return nil, fmt.Errorf("file %s: negative size", file.Key)
		}
		if _, _, known := file.known(); !known {
			unread, size = unread+1, size+file.Size
		}
	}
	slices.SortFunc(files, func(a, b File) int { return quilt.CompareKeys(a.Key, b.Key) })
	b := &Batch{files: files, pace: pace, sums: make([][][sha256.Size]byte, len(files)), Entries: make([]quilt.Entry, len(files))}
	meter := transfer.NewMeter(progress, unread, size)
	err := pace.Each(ctx, len(files), func(ctx context.Context, i int) (int64, error) {
		hash, sums, err := files[i].hash(ctx, meter)
		if err != nil {
			return 0, fmt.Errorf("hash %s: %w", files[i].Key, err)
		}
		b.Entries[i] = quilt.NewEntry(files[i].Key, "", files[i].Size, hash, files[i].Meta)
		b.sums[i] = sums
		return files[i].Size, nil
	})
	return b, err
}

// known returns the hash of the file, with that of each chunk, where it follows from what is
// known.
func (f File) known() (_ quilt.Hash, _ [][sha256.Size]byte, ok bool) {
	if _, known := f.Hash.Sum(); known {
		return f.Hash, nil, true
	}
	if f.SHA256 == [sha256.Size]byte{} {
		return quilt.Hash{}, nil, false
	}
	hash, ok := quilt.ChunkedFromSHA256(f.SHA256, f.Size)
	return hash, [][sha256.Size]byte{f.SHA256}, ok
}

// hash returns the hash of the file, with that of each chunk, and reads the file only
// where it must.
func (f File) hash(ctx context.Context, meter *transfer.Meter) (quilt.Hash, [][sha256.Size]byte, error) {
	if hash, sums, ok := f.known(); ok {
		return hash, sums, nil
	}
	hasher, err := quilt.NewHasher(quilt.SHA256Chunked, f.Size)
	if err != nil {
		return quilt.Hash{}, nil, err
	}
	count := meter.File(f.Size)
	open := func(ctx context.Context) (io.ReadCloser, error) {
		r, err := f.Open(ctx)
		if err != nil {
			return nil, err
		}
		return count.Reader(r), nil
	}
	if err := blob.Copy(ctx, hasher, blob.Body{Size: f.Size, Open: open}); err != nil {
		return quilt.Hash{}, nil, err
	}
	count.Done()
	return hasher.Hash(), hasher.Chunks(), nil
}

// body returns what Put writes of a file; count is told how much of it was read.
func (b *Batch) body(i int, count *transfer.File) blob.Body {
	f := b.files[i]
	return blob.Body{
		Size: f.Size, Sums: b.sums[i], Chunk: quilt.ChunkSize(f.Size),
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			r, err := f.Open(ctx)
			if err != nil {
				return nil, fmt.Errorf("open %s: %w", f.Key, err)
			}
			return count.Reader(r), nil
		},
	}
}

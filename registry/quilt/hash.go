package quilt

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc64"
)

// The hash types of entries. New entries have SHA256Chunked; all three are verified.
const (
	// SHA256Chunked is the base64 of sha256 over the sha256 of each chunk.
	SHA256Chunked = "sha2-256-chunked"
	// SHA256 is the lower-case hexadecimal sha256 of the file, as packages had until
	// quilt3 5.
	SHA256 = "SHA256"
	// CRC64NVME is the base64 of the big-endian CRC-64/NVME of the file.
	CRC64NVME = "CRC64NVME"
)

const (
	minChunk  = 8 << 20
	maxChunks = 10_000 // the most parts of an S3 upload, which the chunks are meant to be
)

// Hash is the hash of an entry's bytes.
type Hash struct {
	Type  string
	Value string
}

// UnsupportedHashError says that an entry has a hash that this version can not verify.
type UnsupportedHashError struct{ Type string }

func (e *UnsupportedHashError) Error() string {
	return fmt.Sprintf("hash type %q is not supported: want %s, %s or %s", e.Type, SHA256Chunked, SHA256, CRC64NVME)
}

// Hasher computes one Hash of the bytes written to it. Write never fails.
type Hasher struct {
	kind string
	sum  hash.Hash // of the file, or of the present chunk

	// Only for SHA256Chunked.
	chunk  int64     // bytes of a chunk
	left   int64     // bytes that the present chunk still takes
	chunks hash.Hash // of the sums of finished chunks
	sums   [][sha256.Size]byte
}

// NewHasher returns a Hasher of the given type for a file of size bytes, which
// decides the size of the chunks. An unknown type is an *UnsupportedHashError.
func NewHasher(kind string, size int64) (*Hasher, error) {
	switch kind {
	case SHA256Chunked:
		chunk := ChunkSize(size)
		return &Hasher{kind: kind, sum: sha256.New(), chunks: sha256.New(), chunk: chunk, left: chunk}, nil
	case SHA256:
		return &Hasher{kind: kind, sum: sha256.New()}, nil
	case CRC64NVME:
		return &Hasher{kind: kind, sum: crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5))}, nil
	}
	return nil, &UnsupportedHashError{Type: kind}
}

// Write adds p to the file.
func (h *Hasher) Write(p []byte) (int, error) {
	n := len(p)
	if h.chunks == nil {
		h.sum.Write(p)
		return n, nil
	}
	for len(p) > 0 {
		part := p[:min(int64(len(p)), h.left)]
		h.sum.Write(part)
		p = p[len(part):]
		if h.left -= int64(len(part)); h.left == 0 {
			h.endChunk()
		}
	}
	return n, nil
}

func (h *Hasher) endChunk() {
	sum := [sha256.Size]byte(h.sum.Sum(nil))
	h.chunks.Write(sum[:])
	h.sums = append(h.sums, sum)
	h.sum.Reset()
	h.left = h.chunk
}

// Hash returns the hash of all that was written. Nothing may be written after it.
func (h *Hasher) Hash() Hash {
	switch h.kind {
	case SHA256:
		return Hash{Type: SHA256, Value: hex.EncodeToString(h.sum.Sum(nil))}
	case CRC64NVME:
		return Hash{Type: CRC64NVME, Value: base64.StdEncoding.EncodeToString(h.sum.Sum(nil))}
	}
	if h.left < h.chunk {
		h.endChunk()
	}
	return chunked(h.chunks.Sum(nil))
}

// Chunks returns the sha256 of each chunk, once Hash was called; nil for another type
// than SHA256Chunked and for a file without bytes.
func (h *Hasher) Chunks() [][sha256.Size]byte { return h.sums }

// ChunkedFromSums returns the SHA256Chunked hash of a file of one byte or more whose
// chunks have the given sha256.
func ChunkedFromSums(sums [][sha256.Size]byte) Hash {
	outer := sha256.New()
	for _, sum := range sums {
		outer.Write(sum[:])
	}
	return chunked(outer.Sum(nil))
}

// ChunkSize returns the bytes of a chunk of a file of size bytes: 8 MiB, doubled while
// that makes more than 10,000 chunks.
func ChunkSize(size int64) int64 {
	chunk := int64(minChunk)
	for (size-1)/chunk >= maxChunks {
		chunk *= 2
	}
	return chunk
}

// ChunkedFromSHA256 returns the SHA256Chunked hash of a file of one chunk whose plain
// sha256 is already known, so that its bytes need not be read again. It returns false
// for a file that has more chunks.
func ChunkedFromSHA256(sum [sha256.Size]byte, size int64) (Hash, bool) {
	switch {
	case size > minChunk:
		return Hash{}, false
	case size == 0: // no chunks, so nothing to hash a second time
		return chunked(sum[:]), true
	}
	outer := sha256.Sum256(sum[:])
	return chunked(outer[:]), true
}

func chunked(sum []byte) Hash {
	return Hash{Type: SHA256Chunked, Value: base64.StdEncoding.EncodeToString(sum)}
}

// Sum returns the bytes of a SHA256Chunked hash, and false for another or malformed
// one.
func (h Hash) Sum() ([sha256.Size]byte, bool) {
	var sum [sha256.Size]byte
	data, err := base64.StdEncoding.Strict().DecodeString(h.Value)
	if h.Type != SHA256Chunked || err != nil || len(data) != len(sum) {
		return sum, false
	}
	copy(sum[:], data)
	return sum, true
}

// TopHash names a revision of a package: the sha256 over its header and entries. The
// zero TopHash names none.
type TopHash [sha256.Size]byte

// ParseTopHash parses the 64 lower-case hexadecimal digits of a top hash.
func ParseTopHash(s string) (TopHash, error) {
	var t TopHash
	if len(s) != 2*len(t) || !IsHex(s) {
		return TopHash{}, fmt.Errorf("parse top hash: want %d lower-case hexadecimal digits, got %d bytes", 2*len(t), len(s))
	}
	if _, err := hex.Decode(t[:], []byte(s)); err != nil {
		return TopHash{}, fmt.Errorf("parse top hash: %w", err)
	}
	return t, nil
}

// IsHex reports whether s is made of lower-case hexadecimal digits only.
func IsHex(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return s != ""
}

// String returns the 64 hexadecimal digits of t.
func (t TopHash) String() string { return hex.EncodeToString(t[:]) }

// IsZero reports whether t names no revision.
func (t TopHash) IsZero() bool { return t == TopHash{} }

package cas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/opencontainers/go-digest"
)

// Digest names a blob: the SHA-256 of its bytes and their number, as in the Remote
// Execution API. Digests are comparable; the zero Digest names nothing.
type Digest struct {
	sum  [sha256.Size]byte
	size int64
}

// Sum returns the digest of data.
func Sum(data []byte) Digest {
	return Digest{sum: sha256.Sum256(data), size: int64(len(data))}
}

// DigestOf returns the digest of a raw sum and a size in bytes, which is not negative.
func DigestOf(sum [sha256.Size]byte, size int64) Digest { return Digest{sum: sum, size: size} }

// NewDigest makes a digest of 64 lower-case hexadecimal characters and a size in bytes.
func NewDigest(hexSum string, size int64) (Digest, error) {
	if err := digest.SHA256.Validate(hexSum); err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", hexSum, err)
	}
	if size < 0 {
		return Digest{}, fmt.Errorf("digest %q: negative size %d", hexSum, size)
	}
	d := Digest{size: size}
	if _, err := hex.Decode(d.sum[:], []byte(hexSum)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", hexSum, err)
	}
	return d, nil
}

// ParseDigest reads "<hexadecimal sum> <size>", the form that files of the store have.
func ParseDigest(line string) (Digest, error) {
	sum, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	size, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", line, err)
	}
	return NewDigest(sum, size)
}

// Hex returns the 64 hexadecimal characters of the SHA-256.
func (d Digest) Hex() string { return hex.EncodeToString(d.sum[:]) }

// SHA256 returns the raw sum.
func (d Digest) SHA256() [sha256.Size]byte { return d.sum }

// Size returns the number of bytes of the blob.
func (d Digest) Size() int64 { return d.size }

// IsZero reports whether d names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns "sha256:" and the hexadecimal sum, the form used wherever a person or
// a file meets a digest.
func (d Digest) String() string { return digest.NewDigestFromEncoded(digest.SHA256, d.Hex()).String() }

// binarySize is the length of a digest in bytes: the sum, and the size as a big-endian number.
const binarySize = sha256.Size + 8

// MarshalBinary implements encoding.BinaryMarshaler, for messages between processes of one program.
func (d Digest) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, binarySize), d.sum[:]...), uint64(d.size)), nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (d *Digest) UnmarshalBinary(data []byte) error {
	if len(data) != binarySize {
		return fmt.Errorf("digest: %d bytes instead of %d", len(data), binarySize)
	}
	size := int64(binary.BigEndian.Uint64(data[sha256.Size:]))
	if size < 0 {
		return fmt.Errorf("digest: negative size %d", size)
	}
	*d = Digest{sum: [sha256.Size]byte(data[:sha256.Size]), size: size}
	return nil
}

func (d Digest) proto() *repb.Digest {
	return &repb.Digest{Hash: d.Hex(), SizeBytes: d.size}
}

func fromProto(p *repb.Digest) (Digest, error) {
	return NewDigest(p.GetHash(), p.GetSizeBytes())
}

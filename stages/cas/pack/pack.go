// Package pack keeps many small blobs in one file, with an index that finds them. Both
// verify themselves: a pack that was cut, or lost its index, or came from elsewhere still
// gives every blob that arrived whole, and never another one's bytes.
//
// A pack is a row of records, which begin at multiples of 8 bytes:
//
//	bytes  content
//	4      "swp1"
//	4      size, little endian
//	32     SHA-256 of the bytes
//	4      CRC-32C of the 40 bytes above, little endian
//	4      zero
//	size   the bytes; then up to the next multiple of 8, zeros or nothing
//
// Nothing in a pack is ever changed. What is not a record, because a writer was killed in
// it, is skipped by who reads all of a pack and pointed at by no index.
package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/gofrs/flock"

	"github.com/sandwich-build/sandwich/stages/cas"
)

const (
	// HeaderSize is the number of bytes in front of a record's blob.
	HeaderSize = 48
	// MaxBlob is the size up to which blobs are packed. A file of its own costs 65 to
	// 370 µs on ext4 on the machine where this was measured, whatever its size, and a
	// record of 128 KiB costs 35 µs. Above that the bytes cost more than the file, and
	// gc would copy them where it can remove a file.
	MaxBlob = 128 << 10

	align = 8
)

var magic = [4]byte{'s', 'w', 'p', '1'}

// castagnoli has hardware support on the machines that matter.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PutHeader writes the header of the record of d into the first HeaderSize bytes of b.
func PutHeader(b []byte, d cas.Digest) {
	sum := d.SHA256()
	clear(b[:HeaderSize])
	copy(b, magic[:])
	binary.LittleEndian.PutUint32(b[4:], uint32(d.Size()))
	copy(b[8:], sum[:])
	binary.LittleEndian.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
}

// parseHeader returns the digest that a record's header names.
func parseHeader(b []byte) (cas.Digest, bool) {
	if !bytes.HasPrefix(b, magic[:]) || crc32.Checksum(b[:40], castagnoli) != binary.LittleEndian.Uint32(b[40:]) {
		return cas.Digest{}, false
	}
	d := cas.DigestOf([sha256.Size]byte(b[8:40]), int64(binary.LittleEndian.Uint32(b[4:])))
	return d, d.Size() <= MaxBlob
}

// AppendRecord appends the record of data, whose digest is d, to a pack in memory, and
// returns the longer pack.
func AppendRecord(pack []byte, d cas.Digest, data []byte) []byte {
	at := int(roundUp(int64(len(pack))))
	pack = append(pack, make([]byte, at-len(pack)+HeaderSize)...)
	PutHeader(pack[at:], d)
	return append(pack, data...)
}

// roundUp returns the offset at which the next record begins.
func roundUp(n int64) int64 { return (n + align - 1) / align * align }

// Place says where in a pack the bytes of a blob are.
type Place struct {
	Digest cas.Digest
	Offset int64 // of the bytes, behind the record's header

	slot int64 // of the index that has named the place
}

// Length returns how many bytes of the pack the record takes.
func (p Place) Length() int64 { return roundUp(HeaderSize + p.Digest.Size()) }

// Scan yields the place of every record with a sound header in a pack of so many bytes.
// Whether the bytes are the blob's is known when they are read. What is no record is
// skipped. After an error nothing follows.
func Scan(r io.ReaderAt, size int64) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		header := make([]byte, HeaderSize)
		for at := int64(0); at+HeaderSize <= size; {
			if _, err := r.ReadAt(header, at); err != nil {
				yield(Place{}, fmt.Errorf("read pack: %w", err))
				return
			}
			d, ok := parseHeader(header)
			if !ok {
				at += align
				continue
			}
			p := Place{Digest: d, Offset: at + HeaderSize}
			if !yield(p, nil) {
				return
			}
			at += p.Length()
		}
	}
}

// ReadBlob returns the bytes at a place of a pack; whole is false when they are not the
// blob's.
func ReadBlob(r io.ReaderAt, p Place) (data []byte, whole bool, err error) {
	if p.Digest.Size() > MaxBlob {
		return nil, false, nil
	}
	data = make([]byte, p.Digest.Size())
	n, err := r.ReadAt(data, p.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("read pack: %w", err)
	}
	return data[:n], n == len(data) && sha256.Sum256(data) == p.Digest.SHA256(), nil
}

// The files of a pack are base.pack, base.index, and base.lock, which the process has
// that appends.
const (
	dataExt  = ".pack"
	indexExt = ".index"
	lockExt  = ".lock"
)

// Pack is a pack on disk. Any number of processes may read it while one appends.
type Pack struct {
	base  string
	data  *os.File
	index index
}

// Open opens the pack of that name, without an ending: for writing, so that damage can be
// taken out of its index, or only for reading where that is not allowed.
func Open(base string) (*Pack, error) {
	data, err := openEither(base+dataExt, 0)
	if err != nil {
		return nil, err
	}
	idx, err := openEither(base+indexExt, os.O_CREATE)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return &Pack{base: base, data: data, index: index{idx, idx}}, nil
}

func openEither(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|flag, 0o666)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if f, err := os.Open(name); err == nil {
		return f, nil
	}
	return nil, err
}

// File returns the name of the file with the bytes.
func (p *Pack) File() string { return p.base + dataExt }

// Size returns how many bytes the pack has.
func (p *Pack) Size() (int64, error) {
	info, err := p.data.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Extent says how far a pack went at a moment, and which pack it was.
type Extent struct {
	Data, Index int64  // bytes of the files
	First       uint32 // checksum of the first record's header; zero in an empty pack
}

// Extent returns how far the pack goes now.
func (p *Pack) Extent() (e Extent, err error) {
	if e.Data, err = p.Size(); err != nil {
		return Extent{}, err
	}
	info, err := p.index.f.Stat()
	if err != nil {
		return Extent{}, err
	}
	e.Index = info.Size()
	header := make([]byte, HeaderSize)
	if _, err := p.data.ReadAt(header, 0); err == nil {
		e.First = binary.LittleEndian.Uint32(header[40:])
	} else if !errors.Is(err, io.EOF) {
		return Extent{}, fmt.Errorf("read pack: %w", err)
	}
	return e, nil
}

// Covers tells whether a pack that goes so far can be what it was then, or has grown from
// it. Packs only ever grow.
func (e Extent) Covers(then Extent) bool {
	return e.Data >= then.Data && e.Index >= then.Index && (e.First == then.First || then.Data == 0)
}

// String returns the text that ParseExtent reads.
func (e Extent) String() string { return fmt.Sprintf("%d:%d:%08x", e.Data, e.Index, e.First) }

// ParseExtent reads what String has written.
func ParseExtent(text string) (e Extent, err error) {
	if _, err = fmt.Sscanf(text, "%d:%d:%x", &e.Data, &e.Index, &e.First); err != nil {
		return Extent{}, fmt.Errorf("extent %q: %w", text, err)
	}
	return e, nil
}

// Find returns where a blob is, as the index says; ok is false when it says nothing.
func (p *Pack) Find(d cas.Digest) (at Place, ok bool, err error) {
	at, ok, err = p.index.find(d)
	if errors.Is(err, errIndexFull) {
		return Place{}, false, nil
	}
	return at, ok, err
}

// Lacking returns those of the digests that the pack does not have whole, in order, as its
// index and its size say. The index of many digests is read at once: a page for each takes
// ten times as long when the digests are about as many as the pages.
func (p *Pack) Lacking(ds []cas.Digest) ([]cas.Digest, error) {
	size, err := p.Size()
	if err != nil {
		return nil, err
	}
	x := p.index
	info, err := x.f.Stat()
	if err == nil && info.Size()/bucketSize < aheadOf*int64(len(ds)) {
		x, err = x.ahead()
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	var lacking []cas.Digest
	for _, d := range ds {
		at, ok, err := x.find(d)
		if err != nil && !errors.Is(err, errIndexFull) {
			return nil, err
		}
		if !ok || at.Offset+d.Size() > size {
			lacking = append(lacking, d)
		}
	}
	return lacking, nil
}

// aheadOf is how many pages for each digest are worth reading at once rather than one by
// one.
const aheadOf = 4

// Read returns the bytes at a place; whole is false when they are not the blob's.
func (p *Pack) Read(at Place) (data []byte, whole bool, err error) { return ReadBlob(p.data, at) }

// Places calls yield for every place that the index names until it returns false.
func (p *Pack) Places(yield func(Place) bool) error { return p.index.each(yield) }

// TakeOut makes the index forget a place that was found damaged.
func (p *Pack) TakeOut(at Place) error { return p.index.takeOut(at.slot) }

// Close closes the files.
func (p *Pack) Close() error { return errors.Join(p.data.Close(), p.index.f.Close()) }

// ErrLocked says that another process appends to a pack.
var ErrLocked = errors.New("another process appends to the pack")

// lock makes this process the one that may append to a pack, or returns ErrLocked.
func lock(base string) (*flock.Flock, error) {
	l := flock.New(base+lockExt, flock.SetPermissions(0o666))
	ok, err := l.TryLock()
	if err == nil && !ok {
		err = ErrLocked
	}
	return l, err
}

// Reindex makes the index name every whole blob of the pack, which it does not when it
// was damaged or lost. It calls each before each blob, and ends with its error.
func (p *Pack) Reindex(each func() error) (added int, err error) {
	l, err := lock(p.base)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	size, err := p.Size()
	if err != nil {
		return 0, err
	}
	for at, err := range Scan(p.data, size) {
		if err = errors.Join(err, each()); err != nil {
			return added, err
		}
		was, ok, err := p.index.find(at.Digest)
		if err != nil {
			return added, err
		}
		if ok {
			continue
		}
		if _, whole, err := p.Read(at); err != nil {
			return added, err
		} else if !whole {
			continue
		}
		at.slot = was.slot
		if err := p.index.add(at); err != nil {
			return added, err
		}
		added++
	}
	return added, nil
}

// Remove deletes a pack: the names of its blobs before the blobs.
func Remove(base string) error {
	for _, ext := range []string{indexExt, dataExt, lockExt} {
		if err := os.Remove(base + ext); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

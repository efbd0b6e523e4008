package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// An index finds the records of one pack. It is a hash table on disk that only ever
// grows at its end, so that it is never rewritten or renamed: who has it open always
// sees what another process adds, and a process that is killed leaves it whole.
//
// The file is a row of tables, each growth times as large as the one before. A digest
// has one bucket in each table, and lies in the first of them that had a free slot when
// it was added. A look-up therefore reads one bucket in most cases and one bucket of
// each table at worst (five for 100,000 blobs), whatever the size of the file.
//
// A slot carries a checksum. One that does not match it is a slot of nothing: damage
// hides a blob, which is a miss, and cannot show a wrong one.
type index struct {
	f *os.File
	r io.ReaderAt // f, or what was read of it
}

const (
	slotSize     = sha256.Size + 8 + 4 + 4 // sum, offset, size, checksum
	bucketSize   = 4096                    // a page: one read, and one sector group to lose
	bucketSlots  = bucketSize / slotSize
	firstBuckets = 16 // 64 KiB, which a small project never fills
	growth       = 4
	maxTables    = 12 // 16 * 4^11 buckets: more than any pack can hold
)

// errIndexFull cannot happen in a pack of a gigabyte with a healthy index.
var errIndexFull = errors.New("index is full")

// encode returns the slot of a place.
func encode(p Place) []byte {
	sum := p.Digest.SHA256()
	slot := make([]byte, 0, slotSize)
	slot = append(slot, sum[:]...)
	slot = binary.LittleEndian.AppendUint64(slot, uint64(p.Offset))
	slot = binary.LittleEndian.AppendUint32(slot, uint32(p.Digest.Size()))
	return binary.LittleEndian.AppendUint32(slot, crc32.Checksum(slot, castagnoli))
}

// decode returns what the slot at an offset of the index says; ok is false when it is
// damaged or taken out.
func decode(slot []byte, at int64) (p Place, ok bool) {
	body, sum := slot[:slotSize-4], binary.LittleEndian.Uint32(slot[slotSize-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return Place{}, false
	}
	size := binary.LittleEndian.Uint32(body[sha256.Size+8:])
	p = Place{
		Digest: cas.DigestOf([sha256.Size]byte(body[:sha256.Size]), int64(size)),
		Offset: int64(binary.LittleEndian.Uint64(body[sha256.Size:])),
		slot:   at,
	}
	return p, p.Offset >= HeaderSize
}

// emptySlot is what a slot is before its first use: a hole in the file reads as zeros.
// The checksum of an entry that is all zeros would be zero too, but its offset is not.
var emptySlot [slotSize]byte

// takenOut marks the slot of a blob that was found damaged. It is not empty, so that
// the buckets of later tables are still looked at.
var takenOut = func() (slot [slotSize]byte) {
	for i := range slot {
		slot[i] = 0xff
	}
	return slot
}()

// bucketOffset returns where in the file the bucket of a sum in a table is. Each table
// takes other bits of the sum, so that what collided in one is spread over the next.
func bucketOffset(table int, sum [sha256.Size]byte) int64 {
	first, buckets := int64(0), int64(firstBuckets)
	for range table {
		first, buckets = first+buckets, buckets*growth
	}
	bits := binary.LittleEndian.Uint64(sum[8*(table%4):])
	return (first + int64(bits%uint64(buckets))) * bucketSize
}

// buckets are read into buffers that are used again.
var bucketBuffers = sync.Pool{New: func() any { return new([bucketSize]byte) }}

// find returns the place of a digest. When there is none, its slot is where it would go.
func (x index) find(d cas.Digest) (p Place, ok bool, err error) {
	sum := d.SHA256()
	first := binary.LittleEndian.Uint64(sum[:]) // tells nearly all slots apart; decode has the rest
	buf := bucketBuffers.Get().(*[bucketSize]byte)
	defer bucketBuffers.Put(buf)
	for table := range maxTables {
		at := bucketOffset(table, sum)
		free, err := x.read(at, buf)
		if err != nil {
			return Place{}, false, err
		}
		for i := range bucketSlots {
			raw := buf[i*slotSize : (i+1)*slotSize]
			if binary.LittleEndian.Uint64(raw) != first {
				continue
			}
			if p, ok := decode(raw, at+int64(i*slotSize)); ok && p.Digest == d {
				return p, true, nil
			}
		}
		if free >= 0 {
			return Place{slot: at + int64(free*slotSize)}, false, nil
		}
	}
	return Place{}, false, errIndexFull
}

// read fills buf with the bucket at an offset, which is empty behind the end of the
// file, and returns its first free slot, or -1. The whole bucket is of interest also
// behind a free slot: a power cut may have lost some slots and kept later ones.
func (x index) read(at int64, buf *[bucketSize]byte) (free int, err error) {
	n, err := x.r.ReadAt(buf[:], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read index: %w", err)
	}
	clear(buf[n:])
	for i := range bucketSlots {
		slot := buf[i*slotSize : (i+1)*slotSize]
		if binary.LittleEndian.Uint64(slot) == 0 && [slotSize]byte(slot) == emptySlot {
			return i, nil
		}
	}
	return -1, nil
}

// ahead returns an index of what the file says now, all of which is in memory.
func (x index) ahead() (index, error) {
	info, err := x.f.Stat()
	if err != nil {
		return index{}, fmt.Errorf("read index: %w", err)
	}
	data := make([]byte, info.Size())
	n, err := x.f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return index{}, fmt.Errorf("read index: %w", err)
	}
	return index{r: bytes.NewReader(data[:n])}, nil
}

// add writes a place into the slot that find has named.
func (x index) add(p Place) error {
	if _, err := x.f.WriteAt(encode(p), p.slot); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// takeOut makes a slot one of nothing.
func (x index) takeOut(slot int64) error {
	_, err := x.f.WriteAt(takenOut[:], slot)
	return err
}

// each calls yield for every place, in the order of the file, until it returns false.
func (x index) each(yield func(Place) bool) error {
	buf := bucketBuffers.Get().(*[bucketSize]byte)
	defer bucketBuffers.Put(buf)
	info, err := x.f.Stat()
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	for at := int64(0); at < info.Size(); at += bucketSize {
		if _, err := x.read(at, buf); err != nil {
			return err
		}
		for i := range bucketSlots {
			p, ok := decode(buf[i*slotSize:(i+1)*slotSize], at+int64(i*slotSize))
			if ok && !yield(p) {
				return nil
			}
		}
	}
	return nil
}

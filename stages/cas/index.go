package cas

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
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
type index struct{ f *os.File }

const (
	slotSize     = sha256.Size + 8 + 4 + 4 // sum, offset, size, checksum
	bucketSize   = 4096                    // a page: one read, and one sector group to lose
	bucketSlots  = bucketSize / slotSize
	firstBuckets = 16 // 64 KiB, which a small project never fills
	growth       = 4
	maxTables    = 12 // 16 * 4^11 buckets: more than any pack can hold
)

// errIndexFull cannot happen in a pack of packLimit bytes with a healthy index.
var errIndexFull = errors.New("index is full")

// place says where in a pack the bytes of a blob are.
type place struct {
	sum    [sha256.Size]byte
	offset int64 // of the bytes, behind the record's header
	size   uint32
}

func (e place) digest() Digest { return Digest{sum: e.sum, size: int64(e.size)} }

// castagnoli has hardware support on the machines that matter.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (e place) encode() []byte {
	slot := make([]byte, 0, slotSize)
	slot = append(slot, e.sum[:]...)
	slot = binary.LittleEndian.AppendUint64(slot, uint64(e.offset))
	slot = binary.LittleEndian.AppendUint32(slot, e.size)
	return binary.LittleEndian.AppendUint32(slot, crc32.Checksum(slot, castagnoli))
}

// decodePlace returns what a slot says; ok is false when it is damaged or taken out.
func decodePlace(slot []byte) (e place, ok bool) {
	body, sum := slot[:slotSize-4], binary.LittleEndian.Uint32(slot[slotSize-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return place{}, false
	}
	copy(e.sum[:], body)
	e.offset = int64(binary.LittleEndian.Uint64(body[sha256.Size:]))
	e.size = binary.LittleEndian.Uint32(body[sha256.Size+8:])
	return e, e.offset >= headerSize
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

// find returns the entry of a digest and where its slot is. When there is none, slot is
// where it would go.
func (x index) find(d Digest) (e place, slot int64, ok bool, err error) {
	buf := bucketBuffers.Get().(*[bucketSize]byte)
	defer bucketBuffers.Put(buf)
	for table := range maxTables {
		at := bucketOffset(table, d.sum)
		free, err := x.read(at, buf)
		if err != nil {
			return place{}, 0, false, err
		}
		for i := range bucketSlots {
			raw := buf[i*slotSize : (i+1)*slotSize]
			if [sha256.Size]byte(raw[:sha256.Size]) != d.sum {
				continue
			}
			if e, ok := decodePlace(raw); ok && int64(e.size) == d.size {
				return e, at + int64(i*slotSize), true, nil
			}
		}
		if free >= 0 {
			return place{}, at + int64(free*slotSize), false, nil
		}
	}
	return place{}, 0, false, errIndexFull
}

// read fills buf with the bucket at an offset, which is empty behind the end of the
// file, and returns its first free slot, or -1. The whole bucket is of interest also
// behind a free slot: a power cut may have lost some slots and kept later ones.
func (x index) read(at int64, buf *[bucketSize]byte) (free int, err error) {
	n, err := x.f.ReadAt(buf[:], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read index: %w", err)
	}
	clear(buf[n:])
	for i := range bucketSlots {
		if [slotSize]byte(buf[i*slotSize:(i+1)*slotSize]) == emptySlot {
			return i, nil
		}
	}
	return -1, nil
}

// add writes an entry into the slot that find has named.
func (x index) add(slot int64, e place) error {
	if _, err := x.f.WriteAt(e.encode(), slot); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// takeOut makes a slot one of nothing.
func (x index) takeOut(slot int64) error {
	_, err := x.f.WriteAt(takenOut[:], slot)
	return err
}

// each calls yield for every entry, in the order of the file, until it returns false.
func (x index) each(yield func(e place, slot int64) bool) error {
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
			e, ok := decodePlace(buf[i*slotSize : (i+1)*slotSize])
			if ok && !yield(e, at+int64(i*slotSize)) {
				return nil
			}
		}
	}
	return nil
}

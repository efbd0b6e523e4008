package cas

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
)

// A pack is a file of many small blobs, each in a record:
//
//	magic 4 · size 4 · SHA-256 32 · checksum of these 4 · reserved 4 · the bytes
//
// Records begin at multiples of recordAlign. One process at a time appends to a pack,
// the one that holds its lock; any number read it. Nothing in a pack is ever changed.
//
// The header is not needed to read a blob, whose place the index knows and whose bytes
// are checked against its digest. It is there so that an index that was lost can be
// made again (see Disk.Reindex). What a killed writer left at the end of a pack is
// skipped by that and read by nobody.
type pack struct {
	id    int
	data  *os.File
	index index
}

const (
	headerSize  = 48
	recordAlign = 8
	// SmallBlob is the size up to which blobs are packed. A file of its own costs 65 to
	// 370 µs on ext4 on the machine where this was measured, whatever its size, and a
	// record of 128 KiB costs 35 µs. Above that the bytes cost more than the file, and
	// gc would copy them where it can remove a file.
	SmallBlob = 128 << 10
	// packLimit is the size at which a pack is full. A look-up asks every pack, so they
	// should be few; gc copies what it keeps of one, so they should not be huge.
	packLimit = 1 << 30
)

var recordMagic = [4]byte{'s', 'w', 'p', '1'}

// putHeader writes the header of a blob's record into the first headerSize bytes of b.
func putHeader(b []byte, d Digest) {
	clear(b[:headerSize])
	copy(b, recordMagic[:])
	binary.LittleEndian.PutUint32(b[4:], uint32(d.size))
	copy(b[8:], d.sum[:])
	binary.LittleEndian.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
}

// parseHeader returns the digest that a record's header names.
func parseHeader(b []byte) (Digest, bool) {
	if !bytes.HasPrefix(b, recordMagic[:]) || crc32.Checksum(b[:40], castagnoli) != binary.LittleEndian.Uint32(b[40:]) {
		return Digest{}, false
	}
	d := Digest{sum: [sha256.Size]byte(b[8:40]), size: int64(binary.LittleEndian.Uint32(b[4:]))}
	return d, d.size <= SmallBlob
}

// roundUp returns the offset at which the next record begins.
func roundUp(n int64) int64 { return (n + recordAlign - 1) / recordAlign * recordAlign }

func packName(dir string, id int) string  { return filepath.Join(dir, fmt.Sprintf("%06d.pack", id)) }
func indexName(dir string, id int) string { return filepath.Join(dir, fmt.Sprintf("%06d.index", id)) }
func lockName(dir string, id int) string  { return filepath.Join(dir, fmt.Sprintf("%06d.lock", id)) }

// openPack opens a pack that exists: for writing, so that damage can be taken out of
// its index, or only for reading where that is not allowed.
func openPack(dir string, id int) (*pack, error) {
	data, err := openEither(packName(dir, id), 0)
	if err != nil {
		return nil, err
	}
	idx, err := openEither(indexName(dir, id), os.O_CREATE)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return &pack{id: id, data: data, index: index{idx}}, nil
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

func (p *pack) close() error { return errors.Join(p.data.Close(), p.index.f.Close()) }

// read returns the bytes that an entry points at; ok is false when they are not the
// blob's.
func (p *pack) read(e place) (data []byte, ok bool, err error) {
	if e.size > SmallBlob {
		return nil, false, nil
	}
	data = make([]byte, e.size)
	n, err := p.data.ReadAt(data, e.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("read pack: %w", err)
	}
	return data[:n], n == len(data) && sha256.Sum256(data) == e.sum, nil
}

// packWriter appends to the pack whose lock it holds.
type packWriter struct {
	*pack
	lock *flock.Flock

	writing sync.WaitGroup // appends under way
	mu      sync.Mutex     // guards what follows, and adding to the index
	end     int64          // where the next record begins
	dirty   bool           // whether something was appended since the last sync
	closed  bool           // whether appending has ended
}

// errPackClosed says that a pack was full before a blob had its place in it.
var errPackClosed = errors.New("pack is closed")

// lockPack returns the lock of a pack, or nil when somebody has it.
func lockPack(dir string, id int) (*flock.Flock, error) {
	lock := flock.New(lockName(dir, id), flock.SetPermissions(0o666))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, err
	}
	return lock, nil
}

// openWriter returns a writer of the pack, or nil when another process has it or it is
// full. A pack that does not exist is made.
func openWriter(dir string, id int) (_ *packWriter, err error) {
	lock, err := lockPack(dir, id)
	if lock == nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = lock.Unlock() // the first error is the one to tell
		}
	}()
	data, err := os.OpenFile(packName(dir, id), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	end, err := data.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	if end >= packLimit {
		return nil, errors.Join(data.Close(), lock.Unlock())
	}
	idx, err := os.OpenFile(indexName(dir, id), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return &packWriter{pack: &pack{id: id, data: data, index: index{idx}}, lock: lock, end: roundUp(end)}, nil
}

// append adds the blob d, whose bytes follow headerSize bytes of room in record. The
// place is taken first and written outside of the lock, so that writers do not wait for
// each other's bytes; the index names it last, so that nobody reads what is not there.
func (w *packWriter) append(d Digest, record []byte) error {
	putHeader(record, d)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errPackClosed
	}
	offset := w.end
	w.end += roundUp(int64(len(record)))
	w.dirty = true
	w.writing.Add(1)
	w.mu.Unlock()
	defer w.writing.Done()
	if _, err := w.data.WriteAt(record, offset); err != nil {
		return err
	}
	return w.point(d, offset)
}

// point makes the index name the record at offset as the blob d.
func (w *packWriter) point(d Digest, offset int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, slot, ok, err := w.index.find(d)
	if err != nil || ok { // somebody stored the same blob at the same time
		return err
	}
	return w.index.add(slot, place{sum: d.sum, offset: offset + headerSize, size: uint32(d.size)})
}

// full tells whether another pack should be begun.
func (w *packWriter) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end >= packLimit
}

// sync brings to the disk what was appended: the bytes first, then their names.
func (w *packWriter) sync() error {
	w.mu.Lock()
	dirty := w.dirty
	w.dirty = false
	w.mu.Unlock()
	if !dirty {
		return nil
	}
	err := w.data.Sync()
	if err == nil {
		err = w.index.f.Sync()
	}
	if err != nil {
		w.mu.Lock()
		w.dirty = true
		w.mu.Unlock()
	}
	return err
}

// close ends appending. The lock is kept until every place that was taken is written:
// the next process begins at the end of the file.
func (w *packWriter) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.writing.Wait()
	return errors.Join(w.sync(), w.pack.close(), w.lock.Unlock())
}

// records calls yield for every record of the pack with a sound header, also those
// that no index knows, until it returns false. Rubbish between them is skipped.
func (p *pack) records(yield func(d Digest, offset int64) bool) error {
	info, err := p.data.Stat()
	if err != nil {
		return err
	}
	header := make([]byte, headerSize)
	for at := int64(0); at+headerSize <= info.Size(); {
		if _, err := p.data.ReadAt(header, at); err != nil {
			return fmt.Errorf("read pack: %w", err)
		}
		d, ok := parseHeader(header)
		if !ok {
			at += recordAlign
			continue
		}
		if !yield(d, at) {
			return nil
		}
		at = roundUp(at + headerSize + d.size)
	}
	return nil
}

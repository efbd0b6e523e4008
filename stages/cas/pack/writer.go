package pack

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/gofrs/flock"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Writer appends to the pack whose lock it has. It is safe for concurrent use.
type Writer struct {
	pack  *Pack
	lock  *flock.Flock
	limit int64

	writing sync.WaitGroup // appends under way
	mu      sync.Mutex     // guards what follows, and adding to the index
	end     int64          // where the next record begins
	dirty   bool           // whether something was written since the last sync
	closed  bool           // whether appending has ended
}

// Reasons for which a blob does not go into a pack, and needs another one.
var (
	ErrFull   = errors.New("pack is full")
	ErrClosed = errors.New("pack is closed")
)

// Append returns a writer to the pack of that name, which it makes where there is none.
// The error is ErrLocked when another process has it, and ErrFull when it has limit bytes.
func Append(base string, limit int64) (_ *Writer, err error) {
	l, err := lock(base)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = l.Unlock() // the first error is the one to tell
		}
	}()
	data, err := os.OpenFile(base+dataExt, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	end, err := data.Seek(0, io.SeekEnd)
	if err == nil && end >= limit {
		err = ErrFull
	}
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	idx, err := os.OpenFile(base+indexExt, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	p := &Pack{base: base, data: data, index: index{idx, idx}}
	return &Writer{pack: p, lock: l, limit: limit, end: roundUp(end)}, nil
}

// Append adds the blob d, whose bytes follow HeaderSize bytes of room in record. The
// place is taken first and written outside of the lock, so that writers do not wait for
// each other's bytes; the index names it last, so that nobody reads what is not there.
func (w *Writer) Append(d cas.Digest, record []byte) error {
	PutHeader(record, d)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	offset := w.end
	w.end += roundUp(int64(len(record)))
	w.writing.Add(1)
	w.mu.Unlock()
	defer w.writing.Done()
	if _, err := w.pack.data.WriteAt(record, offset); err != nil {
		return err
	}
	return w.point(d, offset)
}

// point makes the index name the record at offset as the blob d. Only now there is
// something to sync: a Sync since the place was taken may have come before the bytes.
func (w *Writer) point(d cas.Digest, offset int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = true
	at, ok, err := w.pack.index.find(d)
	if err != nil || ok { // somebody stored the same blob at the same time
		return err
	}
	return w.pack.index.add(Place{Digest: d, Offset: offset + HeaderSize, slot: at.slot})
}

// Full tells whether another pack should be begun.
func (w *Writer) Full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end >= w.limit
}

// Sync brings to the disk what was appended: the bytes first, then their names.
func (w *Writer) Sync() error {
	w.mu.Lock()
	dirty := w.dirty
	w.dirty = false
	w.mu.Unlock()
	if !dirty {
		return nil
	}
	err := w.pack.data.Sync()
	if err == nil {
		err = w.pack.index.f.Sync()
	}
	if err != nil {
		w.mu.Lock()
		w.dirty = true
		w.mu.Unlock()
	}
	return err
}

// Close syncs, and ends appending. The lock is kept until every place that was taken is
// written: the next process begins at the end of the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.writing.Wait()
	return errors.Join(w.Sync(), w.pack.Close(), w.lock.Unlock())
}

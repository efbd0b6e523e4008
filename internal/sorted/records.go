package sorted

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
)

// Records sorts records by their keys, whatever the order in which they come, in bounded memory.
// What is beyond that goes to a temporary file, in runs that are sorted each, and are merged
// whenever the records are read. Its methods are not safe for concurrent use.
type Records struct {
	folder string // for the temporary file; empty is the system's
	memory int    // bytes that may be held

	held   []byte  // records, one behind the other, as appendRecord writes them
	places []place // of each of them
	file   *os.File
	end    int64 // of the file
	runs   []run
}

// Record is bytes under a key.
type Record struct{ Key, Value []byte }

// place is where a record is held.
type place struct {
	prefix uint64 // the first bytes of its key: most comparisons need no others
	at     int
}

const placeSize = 16 // bytes

// run is a piece of the file.
type run struct{ at, end int64 }

// NewRecords returns no records yet. They need so many bytes of memory at the most, besides
// runBuffer for each time that there are so many bytes of them; the file is made in the folder,
// empty is the system's, when there are more.
func NewRecords(folder string, memory int) *Records { return &Records{folder: folder, memory: memory} }

// runBuffer is how many bytes of a run are read and written at a time.
const runBuffer = 64 << 10

// Add adds a record, of which it keeps copies.
func (r *Records) Add(key, value []byte) error {
	size := headSize + len(key) + len(value)
	if len(r.places) > 0 && len(r.held)+size+placeSize*(len(r.places)+1) > r.memory {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.places = append(r.places, place{prefixOf(key), len(r.held)})
	r.held = appendRecord(r.held, key, value)
	return nil
}

// All yields the records by ascending keys, those under one key in the order in which they were
// added. A record holds for one turn of the loop. The first error ends the sequence, which can be
// gone through again.
func (r *Records) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if len(r.runs) > 0 {
			r.merge(yield)
			return
		}
		r.sort()
		for _, p := range r.places {
			if !yield(r.record(p), nil) {
				return
			}
		}
	}
}

// Close removes the file. The records are gone.
func (r *Records) Close() error {
	r.held, r.places, r.runs = nil, nil, nil
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// flush moves what is held to the file, as a run.
func (r *Records) flush() error {
	if r.file == nil {
		f, err := os.CreateTemp(r.folder, "sandwich-sort-*")
		if err != nil {
			return fmt.Errorf("sort: %w", err)
		}
		// Without a name nobody finds it, and it is gone when the process is.
		if err := os.Remove(f.Name()); err != nil {
			return fmt.Errorf("sort: %w", errors.Join(err, f.Close()))
		}
		r.file = f
	}
	r.sort()
	start := r.end
	out := bufio.NewWriterSize(r.file, runBuffer)
	for _, p := range r.places {
		of := r.record(p)
		n, err := out.Write(appendRecord(out.AvailableBuffer(), of.Key, of.Value))
		if r.end += int64(n); err != nil {
			return fmt.Errorf("sort: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("sort: %w", err)
	}
	r.runs = append(r.runs, run{start, r.end})
	r.held, r.places = r.held[:0], r.places[:0]
	return nil
}

// sort sorts what is held.
func (r *Records) sort() {
	slices.SortFunc(r.places, func(a, b place) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return cmp.Or(bytes.Compare(r.record(a).Key, r.record(b).Key), cmp.Compare(a.at, b.at))
	})
}

// record returns a record that is held.
func (r *Records) record(p place) Record {
	b := r.held[p.at:]
	key, value := sizes(b)
	b = b[headSize:]
	return Record{Key: b[:key], Value: b[key : key+value]}
}

// merge yields the records of all runs, to which it moves what is held.
func (r *Records) merge(yield func(Record, error) bool) {
	if len(r.places) > 0 {
		if err := r.flush(); err != nil {
			yield(Record{}, err)
			return
		}
	}
	r.held, r.places = nil, nil // what follows may need the memory
	var open cursors
	for i, piece := range r.runs {
		text := io.NewSectionReader(r.file, piece.at, piece.end-piece.at)
		c := &cursor{number: i, src: bufio.NewReaderSize(text, runBuffer)}
		if err := c.next(); err != nil {
			yield(Record{}, fmt.Errorf("sort: %w", err))
			return
		}
		open = append(open, c)
	}
	heap.Init(&open)
	for len(open) > 0 {
		if !yield(open[0].record, nil) {
			return
		}
		switch err := open[0].next(); {
		case err == nil:
			heap.Fix(&open, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(&open)
		default:
			yield(Record{}, fmt.Errorf("sort: %w", err))
			return
		}
	}
}

// cursor goes through a run.
type cursor struct {
	number int // of the run
	src    *bufio.Reader
	buf    []byte // holds the record
	record Record
	prefix uint64 // of its key
}

// next reads the next record. It returns io.EOF behind the last.
func (c *cursor) next() error {
	var head [headSize]byte
	if _, err := io.ReadFull(c.src, head[:]); err != nil {
		return err
	}
	key, value := sizes(head[:])
	c.buf = slices.Grow(c.buf[:0], key+value)[:key+value]
	if _, err := io.ReadFull(c.src, c.buf); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	c.record = Record{Key: c.buf[:key], Value: c.buf[key:]}
	c.prefix = prefixOf(c.record.Key)
	return nil
}

// cursors is a heap.Interface with the next record on top.
type cursors []*cursor

func (h cursors) Len() int { return len(h) }
func (h cursors) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.prefix != b.prefix {
		return a.prefix < b.prefix
	}
	return cmp.Or(bytes.Compare(a.record.Key, b.record.Key), cmp.Compare(a.number, b.number)) < 0
}
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)   { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// headSize is the size of what stands before a record: the lengths of its key and its value.
const headSize = 8

// appendRecord appends a record.
func appendRecord(b, key, value []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, key...)
	return append(b, value...)
}

func sizes(head []byte) (key, value int) {
	return int(binary.LittleEndian.Uint32(head)), int(binary.LittleEndian.Uint32(head[4:]))
}

// prefixOf returns a number that orders keys as their first eight bytes do.
func prefixOf(key []byte) uint64 {
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

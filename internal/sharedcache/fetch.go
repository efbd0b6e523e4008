package sharedcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// source is a table that is read when the first blob is looked for in it: the one that is
// named, or that of an action's result.
type source struct {
	action cas.Digest
	named  cas.Digest

	mu    sync.Mutex // held while it is read; guards what follows
	table *table     // nil when there is none
	tried bool
}

// read returns the table if it was read, and whether that was tried.
func (s *source) read() (*table, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table, s.tried
}

// cost orders sources by how much there is to read.
func (s *source) cost() int64 {
	if s.named.IsZero() {
		return math.MaxInt64
	}
	return s.named.Size()
}

// locate finds a blob in the shared cache, in a table that need not be read first if there
// is one.
func (c *Cache) locate(ctx context.Context, d cas.Digest) (*table, int, bool) {
	c.mu.Lock()
	bad, sources := c.bad[d], c.sources
	c.mu.Unlock()
	if bad || d.Size() == 0 || c.remote.reading.off() {
		return nil, 0, false
	}
	for t := range c.tables(ctx, sources) {
		i, ok := t.find(d)
		if !ok {
			continue
		}
		if !c.state(t.row(i).pack).is(gone) {
			return t, i, true
		}
	}
	return nil, 0, false
}

// tables yields the tables of sources: those that were read, and then the others, small ones
// first.
func (c *Cache) tables(ctx context.Context, sources []*source) iter.Seq[*table] {
	return func(yield func(*table) bool) {
		var unread []*source
		for _, s := range sources {
			t, tried := s.read()
			if t != nil && !yield(t) {
				return
			}
			if !tried {
				unread = append(unread, s)
			}
		}
		slices.SortStableFunc(unread, func(a, b *source) int { return cmp.Compare(a.cost(), b.cost()) })
		for _, s := range unread {
			if t := c.load(ctx, s); t != nil && !yield(t) {
				return
			}
		}
	}
}

// load reads the table of a source, unless that was tried before.
func (c *Cache) load(ctx context.Context, s *source) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tried {
		return s.table
	}
	name := s.named
	if name.IsZero() {
		e, err := c.entry(ctx, s.action)
		if err != nil {
			return nil
		}
		if e != nil {
			name = e.Table.Digest
		}
	}
	var err error
	if !name.IsZero() {
		s.table, err = c.readTable(ctx, name)
	}
	s.tried = err == nil
	return s.table
}

// readTable reads a table: from this machine, which keeps those that it has read, or from the
// shared cache. One that is not there is nil; an error says that it may be there the next time.
func (c *Cache) readTable(ctx context.Context, name cas.Digest) (*table, error) {
	if data, err := cas.ReadBlob(ctx, c.local, name); err == nil {
		if t, err := decodeTable(data); err == nil {
			return t, nil
		}
	}
	t, data, err := c.downloadTable(ctx, name)
	switch {
	case err == nil:
		_, _ = cas.PutBytes(ctx, c.local, data) // what cannot be kept is read again
	case ctx.Err() != nil || errors.Is(err, errOff):
		return nil, err
	case errors.Is(err, errTable) || errors.Is(err, cas.ErrDamaged) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, blob.ErrTooLarge):
		c.accuse(fmt.Sprintf("%s: %v", tableKey(name), err))
	}
	return t, nil
}

func (c *Cache) downloadTable(ctx context.Context, name cas.Digest) (*table, []byte, error) {
	if name.Size() > maxTable {
		return nil, nil, fmt.Errorf("%w: %d bytes", blob.ErrTooLarge, name.Size())
	}
	data, err := c.remote.get(ctx, tableKey(name), name.Size(), name.Size())
	if err != nil {
		return nil, nil, err
	}
	if cas.Sum(data) != name {
		return nil, nil, cas.ErrDamaged
	}
	t, err := decodeTable(data)
	return t, data, err
}

// packState is what is known of a pack.
type packState struct {
	reading sync.Mutex // held while it is read; guards window
	window  int64      // how many bytes to read the next time

	mu   sync.Mutex // guards fate
	fate fate
}

// fate is what became of a pack.
type fate int

const (
	unknown fate = iota
	whole        // it was seen, with as many bytes as it should have
	gone         // there is no such pack
	spoilt       // a blob of it had other bytes; others may be sound
)

func (p *packState) is(f fate) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fate == f
}

func (p *packState) set(f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fate = f
}

func (c *Cache) state(p pack) *packState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.packs[p.name]
	if s == nil {
		s = &packState{window: firstWindow}
		c.packs[p.name] = s
	}
	return s
}

// firstWindow is how much of a pack is read when a blob of it is asked for the first time.
// It doubles each time: who reads one file of a tree needs little else, and who reads a
// second one most likely reads all.
const firstWindow = 256 << 10

// readPack brings the blob of row i to this machine, and those that lie behind it as far as
// the window goes. What the shared cache does not yield is noted; the error is this machine's.
func (c *Cache) readPack(ctx context.Context, t *table, i int) error {
	at := t.row(i)
	state := c.state(at.pack)
	state.reading.Lock()
	defer state.reading.Unlock()
	rows := t.run(i, state.window)
	wanted, err := c.wanted(ctx, rows)
	if err != nil || !wanted[at.digest] { // somebody else was reading it
		return err
	}
	state.window = min(2*state.window, packSize)
	for !wanted[rows[len(rows)-1].digest] {
		rows = rows[:len(rows)-1]
	}
	last := rows[len(rows)-1]
	err = c.remote.open(ctx, packKey(at.pack), at.offset, last.offset+last.digest.Size()-at.offset, func(r io.Reader) error {
		return c.unpack(ctx, r, rows, wanted)
	})
	if own, ok := errors.AsType[*ownError](err); ok {
		return own.err
	}
	if errors.Is(err, fs.ErrNotExist) {
		state.set(gone)
		c.accuse("it has not got " + packKey(at.pack) + ", which holds blobs of a result")
	}
	return context.Cause(ctx)
}

// wanted returns which of the blobs this machine does not have.
func (c *Cache) wanted(ctx context.Context, rows []row) (map[cas.Digest]bool, error) {
	blobs := make([]cas.Digest, len(rows))
	for i, r := range rows {
		blobs[i] = r.digest
	}
	missing, err := c.local.Missing(ctx, blobs)
	if err != nil {
		return nil, err
	}
	wanted := make(map[cas.Digest]bool, len(missing))
	for _, d := range missing {
		wanted[d] = true
	}
	return wanted, nil
}

// unpack stores the wanted ones of blobs that lie behind each other in r.
func (c *Cache) unpack(ctx context.Context, r io.Reader, rows []row, wanted map[cas.Digest]bool) error {
	at := rows[0].offset
	for _, row := range rows {
		gap := row.offset - at
		if !wanted[row.digest] {
			gap += row.digest.Size()
		}
		if n, err := io.CopyN(io.Discard, r, gap); err != nil && !errors.Is(err, io.EOF) {
			return err
		} else if n < gap {
			return nil // it was cut; who needs what is behind that finds out
		}
		at = row.offset + row.digest.Size()
		if !wanted[row.digest] {
			continue
		}
		in := &transfer{r: io.LimitReader(r, row.digest.Size())}
		got, err := c.local.Put(ctx, in)
		switch {
		case in.err != nil:
			return in.err
		case err != nil:
			return &ownError{err}
		case got != row.digest:
			c.spoil(row)
		default:
			c.mu.Lock()
			c.blobs++
			c.mu.Unlock()
		}
	}
	return nil
}

// transfer keeps the error of a reader apart from those of who reads it.
type transfer struct {
	r   io.Reader
	err error
}

func (t *transfer) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}

// spoil notes that the bytes at a row are not those of its blob.
func (c *Cache) spoil(r row) {
	c.mu.Lock()
	c.bad[r.digest] = true
	c.mu.Unlock()
	c.state(r.pack).set(spoilt)
	c.accuse(fmt.Sprintf("%s has other bytes than blob %s", packKey(r.pack), r.digest))
}

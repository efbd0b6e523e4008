package items

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"path"
	"slices"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// A table is a folder of chunks, 00000000, 00000001, …, and a chunk is a folder of two
// sorts of files:
//
//	00000000, 00000001, …   the blobs of its rows, row by row
//	rows                    name, key, data and number of blobs of each row
//
// The blobs are files of the tree so that whoever keeps the tree, without knowing what
// it is, keeps them.
//
// Where a chunk ends is decided by the name of its last row. So the same rows make the
// same chunk, whatever is before and behind them, and one changed item writes one
// chunk anew.
const rowsFile = "rows"

const (
	chunkRows    = 512     // rows of a chunk, on average: some 32 KiB of rows, 60 KiB of names of blobs
	maxChunkRows = 4096    // what else ends a chunk, for memory's sake
	maxChunkData = 1 << 20 // bytes of rows, likewise
)

// row is an item with its outcome.
type row struct {
	name    string
	key     [sha256.Size]byte
	outcome Outcome
}

// endsChunk reports whether a chunk ends behind the row of that name.
func endsChunk(name string) bool {
	return crc32.ChecksumIEEE([]byte(name))%chunkRows == 0
}

// writer writes the chunks of a table.
type writer struct {
	store  cas.Store
	chunks []cas.TreeID // those that are full
	rows   int          // of the chunk that is not
	data   []byte       // its rows
	blobs  []cas.Digest // and their blobs
}

// add writes a row. After an error the row is there all the same, and the chunk is stored
// with the next one.
func (w *writer) add(ctx context.Context, r row) error {
	w.rows++
	w.data = appendBytes(w.data, []byte(r.name))
	w.data = append(w.data, r.key[:]...)
	w.data = appendBytes(w.data, r.outcome.Data)
	w.data = binary.AppendUvarint(w.data, uint64(len(r.outcome.Blobs)))
	w.blobs = append(w.blobs, r.outcome.Blobs...)
	if !endsChunk(r.name) && w.rows < maxChunkRows && len(w.data) < maxChunkData {
		return nil
	}
	id, err := w.chunk(ctx)
	if err != nil {
		return err
	}
	w.chunks = append(w.chunks, id)
	w.rows, w.data, w.blobs = 0, w.data[:0], w.blobs[:0]
	return nil
}

func appendBytes(to, b []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(b))), b...)
}

// chunk stores the rows that are not in a chunk yet as one.
func (w *writer) chunk(ctx context.Context) (cas.TreeID, error) {
	b := cas.NewBuilder(w.store)
	for i, d := range w.blobs {
		if err := b.Add(blobName(i), d); err != nil {
			return cas.TreeID{}, err
		}
	}
	rows, err := cas.PutBytes(ctx, w.store, w.data)
	if err == nil {
		err = b.Add(rowsFile, rows)
	}
	if err != nil {
		return cas.TreeID{}, err
	}
	tree, err := b.Commit(ctx)
	return tree.ID(), err
}

// blobName is the name of a chunk's blob; names sort as numbers do, and before rowsFile.
func blobName(i int) string { return fmt.Sprintf("%08x", i) }

// chunksSoFar returns the chunks, the last of which may grow.
func (w *writer) chunksSoFar(ctx context.Context) ([]cas.TreeID, error) {
	if w.rows == 0 {
		return slices.Clone(w.chunks), nil
	}
	last, err := w.chunk(ctx)
	return append(slices.Clone(w.chunks), last), err
}

// table reads a table from its begin to its end.
type table struct {
	store  cas.Store
	chunks []cas.TreeID // those that are not behind us
	ahead  [][]row      // the rows of the first of them; one that cannot be read has none
	lost   map[cas.Digest]bool
	known  bool // lost is about ahead
}

// readAhead is how many chunks are read at once: a store finds many blobs faster when it
// is asked for all of them.
const readAhead = 16

// openTable finds a set's table in a book; ok is false when it has none.
func openTable(ctx context.Context, book cas.Tree, store cas.Store, folder string) (_ *table, ok bool) {
	sub, err := book.Sub(ctx, folder)
	if err != nil {
		return nil, false
	}
	chunks, err := sub.Directories(ctx)
	if err != nil {
		return nil, false
	}
	t := &table{store: store}
	for _, name := range slices.Sorted(maps.Keys(chunks)) {
		t.chunks = append(t.chunks, chunks[name])
	}
	return t, true
}

// rest returns the chunks of what is not behind us.
func (t *table) rest() []cas.TreeID { return t.chunks }

// find returns the row of a name, which is not less than that of the last call, if it has
// the key and its blobs are in the store. The error is the end of the context: a chunk
// that cannot be read has no rows.
func (t *table) find(ctx context.Context, name string, key [sha256.Size]byte) (_ row, ok bool, err error) {
	for {
		rows, err := t.rows(ctx)
		if err != nil || len(rows) == 0 || rows[0].name > name {
			return row{}, false, err
		}
		if rows[0].name == name && rows[0].key == key {
			ok, err := t.whole(ctx, rows[0])
			return rows[0], ok, err
		}
		t.ahead[0] = rows[1:] // a snapshot may have the name once more, in its older part
	}
}

// rows returns what is left of the first chunk that has rows left; nothing at the end.
func (t *table) rows(ctx context.Context) ([]row, error) {
	for {
		if len(t.ahead) > 0 && len(t.ahead[0]) > 0 {
			return t.ahead[0], nil
		}
		if len(t.ahead) > 0 {
			t.ahead, t.chunks = t.ahead[1:], t.chunks[1:]
			continue
		}
		if len(t.chunks) == 0 {
			return nil, nil
		}
		for _, id := range t.chunks[:min(readAhead, len(t.chunks))] {
			rows, err := readChunk(ctx, cas.NewTree(t.store, id))
			if cause := context.Cause(ctx); cause != nil {
				return nil, cause
			}
			if err != nil {
				rows = nil
			}
			t.ahead = append(t.ahead, rows)
		}
		t.known = false
	}
}

// whole reports whether the blobs of a row are in the store. That is found out for all
// that was read ahead at once.
func (t *table) whole(ctx context.Context, r row) (bool, error) {
	if !t.known {
		var all []cas.Digest
		for _, rows := range t.ahead {
			for _, r := range rows {
				all = append(all, r.outcome.Blobs...)
			}
		}
		missing, err := t.store.Missing(ctx, all)
		if err != nil {
			return false, err
		}
		t.known, t.lost = true, make(map[cas.Digest]bool, len(missing))
		for _, d := range missing {
			t.lost[d] = true
		}
	}
	if len(t.lost) == 0 {
		return true, nil
	}
	for _, d := range r.outcome.Blobs {
		if t.lost[d] {
			return false, nil
		}
	}
	return true, nil
}

// errChunk says that what should be a chunk is none.
var errChunk = errors.New("not a chunk of a table of items")

func readChunk(ctx context.Context, chunk cas.Tree) ([]row, error) {
	var blobs []cas.Digest
	for f, err := range chunk.Files(ctx) {
		if err != nil {
			return nil, err
		}
		if path.Base(f.Path) != rowsFile {
			blobs = append(blobs, f.Digest)
		}
	}
	data, err := chunk.ReadFile(ctx, rowsFile)
	if err != nil {
		return nil, err
	}
	return parseRows(data, blobs)
}

// parseRows reads the rows of a chunk, and deals out its blobs.
func parseRows(data []byte, blobs []cas.Digest) ([]row, error) {
	rows := make([]row, 0, chunkRows)
	for len(data) > 0 {
		var r row
		name, data1, ok := cutBytes(data)
		if !ok || len(data1) < len(r.key) {
			return nil, errChunk
		}
		r.name, r.key = string(name), [sha256.Size]byte(data1)
		r.outcome.Data, data, ok = cutBytes(data1[len(r.key):])
		n, width := binary.Uvarint(data)
		if !ok || width <= 0 || n > uint64(len(blobs)) {
			return nil, errChunk
		}
		data = data[width:]
		r.outcome.Blobs, blobs = blobs[:n:n], blobs[n:]
		rows = append(rows, r)
	}
	if len(blobs) > 0 {
		return nil, errChunk
	}
	return rows, nil
}

// cutBytes takes what appendBytes has put in front.
func cutBytes(data []byte) (b, rest []byte, ok bool) {
	n, width := binary.Uvarint(data)
	if width <= 0 || n > uint64(len(data)-width) {
		return nil, nil, false
	}
	end := width + int(n)
	return data[width:end:end], data[end:], true
}

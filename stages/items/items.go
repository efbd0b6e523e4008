// Package items remembers what the single parts of a stage's work came to, so that the
// stage, when it runs again on other inputs, does only what differs: one photo changed is
// one photo done again.
//
// A stage has one or more sets of items. An item has a name, which tells it from the
// others of its set ("0a1b2c3d", a photo), and a key: everything that decides its outcome.
// What it came to is kept in a table, sorted by name, and the tables of a run are a tree of
// the content store that the result of the stage names. So there is no second cache: gc
// keeps and drops tables with the results, export takes them along, damage is a miss, and
// equal runs have equal tables.
//
// A run walks its items in the order of their names and through the tables of earlier
// runs beside them, as one merges sorted files. So memory holds a chunk of each
// table, and not the items, of which there may be millions.
package items

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// format is raised when tables are written in another way. It is part of every key, so
// that tables of another format are not even looked at.
const format = 1

// Outcome is what became of an item. A kind writes into Data what it wants to know of it
// later, in a form of its own.
type Outcome struct {
	Data  []byte
	Blobs []cas.Digest // what it has stored; without one of them the outcome does not count
}

// Scope is what decides all items of a stage beside their keys.
type Scope struct {
	Kind        string
	Version     int    // of the kind's behaviour
	Environment string // digest of what the stage runs in
}

// Book is the items of one run of a stage. Its methods are safe for concurrent use.
type Book struct {
	store   cas.Store
	scope   Scope
	earlier []cas.Tree

	mu   sync.Mutex // guards sets
	sets map[string]*Set
}

// NewBook begins the items of a run. earlier are the books of earlier runs, the most
// likely first; what cannot be read of them is not known.
func NewBook(store cas.Store, scope Scope, earlier []cas.Tree) *Book {
	return &Book{store: store, scope: scope, earlier: earlier, sets: make(map[string]*Set)}
}

// Set begins a set of items. name is a lower-case word; params are the parameters that
// reach every item of the set, and are marshalled to JSON.
func (b *Book) Set(ctx context.Context, name string, params any) (*Set, error) {
	prefix, err := b.scope.prefix(name, params)
	if err != nil {
		return nil, fmt.Errorf("items %s: %w", name, err)
	}
	folder := name + "-" + hex.EncodeToString(prefix[:8])
	if !fs.ValidPath(folder) || strings.Contains(folder, "/") {
		return nil, fmt.Errorf("items %s: %w", name, fs.ErrInvalid)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sets[folder] != nil {
		return nil, fmt.Errorf("items %s: begun twice", name)
	}
	s := &Set{prefix: prefix, out: writer{store: b.store}, moved: make(chan struct{})}
	for _, book := range b.earlier {
		if t, ok := openTable(ctx, book, b.store, folder); ok {
			s.earlier = append(s.earlier, t)
		}
	}
	b.sets[folder] = s
	return s, context.Cause(ctx)
}

// prefix is the digest of everything that the keys of a set have in common.
func (s Scope) prefix(set string, params any) ([sha256.Size]byte, error) {
	data, err := json.Marshal(struct {
		Format int
		Scope  Scope
		Set    string
		Params any
	}{format, s, set, params})
	return sha256.Sum256(data), err
}

// Commit stores the tables and returns the tree of them; the zero Tree when there is no
// set. Every item that was begun must be done.
func (b *Book) Commit(ctx context.Context) (cas.Tree, error) {
	return b.commit(ctx, (*Set).commit)
}

// Snapshot is Commit while the work goes on: it stores what is known so far, which
// includes what the first of the earlier books knows of the items that are still to come.
// It returns the zero Tree when no item has been done.
func (b *Book) Snapshot(ctx context.Context) (cas.Tree, error) {
	if !b.worked() {
		return cas.Tree{}, nil
	}
	return b.commit(ctx, (*Set).snapshot)
}

// worked reports whether this run has done an item.
func (b *Book) worked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sets {
		if s.worked() {
			return true
		}
	}
	return false
}

func (b *Book) commit(ctx context.Context, tables func(*Set, context.Context) ([]cas.TreeID, error)) (cas.Tree, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sets) == 0 {
		return cas.Tree{}, nil
	}
	root := cas.NewBuilder(b.store)
	for folder, s := range b.sets {
		chunks, err := tables(s, ctx)
		if err != nil {
			return cas.Tree{}, fmt.Errorf("items %s: %w", folder, err)
		}
		for i, id := range chunks {
			if err := root.AddTree(ctx, fmt.Sprintf("%s/%08x", folder, i), cas.NewTree(b.store, id)); err != nil {
				return cas.Tree{}, err
			}
		}
	}
	return root.Commit(ctx)
}

// maxOpen bounds how many items may wait for one before them: tables are sorted, and the
// outcomes behind an item that is not done yet are held in memory.
const maxOpen = 1 << 13

// Set is the items of one sort. Its methods are safe for concurrent use.
type Set struct {
	prefix [sha256.Size]byte

	mu      sync.Mutex // guards the rest
	earlier []*table
	last    string
	began   bool
	done    bool          // whether an item of this run was done
	open    []*Item       // begun and not written yet, in the order of their names
	moved   chan struct{} // closed, and made anew, when open becomes shorter
	out     writer
}

// Item is an item that was begun.
type Item struct {
	set     *Set
	row     row
	known   bool
	settled bool // guarded by set.mu
}

// Begin begins the next item. Names ascend from item to item. key is what decides the
// outcome of the item beside the set's parameters: above all the digests of what is read
// for it. It is marshalled to JSON, of which every byte counts.
//
// Every item that is begun must be done, but for those that are known, until the set is
// committed. Begin waits while thousands of items are open, and fails when the context has
// ended.
func (s *Set) Begin(ctx context.Context, name string, key any) (*Item, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	data, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("key of item %q: %w", name, err)
	}
	i := &Item{set: s, row: row{name: name, key: sha256.Sum256(append(s.prefix[:], data...))}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.open) >= maxOpen {
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
	}
	if s.began && name <= s.last {
		return nil, fmt.Errorf("item %q does not come after %q", name, s.last)
	}
	s.last, s.began = name, true
	for _, t := range s.earlier {
		r, ok, err := t.find(ctx, name, i.row.key)
		if err != nil {
			return nil, err
		}
		if ok {
			i.row, i.known, i.settled = r, true, true
			break
		}
	}
	s.open = append(s.open, i)
	return i, s.drain(ctx)
}

// wait returns when the set has moved on. s.mu is held before and after.
func (s *Set) wait(ctx context.Context) error {
	moved := s.moved
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain writes what is settled, up to the first item that is not. s.mu is held.
func (s *Set) drain(ctx context.Context) (err error) {
	n := 0
	for n < len(s.open) && s.open[n].settled && err == nil {
		err = s.out.add(ctx, s.open[n].row)
		n++
	}
	if n > 0 {
		clear(s.open[:n])
		s.open = s.open[n:]
		close(s.moved)
		s.moved = make(chan struct{})
	}
	return err
}

// Known returns the outcome of an earlier run that had an item with the same name and
// key. Its blobs are in the store.
func (i *Item) Known() (Outcome, bool) { return i.row.outcome, i.known }

// Done says what became of an item that was not known. Its blobs are in the store.
func (i *Item) Done(ctx context.Context, o Outcome) error {
	s := i.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.settled {
		return fmt.Errorf("item %q is done already", i.row.name)
	}
	i.row.outcome, i.settled, s.done = o, true, true
	return s.drain(ctx)
}

func (s *Set) worked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

func (s *Set) commit(ctx context.Context) ([]cas.TreeID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) > 0 {
		return nil, fmt.Errorf("item %q was begun and is not done", s.open[0].row.name)
	}
	return s.out.chunksSoFar(ctx)
}

func (s *Set) snapshot(ctx context.Context) ([]cas.TreeID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chunks, err := s.out.chunksSoFar(ctx)
	if err == nil && len(s.earlier) > 0 {
		chunks = slices.Concat(chunks, s.earlier[0].rest())
	}
	return chunks, err
}

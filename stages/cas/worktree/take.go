// Package worktree takes folders into a store as trees, and writes trees out as folders.
package worktree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/dirindex"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Taken says what Take has done.
type Taken struct {
	Files int
	Bytes int64 // of the files
	Read  int   // of the files, those that were read

	mark func() string
}

// Mark is the mark with which to save the index, once the store has made the blobs durable.
func (t Taken) Mark() string { return t.mark() }

// watcher is the ability of a store to tell whether it has lost blobs since it gave a mark.
type watcher interface {
	// Watch returns up to which size no blob was lost that the store had at the mark, and
	// what gives a mark for the next time.
	Watch(mark string) (kept int64, renew func() string)
}

// ErrIrregular says that something in a folder is neither a file nor a folder.
var ErrIrregular = errors.New("neither a file nor a folder")

// Take stores the files of the folder dir and returns their tree. It reads those that
// the index does not know, and those that the store has lost. What it keeps in the index
// may be saved once the store has made the blobs durable. Symbolic links and devices are an
// ErrIrregular: a tree cannot hold them, and leaving them out would lose them.
func Take(ctx context.Context, s cas.Store, dir string, x *dirindex.Index) (cas.Tree, Taken, error) {
	dirs, err := x.Scan(ctx, nil)
	if err != nil {
		return cas.Tree{}, Taken{}, err
	}
	for _, d := range dirs {
		if len(d.Other) > 0 {
			return cas.Tree{}, Taken{}, fmt.Errorf("%s: %w", filepath.Join(dir, filepath.FromSlash(d.Path), d.Other[0]), ErrIrregular)
		}
	}
	t := taking{store: s, index: x, dirs: dirs, done: make(map[string]finished, len(dirs))}
	renew := func() string { return "" }
	if w, ok := s.(watcher); ok {
		t.kept, renew = w.Watch(x.Mark())
	}
	err = t.check(ctx)
	if err == nil {
		err = x.Learn(ctx, dirs, t.read)
	}
	if err == nil {
		err = t.directories(ctx)
	}
	if err != nil {
		return cas.Tree{}, Taken{}, fmt.Errorf("take in %s: %w", dir, err)
	}
	taken := Taken{Read: int(t.reads.Load()), mark: renew}
	if t.kept > 0 && taken.Read == 0 {
		taken.mark = x.Mark // it holds, and spares writing the index
	}
	for _, d := range dirs {
		taken.Files += d.Totals().Files
		taken.Bytes += d.Totals().Bytes
	}
	return cas.NewTree(s, t.done["."].tree), taken, nil
}

// taking is one run of Take.
type taking struct {
	store cas.Store
	index *dirindex.Index
	dirs  []dirindex.Dir
	kept  int64 // what the index knows is in the store up to this size
	reads atomic.Int64
	done  map[string]finished
}

// finished is a directory that has its tree.
type finished struct {
	tree cas.TreeID
	same bool // as it was remembered, with all that is below it
}

// check makes those sums zero whose blobs the store does not have.
func (t *taking) check(ctx context.Context) error {
	var ds []cas.Digest
	for i := range t.dirs {
		d := &t.dirs[i]
		if t.keeps(d.Totals().Largest) {
			continue
		}
		d.Load()
		for _, f := range d.Files {
			if f.Sum != (dirindex.Sum{}) && !t.keeps(f.Stamp.Size) {
				ds = append(ds, cas.DigestOf(f.Sum, f.Stamp.Size))
			}
		}
	}
	missing, err := t.store.Missing(ctx, ds)
	if err != nil || len(missing) == 0 {
		return err
	}
	lost := make(map[cas.Digest]bool, len(missing))
	for _, d := range missing {
		lost[d] = true
	}
	for i := range t.dirs {
		for j, f := range t.dirs[i].Files {
			if lost[cas.DigestOf(f.Sum, f.Stamp.Size)] {
				t.dirs[i].Forget(j)
			}
		}
	}
	return nil
}

// keeps tells whether the store has a blob of a size that the index knows of.
func (t *taking) keeps(size int64) bool { return t.kept > 0 && size <= t.kept }

func (t *taking) read(ctx context.Context, f *os.File) (dirindex.Sum, int64, error) {
	t.reads.Add(1)
	d, err := t.store.Put(ctx, f)
	return d.SHA256(), d.Size(), err
}

// directories makes the tree of every directory, from the bottom up: those of one depth
// at once.
func (t *taking) directories(ctx context.Context) error {
	order := make([]int, len(t.dirs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(depth(t.dirs[b].Path), depth(t.dirs[a].Path)) })
	for len(order) > 0 {
		n := 1
		for n < len(order) && depth(t.dirs[order[n]].Path) == depth(t.dirs[order[0]].Path) {
			n++
		}
		made := make([]finished, n)
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for at, i := range order[:n] {
			group.Go(func() (err error) {
				made[at], err = t.directory(groupCtx, &t.dirs[i])
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for at, i := range order[:n] {
			t.done[t.dirs[i].Path] = made[at]
			t.index.Keep(&t.dirs[i], []byte(line(made[at].tree.Digest())))
		}
		order = order[n:]
	}
	return nil
}

// depth of the folder itself is 0, and that of a directory in it 1.
func depth(name string) int {
	if name == "." {
		return 0
	}
	return 1 + strings.Count(name, "/")
}

// line is the note that is kept of a directory: its tree.
func line(d cas.Digest) string { return fmt.Sprintf("%s %d", d.Hex(), d.Size()) }

// directory makes the tree of a directory whose directories have theirs.
func (t *taking) directory(ctx context.Context, d *dirindex.Dir) (finished, error) {
	if was, ok, err := t.unchanged(ctx, d); ok || err != nil {
		return finished{tree: was, same: true}, err
	}
	d.Load()
	b := cas.NewBuilder(t.store)
	for _, f := range d.Files {
		if err := b.Add(f.Name, cas.DigestOf(f.Sum, f.Stamp.Size)); err != nil {
			return finished{}, err
		}
	}
	for _, name := range d.Dirs {
		sub := cas.NewTree(t.store, t.done[path.Join(d.Path, name)].tree)
		if err := b.AddTree(ctx, name, sub); err != nil {
			return finished{}, err
		}
	}
	tree, err := b.Commit(ctx)
	return finished{tree: tree.ID()}, err
}

// unchanged returns the tree that is remembered of a directory, if nothing in or below
// it has changed and the store still has it.
func (t *taking) unchanged(ctx context.Context, d *dirindex.Dir) (cas.TreeID, bool, error) {
	note, same := d.Same()
	for _, name := range d.Dirs {
		same = same && t.done[path.Join(d.Path, name)].same
	}
	id, err := cas.ParseDigest(string(note))
	if !same || err != nil {
		return cas.TreeID{}, false, nil
	}
	if t.keeps(id.Size()) {
		return cas.NewTreeID(id), true, nil
	}
	missing, err := t.store.Missing(ctx, []cas.Digest{id})
	return cas.NewTreeID(id), err == nil && len(missing) == 0, err
}

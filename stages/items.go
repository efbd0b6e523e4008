package stages

import (
	"context"
	"slices"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
)

// Work is how much of a stage's work a run did, and how much it found done by earlier
// ones. It is the story of a run and no part of the result, which is the same either way.
type Work struct {
	Unit   string `json:"unit"` // what was worked on: "photos"
	Verb   string `json:"verb"` // what was done with it: "decoded"
	Done   int64  `json:"done"`
	Reused int64  `json:"reused"`
}

// Items begins a set of items that are done one by one, and whose outcomes are kept for
// later runs; see package items. params are the parameters that reach every item.
//
// What a later run may use again must be decided by the item's key and params alone.
func (t *Task) Items(ctx context.Context, set string, params any) (*items.Set, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.book == nil {
		var earlier []cas.Tree
		if t.earlier != nil {
			earlier = t.earlier(ctx)
		}
		t.book = items.NewBook(t.store, t.scope, earlier)
	}
	return t.book.Set(ctx, set, params)
}

// Did tells how much work there was: done by this run, and reused from earlier ones.
func (t *Task) Did(unit, verb string, done, reused int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.work = append(t.work, Work{Unit: unit, Verb: verb, Done: done, Reused: reused})
}

// known stores what is known of the items, in one of the ways that a book has. It is the
// zero TreeID when no item has been begun.
func (t *Task) known(ctx context.Context, write func(*items.Book, context.Context) (cas.Tree, error)) (cas.TreeID, error) {
	t.mu.Lock()
	book, told := t.book, t.told
	t.mu.Unlock()
	if book == nil {
		return told, nil
	}
	tree, err := write(book, ctx)
	return tree.ID(), err
}

// maxBooks bounds how many earlier runs are asked for items. Each costs a walk through
// its tables; the last of them that differ are what a person works with.
const maxBooks = 6

// books returns the items of earlier runs: what is known of the very action, if a run of
// it was interrupted; then of the stage, the latest first; then of the kind's latest run
// for any other manifest.
func (r *run) books(ctx context.Context, s Stage, action cas.Digest) []cas.Tree {
	ids := []cas.Digest{action}
	note := func(name string) {
		if id, err := r.Cache.Latest(ctx, name); err == nil {
			ids = append(ids, id)
		}
	}
	note(r.begunName(s.Name))
	ids = append(ids, r.earlier(ctx, s.Name)...)
	note(kindName(s.Kind))
	var books []cas.Tree
	for _, id := range ids {
		result, err := r.Cache.Result(ctx, id)
		if err != nil || result.Items.IsZero() {
			continue
		}
		book := cas.NewTree(r.Store, result.Items)
		if !slices.Contains(books, book) {
			books = append(books, book)
		}
		if len(books) == maxBooks {
			break
		}
	}
	return books
}

// begunName is the name under which the last action of a stage that was interrupted is
// noted.
func (r *run) begunName(stage string) string { return r.noteName(stage) + "\x00begun" }

// kindName is the name under which the last action of a kind is noted that has items.
func kindName(k Kind) string { return "\x00kind\x00" + k.Name() }

// keepEvery is how often what a running stage has done of its items is kept. A process
// that is killed loses no more. It costs a sync of what the stage has stored since.
const keepEvery = 10 * time.Second

// keeping keeps the items of a running stage, so that an interrupted run can be gone on
// with, until the returned function is called with what the run came to.
func (t *Task) keeping(ctx context.Context, keep func(ctx context.Context, known cas.TreeID)) (end func(error)) {
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ticks := time.NewTicker(keepEvery); ; {
			select {
			case <-ticks.C:
				t.keepItems(ctx, keep)
			case <-ctx.Done():
				ticks.Stop()
				return
			}
		}
	}()
	return func(err error) {
		cancel()
		<-stopped
		if err != nil {
			t.keepItems(context.WithoutCancel(ctx), keep)
		}
	}
}

// keepItems keeps what is known of the items now. That it cannot is no reason to end the
// stage, which is the first to be hindered by what hinders this.
func (t *Task) keepItems(ctx context.Context, keep func(context.Context, cas.TreeID)) {
	if known, err := t.known(ctx, (*items.Book).Snapshot); err == nil && !known.IsZero() {
		keep(ctx, known)
	}
}

// keepKnown returns what records the items of an action that has no result yet.
func (r *run) keepKnown(stage string, action cas.Digest) func(context.Context, cas.TreeID) {
	return func(ctx context.Context, known cas.TreeID) {
		if r.Cache.Record(ctx, action, cas.Result{Items: known}) == nil {
			_ = r.Cache.Note(ctx, r.begunName(stage), action)
		}
	}
}

package upkeep

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// Report says what Verify has found.
type Report struct {
	Blobs     int
	Bytes     int64
	Results   int
	Found     int          // blobs in packs whose index had lost them
	Damaged   []cas.Digest // blobs that were set aside
	Forgotten int          // results that were damaged, or that lack a blob
}

// OK tells whether everything was as it should be.
func (r Report) OK() bool { return len(r.Damaged) == 0 && r.Forgotten == 0 }

// Verify reads every blob of the store. A damaged one is set aside, and the results that
// need it are forgotten, so that the next build makes both again. Builds may go on
// meanwhile. It tells progress how many bytes of how many it has read.
func Verify(ctx context.Context, s *disk.Store, progress func(done, total int64)) (Report, error) {
	var r Report
	var err error
	if r.Found, err = s.Reindex(ctx); err != nil {
		return r, err
	}
	var total int64
	for l, err := range s.Blobs(ctx) {
		if err != nil {
			return r, err
		}
		total += l.Digest.Size()
	}
	if err := r.blobs(ctx, s, func(done int64) { progress(done, total) }); err != nil {
		return r, err
	}
	return r, r.results(ctx, s)
}

func (r *Report) blobs(ctx context.Context, s *disk.Store, progress func(done int64)) error {
	var mu sync.Mutex // guards r
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	var fault error
	for l, err := range s.Blobs(groupCtx) {
		if err != nil {
			fault = err
			break
		}
		group.Go(func() error {
			err := s.Check(groupCtx, l)
			mu.Lock()
			defer mu.Unlock()
			r.Blobs++
			r.Bytes += l.Digest.Size()
			progress(r.Bytes)
			if _, bad := errors.AsType[*cas.BlobError](err); bad {
				r.Damaged = append(r.Damaged, l.Digest)
				return nil
			}
			return err
		})
	}
	return errors.Join(group.Wait(), fault)
}

// results forgets those that are of no use any more.
func (r *Report) results(ctx context.Context, s *disk.Store) error {
	for c, err := range s.Results(ctx) {
		if err != nil {
			return err
		}
		r.Results++
		whole := !c.Damaged
		if whole {
			whole, err = complete(ctx, s, c.Result.Tree)
			if err != nil {
				return err
			}
		}
		if whole || unfinished(c) {
			continue
		}
		r.Forgotten++
		if c.Damaged || c.Result.Items.IsZero() {
			err = s.ForgetEntry(c)
		} else { // its stage runs again, and does what was lost only
			err = s.Record(ctx, c.Action, cas.Result{Items: c.Result.Items})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unfinished tells whether a result promises no output.
func unfinished(c disk.CachedResult) bool { return !c.Damaged && c.Result.Tree.IsZero() }

// complete tells whether the store has all of a tree. It never has the zero tree.
func complete(ctx context.Context, s cas.Store, id cas.TreeID) (bool, error) {
	if id.IsZero() {
		return false, nil
	}
	needed := newClosure(s)
	err := cas.NewTree(s, id).Reach(ctx, needed.visit)
	if _, lost := errors.AsType[*cas.BlobError](err); lost {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	missing, err := s.Missing(ctx, needed.added)
	return len(missing) == 0, err
}

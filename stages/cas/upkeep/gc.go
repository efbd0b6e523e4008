package upkeep

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// Policy says which results may go. Blobs that no result needs always may.
type Policy struct {
	MaxBytes int64     // results used least recently go until the rest needs no more; 0 for no limit
	Unused   time.Time // results not used since go; zero keeps them
}

// Collected says what gc has removed, or would remove.
type Collected struct {
	Results int   // results that went
	Kept    int   // results that stayed
	Needed  int64 // bytes of the blobs that these need
	Blobs   int   // blobs that went
	Bytes   int64 // bytes on the disk that went
	Left    int64 // bytes in packs that nobody needs, and that are not worth a copy yet
}

// Collect removes what the policy lets go, and what killed processes have left behind.
// With dry it changes nothing. Otherwise nobody else may be using the store, or the
// error is a *disk.BusyError: no build can lose what it is working with.
func Collect(ctx context.Context, s *disk.Store, p Policy, dry bool) (_ Collected, err error) {
	if !dry {
		release, err := s.Alone()
		if err != nil {
			return Collected{}, err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	needed, gone, c, err := p.choose(ctx, s)
	if err != nil {
		return c, err
	}
	if !dry {
		// Results first: were the process killed now, a result without blobs would have
		// to be found out about by a build.
		for _, r := range gone {
			if err := s.ForgetEntry(r); err != nil {
				return c, err
			}
		}
	}
	swept, err := s.Sweep(ctx, func(d cas.Digest) bool { return needed.seen[d] }, dry)
	c.Blobs, c.Bytes, c.Left = swept.Blobs, swept.Bytes, swept.Left
	return c, err
}

// choose returns the blobs that are needed, and the results that go.
func (p Policy) choose(ctx context.Context, s *disk.Store) (_ *closure, gone []disk.CachedResult, c Collected, err error) {
	var results []disk.CachedResult
	for r, err := range s.Results(ctx) {
		if err != nil {
			return nil, nil, c, err
		}
		if r.Damaged {
			gone = append(gone, r)
			continue
		}
		results = append(results, r)
	}
	slices.SortFunc(results, func(a, b disk.CachedResult) int {
		return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.File, b.File))
	})
	needed, full := newClosure(s), false
	for _, r := range results {
		if full = full || r.Used.Before(p.Unused); !full {
			if err := needed.add(ctx, r); err != nil {
				return nil, nil, c, err
			}
			if full = p.MaxBytes > 0 && needed.bytes > p.MaxBytes; full {
				needed.undo()
			}
		}
		if full { // and so is every result that was used longer ago
			gone = append(gone, r)
			continue
		}
		c.Kept++
	}
	c.Results, c.Needed = len(gone), needed.bytes
	return needed, gone, c, nil
}

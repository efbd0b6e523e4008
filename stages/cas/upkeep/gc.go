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

// Policy says which results may go. Blobs that neither a result nor a root needs always may.
type Policy struct {
	MaxBytes int64     // results used least recently go until the rest needs no more; 0 for no limit
	Unused   time.Time // results not used since go; zero keeps them
	Roots    []Root    // what stays whatever the limits say
}

// Reason says why something stays.
type Reason string

// What is needed for several reasons stays for the first of them.
const (
	ReasonLock      Reason = "lock"      // a lock pins it: it may be the last copy of a photo whose link is dead
	ReasonInstalled Reason = "installed" // a package that is installed was built from it
	ReasonHistory   Reason = "history"   // it explains the last build of a package
	ReasonRecent    Reason = "recent"    // a result that is within the limits needs it
)

// Root is something outside of the store that needs something in it.
type Root struct {
	Reason  Reason
	Name    string       // for people: a path, or the name of a package
	Blobs   []cas.Digest // as far as the store has them
	Results []cas.Digest // actions whose results stay, with all that they need
	Actions []cas.Digest // actions whose description stays
}

// SortRoots sorts roots by reason, the first that counts first, and by name.
func SortRoots(roots []Root) {
	order := []Reason{ReasonLock, ReasonInstalled, ReasonHistory, ReasonRecent}
	slices.SortFunc(roots, func(a, b Root) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Reason), slices.Index(order, b.Reason)), cmp.Compare(a.Name, b.Name))
	})
}

// Kept says what stays for a root, and not for one before it.
type Kept struct {
	Reason  Reason
	Name    string // empty for ReasonRecent
	Results int
	Blobs   int
	Bytes   int64 // of these blobs
}

// Collected says what gc has removed, or would remove.
type Collected struct {
	Results int    // results that went
	Blobs   int    // blobs that went
	Bytes   int64  // bytes on the disk that went
	Left    int64  // bytes in packs that nobody needs, and that are not worth a copy yet
	Kept    []Kept // what stays, and why
}

// Total returns all that stays.
func (c Collected) Total() Kept {
	var sum Kept
	for _, k := range c.Kept {
		sum.Results += k.Results
		sum.Blobs += k.Blobs
		sum.Bytes += k.Bytes
	}
	return sum
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
	ch, err := p.choose(ctx, s)
	if err != nil {
		return Collected{}, err
	}
	c := Collected{Results: len(ch.gone), Kept: ch.kept}
	if !dry {
		// Results first: were the process killed now, a result without blobs would have
		// to be found out about by a build.
		for _, r := range ch.gone {
			if err := s.ForgetEntry(r); err != nil {
				return c, err
			}
		}
	}
	swept, err := s.Sweep(ctx, func(d cas.Digest) bool { return ch.needed.seen[d] }, dry)
	c.Blobs, c.Bytes, c.Left = swept.Blobs, swept.Bytes, swept.Left
	return c, err
}

// choice is what a policy comes to.
type choice struct {
	needed *closure
	gone   []disk.CachedResult
	kept   []Kept
}

// keep notes that what was added since the last call stays for a reason.
func (c *choice) keep(reason Reason, name string, results int) {
	k := Kept{Reason: reason, Name: name, Results: results, Blobs: len(c.needed.seen), Bytes: c.needed.bytes}
	for _, before := range c.kept {
		k.Blobs -= before.Blobs
		k.Bytes -= before.Bytes
	}
	if k.Results+k.Blobs > 0 {
		c.kept = append(c.kept, k)
	}
}

func (p Policy) choose(ctx context.Context, s *disk.Store) (choice, error) {
	c := choice{needed: newClosure(s)}
	var results []disk.CachedResult
	for r, err := range s.Results(ctx) {
		if err != nil {
			return c, err
		}
		if r.Damaged {
			c.gone = append(c.gone, r)
			continue
		}
		results = append(results, r)
	}
	results, err := p.roots(ctx, &c, results)
	if err != nil {
		return c, err
	}
	slices.SortFunc(results, func(a, b disk.CachedResult) int {
		return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.File, b.File))
	})
	full, recent := false, 0
	for _, r := range results {
		if full = full || r.Used.Before(p.Unused); !full {
			if err := c.needed.add(ctx, r); err != nil {
				return c, err
			}
			if full = p.MaxBytes > 0 && c.needed.bytes > p.MaxBytes; full {
				c.needed.undo()
			}
		}
		if full { // and so is every result that was used longer ago
			c.gone = append(c.gone, r)
			continue
		}
		recent++
	}
	c.keep(ReasonRecent, "", recent)
	return c, nil
}

// roots adds what the roots need, and returns the results that none of them needs.
func (p Policy) roots(ctx context.Context, c *choice, results []disk.CachedResult) ([]disk.CachedResult, error) {
	for _, root := range p.Roots {
		if err := c.needed.root(ctx, root); err != nil {
			return nil, err
		}
		n := 0
		var rest []disk.CachedResult
		for _, r := range results {
			if !slices.Contains(root.Results, r.Action) {
				rest = append(rest, r)
				continue
			}
			n++
			if err := c.needed.add(ctx, r); err != nil {
				return nil, err
			}
		}
		results = rest
		c.keep(root.Reason, root.Name, n)
	}
	return results, nil
}

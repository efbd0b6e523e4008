// Package likeness finds pictures that show the same: copies that were encoded, scaled or
// recoloured anew, or cropped a little.
//
// All is computed from a print of each picture, 32×32 pixels of luminance, so that a
// picture is decoded once, and in two steps:
//
//   - Candidates are pairs of which some view of one, the whole or a part with an edge or
//     two cut off, has nearly the hash of the whole of the other. A hash has the signs of 64
//     coefficients of a cosine transform (Zauner, "Implementation and Benchmarking of
//     Perceptual Image Hash Functions", 2010). Pairs within radius bits of each other are
//     found without comparing all with all, by the pieces of a hash that they have in common
//     (Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
//     CVPR 2012).
//   - A candidate is looked at: one print is laid over the other where they fit best, and
//     they must be alike there as a whole and in their details. Photos of one subject agree
//     in what is bright and what is dark; copies agree in the rest too.
//
// All steps are exact or rounded alike everywhere: the answer depends neither on the order
// of the pictures nor on the number of workers or the machine.
package likeness

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Picture is a picture that may be like others.
type Picture struct {
	Name  string // tells it from the others
	Bytes string // equal for pictures of equal bytes, a digest; may be empty
	Print *Print // nil for one that could not be decoded
}

// Link says that two pictures show the same.
type Link struct {
	A, B  int // indices of pictures; A's name comes first
	Exact bool
	Alike float64 // how much, up to 1: the correlation of their details
}

// Find returns links that make groups of the pictures that show the same: one fewer than
// there are pictures in the group, so that who follows them comes to each.
func Find(ctx context.Context, pictures []Picture, workers int) ([]Link, error) {
	f := newFinder(pictures)
	f.findExact()
	if err := f.findNear(ctx, workers); err != nil {
		return nil, err
	}
	slices.SortFunc(f.links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(pictures[a.A].Name, pictures[b.A].Name), cmp.Compare(pictures[a.B].Name, pictures[b.B].Name))
	})
	return f.links, nil
}

// finder is one run of Find.
type finder struct {
	pictures []Picture
	order    []int // indices of pictures by name
	groups   Groups
	links    []Link
	near     []int // those of order that are compared: one of each that are equal
	index    *index
}

func newFinder(pictures []Picture) *finder {
	f := &finder{pictures: pictures, order: make([]int, len(pictures)), groups: NewGroups(len(pictures))}
	for i := range f.order {
		f.order[i] = i
	}
	slices.SortFunc(f.order, func(a, b int) int { return cmp.Compare(pictures[a].Name, pictures[b].Name) })
	return f
}

// findExact links pictures of equal bytes, and those of equal prints, which is what the
// same pixels in another container come to.
func (f *finder) findExact() {
	bytes, prints := make(map[string]int), make(map[Print]int)
	for _, i := range f.order {
		p := f.pictures[i]
		if p.Bytes != "" {
			if first, ok := bytes[p.Bytes]; ok {
				f.link(Link{A: first, B: i, Exact: true, Alike: 1})
				continue
			}
			bytes[p.Bytes] = i
		}
		if p.Print == nil || p.Print.flat() {
			continue
		}
		if first, ok := prints[*p.Print]; ok {
			f.link(Link{A: first, B: i, Alike: 1})
			continue
		}
		prints[*p.Print] = i
		f.near = append(f.near, i)
	}
}

func (f *finder) link(l Link) {
	if f.groups.Join(l.A, l.B) {
		f.links = append(f.links, l)
	}
}

// block is how many pictures are looked up before the groups are joined: within it, pairs
// of a group that is only being found are looked at, all of them.
const block = 64

func (f *finder) findNear(ctx context.Context, workers int) error {
	hashes := make([]Hash, len(f.near))
	if err := each(ctx, workers, len(f.near), func(i int) { hashes[i] = f.pictures[f.near[i]].Print.hash() }); err != nil {
		return err
	}
	f.index = newIndex(hashes)
	for from := 0; from < len(f.near); from += block {
		n := min(block, len(f.near)-from)
		found := make([][]Link, n)
		if err := each(ctx, workers, n, func(i int) { found[i] = f.like(from + i) }); err != nil {
			return err
		}
		for _, links := range found {
			for _, l := range links {
				f.link(l)
			}
		}
	}
	return nil
}

// like returns links from a picture, by its number among those compared, to all that show
// the same and are not in its group yet.
func (f *finder) like(n int) []Link {
	a := f.near[n]
	of := f.pictures[a].Print
	best := make(map[int32]candidate) // by number
	all := of.hashes()
	f.index.within(&all, func(other int32, view, distance int) {
		if c, ok := best[other]; int(other) != n && (!ok || distance < c.distance || distance == c.distance && view < c.view) {
			best[other] = candidate{view, distance}
		}
	})
	var links []Link
	for other, c := range best {
		b := f.near[other]
		if f.groups.Same(a, b) {
			continue
		}
		whole, detail := align(of, f.pictures[b].Print, viewOf(c.view))
		if whole < minWhole || detail < minDetail {
			continue
		}
		l := Link{A: a, B: b, Alike: detail}
		if f.pictures[b].Name < f.pictures[a].Name { // names, and not indices: the order of the pictures must not matter
			l.A, l.B = b, a
		}
		links = append(links, l)
	}
	slices.SortFunc(links, func(x, y Link) int {
		return cmp.Or(-cmp.Compare(x.Alike, y.Alike),
			cmp.Compare(f.pictures[x.A].Name, f.pictures[y.A].Name), cmp.Compare(f.pictures[x.B].Name, f.pictures[y.B].Name))
	})
	return links
}

// candidate is a view of a picture that is near another picture.
type candidate struct{ view, distance int }

// Like reports whether two prints show the same, and how much.
func Like(a, b *Print) (alike float64, same bool) {
	if a.flat() || b.flat() {
		return 0, false
	}
	for _, pair := range [][2]*Print{{a, b}, {b, a}} {
		if whole, detail := align(pair[0], pair[1], whole); whole >= minWhole && detail >= minDetail {
			return detail, true
		}
	}
	return 0, false
}

// each calls f with all numbers below n, on so many goroutines.
func each(ctx context.Context, workers, n int, f func(i int)) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(workers, n) {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := context.Cause(ctx); err != nil {
					return err
				}
				f(i)
			}
		})
	}
	return g.Wait()
}

// Groups are sets of things that are joined step by step, by number.
type Groups []int32

// NewGroups returns n groups of one.
func NewGroups(n int) Groups {
	g := make(Groups, n)
	for i := range g {
		g[i] = int32(i)
	}
	return g
}

// Of returns the number that stands for the group of i.
func (g Groups) Of(i int) int {
	for g[i] != int32(i) {
		i = int(g[i])
	}
	return i
}

// Same reports whether two are in one group.
func (g Groups) Same(i, j int) bool { return g.Of(i) == g.Of(j) }

// Join makes one group of two, and reports whether they were two.
func (g Groups) Join(i, j int) bool {
	a, b := g.Of(i), g.Of(j)
	if a == b {
		return false
	}
	root := int32(min(a, b))
	g[a], g[b] = root, root
	// Both paths end at the root now; shortened, they are short the next time.
	for _, from := range []int{i, j} {
		for g[from] != root {
			from, g[from] = int(g[from]), root
		}
	}
	return true
}

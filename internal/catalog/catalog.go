// Package catalog answers questions about the labels of a data set: what there is, what is below
// what, and how many boxes and photos have it.
package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/openimages"
)

// Catalog is the labels of a data set. It is not changed after New.
type Catalog struct {
	Classes   *openimages.Classes
	Hierarchy *openimages.Hierarchy // nil where the data set has none
	Counts    []boxindex.Counts     // of each subset; empty when nobody counted

	parents map[openimages.LabelID][]openimages.LabelID
	wholes  map[openimages.LabelID][]openimages.LabelID // what a label is a part of
	counts  []map[openimages.LabelID]boxindex.Label     // of each of Counts
}

// New returns a catalog. Hierarchy and counts may be nil.
func New(classes *openimages.Classes, hierarchy *openimages.Hierarchy, counts []boxindex.Counts) *Catalog {
	c := &Catalog{
		Classes: classes, Hierarchy: hierarchy, Counts: counts,
		parents: map[openimages.LabelID][]openimages.LabelID{}, wholes: map[openimages.LabelID][]openimages.LabelID{},
	}
	if hierarchy != nil {
		all := append([]openimages.LabelID{hierarchy.Root()}, hierarchy.Descendants(hierarchy.Root())...)
		for _, id := range all {
			for _, kind := range hierarchy.Kinds(id) {
				c.parents[kind] = append(c.parents[kind], id)
			}
			for _, part := range hierarchy.Parts(id) {
				c.wholes[part] = append(c.wholes[part], id)
			}
		}
	}
	for _, subset := range counts {
		byID := make(map[openimages.LabelID]boxindex.Label, len(subset.Labels))
		for _, l := range subset.Labels {
			byID[l.ID] = l
		}
		c.counts = append(c.counts, byID)
	}
	return c
}

// Count returns what a subset, by its number in Counts, has of a label.
func (c *Catalog) Count(subset int, id openimages.LabelID) boxindex.Label {
	l := c.counts[subset][id]
	l.ID = id
	return l
}

// Total adds up what the subsets have of a label.
func (c *Catalog) Total(id openimages.LabelID) boxindex.Label {
	total := boxindex.Label{ID: id}
	for subset := range c.counts {
		l := c.Count(subset, id)
		total.Boxes += l.Boxes
		total.Images += l.Images
		for a := range l.Yes {
			total.Yes[a] += l.Yes[a]
			total.Unknown[a] += l.Unknown[a]
		}
	}
	return total
}

// BoxesBelow returns how many boxes a label has together with those below it.
func (c *Catalog) BoxesBelow(id openimages.LabelID) int64 {
	boxes := c.Total(id).Boxes
	for _, below := range c.Below(id) {
		boxes += c.Total(below).Boxes
	}
	return boxes
}

// Below returns the labels below one, sorted by id.
func (c *Catalog) Below(id openimages.LabelID) []openimages.LabelID {
	if c.Hierarchy == nil {
		return nil
	}
	return c.Hierarchy.Descendants(id)
}

// Kinds returns the labels right below one, by name.
func (c *Catalog) Kinds(id openimages.LabelID) []openimages.LabelID {
	if c.Hierarchy == nil {
		return nil
	}
	return c.byName(c.Hierarchy.Kinds(id))
}

// Parts returns the labels that are parts of one, by name.
func (c *Catalog) Parts(id openimages.LabelID) []openimages.LabelID {
	if c.Hierarchy == nil {
		return nil
	}
	return c.byName(c.Hierarchy.Parts(id))
}

// Parents returns the labels right above one, by name. The root, which is no label, is
// left out.
func (c *Catalog) Parents(id openimages.LabelID) []openimages.LabelID {
	return c.byName(slices.DeleteFunc(slices.Clone(c.parents[id]), func(p openimages.LabelID) bool { return p == c.Hierarchy.Root() }))
}

// PartOf returns the labels that one is a part of, by name.
func (c *Catalog) PartOf(id openimages.LabelID) []openimages.LabelID {
	return c.byName(slices.Clone(c.wholes[id]))
}

func (c *Catalog) byName(ids []openimages.LabelID) []openimages.LabelID {
	slices.SortFunc(ids, func(a, b openimages.LabelID) int {
		return cmp.Or(cmp.Compare(c.Classes.Name(a), c.Classes.Name(b)), cmp.Compare(a, b))
	})
	return ids
}

// How says why a label was found.
type How int

// The ways to find a label, the surest first.
const (
	ByID    How = iota // it is the id, or starts with it
	ByName             // it is the name, in any case
	ByWord             // a word of the name starts with it
	ByPart             // it is somewhere in the name
	BySound            // the name is a few letters away
	Below              // it is below a label that was found by id or name
)

var howNames = [...]string{"id", "name", "word", "part", "near", "below"}

// String returns the way as --json writes it.
func (h How) String() string { return howNames[h] }

// Match is a label that was found.
type Match struct {
	openimages.Class
	How How
}

// Search finds labels by id or name, forgiving case and misspelling, and with one that is
// meant exactly, those below it. The surest come first, then names in order. An empty query finds
// all.
func (c *Catalog) Search(query string) []Match {
	query = strings.TrimSpace(query)
	best := map[openimages.LabelID]How{}
	for class := range c.Classes.All() {
		if how, ok := match(class, query); ok {
			best[class.ID] = how
		}
	}
	meant := map[openimages.LabelID]bool{}
	near := true // only misspelt names were found
	for id, how := range best {
		meant[id] = query != "" && (how == ByID && string(id) == query || how == ByName)
		near = near && how == BySound
	}
	for id := range meant {
		for _, below := range c.Below(id) {
			if _, found := best[below]; !found && meant[id] {
				best[below] = Below
			}
		}
	}
	var matches []Match
	for class := range c.Classes.All() {
		how, ok := best[class.ID]
		if ok && (how != BySound || near) {
			matches = append(matches, Match{class, how})
		}
	}
	slices.SortFunc(matches, func(a, b Match) int {
		return cmp.Or(cmp.Compare(a.How, b.How), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return matches
}

// match says whether, and how, a label is what a query means.
func match(class openimages.Class, query string) (How, bool) {
	if query == "" {
		return ByName, true
	}
	if query[0] == '/' {
		return ByID, strings.HasPrefix(string(class.ID), query)
	}
	name, want := strings.ToLower(class.Name), strings.ToLower(query)
	switch {
	case name == want || string(class.ID) == query:
		return ByName, true
	case strings.HasPrefix(name, want) || strings.Contains(name, " "+want):
		return ByWord, true
	case strings.Contains(name, want):
		return ByPart, true
	}
	return BySound, openimages.Edits(want, name) <= 1+len(want)/5
}

package openimages

import (
	"cmp"
	"slices"
	"strings"
)

// fold makes names equal that differ in case only.
func fold(name string) string { return strings.ToLower(name) }

// nearest returns the n names that a person most likely meant by asked: those that
// contain it, then those that take the fewest edits to make of it or, for one more,
// of which a word does, then by name. To an id no name is near.
func (c *Classes) nearest(asked string, n int) []string {
	type candidate struct {
		name  string
		edits int
		part  bool
	}
	want := fold(asked[:min(len(asked), maxID)])
	if strings.TrimSpace(want) == "" || want[0] == '/' {
		return nil
	}
	candidates := make([]candidate, 0, len(c.list))
	for _, class := range c.list {
		name := fold(class.Name)
		candidates = append(candidates, candidate{
			name:  class.Name,
			edits: nameEdits(want, name),
			part:  strings.Contains(name, want),
		})
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		byPart := 0
		switch {
		case a.part && !b.part:
			byPart = -1
		case b.part && !a.part:
			byPart = 1
		}
		return cmp.Or(byPart, cmp.Compare(a.edits, b.edits), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range candidates {
		if len(names) == n {
			break
		}
		if !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// nameEdits is edits for a name of one or more words.
func nameEdits(asked, name string) int {
	least := edits([]rune(asked), []rune(name))
	if words := strings.Fields(name); len(words) > 1 {
		for _, word := range words {
			least = min(least, 1+edits([]rune(asked), []rune(word)))
		}
	}
	return least
}

// Edits returns how many insertions, deletions, replacements and exchanges of
// neighbours turn what was asked for into a name. For a name of several words, it may be one of
// them that is meant, for one more.
func Edits(asked, name string) int { return nameEdits(asked, name) }

// edits returns how many insertions, deletions, replacements and exchanges of
// neighbours turn a into b.
func edits(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

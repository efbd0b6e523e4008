package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxFaults bounds how many faults of one file are told: nobody reads further, and
// a file that is not a manifest at all would fill the screen.
const maxFaults = 100

// Fault is one thing wrong with a manifest, and where.
type Fault struct {
	File    string
	Line    int    // from 1; 0 where File is a setting, which has no lines
	Column  int    // from 1, in characters; 0 in a setting
	Path    string // the position in the language, such as dataset.labels[1].name; empty for the file itself
	Message string
	Hint    string // what would be right, when that can be guessed
}

// String is the fault in one line: file:line:column: path: message (hint).
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	b.WriteString(": ")
	if f.Path != "" {
		fmt.Fprintf(&b, "%s: ", f.Path)
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		fmt.Fprintf(&b, " (%s)", f.Hint)
	}
	return b.String()
}

// Faults are all the faults of a file, in the order of the text. Decode returns
// them as a *Faults, for errors.As.
type Faults []Fault //nolint:errname // several faults are one error, as in go/scanner.ErrorList

// Error is one line for each fault.
func (fs *Faults) Error() string {
	lines := make([]string, len(*fs))
	for i, f := range *fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// inOrder sorts faults by their place in the text and cuts what is too much.
func inOrder(faults []Fault) *Faults {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(faults) > maxFaults {
		next := faults[maxFaults]
		faults = append(faults[:maxFaults:maxFaults], Fault{
			File: next.File, Line: next.Line, Column: next.Column,
			Message: fmt.Sprintf("%d more faults from here on", len(faults)-maxFaults),
		})
	}
	return (*Faults)(&faults)
}

// didYouMean is a hint that names the known word nearest to what was written, or
// nothing when none is near.
func didYouMean(written string, known []string) string {
	if word := nearest(written, known); word != "" {
		return fmt.Sprintf("did you mean `%s`?", word)
	}
	return ""
}

// nearest is the first of the known words with the smallest distance to what was
// written, or nothing when all are too far to be meant.
func nearest(written string, known []string) string {
	best, limit := "", len(written)/3+1
	for _, word := range known {
		if d := editDistance(normal(written), normal(word), limit); d < limit || d == limit && best == "" {
			best, limit = word, d
		}
	}
	return best
}

// normal removes what people vary without thinking: case, and - for _.
func normal(word string) string {
	return strings.ReplaceAll(strings.ToLower(word), "-", "_")
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b. Words whose lengths already differ by more than
// limit are not compared: the file decides their length.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

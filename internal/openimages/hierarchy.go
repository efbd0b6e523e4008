package openimages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Hierarchy says which labels are kinds of other labels. It is a directed acyclic
// graph: in the file, a tree, a label stands below each of its parents (of the 601
// labels of V4, 190 stand in several places). Its root has no class.
//
// Only "Subcategory" makes a label a kind of another, as in the expansion of the
// official evaluation; "Part" says that a door handle belongs to a door, which does
// not make it a door.
type Hierarchy struct {
	root  LabelID
	kinds map[LabelID][]LabelID // the labels right below, sorted; an entry for every label
	parts map[LabelID][]LabelID // sorted
}

const (
	maxHierarchy      = 16 << 20 // bytes; the official files have 87 KB
	maxHierarchyDepth = 64       // the official files have 6 levels
)

// node is a label in the file.
type node struct {
	LabelName   LabelID
	Subcategory []node
	Part        []node
}

// ReadHierarchy reads the hierarchy src, which messages call file. The error is a
// *RowError, or the error of src.
func ReadHierarchy(src io.Reader, file string) (*Hierarchy, error) {
	text, err := io.ReadAll(io.LimitReader(src, maxHierarchy+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(text) > maxHierarchy {
		return nil, &RowError{File: file, Problem: fmt.Sprintf("the hierarchy is larger than %d bytes", maxHierarchy)}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	var root node
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, jsonFault(file, text, err)
	}
	h := &Hierarchy{root: root.LabelName, kinds: map[LabelID][]LabelID{}, parts: map[LabelID][]LabelID{}}
	if err := h.add(root, 1); err != nil {
		return nil, &RowError{File: file, Problem: err.Error()}
	}
	for _, links := range []map[LabelID][]LabelID{h.kinds, h.parts} {
		for id, below := range links {
			slices.Sort(below)
			links[id] = slices.Compact(below)
		}
	}
	if id, ok := h.cycle(); ok {
		return nil, &RowError{File: file, Problem: fmt.Sprintf("the label %s stands below itself", id)}
	}
	return h, nil
}

// jsonFault gives an error of encoding/json its line.
func jsonFault(file string, text []byte, err error) error {
	fault := &RowError{File: file, Problem: err.Error()}
	var (
		syntax *json.SyntaxError
		kind   *json.UnmarshalTypeError
		offset int64
	)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		fault.Column = kind.Field
		fault.Problem = fmt.Sprintf("want a label with LabelName, Subcategory and Part, not a JSON %s", kind.Value)
	}
	offset = min(max(offset, 0), int64(len(text)))
	fault.Line = 1 + bytes.Count(text[:offset], []byte{'\n'})
	return fault
}

// add enters n and all below it.
func (h *Hierarchy) add(n node, depth int) error {
	if err := checkLabelID([]byte(n.LabelName)); err != nil {
		return fmt.Errorf("LabelName: %w, got %s", err, excerpt([]byte(n.LabelName)))
	}
	if depth > maxHierarchyDepth {
		return fmt.Errorf("the label %s is more than %d levels deep", n.LabelName, maxHierarchyDepth)
	}
	kinds := h.kinds[n.LabelName]
	for _, below := range n.Subcategory {
		kinds = append(kinds, below.LabelName)
	}
	h.kinds[n.LabelName] = kinds
	for _, part := range n.Part {
		h.parts[n.LabelName] = append(h.parts[n.LabelName], part.LabelName)
	}
	for _, below := range slices.Concat(n.Subcategory, n.Part) {
		if err := h.add(below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// cycle finds a label that is a kind of itself, the first by id.
func (h *Hierarchy) cycle() (LabelID, bool) {
	const (
		open = 1 // on the path from where the search started
		done = 2
	)
	state := map[LabelID]int{}
	var visit func(LabelID) bool
	visit = func(id LabelID) bool {
		switch state[id] {
		case open:
			return true
		case done:
			return false
		}
		state[id] = open
		defer func() { state[id] = done }()
		return slices.ContainsFunc(h.kinds[id], visit)
	}
	for _, id := range slices.Sorted(maps.Keys(h.kinds)) {
		if visit(id) {
			return id, true
		}
	}
	return "", false
}

// Root returns the label that stands above all others.
func (h *Hierarchy) Root() LabelID { return h.root }

// Contains reports whether the label id is in the hierarchy.
func (h *Hierarchy) Contains(id LabelID) bool {
	_, ok := h.kinds[id]
	return ok
}

// Kinds returns the labels right below id, sorted by id.
func (h *Hierarchy) Kinds(id LabelID) []LabelID { return slices.Clone(h.kinds[id]) }

// Parts returns the labels that are parts of id, sorted by id.
func (h *Hierarchy) Parts(id LabelID) []LabelID { return slices.Clone(h.parts[id]) }

// Below returns how many steps each of the labels below id is away from it, by the
// shortest way. It does not hold id itself.
func (h *Hierarchy) Below(id LabelID) map[LabelID]int {
	steps := map[LabelID]int{}
	for level, n := h.kinds[id], 1; len(level) > 0; n++ {
		var next []LabelID
		for _, below := range level {
			if _, seen := steps[below]; !seen {
				steps[below] = n
				next = append(next, h.kinds[below]...)
			}
		}
		level = next
	}
	return steps
}

// Descendants returns the labels below id, sorted by id.
func (h *Hierarchy) Descendants(id LabelID) []LabelID {
	return slices.Sorted(maps.Keys(h.Below(id)))
}

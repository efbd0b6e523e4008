package openimages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// Class is one row of the class list: a label and its name for people. Names need
// not be unique: the 19,995 labels of V3 have 268 names that stand for several.
type Class struct {
	ID   LabelID
	Name string
}

// Classes is the class list of a data set.
type Classes struct {
	list   []Class          // in the file's order
	byID   map[LabelID]int  // index into list
	byName map[string][]int // by the name as written
	byFold map[string][]int // by fold(name)
}

// classHeaders are the headers that class lists have; most have none.
var classHeaders = [][]string{
	{"LabelID", "LabelName"},          // as pandas wrote the article's copy
	{"LabelName", "DisplayName"},      // V6 and V7, all classes
	{"Class_ID", "Class_Description"}, // V2
}

// maxClasses bounds a class list; V3 to V7 have 20,000 classes.
const maxClasses = 1 << 20

// ReadClasses reads the class list src, which messages call file. A list without a
// header has two columns and ids that start with a slash; with a header, columns
// are found by name, so that an index column that pandas wrote does no harm. The
// error is a *RowError, or the error of src.
func ReadClasses(src io.Reader, file string) (*Classes, error) {
	t, err := openTable(src, file)
	if err != nil {
		return nil, err
	}
	c := &Classes{byID: map[LabelID]int{}, byName: map[string][]int{}, byFold: map[string][]int{}}
	id, name := 0, 1
	for {
		err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if t.header == nil {
			if t.header, id, name = classHeader(t); t.header[id] != "" {
				continue
			}
		}
		if err := c.addRow(t, id, name); err != nil {
			return nil, err
		}
	}
	if len(c.list) == 0 {
		return nil, &RowError{File: file, Problem: "the file has no classes"}
	}
	return c, nil
}

// classHeader recognises a header in the current row. When it is a row like the
// others it returns two columns without names.
func classHeader(t *table) (header []string, id, name int) {
	for i := range t.fields {
		header = append(header, string(bytes.TrimSpace(t.field(i))))
	}
	for _, known := range classHeaders {
		id, name = slices.Index(header, known[0]), slices.Index(header, known[1])
		if id >= 0 && name >= 0 {
			return header, id, name
		}
	}
	return make([]string, 2), 0, 1
}

func (c *Classes) addRow(t *table, id, name int) error {
	if len(t.fields) != len(t.header) {
		return t.fault("", "want a label id and a name, got %s", excerpt(t.row))
	}
	class := Class{
		ID:   LabelID(bytes.TrimSpace(t.field(id))),
		Name: strings.ToValidUTF8(string(bytes.TrimSpace(t.field(name))), "\uFFFD"),
	}
	err := checkLabelID([]byte(class.ID))
	if err == nil && t.header[id] == "" && class.ID[0] != '/' {
		err = errNotLabelID
	}
	if err != nil {
		return t.faultIn(id, err)
	}
	if class.Name == "" {
		return t.faultIn(name, errMissing)
	}
	if len(class.Name) > maxID {
		return t.faultIn(name, errLong)
	}
	if _, ok := c.byID[class.ID]; ok {
		return t.fault(t.columnName(id), "the label %s is in the list twice", class.ID)
	}
	if len(c.list) == maxClasses {
		return t.fault("", "the list has more than %d classes", maxClasses)
	}
	i := len(c.list)
	c.list = append(c.list, class)
	c.byID[class.ID] = i
	c.byName[class.Name] = append(c.byName[class.Name], i)
	c.byFold[fold(class.Name)] = append(c.byFold[fold(class.Name)], i)
	return nil
}

var errNotLabelID = errors.New(`want a label id such as "/m/0cdn1"`)

// Len returns the number of classes.
func (c *Classes) Len() int { return len(c.list) }

// All returns the classes in the order of the file.
func (c *Classes) All() iter.Seq[Class] { return slices.Values(c.list) }

// Name returns the name of the label id. A label without a name is called by its id.
func (c *Classes) Name(id LabelID) string {
	if i, ok := c.byID[id]; ok {
		return c.list[i].Name
	}
	return string(id)
}

// Find returns the class that a person means by asked: its id, its exact name, or
// its name in another case when that is unique. The error is an
// *UnknownLabelError or an *AmbiguousLabelError.
func (c *Classes) Find(asked string) (Class, error) {
	if i, ok := c.byID[LabelID(asked)]; ok {
		return c.list[i], nil
	}
	found := c.byName[asked]
	if len(found) == 0 {
		found = c.byFold[fold(asked)]
	}
	switch len(found) {
	case 0:
		return Class{}, &UnknownLabelError{Asked: asked, Nearest: c.nearest(asked, 3)}
	case 1:
		return c.list[found[0]], nil
	}
	e := &AmbiguousLabelError{Asked: asked}
	for _, i := range found {
		e.Candidates = append(e.Candidates, c.list[i])
	}
	return Class{}, e
}

// UnknownLabelError says that no label has the name or id that was asked for.
type UnknownLabelError struct {
	Asked   string
	Nearest []string // up to three names, the nearest first
}

// Error returns a message without the suggestions.
func (e *UnknownLabelError) Error() string { return fmt.Sprintf("no label is called %q", e.Asked) }

// AmbiguousLabelError says that several labels have the name that was asked for.
type AmbiguousLabelError struct {
	Asked      string
	Candidates []Class // in the order of the class list
}

// Error returns a message that names the candidates' ids.
func (e *AmbiguousLabelError) Error() string {
	ids := make([]string, len(e.Candidates))
	for i, c := range e.Candidates {
		ids[i] = fmt.Sprintf("%s (%s)", c.ID, c.Name)
	}
	return fmt.Sprintf("several labels are called %q: %s", e.Asked, strings.Join(ids, ", "))
}

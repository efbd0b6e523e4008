package selection

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
)

// Resolved says which class the boxes of each label become.
type Resolved struct {
	asked  []asked
	owners map[openimages.LabelID]owner
}

// asked is a label that the manifest asks for.
type asked struct {
	openimages.Class
	as    string                     // the class that its boxes become
	scope map[openimages.LabelID]int // the labels it asks for, itself included, and their distance below it
}

// owner says who gets the boxes of a label.
type owner struct {
	asked int   // index into Resolved.asked
	other []int // who asked for them too
}

// Classes returns the classes that boxes become, sorted.
func (r Resolved) Classes() []string {
	var classes []string
	for _, a := range r.asked {
		classes = append(classes, a.as)
	}
	slices.Sort(classes)
	return slices.Compact(classes)
}

// LabelIDs returns the labels whose boxes are selected, sorted.
func (r Resolved) LabelIDs() []openimages.LabelID {
	return slices.Sorted(maps.Keys(r.owners))
}

// Class returns the class that boxes of the label id become, or "" for none.
func (r Resolved) Class(id openimages.LabelID) string {
	o, ok := r.owners[id]
	if !ok {
		return ""
	}
	return r.asked[o.asked].as
}

// LabelErrors are all the faults that ResolveLabels found, in the manifest's order.
type LabelErrors []*LabelError

// LabelError is a fault of one label of a manifest.
type LabelError struct {
	Label  int   // index into the labels
	Except int   // index into the label's exceptions, or -1
	Err    error // for a name that is not found, an *openimages.UnknownLabelError or *openimages.AmbiguousLabelError
}

// Error returns one line for each fault.
func (e LabelErrors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults.
func (e LabelErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// Path returns where the fault is in the manifest, such as dataset.labels[1].except[0].
func (e *LabelError) Path() string {
	path := fmt.Sprintf("dataset.labels[%d]", e.Label)
	if e.Except >= 0 {
		path += fmt.Sprintf(".except[%d]", e.Except)
	}
	return path
}

// Error returns the path of the label in the manifest and what is wrong.
func (e *LabelError) Error() string { return e.Path() + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *LabelError) Unwrap() error { return e.Err }

// ResolveLabels looks up the labels of a manifest, of which none stands for all classes. The
// hierarchy may be nil when no label asks for descendants. A label that several ask for goes to the most specific
// of them, however the manifest orders them. The error is LabelErrors.
func ResolveLabels(classes *openimages.Classes, hierarchy *openimages.Hierarchy, labels []manifest.Label) (Resolved, error) {
	r := Resolved{owners: map[openimages.LabelID]owner{}}
	var faults LabelErrors
	if len(labels) == 0 {
		for class := range classes.All() {
			labels = append(labels, manifest.Label{Name: string(class.ID)})
		}
	}
	for i, label := range labels {
		a, errs := resolveLabel(classes, hierarchy, label)
		for _, err := range errs {
			err.Label = i
		}
		faults = append(faults, errs...)
		if first := slices.IndexFunc(r.asked, func(b asked) bool { return b.ID == a.ID && a.ID != "" }); first >= 0 {
			faults = append(faults, &LabelError{Label: i, Except: -1, Err: fmt.Errorf("%s (%s) is asked for by dataset.labels[%d] already", a.Name, a.ID, first)})
		}
		r.asked = append(r.asked, a)
	}
	if len(faults) > 0 {
		return Resolved{}, faults
	}
	for i, a := range r.asked {
		for id := range a.scope {
			o := r.owners[id]
			o.other = append(o.other, i)
			r.owners[id] = o
		}
	}
	for id, o := range r.owners {
		o.asked = r.mostSpecific(id, o.other)
		o.other = slices.DeleteFunc(o.other, func(i int) bool { return i == o.asked })
		r.owners[id] = o
	}
	return r, nil
}

// mostSpecific returns which of the labels that ask for id is the most specific: one
// that is below the others. Where several are that are not below each other, which a
// hierarchy with several parents allows, the nearest to id wins, then the manifest's
// order.
func (r Resolved) mostSpecific(id openimages.LabelID, candidates []int) int {
	lowest := slices.DeleteFunc(slices.Clone(candidates), func(i int) bool {
		return slices.ContainsFunc(candidates, func(j int) bool {
			_, below := r.asked[i].scope[r.asked[j].ID]
			return below && i != j
		})
	})
	return slices.MinFunc(lowest, func(i, j int) int {
		return cmp.Or(cmp.Compare(r.asked[i].scope[id], r.asked[j].scope[id]), cmp.Compare(i, j))
	})
}

func resolveLabel(classes *openimages.Classes, hierarchy *openimages.Hierarchy, label manifest.Label) (asked, LabelErrors) {
	class, err := classes.Find(label.Name)
	if err != nil {
		return asked{}, LabelErrors{{Except: -1, Err: err}}
	}
	a := asked{
		Class: class,
		as:    cmp.Or(label.As, class.Name),
		scope: map[openimages.LabelID]int{class.ID: 0},
	}
	if !label.Descendants {
		if len(label.Except) > 0 {
			return a, LabelErrors{{Except: 0, Err: errors.New("has a meaning only with descendants: true")}}
		}
		return a, nil
	}
	if hierarchy == nil {
		return a, LabelErrors{{Except: -1, Err: errors.New("asks for descendants, but the data set has no hierarchy")}}
	}
	if !hierarchy.Contains(class.ID) {
		return a, LabelErrors{{Except: -1, Err: fmt.Errorf("asks for descendants, but %s (%s) is not in the hierarchy", class.Name, class.ID)}}
	}
	below := hierarchy.Below(class.ID)
	maps.Copy(a.scope, below)
	var faults LabelErrors
	for i, name := range label.Except {
		except, err := classes.Find(name)
		if _, ok := below[except.ID]; err == nil && !ok {
			err = fmt.Errorf("%s (%s) is not below %s (%s)", except.Name, except.ID, class.Name, class.ID)
		}
		if err != nil {
			faults = append(faults, &LabelError{Except: i, Err: err})
			continue
		}
		delete(a.scope, except.ID)
		for id := range hierarchy.Below(except.ID) {
			delete(a.scope, id)
		}
	}
	return a, faults
}

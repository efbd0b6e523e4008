package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Difference is one field in which an action differs from an earlier one.
type Difference struct {
	Field    string       // "kind", "behaviour version", "environment", the dotted path of a parameter, or "input" and its name
	Old, New string       // as JSON for a parameter; empty where the field is not set
	Files    *cas.Changes // of an input that both actions have; nil for other fields and when a tree is lost
}

// String is the difference in one line, for a person.
func (d Difference) String() string {
	input := strings.HasPrefix(d.Field, inputField)
	switch {
	case d.Files != nil:
		return d.Field + ": " + d.Files.String()
	case input && d.Old == "":
		return d.Field + ": new"
	case input && d.New == "":
		return d.Field + ": gone"
	case input:
		return d.Field + ": changed"
	case d.Old == "":
		return fmt.Sprintf("%s: %s, was not set", d.Field, d.New)
	case d.New == "":
		return fmt.Sprintf("%s: not set, was %s", d.Field, d.Old)
	}
	return fmt.Sprintf("%s: %s, was %s", d.Field, d.New, d.Old)
}

// inputField comes before the name of an input.
const inputField = "input "

// differences returns the fields in which a differs from an earlier action. Which files
// of the inputs differ is not looked up yet.
func (a action) differences(old action) []Difference {
	var all []Difference
	add := func(field, was, now string) {
		if was != now {
			all = append(all, Difference{Field: field, Old: was, New: now})
		}
	}
	add("kind", old.kind, a.kind)
	add("behaviour version", strconv.Itoa(old.version), strconv.Itoa(a.version))
	was, now := map[string]string{}, map[string]string{}
	flatten("", old.params, was)
	flatten("", a.params, now)
	for _, name := range union(was, now) {
		add(name, was[name], now[name])
	}
	for _, name := range union(old.inputs, a.inputs) {
		add(inputField+name, treeName(old.inputs[name]), treeName(a.inputs[name]))
	}
	add("environment", old.environment, a.environment)
	return all
}

// union returns the keys of both maps, sorted.
func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func treeName(id cas.TreeID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// flatten writes every leaf of a JSON value to leaves, under its dotted path.
func flatten(prefix string, value []byte, leaves map[string]string) {
	join := func(name string) string {
		if prefix == "" {
			return name
		}
		return prefix + "." + name
	}
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case json.Unmarshal(value, &object) == nil && object != nil:
		for name, v := range object {
			flatten(join(name), v, leaves)
		}
	case json.Unmarshal(value, &list) == nil && list != nil:
		for i, v := range list {
			flatten(join(strconv.Itoa(i)), v, leaves)
		}
	default:
		leaves[prefix] = string(value)
	}
}

// maxFiles is how many files of an input are named by a Difference.
const maxFiles = 2

// maxEarlier bounds how many earlier actions of a stage are compared. What was built
// longer ago is rarely what a person has in mind.
const maxEarlier = 100

// explain returns in what an action differs from the nearest earlier one of its stage:
// the one with the fewest differing fields, and of those the latest. known is false when
// there is none. It serves the person only, so whatever cannot be read is as good as
// nothing.
func (r *run) explain(ctx context.Context, stage string, act action) (nearest []Difference, known bool) {
	var from action
	for _, id := range r.earlier(ctx, stage) {
		old, err := loadAction(ctx, r.Store, id)
		if err != nil {
			continue
		}
		if d := act.differences(old); !known || len(d) < len(nearest) {
			nearest, known, from = d, true, old
		}
	}
	lookInto(ctx, r.Store, nearest, from, act)
	return nearest, known
}

// lookInto finds out which files of the inputs differ, where the trees are still known.
func lookInto(ctx context.Context, store cas.Store, differences []Difference, old, now action) {
	for i, d := range differences {
		name, ok := strings.CutPrefix(d.Field, inputField)
		if !ok || d.Old == "" || d.New == "" {
			continue
		}
		files, err := cas.Diff(ctx, cas.NewTree(store, old.inputs[name]), cas.NewTree(store, now.inputs[name]), maxFiles)
		if err == nil {
			differences[i].Files = &files
		}
	}
}

// earlier returns the earlier actions of a stage, the latest first, each once.
func (r *run) earlier(ctx context.Context, stage string) []cas.Digest {
	var all []cas.Digest
	if latest, err := r.Cache.Latest(ctx, r.noteName(stage)); err == nil {
		all = append(all, latest)
	}
	if r.Earlier != nil {
		for _, id := range r.Earlier(ctx, stage) {
			if len(all) == maxEarlier {
				break
			}
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// why says, a line each, why a stage has to run.
func (r *run) why(ctx context.Context, stage string, act action) ([]string, []Difference) {
	differences, known := r.explain(ctx, stage, act)
	switch {
	case !known:
		return []string{"no earlier run is known"}, nil
	case len(differences) == 0 && r.Force[stage]:
		return []string{"it is forced to"}, nil
	case len(differences) == 0:
		return []string{"its result is not in the cache any more"}, nil
	}
	return told(differences), differences
}

// told is the differences, a line each.
func told(differences []Difference) []string {
	var lines []string
	for _, d := range differences {
		lines = append(lines, d.String())
	}
	return lines
}

// DiffActions returns in what the action now differs from the action old. Both are in the
// store.
func DiffActions(ctx context.Context, store cas.Store, old, now cas.Digest) ([]Difference, error) {
	was, err := loadAction(ctx, store, old)
	if err != nil {
		return nil, err
	}
	is, err := loadAction(ctx, store, now)
	if err != nil {
		return nil, err
	}
	differences := is.differences(was)
	lookInto(ctx, store, differences, was, is)
	return differences, nil
}

// Package history remembers builds as they ended, and says in what two of them differ. It
// is kept beside the cache, under the name of the package that was built; nothing that is
// built depends on it.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Record is a build of the past, as it ended.
type Record struct {
	ID       string             `json:"-"` // the first digits of the record's digest
	Time     time.Time          `json:"time"`
	Seconds  float64            `json:"seconds"`
	Manifest string             `json:"manifest"`      // its absolute path
	Set      []manifest.Setting `json:"set,omitempty"` // what replaced values of the manifest
	Stages   []Stage            `json:"stages"`        // those that have a result
	Package  string             `json:"package,omitempty"`
	Message  string             `json:"message,omitempty"`  // of the package
	Meta     json.RawMessage    `json:"meta,omitempty"`     // of the package; absent when there is none
	Accuracy *float64           `json:"accuracy,omitempty"` // on the test crops
	Error    string             `json:"error,omitempty"`    // why the build has no package
}

// Stage is what became of a stage.
type Stage struct {
	Stage    string             `json:"stage"`
	Action   Digest             `json:"action"`
	Tree     Digest             `json:"tree"`
	Cached   bool               `json:"cached,omitempty"`
	Why      []string           `json:"why,omitempty"` // why it ran
	Counters map[string]int64   `json:"counters,omitempty"`
	Work     []stages.Work      `json:"work,omitempty"`    // what it did when it ran
	Metrics  map[string]float64 `json:"metrics,omitempty"` // of a stage of the user's own
	Seconds  float64            `json:"seconds"`
}

// Ran returns how many stages ran.
func (r Record) Ran() int {
	n := 0
	for _, s := range r.Stages {
		if !s.Cached {
			n++
		}
	}
	return n
}

// Stage returns what became of a stage.
func (r Record) Stage(name string) (Stage, bool) {
	i := slices.IndexFunc(r.Stages, func(s Stage) bool { return s.Stage == name })
	if i < 0 {
		return Stage{}, false
	}
	return r.Stages[i], true
}

// Digest is a digest as a record has it: hex and size, as in the Remote
// Execution API's URLs.
type Digest struct{ cas.Digest }

// MarshalText writes "<hex>/<size>".
func (d Digest) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s/%d", d.Hex(), d.Size()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	hex, size, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err == nil {
		d.Digest, err = cas.NewDigest(hex, n)
	}
	return err
}

// Store keeps entries, lines of text, by name.
type Store interface {
	Append(ctx context.Context, name string, entry []byte) error
	History(ctx context.Context, name string) ([][]byte, error) // the oldest first
}

// idDigits is how many digits name a build: enough for the thousands that are kept.
const idDigits = 8

// Append adds a build that has just ended to the history of its package.
func Append(ctx context.Context, store Store, name string, r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("history of %s: %w", name, err)
	}
	return store.Append(ctx, name, text)
}

// Read returns the builds of a package that the store remembers, the latest first.
func Read(ctx context.Context, store Store, name string) ([]Record, error) {
	entries, err := store.History(ctx, name)
	if err != nil {
		return nil, err
	}
	records := make([]Record, 0, len(entries))
	for _, entry := range slices.Backward(entries) {
		r := Record{ID: cas.Sum(entry).Hex()[:idDigits]}
		if json.Unmarshal(entry, &r) == nil { // one of another version of sandwich is none
			records = append(records, r)
		}
	}
	return records, nil
}

// NoBuildError says that the history has no build, or several, of a name.
type NoBuildError struct {
	Name  string // as it was asked for
	Found int
}

func (e *NoBuildError) Error() string {
	if e.Found > 1 {
		return fmt.Sprintf("%d builds begin with %s", e.Found, e.Name)
	}
	return "the history has no build " + e.Name
}

// Find returns the build that a person means: by the first digits of its id, or by @1 for
// the latest one, @2 for the one before, and so on.
func Find(records []Record, name string) (Record, error) {
	if number, ok := strings.CutPrefix(name, "@"); ok {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > len(records) {
			return Record{}, &NoBuildError{Name: name}
		}
		return records[n-1], nil
	}
	var found []Record
	for _, r := range records {
		if name != "" && strings.HasPrefix(r.ID, name) {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		return Record{}, &NoBuildError{Name: name, Found: len(found)}
	}
	return found[0], nil
}

// StageChange is how a stage of one build differs from that of another.
type StageChange struct {
	Stage       string
	Only        string              // "old" or "new" when the other build has no such stage
	Differences []stages.Difference // of the actions
	Output      *cas.Changes        // nil when the outputs are equal, or are not in the store any more
	Lost        bool                // what there was to compare is not in the store any more
	Old, New    map[string]int64    // counters
	Was, Is     map[string]float64  // metrics of a stage of the user's own
}

// Compare returns the stages in which two builds differ, in the order of the new one.
func Compare(ctx context.Context, store cas.Store, old, now Record) ([]StageChange, error) {
	var changes []StageChange
	for _, s := range now.Stages {
		was, ok := old.Stage(s.Stage)
		if !ok {
			changes = append(changes, StageChange{Stage: s.Stage, Only: "new", New: s.Counters})
			continue
		}
		if was.Action == s.Action && was.Tree == s.Tree {
			continue
		}
		c, err := compareStage(ctx, store, was, s)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	for _, s := range old.Stages {
		if _, ok := now.Stage(s.Stage); !ok {
			changes = append(changes, StageChange{Stage: s.Stage, Only: "old", Old: s.Counters})
		}
	}
	return changes, nil
}

// comparedFiles is how many files of an output Compare names.
const comparedFiles = 10

func compareStage(ctx context.Context, store cas.Store, was, now Stage) (StageChange, error) {
	c := StageChange{Stage: now.Stage, Old: was.Counters, New: now.Counters, Was: was.Metrics, Is: now.Metrics}
	var err error
	if was.Action != now.Action {
		c.Differences, err = stages.DiffActions(ctx, store, was.Action.Digest, now.Action.Digest)
	}
	if err == nil && was.Tree != now.Tree {
		tree := func(d Digest) cas.Tree { return cas.NewTree(store, cas.NewTreeID(d.Digest)) }
		var output cas.Changes
		if output, err = cas.Diff(ctx, tree(was.Tree), tree(now.Tree), comparedFiles); err == nil {
			c.Output = &output
		}
	}
	if _, lost := errors.AsType[*cas.BlobError](err); lost {
		c.Lost, err = true, nil
	}
	return c, err
}

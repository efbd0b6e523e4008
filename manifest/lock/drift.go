package lock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Need is what a manifest asks a lock to pin.
type Need struct {
	Sources []string // URLs, or paths as the manifest has them
	Code    *Code    // the sources as they are now; nil when the manifest records none
	Photos  *Photos  // nil while it is not known which photos are selected
}

// Photos are the selected photos and the places where the manifest allows to look
// for them.
type Photos struct {
	IDs    []string
	Places []string
}

// Kind is what is the matter with a pin.
type Kind string

// The kinds of change.
const (
	Missing  Kind = "missing"  // the manifest needs it and the lock has no pin
	Unneeded Kind = "unneeded" // the lock pins it and the manifest does not need it
	Changed  Kind = "changed"  // the lock pins something else
)

// Subject is what a change is about.
type Subject string

// The subjects of changes, by the words of the lock file.
const (
	CodeLine   Subject = "code"
	SourceLine Subject = "source"
	PhotoLine  Subject = "photo"
)

// Change is one difference between a lock and what is needed.
type Change struct {
	Subject Subject
	Kind    Kind
	Name    string // the URL or photo id; empty for code
	Detail  string // what differs, for Changed
}

// String is the change in one line: "photo missing: 000002b66c9c498e".
func (c Change) String() string {
	s := fmt.Sprintf("%s %s", c.Subject, c.Kind)
	for _, part := range []string{c.Name, c.Detail} {
		if part != "" {
			s += ": " + part
		}
	}
	return s
}

// Drift says how the lock differs from what is needed: nothing when it can be used
// as it is. The order is the file's: code, sources, photos, each by name. A nil lock
// pins nothing. A dead photo counts as pinned: the tombstone is the pin.
func Drift(have *Lock, need Need) []Change {
	if have == nil {
		have = &Lock{}
	}
	changes := driftCode(have.Code, need.Code)
	changes = append(changes, compare(SourceLine, have.Sources, need.Sources, Source.key, func(Source) string { return "" })...)
	if need.Photos != nil {
		changes = append(changes, compare(PhotoLine, have.Photos, need.Photos.IDs, Photo.key, need.Photos.misplaced)...)
	}
	return changes
}

// misplaced says how a photo's pin breaks the rule of places.
func (p *Photos) misplaced(pinned Photo) string {
	if pinned.Dead != "" || slices.Contains(p.Places, pinned.Place) {
		return ""
	}
	return fmt.Sprintf("pinned at %s, allowed: %s", pinned.Place, strings.Join(p.Places, ", "))
}

// driftCode compares the sources' content, and whether there were changes besides it,
// but not the commit: committing the lock itself makes a new commit of the same
// sources, and that must not outdate the lock.
func driftCode(have, need *Code) []Change {
	switch {
	case have == nil && need == nil:
		return nil
	case have == nil:
		return []Change{{Subject: CodeLine, Kind: Missing}}
	case need == nil:
		return []Change{{Subject: CodeLine, Kind: Unneeded}}
	case have.Tree == need.Tree && have.Dirty == need.Dirty:
		return nil
	default:
		return []Change{{Subject: CodeLine, Kind: Changed, Detail: have.label() + " -> " + need.label()}}
	}
}

// label is the commit, its content, and whether there were uncommitted changes.
func (c Code) label() string {
	s := short(c.Commit) + "/" + short(strings.TrimPrefix(string(c.Tree), digest.SHA256.String()+":"))
	if c.Dirty {
		s += "+changes"
	}
	return s
}

func short(hex string) string { return hex[:min(len(hex), 12)] }

// compare walks pins and needs in order, side by side.
func compare[T any](subject Subject, have []T, need []string, keyOf func(T) string, wrong func(T) string) []Change {
	have = sorted(have, keyOf)
	need = slices.Compact(slices.Sorted(slices.Values(need)))
	var changes []Change
	for len(have) > 0 || len(need) > 0 {
		order := -1 // the pin comes first, or stands alone
		if len(have) == 0 {
			order = 1
		} else if len(need) > 0 {
			order = cmp.Compare(keyOf(have[0]), need[0])
		}
		switch {
		case order < 0:
			changes = append(changes, Change{Subject: subject, Kind: Unneeded, Name: keyOf(have[0])})
		case order > 0:
			changes = append(changes, Change{Subject: subject, Kind: Missing, Name: need[0]})
		default:
			if detail := wrong(have[0]); detail != "" {
				changes = append(changes, Change{Subject: subject, Kind: Changed, Name: need[0], Detail: detail})
			}
		}
		if order <= 0 {
			have = have[1:]
		}
		if order >= 0 {
			need = need[1:]
		}
	}
	return changes
}

package lock

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/sorted"
)

// Kind is what is the matter with a pin.
type Kind string

// The kinds of change.
const (
	Missing  Kind = "missing"  // the manifest needs it and the lock has no pin
	Unneeded Kind = "unneeded" // the lock pins it and the manifest does not need it
	Changed  Kind = "changed"  // the lock pins something else
	More     Kind = "more"     // there are more changes than are told; Name is their number
)

// Subject is what a change is about.
type Subject string

// The subjects of changes, by the words of the lock file.
const (
	CodeLine     Subject = "code"
	ImageLine    Subject = "image"
	InputLine    Subject = "file"
	PythonLine   Subject = "python"
	WheelLine    Subject = "wheel"
	PlatformLine Subject = "platform"
	CondaLine    Subject = "conda"
	SourceLine   Subject = "source"
	PhotoLine    Subject = "photo"
)

// Change is one difference between a lock and what is needed.
type Change struct {
	Subject Subject
	Kind    Kind
	Name    string // the URL, path, image, platform or photo id; empty for code
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

// DriftCode says how the pin of the sources differs from what they are now: nothing when
// it can be used as it is. nil is no pin, and no sources.
//
// It compares the sources' content, and whether there were changes besides it, but not
// the commit: committing the lock itself makes a new commit of the same sources, and that
// must not outdate the lock.
func DriftCode(have, need *Code) []Change {
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

// DriftSources says which metadata files, by their URLs, the lock lacks and which it has
// too many, in the order of the file.
func DriftSources(have []Source, need []string) []Change {
	var changes []Change
	for _, s := range have {
		if !slices.Contains(need, s.URL) {
			changes = append(changes, Change{Subject: SourceLine, Kind: Unneeded, Name: s.URL})
		}
	}
	for _, url := range slices.Compact(slices.Sorted(slices.Values(need))) {
		if !slices.ContainsFunc(have, func(s Source) bool { return s.URL == url }) {
			changes = append(changes, Change{Subject: SourceLine, Kind: Missing, Name: url})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return changes
}

// DriftInputs says how the pins of the files that the user's own stages read differ from what
// the files are now.
func DriftInputs(have, need []Input) []Change {
	return drift(InputLine, have, need, func(f Input) (string, blob) { return f.Path, blob{f.Digest, f.Size} })
}

// blob is what a pin says of bytes.
type blob struct {
	digest digest.Digest
	size   int64
}

// drift says how pins differ from what there is now, of which each has a name.
func drift[P any](subject Subject, have, need []P, of func(P) (name string, b blob)) []Change {
	now := make(map[string]blob, len(need))
	for _, p := range need {
		name, b := of(p)
		now[name] = b
	}
	var changes []Change
	for _, p := range have {
		name, was := of(p)
		is, ok := now[name]
		delete(now, name)
		switch {
		case !ok:
			changes = append(changes, Change{Subject: subject, Kind: Unneeded, Name: name})
		case is != was:
			changes = append(changes, Change{Subject: subject, Kind: Changed, Name: name, Detail: fmt.Sprintf("%s -> %s", was.digest, is.digest)})
		}
	}
	for name := range now {
		changes = append(changes, Change{Subject: subject, Kind: Missing, Name: name})
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return changes
}

// DriftImage says how the pin of the image differs from what the manifest names; nil is no image.
func DriftImage(have, need *Image) []Change {
	switch {
	case have == nil && need == nil:
		return nil
	case have == nil:
		return []Change{{Subject: ImageLine, Kind: Missing, Name: need.Name}}
	case need == nil:
		return []Change{{Subject: ImageLine, Kind: Unneeded, Name: have.Name}}
	case have.Name != need.Name:
		return []Change{{Subject: ImageLine, Kind: Changed, Name: need.Name, Detail: "pinned is " + have.Name}}
	case *have != *need:
		return []Change{{Subject: ImageLine, Kind: Changed, Name: need.Name, Detail: fmt.Sprintf("%s -> %s", have.Digest, need.Digest)}}
	}
	return nil
}

// DriftPython says how the pin of the interpreter differs from the one that there is; nil is none.
func DriftPython(have, need *Python) []Change {
	switch {
	case have == nil && need == nil:
		return nil
	case have == nil:
		return []Change{{Subject: PythonLine, Kind: Missing, Name: need.ABI}}
	case need == nil:
		return []Change{{Subject: PythonLine, Kind: Unneeded, Name: have.ABI}}
	case *have != *need:
		return []Change{{Subject: PythonLine, Kind: Changed, Detail: fmt.Sprintf("%s in %s -> %s in %s", have.ABI, have.Site, need.ABI, need.Site)}}
	}
	return nil
}

// DriftWheels says how the pins of wheels differ from those that requirements come to, whose
// sizes pip does not tell.
func DriftWheels(have, need []Archive) []Change { return driftArchives(WheelLine, have, need) }

// driftArchives compares no sizes, which those who resolve need not tell.
func driftArchives(subject Subject, have, need []Archive) []Change {
	return drift(subject, have, need, func(a Archive) (string, blob) { return a.URL, blob{digest: a.Digest} })
}

// DriftConda says how the pins of conda's packages differ from those that an environment comes to on a platform,
// whose digests channels need not tell; an empty platform is no environment.
func DriftConda(had string, have []Archive, needs string, need []Archive) []Change {
	var changes []Change
	switch {
	case had == needs:
	case had == "":
		changes = []Change{{Subject: PlatformLine, Kind: Missing, Name: needs}}
	case needs == "":
		changes = []Change{{Subject: PlatformLine, Kind: Unneeded, Name: had}}
	default:
		changes = []Change{{Subject: PlatformLine, Kind: Changed, Detail: had + " -> " + needs}}
	}
	return append(changes, driftArchives(CondaLine, have, need)...)
}

// DriftPhotos says how the pins differ from what a selection needs, in the order of the
// file. need are the ids, strictly ascending, and places where the manifest allows photos
// to be from. A dead photo counts as pinned: the tombstone is the pin.
func DriftPhotos(have Photos, need iter.Seq2[string, error], places []string) iter.Seq2[Change, error] {
	itself := func(id string) string { return id }
	return func(yield func(Change, error) bool) {
		for pair, err := range sorted.Join(have.All(), need, Photo.key, itself) {
			if err != nil {
				yield(Change{}, err)
				return
			}
			c := Change{Subject: PhotoLine}
			switch {
			case pair.Right == nil:
				c.Kind, c.Name = Unneeded, pair.Left.ID
			case pair.Left == nil:
				c.Kind, c.Name = Missing, *pair.Right
			case pair.Left.Dead == "" && !slices.Contains(places, pair.Left.Place):
				c.Kind, c.Name = Changed, pair.Left.ID
				c.Detail = fmt.Sprintf("pinned at %s, allowed: %s", pair.Left.Place, strings.Join(places, ", "))
			default:
				continue
			}
			if !yield(c, nil) {
				return
			}
		}
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

package pipeline

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/boxindex"
	"github.com/sandwich-build/sandwich/internal/dataset"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
	selection "github.com/sandwich-build/sandwich/stages/select"
)

// ErrNoLock says that a project has no lock that something could have changed since.
var ErrNoLock = errors.New("there is no lock yet")

// Upstream is how the metadata files and the image of a project differ from those that its lock pins.
type Upstream struct {
	Sources []SourceChange // sorted by URL
	Boxes   []BoxChange    // of the manifest's labels and those that they ask for, by subset and name
	// Unknown says why boxes could not be compared; empty when they were.
	Unknown string
	Image   *ImageChange    // nil when the image of the environment is as it was pinned, or there is none
	Wheels  []LibraryChange // sorted by name
	Conda   []LibraryChange // sorted by name
}

// ImageChange is an image whose name means another one now.
type ImageChange struct{ Old, New lock.Image }

// SourceChange is a metadata file that is not as it was pinned.
type SourceChange struct {
	URL      string
	Old, New lock.Source
}

// BoxChange is how the boxes of a label differ in a subset.
type BoxChange struct {
	openimages.Class
	Subset string
	boxindex.Change
}

// Outdated compares the metadata files of a project, as they are published now, with those
// that the lock pins: down to the boxes of the manifest's labels; the image that its tag names;
// and the wheels and packages that requirements and an environment.yml come to. The lock stays as it is. The error is ErrNoLock when there is none.
func Outdated(ctx context.Context, p *Project, o Options) (*Upstream, error) {
	var u *Upstream
	err := withSession(p, o, func(s *session) error {
		if s.lock.disk == nil || len(s.lock.Sources) == 0 {
			return ErrNoLock
		}
		var err error
		if u, _, err = s.compareUpstream(ctx); err != nil {
			return err
		}
		if u.Wheels, err = s.compareWheels(ctx); err != nil {
			return err
		}
		u.Conda, err = s.compareConda(ctx)
		return err
	})
	return u, err
}

// compareUpstream compares what the lock pins with what is published now, and returns the pins of the
// metadata files as they are now.
func (s *session) compareUpstream(ctx context.Context) (*Upstream, []lock.Source, error) {
	now, err := s.resolver.Published(ctx, manifest.Files(s.Manifest.Dataset), s.lock.Sources)
	if err != nil {
		return nil, nil, err
	}
	u, err := s.compareSources(ctx, s.lock.Sources, now)
	if err == nil {
		u.Image, err = s.compareImage(ctx)
	}
	return u, now, err
}

// compareSources compares two states of the metadata files.
func (s *session) compareSources(ctx context.Context, old, now []lock.Source) (*Upstream, error) {
	u := &Upstream{}
	was := map[string]lock.Source{}
	for _, source := range old {
		was[source.URL] = source
	}
	for _, source := range now {
		if before, ok := was[source.URL]; ok && before.Digest != source.Digest {
			u.Sources = append(u.Sources, SourceChange{URL: source.URL, Old: before, New: source})
		}
	}
	slices.SortFunc(u.Sources, func(a, b SourceChange) int { return cmp.Compare(a.URL, b.URL) })
	if len(u.Sources) == 0 {
		return u, nil
	}
	before, err := s.stateOf(ctx, old)
	if err != nil {
		// What was pinned may be nowhere any more. Then there is nothing to compare with.
		if _, gone := errors.AsType[*fetch.Error](err); !gone && !isMismatch(err) {
			return nil, err
		}
		u.Unknown = "what the lock pins is neither in the cache nor where it was published: " + err.Error()
		return u, nil
	}
	after, err := s.stateOf(ctx, now)
	if err != nil {
		return nil, err
	}
	u.Boxes, err = before.boxes(ctx, after)
	return u, err
}

func isMismatch(err error) bool {
	_, ok := errors.AsType[*fetch.MismatchError](err)
	return ok
}

// state is a data set as some pins have it.
type state struct {
	classes *openimages.Classes
	labels  []openimages.LabelID // that the manifest asks for; those it had before where it asks for none
	tree    cas.Tree
	subsets []string
}

func (s *session) stateOf(ctx context.Context, pins []lock.Source) (*state, error) {
	kept := s.lock.Sources
	s.lock.Sources = pins
	defer func() { s.lock.Sources = kept }()
	classes, hierarchy, err := s.readClasses(ctx)
	if err != nil {
		return nil, err
	}
	x := &state{classes: classes, subsets: s.Manifest.Dataset.Subsets}
	resolved, err := selection.ResolveLabels(classes, hierarchy, s.Manifest.Dataset.Labels)
	if err == nil {
		x.labels = resolved.LabelIDs()
	} else if _, wrong := errors.AsType[selection.LabelErrors](err); !wrong {
		return nil, err // a label that upstream has no more has no boxes there, and shows by that
	}
	x.tree, err = s.buildMetadata(ctx)
	return x, err
}

// readClasses reads the classes that the session's lock pins, and their hierarchy if there is
// one.
func (s *session) readClasses(ctx context.Context) (*openimages.Classes, *openimages.Hierarchy, error) {
	files := manifest.Files(s.Manifest.Dataset)
	if form := dataset.New(s.Manifest.Dataset.Source); form != nil {
		classes, err := s.readForm(ctx, form, files)
		return classes, nil, err
	}
	lists := files[:rowsFrom(files)]
	ofLists := make([]lock.Source, len(lists))
	for i, f := range lists {
		ofLists[i], _ = s.lock.Source(f.URL)
	}
	return s.readLists(ctx, lists, ofLists)
}

// boxes compares the boxes of the labels that either state asks for.
func (x *state) boxes(ctx context.Context, now *state) ([]BoxChange, error) {
	labels := map[openimages.LabelID]bool{}
	for _, id := range slices.Concat(x.labels, now.labels) {
		labels[id] = true
	}
	var changes []BoxChange
	for _, subset := range x.subsets {
		for _, id := range slices.Sorted(maps.Keys(labels)) {
			name := path.Join(boxindex.Folder(subset), boxindex.FileName(id))
			old, oldDigest, err := labelFile(ctx, x.tree, name)
			if err != nil {
				return nil, err
			}
			fresh, freshDigest, err := labelFile(ctx, now.tree, name)
			if err != nil {
				return nil, err
			}
			if oldDigest == freshDigest {
				continue
			}
			change, err := boxindex.Diff(old, fresh)
			if err != nil {
				return nil, err
			}
			if change == (boxindex.Change{}) {
				continue // they stand in another order
			}
			title := now.classes.Name(id)
			if title == string(id) {
				title = x.classes.Name(id)
			}
			changes = append(changes, BoxChange{Class: openimages.Class{ID: id, Name: title}, Subset: subset, Change: change})
		}
	}
	slices.SortStableFunc(changes, func(a, b BoxChange) int {
		return cmp.Or(cmp.Compare(slices.Index(x.subsets, a.Subset), slices.Index(x.subsets, b.Subset)), strings.Compare(a.Name, b.Name))
	})
	return changes, nil
}

// labelFile reads a label's file, which is empty when there are no boxes.
func labelFile(ctx context.Context, tree cas.Tree, name string) ([]byte, cas.Digest, error) {
	d, err := tree.Lookup(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cas.Digest{}, nil
	}
	if err != nil {
		return nil, d, err
	}
	data, err := tree.ReadFile(ctx, name)
	return data, d, err
}

package pipeline

import (
	"context"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// A build of nothing must not look at every photo to find that nothing is to be done. So
// the two places that do, which are not stages, remember in the cache what they came to.
// Both are functions of digests; what is remembered is found by all of them, and is as
// good as none when it cannot be read.

// fact names something that was worked out once: what it is, and all that it depends on.
type fact []string

func (f fact) name() string { return "fact\x00" + strings.Join(f, "\x00") }

func (s *session) recall(ctx context.Context, f fact) (cas.Digest, bool) {
	d, err := s.options.Store.Latest(ctx, f.name())
	return d, err == nil
}

// remember does not fail: what cannot be kept is worked out again.
func (s *session) remember(ctx context.Context, f fact, d cas.Digest) {
	_ = s.options.Store.Note(ctx, f.name(), d)
}

// remembering is a pinner of the photos that works out the tree of a selection and a lock
// once.
type remembering struct {
	*session
	photos stages.Pinner
}

// Pin implements stages.Pinner.
func (r remembering) Pin(ctx context.Context, t *stages.Task, selection cas.Tree) (cas.Tree, error) {
	if tree, ok := r.known(ctx, selection); ok {
		return tree, nil
	}
	tree, err := r.photos.Pin(ctx, t, selection)
	if err != nil {
		return cas.Tree{}, err
	}
	text, err := r.lockFile()
	if err != nil {
		return cas.Tree{}, err
	}
	r.remember(ctx, r.pins(selection, text), tree.ID().Digest())
	return tree, nil
}

// known returns the tree of the lock that was read, if all of it is in the store.
func (r remembering) known(ctx context.Context, selection cas.Tree) (cas.Tree, bool) {
	if r.options.Retry || !r.lockIsOnDisk() {
		return cas.Tree{}, false
	}
	root, ok := r.recall(ctx, r.pins(selection, r.lockText))
	if !ok {
		return cas.Tree{}, false
	}
	tree := cas.NewTree(r.store, cas.NewTreeID(root))
	files := []cas.Digest{root}
	for _, name := range []string{pinfile.PinsFile, pinfile.DeadFile} {
		d, err := tree.Lookup(ctx, name)
		if err != nil {
			return cas.Tree{}, false
		}
		files = append(files, d)
	}
	missing, err := r.store.Missing(ctx, files)
	return tree, err == nil && len(missing) == 0
}

// pinsVersion is raised when package pin would make another tree of the same.
const pinsVersion = "1"

// pins is the fact of which tree a selection and a lock make.
func (r remembering) pins(selection cas.Tree, lockText []byte) fact {
	return append(fact{"pins", pinsVersion, selection.ID().String(), cas.Sum(lockText).String()}, r.Manifest.Dataset.Images...)
}

// lockIsOnDisk reports whether the session's lock is the one that was read.
func (s *session) lockIsOnDisk() bool {
	was, is := s.Lock, s.lock
	if was == nil || !slices.Equal(was.Photos, is.Photos) || !slices.Equal(was.Sources, is.Sources) {
		return false
	}
	return was.Code == is.Code || (was.Code != nil && is.Code != nil && *was.Code == *is.Code)
}

// lockFile returns the text of the session's lock.
func (s *session) lockFile() ([]byte, error) {
	if s.lockIsOnDisk() {
		return s.lockText, nil
	}
	return lock.Encode(s.lock)
}

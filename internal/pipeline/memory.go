package pipeline

import (
	"context"

	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// A build of nothing must not look at every photo to find that nothing is to be done. So
// the two places that do, which are not stages, remember in the cache what they came to.

// remembering is a pinner of the photos that works out the tree of a selection and a lock
// once.
type remembering struct {
	*session
	photos stages.Pinner
	save   func() error // writes the lock that the photos completed; nil where none may be
}

// Pin implements stages.Pinner.
func (r remembering) Pin(ctx context.Context, t *stages.Task, selection cas.Tree) (cas.Tree, error) {
	tree, known, err := r.known(ctx, selection)
	if err == nil && !known {
		tree, err = r.photos.Pin(ctx, t, selection)
	}
	if err == nil && r.save != nil {
		err = r.save()
	}
	if err != nil {
		return cas.Tree{}, err
	}
	if !known && r.lock.onDisk() {
		f, err := r.pins(ctx, selection)
		if err != nil {
			return cas.Tree{}, err
		}
		r.memory.Keep(ctx, f, tree.ID().Digest())
	}
	return tree, nil
}

// known returns the tree of the lock that was read, if all of it is in the store.
func (r remembering) known(ctx context.Context, selection cas.Tree) (_ cas.Tree, known bool, _ error) {
	if r.options.Retry || !r.lock.onDisk() {
		return cas.Tree{}, false, nil
	}
	f, err := r.pins(ctx, selection)
	if err != nil {
		return cas.Tree{}, false, err
	}
	root, ok := r.memory.Recall(ctx, f)
	if !ok {
		return cas.Tree{}, false, nil
	}
	tree := cas.NewTree(r.store, cas.NewTreeID(root))
	files := []cas.Digest{root}
	for _, name := range []string{pinfile.PinsFile, pinfile.DeadFile} {
		d, err := tree.Lookup(ctx, name)
		if err != nil {
			return cas.Tree{}, false, nil // they are pinned again
		}
		files = append(files, d)
	}
	missing, err := r.store.Missing(ctx, files)
	return tree, len(missing) == 0, err
}

// pinsVersion is raised when package pin would make another tree of the same.
const pinsVersion = "2"

// pins is the fact of which tree a selection and the lock on the disk make.
func (r remembering) pins(ctx context.Context, selection cas.Tree) (memo.Fact, error) {
	d, err := r.lock.digest(ctx, r.memory)
	if err != nil {
		return nil, err
	}
	return append(memo.Fact{"pins", pinsVersion, selection.ID().String(), d.String()}, r.Manifest.Dataset.Places()...), nil
}

package pin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/sorted"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Pinner makes the tree "pins" of a selection: pins.csv and dead.csv. It is the Pinner
// of the stage download, and not safe for concurrent use.
type Pinner struct {
	Resolver *Resolver
	Places   []string    // where to try each photo, in order
	Have     lock.Photos // the pins of the lock; Pin replaces them
	// Keep goes through the pins, which can be done once only, and keeps them: it returns
	// those that it kept. It is called when Have are not the pins of the selection. The error of
	// the pins ends it.
	Keep func(lock.Photos) (lock.Photos, error)
}

// Pin implements stages.Pinner.
func (p *Pinner) Pin(ctx context.Context, t *stages.Task, selection cas.Tree) (cas.Tree, error) {
	s, err := openSelection(ctx, selection)
	if err != nil {
		return cas.Tree{}, err
	}
	settled, err := p.settled(ctx, s)
	if err != nil {
		return cas.Tree{}, err
	}
	if !settled {
		var done atomic.Int64
		step := func() { t.Progress(done.Add(1), int64(s.count), "photos pinned") }
		pins := p.Resolver.Photos(ctx, s.images(ctx), p.Places, p.Have, step)
		if p.Have, err = p.Keep(lock.Photos(pins)); err != nil {
			return cas.Tree{}, err
		}
	}
	return pinsTree(ctx, t.Store(), s, p.Have)
}

// settled reports whether the lock pins just the photos of the selection, so that there is
// nothing to ask the world.
func (p *Pinner) settled(ctx context.Context, s *selected) (bool, error) {
	for pair, err := range sorted.Join(s.images(ctx), p.Have.All(), imageID, photoID) {
		if err != nil {
			return false, fmt.Errorf("pin photos: %w", err)
		}
		if pair.Left == nil || pair.Right == nil || !p.Resolver.keep(*pair.Right, pair.Left, p.Places) {
			return false, nil
		}
	}
	return true, nil
}

// Locked makes the tree "pins" from a lock alone. It never touches the network.
type Locked struct {
	Places []string    // where the manifest allows photos to be from
	Have   lock.Photos // the pins of the lock
}

// DriftError says that a lock is not that of the photos selected.
type DriftError struct{ Changes []lock.Change } // see Gap.Drift

func (e *DriftError) Error() string {
	return fmt.Sprintf("pin photos: the lock is out of date: %d changes, first: %s", len(e.Changes), e.Changes[0])
}

// Pin implements stages.Pinner. The error is a *DriftError when the lock does not pin
// just the photos selected.
func (l *Locked) Pin(ctx context.Context, t *stages.Task, selection cas.Tree) (cas.Tree, error) {
	s, err := openSelection(ctx, selection)
	if err != nil {
		return cas.Tree{}, err
	}
	changes, err := drift(ctx, s, l.Places, l.Have)
	if err != nil {
		return cas.Tree{}, err
	}
	if len(changes) > 0 {
		return cas.Tree{}, &DriftError{Changes: changes}
	}
	return pinsTree(ctx, t.Store(), s, l.Have)
}

// pinsTree writes the two tables. There is a pin for each of the images.
func pinsTree(ctx context.Context, store cas.Store, s *selected, pins lock.Photos) (cas.Tree, error) {
	b := cas.NewBuilder(store)
	rows := sorted.Join(s.images(ctx), pins.All(), imageID, photoID)
	err := put(ctx, b, pinfile.PinsFile, rows, pinfile.WritePhotos, newPhoto)
	if err == nil {
		err = put(ctx, b, pinfile.DeadFile, rows, pinfile.WriteDead, newDead)
	}
	if err != nil {
		return cas.Tree{}, err
	}
	return b.Commit(ctx)
}

type pinnedImage = sorted.Pair[openimages.Image, lock.Photo]

// put writes a table of those rows that row makes something of.
func put[T any](
	ctx context.Context, b *cas.Builder, file string, pinned iter.Seq2[pinnedImage, error],
	write func(io.Writer, iter.Seq[T]) error, row func(pinnedImage) (T, bool, error),
) error {
	return b.Write(ctx, file, func(w io.Writer) error {
		var broken error
		err := write(w, func(yield func(T) bool) {
			for p, err := range pinned {
				var item T
				of := false
				if err == nil {
					item, of, err = row(p)
				}
				if broken = err; err != nil || of && !yield(item) {
					return
				}
			}
		})
		return errors.Join(broken, err)
	})
}

func newPhoto(p pinnedImage) (pinfile.Photo, bool, error) {
	if p.Left == nil || p.Right == nil || p.Right.Dead != "" {
		return pinfile.Photo{}, false, nil
	}
	d, err := storeDigest(p.Right.Digest, p.Right.Size)
	if err != nil {
		return pinfile.Photo{}, false, fmt.Errorf("photo %s: %w", p.Left.ImageID, err)
	}
	place := pinfile.Place(p.Right.Place)
	return pinfile.Photo{ImageID: p.Left.ImageID, Place: place, URL: PhotoURL(p.Left, place), Digest: d}, true, nil
}

func newDead(p pinnedImage) (pinfile.Dead, bool, error) {
	if p.Left == nil || p.Right == nil || p.Right.Dead == "" {
		return pinfile.Dead{}, false, nil
	}
	return pinfile.Dead{ImageID: p.Left.ImageID, Reason: p.Right.Dead}, true, nil
}

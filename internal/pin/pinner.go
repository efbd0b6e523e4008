package pin

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Pinner makes the tree "pins" of a selection: pins.csv and dead.csv. It is the Pinner
// of the stage download, and not safe for concurrent use.
type Pinner struct {
	Resolver *Resolver
	Places   []string     // where to try each photo, in order
	Have     []lock.Photo // the pins of the lock; Pin replaces them
	// Save is called with the pins when they are complete and differ from Have. Once
	// it has written them to the lock, the journal has served.
	Save func([]lock.Photo) error
}

// Pin implements stages.Pinner.
func (p *Pinner) Pin(ctx context.Context, t *stages.Task, selection cas.Tree) (cas.Tree, error) {
	images, err := selectedImages(ctx, selection)
	if err != nil {
		return cas.Tree{}, err
	}
	progress := func(done, total int) { t.Progress(int64(done), int64(total), "photos pinned") }
	pins, err := p.Resolver.Photos(ctx, images, p.Places, p.Have, progress)
	if err != nil {
		return cas.Tree{}, err
	}
	if !slices.Equal(pins, p.Have) {
		if err := p.Save(pins); err != nil {
			return cas.Tree{}, err
		}
		p.Have = pins
	}
	return pinsTree(ctx, t.Store(), images, pins)
}

// Locked makes the tree "pins" from a lock alone. It never touches the network.
type Locked struct {
	Places []string     // where the manifest allows photos to be from
	Have   []lock.Photo // the pins of the lock
}

// DriftError says that a lock is not that of the photos selected.
type DriftError struct{ Changes []lock.Change }

func (e *DriftError) Error() string {
	return fmt.Sprintf("pin photos: the lock is out of date: %d changes, first: %s", len(e.Changes), e.Changes[0])
}

// Pin implements stages.Pinner. The error is a *DriftError when the lock does not pin
// just the photos selected.
func (l *Locked) Pin(ctx context.Context, t *stages.Task, selection cas.Tree) (cas.Tree, error) {
	images, err := selectedImages(ctx, selection)
	if err != nil {
		return cas.Tree{}, err
	}
	need := lock.Photos{Places: l.Places, IDs: make([]string, 0, len(images))}
	for _, image := range images {
		need.IDs = append(need.IDs, string(image.ImageID))
	}
	if changes := lock.Drift(&lock.Lock{Photos: l.Have}, lock.Need{Photos: &need}); len(changes) > 0 {
		return cas.Tree{}, &DriftError{Changes: changes}
	}
	return pinsTree(ctx, t.Store(), images, l.Have)
}

// selectedImages returns the images of a selection, sorted by id.
func selectedImages(ctx context.Context, selection cas.Tree) ([]openimages.Image, error) {
	images, err := table.All(ctx, selection, openimages.SelectedImagesFile, openimages.SelectedImages)
	if err != nil {
		return nil, fmt.Errorf("pin photos: %w", err)
	}
	return sortedImages(images), nil
}

// pinsTree writes the two tables. images and pins are of the same photos; images are
// sorted.
func pinsTree(ctx context.Context, store cas.Store, images []openimages.Image, pins []lock.Photo) (cas.Tree, error) {
	byID := make(map[string]lock.Photo, len(pins))
	for _, p := range pins {
		byID[p.ID] = p
	}
	var photos []pinfile.Photo
	var dead []pinfile.Dead
	for i := range images {
		image := &images[i]
		p := byID[string(image.ImageID)]
		if p.Dead != "" {
			dead = append(dead, pinfile.Dead{ImageID: image.ImageID, Reason: p.Dead})
			continue
		}
		d, err := storeDigest(p.Digest, p.Size)
		if err != nil {
			return cas.Tree{}, fmt.Errorf("photo %s: %w", image.ImageID, err)
		}
		place := pinfile.Place(p.Place)
		photos = append(photos, pinfile.Photo{ImageID: image.ImageID, Place: place, URL: PhotoURL(image, place), Digest: d})
	}
	var photoRows, deadRows bytes.Buffer
	if err := pinfile.WritePhotos(&photoRows, slices.Values(photos)); err != nil {
		return cas.Tree{}, fmt.Errorf("%s: %w", pinfile.PinsFile, err)
	}
	if err := pinfile.WriteDead(&deadRows, slices.Values(dead)); err != nil {
		return cas.Tree{}, fmt.Errorf("%s: %w", pinfile.DeadFile, err)
	}
	b := cas.NewBuilder(store)
	if err := b.PutBytes(ctx, pinfile.PinsFile, photoRows.Bytes()); err != nil {
		return cas.Tree{}, err
	}
	if err := b.PutBytes(ctx, pinfile.DeadFile, deadRows.Bytes()); err != nil {
		return cas.Tree{}, err
	}
	return b.Commit(ctx)
}

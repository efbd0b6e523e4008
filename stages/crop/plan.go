package crop

import (
	"cmp"
	"context"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// plan is what is to be cut, photo by photo and box by box, in the order of their ids.
type plan struct {
	photos  []plannedPhoto
	folders map[string]string // label -> its folder
}

// plannedPhoto is a photo with the boxes to cut out of it.
type plannedPhoto struct {
	id       openimages.ImageID
	subset   string
	rotation openimages.Rotation
	boxes    []openimages.SelectedBox

	// The bytes; found is false when the photo is dead.
	found  bool
	place  pinfile.Place
	digest cas.Digest
}

func readPlan(ctx context.Context, t *stages.Task) (*plan, error) {
	p := &plan{folders: map[string]string{}}
	var labels []string
	at := map[openimages.ImageID]int{}
	selection, photos := t.Input(Selection), t.Input(Photos)
	for box, err := range table.Rows(ctx, selection, openimages.SelectedBoxesFile, openimages.SelectedBoxes) {
		if err != nil {
			return nil, err
		}
		if _, ok := p.folders[box.Label]; !ok {
			p.folders[box.Label] = ""
			labels = append(labels, box.Label)
		}
		i, ok := at[box.ImageID]
		if !ok {
			i = len(p.photos)
			at[box.ImageID] = i
			p.photos = append(p.photos, plannedPhoto{id: box.ImageID, subset: box.Subset, rotation: openimages.RotationUnknown})
		}
		p.photos[i].boxes = append(p.photos[i].boxes, box)
	}
	for row, err := range table.Rows(ctx, selection, openimages.SelectedImagesFile, openimages.Images) {
		if err != nil {
			return nil, err
		}
		image, err := row.Image()
		if err != nil {
			return nil, err
		}
		if i, ok := at[image.ImageID]; ok {
			p.photos[i].rotation = image.Rotation
		}
	}
	for photo, err := range table.Rows(ctx, photos, pinfile.PhotosFile, pinfile.Photos) {
		if err != nil {
			return nil, err
		}
		if i, ok := at[photo.ImageID]; ok {
			p.photos[i].found, p.photos[i].place, p.photos[i].digest = true, photo.Place, photo.Digest
		}
	}
	slices.SortFunc(p.photos, func(a, b plannedPhoto) int { return cmp.Compare(a.id, b.id) })
	for i := range p.photos {
		slices.SortFunc(p.photos[i].boxes, func(a, b openimages.SelectedBox) int { return cmp.Compare(a.ID, b.ID) })
	}
	var err error
	p.folders, err = folders(labels)
	return p, err
}

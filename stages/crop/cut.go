package crop

import (
	"context"
	"errors"
	"fmt"
	"image"
	"path"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// result is what became of a photo.
type result struct {
	crops       []cropfile.Crop
	quarantined string // why no crop was made; empty when the photo is fine
	small       int    // boxes below min_side
	empty       int    // boxes without a pixel
}

// cutAll makes the crops of all photos. Results are in the order of the plan.
//
// This goroutine reads the files and their headers, reserves the memory, and only then
// starts a goroutine that decodes: so no goroutine waits for memory while it holds
// some, and all photos together stay within the budget.
func (k *Kind) cutAll(ctx context.Context, t *stages.Task, p *plan) ([]result, error) {
	budget := photo.NewBudget(k.limits.Memory)
	results := make([]result, len(p.photos))
	total := int64(len(results))
	var done atomic.Int64
	tick := func() { t.Progress(done.Add(1), total, "photos") }

	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(t.Workers())
	for i := range p.photos {
		planned := &p.photos[i]
		if !planned.found {
			tick()
			continue
		}
		job, err := k.open(ctx, t.Store(), budget, planned)
		var rejection *photo.RejectedError
		if errors.As(err, &rejection) {
			results[i].quarantined = rejection.Reason
			tick()
			continue
		}
		if err != nil {
			if cause := g.Wait(); cause != nil {
				return nil, cause // it ended the context, which is what err says
			}
			return nil, fmt.Errorf("photo %s: %w", planned.id, err)
		}
		g.Go(func() error {
			defer job.release()
			var err error
			if results[i], err = k.cut(ctx, t, p, planned, job); err != nil {
				return fmt.Errorf("photo %s: %w", planned.id, err)
			}
			tick()
			return nil
		})
	}
	return results, g.Wait()
}

// job is a photo that is ready to be decoded.
type job struct {
	file    *photo.File
	frame   frame
	boxes   []region // in the order of the plan
	release func()   // gives the memory back
	result  result   // without the crops
}

// region is what a box becomes: pixels of the stored photo.
type region struct {
	box  *openimages.SelectedBox
	rect image.Rectangle
}

// open reads a photo and its header, works out what to cut, and reserves the memory
// for it. The error is a *photo.RejectedError when the photo is to be quarantined.
func (k *Kind) open(ctx context.Context, store cas.Store, budget *photo.Budget, planned *plannedPhoto) (_ *job, err error) {
	size := planned.digest.Size()
	if size > k.limits.Bytes {
		return nil, &photo.RejectedError{Reason: fmt.Sprintf("too many bytes: %d", size)}
	}
	giveBack, err := budget.Reserve(ctx, size)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			giveBack()
		}
	}()
	data, err := cas.ReadBlob(ctx, store, planned.digest)
	if err != nil {
		return nil, err
	}
	file, err := photo.Open(data, k.limits)
	if err != nil {
		return nil, err
	}
	j := &job{file: file}
	if j.frame, err = newFrame(&file.Header, planned.place, planned.rotation); err != nil {
		return nil, err
	}
	var pictures int64
	for b := range planned.boxes {
		pictures = max(pictures, k.plan(j, &planned.boxes[b]))
	}
	if file.Memory+pictures > k.limits.Memory {
		return nil, &photo.RejectedError{Reason: fmt.Sprintf("too much memory to crop: %dx%d", file.Width, file.Height)}
	}
	giveRest, err := budget.Reserve(ctx, file.Memory+pictures-size)
	if err != nil {
		return nil, err
	}
	j.release = func() { giveRest(); giveBack() }
	return j, nil
}

// plan adds the region of a box to the job, or counts why there is none, and returns
// the memory for its picture.
func (k *Kind) plan(j *job, box *openimages.SelectedBox) int64 {
	measured := j.frame.measured()
	bare := pixels(&box.Box, measured, 0)
	switch shorter := min(bare.Dx(), bare.Dy()); {
	case shorter < k.minSide:
		j.result.small++
		return 0
	case shorter <= 0:
		j.result.empty++
		return 0
	}
	rect := pixels(&box.Box, measured, k.crop.Pad)
	if k.crop.Shape == shapeSquare {
		rect = square(rect, measured)
	}
	rect = j.frame.onStored(rect)
	j.boxes = append(j.boxes, region{box, rect})
	return k.memory(rect.Size(), j.file.Format, j.frame.turn)
}

// cut decodes a photo once and makes all of its crops.
func (k *Kind) cut(ctx context.Context, t *stages.Task, p *plan, planned *plannedPhoto, j *job) (result, error) {
	if len(j.boxes) == 0 {
		return j.result, nil
	}
	img, err := j.file.Decode(ctx)
	var rejection *photo.RejectedError
	if errors.As(err, &rejection) {
		return result{quarantined: rejection.Reason}, nil
	}
	if err != nil {
		return result{}, err
	}
	r := j.result
	for _, region := range j.boxes {
		if err := context.Cause(ctx); err != nil {
			return result{}, err
		}
		data, err := encode(k.picture(img, region.rect, j.frame.turn))
		if err != nil {
			return result{}, fmt.Errorf("encode box %s: %w", region.box.ID, err)
		}
		c := newCrop(p, planned, region, &j.frame)
		if err := t.Out().PutBytes(ctx, c.Path, data); err != nil {
			return result{}, err
		}
		r.crops = append(r.crops, c)
	}
	return r, nil
}

func newCrop(p *plan, planned *plannedPhoto, region region, f *frame) cropfile.Crop {
	at, size := f.onUpright(region.rect), f.upright()
	name := fmt.Sprintf("%s_%s.jpg", planned.id, region.box.ID)
	return cropfile.Crop{
		Path:    path.Join("crops", p.folders[region.box.Label], name),
		Label:   region.box.Label,
		ImageID: planned.id,
		Subset:  planned.subset,
		Box:     region.box.ID,
		Left:    at.Min.X, Top: at.Min.Y, Right: at.Max.X, Bottom: at.Max.Y,
		PhotoWidth: size.X, PhotoHeight: size.Y,
	}
}

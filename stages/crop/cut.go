package crop

import (
	"bytes"
	"context"
	"encoding/json"
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
	"github.com/sandwich-build/sandwich/stages/items"
)

// result is what became of a photo.
type result struct {
	crops       []cropfile.Crop
	quarantined string // why no crop was made; empty when the photo is fine
	small       int    // boxes below min_side
	empty       int    // boxes without a pixel
}

// cutter makes the crops of one run.
//
// A photo is two items, since a manifest's rules are about pixels, and how many a photo
// has is known only to who has looked into it. The header is an item whose key is the
// photo. From the header follows which pixels are cut and what becomes of them; the
// crops of a photo are an item whose key is that. So a rule that is changed decodes those
// photos again of which it wants other crops, and no others.
type cutter struct {
	*Kind
	task    *stages.Task
	plan    *plan
	budget  *photo.Budget
	headers *items.Set
	photos  *items.Set
	read    int64 // photos whose bytes were read
}

// pixelParams decide the pixels of crops besides their cuts, and which photos can be cut.
type pixelParams struct {
	Filter  string
	Quality int
	Limits  photo.Limits
}

// cutKey decides the crops of a photo.
type cutKey struct {
	Photo string // its digest
	Turn  photo.Orientation
	Cuts  []cut
}

// seen is what is kept of a header.
type seen struct {
	Header   photo.Header
	Rejected string // why the photo is quarantined; empty when it is fine
}

// cutAll makes the crops of all photos. Results are in the order of the plan.
//
// This goroutine reads the files and their headers, reserves the memory, and only then
// starts a goroutine that decodes: so no goroutine waits for memory while it holds
// some, and all photos together stay within the budget.
func (k *Kind) cutAll(ctx context.Context, t *stages.Task, p *plan) ([]result, error) {
	c := &cutter{Kind: k, task: t, plan: p, budget: photo.NewBudget(k.limits.Memory)}
	var err error
	if c.headers, err = t.Items(ctx, "headers", k.limits); err != nil {
		return nil, err
	}
	if c.photos, err = t.Items(ctx, "photos", pixelParams{filterName, quality, k.limits}); err != nil {
		return nil, err
	}
	results := make([]result, len(p.photos))
	total, found := int64(len(results)), int64(0)
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
		found++
		j, err := c.prepare(ctx, planned)
		if err != nil {
			if cause := g.Wait(); cause != nil {
				return nil, cause // it ended the context, which is what err says
			}
			return nil, fmt.Errorf("photo %s: %w", planned.id, err)
		}
		if j.file == nil {
			results[i] = j.result
			tick()
			continue
		}
		g.Go(func() error {
			defer j.release()
			if err := c.cut(ctx, j); err != nil {
				return fmt.Errorf("photo %s: %w", planned.id, err)
			}
			results[i] = j.result
			tick()
			return nil
		})
	}
	t.Did("photos", "read", c.read, found-c.read)
	return results, g.Wait()
}

// job is a photo on its way to its result.
type job struct {
	planned *plannedPhoto
	frame   frame
	boxes   []region // in the order of the plan
	result  result

	// What there is to decode; file is nil when there is nothing.
	file    *photo.File
	item    *items.Item
	release func() // gives the memory back
}

// region is what a box becomes.
type region struct {
	box *openimages.SelectedBox
	cut cut
}

// prepare works out what to cut from a photo. Unless that is known already, or nothing,
// the job has the file, and the memory is reserved.
func (c *cutter) prepare(ctx context.Context, planned *plannedPhoto) (_ *job, err error) {
	j := &job{planned: planned, release: func() {}}
	keep := false
	defer func() {
		if !keep {
			j.release()
			j.file = nil
		}
	}()
	h, err := c.header(ctx, j)
	if err != nil || j.result.quarantined != "" {
		return j, err
	}
	if j.frame, err = newFrame(&h, planned.place, planned.rotation); err != nil {
		return nil, err
	}
	pictures := c.cuts(j, h.Format)
	if h.Memory+pictures > c.limits.Memory {
		j.result = result{quarantined: fmt.Sprintf("too much memory to crop: %dx%d", h.Width, h.Height)}
		return j, nil
	}
	if len(j.boxes) == 0 {
		return j, nil
	}
	key := cutKey{Photo: planned.digest.Hex(), Turn: j.frame.turn}
	for _, r := range j.boxes {
		key.Cuts = append(key.Cuts, r.cut)
	}
	if j.item, err = c.photos.Begin(ctx, string(planned.id), key); err != nil {
		return nil, err
	}
	if o, ok := j.item.Known(); ok {
		return j, c.finish(j, o)
	}
	if j.file == nil {
		if err := c.open(ctx, j); err != nil {
			return nil, err
		}
	}
	rest, err := c.budget.Reserve(ctx, h.Memory+pictures-planned.digest.Size())
	if err != nil {
		return nil, err
	}
	first := j.release
	j.release, keep = func() { rest(); first() }, true
	return j, nil
}

// header returns the header of a job's photo, or says in the result why it is
// quarantined. It opens the file unless the header is known.
func (c *cutter) header(ctx context.Context, j *job) (photo.Header, error) {
	item, err := c.headers.Begin(ctx, string(j.planned.id), j.planned.digest.Hex())
	if err != nil {
		return photo.Header{}, err
	}
	var s seen
	if o, ok := item.Known(); ok {
		err := json.Unmarshal(o.Data, &s)
		j.result.quarantined = s.Rejected
		return s.Header, err
	}
	err = c.open(ctx, j)
	if rejection, ok := errors.AsType[*photo.RejectedError](err); ok {
		s.Rejected, j.result.quarantined = rejection.Reason, rejection.Reason
	} else if err != nil {
		return photo.Header{}, err
	} else {
		s.Header = j.file.Header
	}
	data, err := json.Marshal(s)
	if err != nil {
		return photo.Header{}, err
	}
	return s.Header, item.Done(ctx, items.Outcome{Data: data})
}

// open reads a photo, for which it reserves the memory. The error is a
// *photo.RejectedError when the photo is to be quarantined.
func (c *cutter) open(ctx context.Context, j *job) error {
	size := j.planned.digest.Size()
	if size > c.limits.Bytes {
		return &photo.RejectedError{Reason: fmt.Sprintf("too many bytes: %d", size)}
	}
	c.read++
	var err error
	if j.release, err = c.budget.Reserve(ctx, size); err != nil {
		j.release = func() {}
		return err
	}
	data, err := cas.ReadBlob(ctx, c.task.Store(), j.planned.digest)
	if err != nil {
		return err
	}
	j.file, err = photo.Open(data, c.limits)
	return err
}

// cuts adds the regions of the boxes to a job, or counts why there are none, and returns
// the memory for the largest picture of them.
func (c *cutter) cuts(j *job, format photo.Format) (memory int64) {
	measured := j.frame.measured()
	for i := range j.planned.boxes {
		box := &j.planned.boxes[i]
		bare := pixels(&box.Box, measured, 0)
		switch shorter := min(bare.Dx(), bare.Dy()); {
		case shorter < c.minSide:
			j.result.small++
			continue
		case shorter <= 0:
			j.result.empty++
			continue
		}
		rect := pixels(&box.Box, measured, c.crop.Pad)
		if c.crop.Shape == shapeSquare {
			rect = square(rect, measured)
		}
		cut := c.newCut(j.frame.onStored(rect))
		j.boxes = append(j.boxes, region{box, cut})
		memory = max(memory, cut.memory(format, j.frame.turn))
	}
	return memory
}

// cut decodes a photo once and makes all of its crops.
func (c *cutter) cut(ctx context.Context, j *job) error {
	var o items.Outcome
	img, err := j.file.Decode(ctx)
	if rejection, ok := errors.AsType[*photo.RejectedError](err); ok {
		o.Data = []byte(rejection.Reason)
	} else if err != nil {
		return err
	} else if o.Blobs, err = c.encodeAll(ctx, j, img); err != nil {
		return err
	}
	if err := j.item.Done(ctx, o); err != nil {
		return err
	}
	return c.finish(j, o)
}

// encodeAll stores the pictures of a job's regions.
func (c *cutter) encodeAll(ctx context.Context, j *job, img image.Image) ([]cas.Digest, error) {
	blobs := make([]cas.Digest, 0, len(j.boxes))
	for _, r := range j.boxes {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		data, err := encode(r.cut.picture(img, j.frame.turn))
		if err != nil {
			return nil, fmt.Errorf("encode box %s: %w", r.box.ID, err)
		}
		d, err := c.task.Store().Put(ctx, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, d)
	}
	return blobs, nil
}

// finish makes the result of what the crops of a photo came to: a picture for each
// region, or the reason why it is quarantined.
func (c *cutter) finish(j *job, o items.Outcome) error {
	if len(o.Data) > 0 {
		j.result = result{quarantined: string(o.Data)}
		return nil
	}
	for i, r := range j.boxes {
		crop := newCrop(c.plan, j.planned, r, &j.frame)
		if err := c.task.Out().Add(crop.Path, o.Blobs[i]); err != nil {
			return err
		}
		j.result.crops = append(j.result.crops, crop)
	}
	return nil
}

func newCrop(p *plan, planned *plannedPhoto, r region, f *frame) cropfile.Crop {
	at, size := f.onUpright(r.cut.Region), f.upright()
	name := fmt.Sprintf("%s_%s.jpg", planned.id, r.box.ID)
	return cropfile.Crop{
		Path:    path.Join("crops", p.folders[r.box.Label], name),
		Label:   r.box.Label,
		ImageID: planned.id,
		Subset:  planned.subset,
		Box:     r.box.ID,
		Left:    at.Min.X, Top: at.Min.Y, Right: at.Max.X, Bottom: at.Max.Y,
		PhotoWidth: size.X, PhotoHeight: size.Y,
	}
}

package crop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"path"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/photo/jpeg"
	"github.com/sandwich-build/sandwich/internal/upright"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
	"github.com/sandwich-build/sandwich/stages/pictures"
)

// result is what became of a photo.
type result struct {
	crops       []cropfile.Crop
	quarantined string       // why no crop was made; empty when the photo is fine
	preview     []cas.Digest // what can be seen of a photo that is quarantined; at most one
	dropped     []dropped
}

// cutter makes the crops of one run.
//
// A manifest's rules are about pixels, and how many a photo has is known only to who has
// looked into it. So the header is an item, whose key is the photo. From the header
// follows which pixels are cut and what becomes of them, and each crop is an item whose
// key is that. So a rule that is changed decodes those photos of which it wants crops that
// were never made, and no others. That goes for photos that were cut short, too: what there
// is of them is cut, and noted as such, and whether it is used is found out afterwards.
type cutter struct {
	*Kind
	task    *stages.Task
	plan    *plan
	rules   []rule
	budget  *photo.Budget
	headers *items.Set
	crops   *items.Set
	read    int64 // photos whose bytes were read
}

// pixelParams decide the pixels of crops besides their cuts, and which photos can be cut.
type pixelParams struct {
	Quality int
	Limits  photo.Limits
}

// cropKey decides a crop.
type cropKey struct {
	Photo string // its digest
	Turn  photo.Orientation
	Cut   cut
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
	budget, err := pictures.Budget(t, k.limits)
	if err != nil {
		return nil, err
	}
	c := &cutter{Kind: k, task: t, plan: p, rules: rules(k.boxes), budget: budget}
	if c.headers, err = t.Items(ctx, "headers", k.limits); err != nil {
		return nil, err
	}
	if c.crops, err = t.Items(ctx, "crops", pixelParams{quality, k.limits}); err != nil {
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
	frame   upright.Frame
	boxes   []region // in the order of the plan
	result  result

	// What there is to decode; file is nil when there is nothing.
	file    *photo.File
	release func() // gives the memory back
}

// region is what a box becomes.
type region struct {
	box     *openimages.SelectedBox
	cut     cut
	item    *items.Item
	outcome items.Outcome // the crop, or why the photo is quarantined
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
	if j.frame, err = upright.New(&h, planned.place, planned.rotation); err != nil {
		return nil, err
	}
	memory := c.cuts(j, &h)
	if memory > c.limits.Memory {
		j.result = result{quarantined: fmt.Sprintf("too much memory to crop: %dx%d", h.Width, h.Height)}
		return j, nil
	}
	known, err := c.known(ctx, j)
	if err != nil {
		return nil, err
	}
	if known {
		return j, c.finish(j)
	}
	if j.file == nil {
		if err := c.open(ctx, j); err != nil {
			return nil, err
		}
	}
	rest, err := c.budget.Reserve(ctx, memory-planned.digest.Size())
	if err != nil {
		return nil, err
	}
	first := j.release
	j.release, keep = func() { rest(); first() }, true
	return j, nil
}

// known begins the crops of a job, and reports whether all are known.
func (c *cutter) known(ctx context.Context, j *job) (all bool, err error) {
	all = true
	for i := range j.boxes {
		r := &j.boxes[i]
		// The separator sorts before whatever an id may have.
		name := string(j.planned.id) + "\x00" + string(r.box.ID)
		if r.item, err = c.crops.Begin(ctx, name, cropKey{j.planned.digest.Hex(), j.frame.Turn, r.cut}); err != nil {
			return false, err
		}
		var ok bool
		r.outcome, ok = r.item.Known()
		all = all && ok
	}
	return all, nil
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
		c.judge(j, &s, o.Blobs)
		return s.Header, err
	}
	err = c.open(ctx, j)
	if rejection, ok := errors.AsType[*photo.RejectedError](err); ok {
		s.Rejected = rejection.Reason
	} else if err != nil {
		return photo.Header{}, err
	} else {
		s.Header = j.file.Header
	}
	var preview []cas.Digest
	if s.Header.Truncated {
		if preview, err = c.preview(ctx, j.file); err != nil {
			return photo.Header{}, err
		}
	}
	c.judge(j, &s, preview)
	data, err := json.Marshal(s)
	if err != nil {
		return photo.Header{}, err
	}
	return s.Header, item.Done(ctx, items.Outcome{Data: data, Blobs: preview})
}

// judge quarantines a photo because of its header, if there is a reason.
func (c *cutter) judge(j *job, s *seen, preview []cas.Digest) {
	reason := s.Rejected
	if s.Header.Truncated && !c.keepsTruncated() {
		reason = truncated
	}
	if reason != "" {
		j.result = result{quarantined: reason, preview: preview}
	}
}

// truncated is photo's reason for what was cut short.
const truncated = "truncated"

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

// cuts adds the regions of the boxes to a job, or notes why there are none, and returns
// the memory that the photo and the largest picture of them take.
func (c *cutter) cuts(j *job, h *photo.Header) (memory int64) {
	var cuts []photo.Cut
	measured := j.frame.Measured()
	for i := range j.planned.boxes {
		box := &j.planned.boxes[i]
		bare := pixels(&box.Box, measured, 0)
		if rule := broken(c.rules, &box.Box, bare.Size()); rule != "" {
			j.result.dropped = append(j.result.dropped, dropped{box, rule})
			continue
		}
		rect := pixels(&box.Box, measured, c.crop.Pad)
		if c.crop.Shape == shapeSquare {
			rect = square(rect, measured)
		}
		cut := c.newCut(j.frame.OnStored(rect))
		j.boxes = append(j.boxes, region{box: box, cut: cut})
		cuts = append(cuts, cut.photo())
		memory = max(memory, cut.memory(j.frame.Turn))
	}
	if h.Layout != nil {
		cuts = append(cuts, h.Fit(previewSide)) // should the pixels turn out to be damaged
	}
	return memory + h.CutMemory(cuts)
}

// cut decodes a photo once and makes those of its crops that are not known.
func (c *cutter) cut(ctx context.Context, j *job) error {
	var wanted []*region
	var cuts []photo.Cut
	for i := range j.boxes {
		r := &j.boxes[i]
		if _, known := r.item.Known(); !known {
			wanted, cuts = append(wanted, r), append(cuts, r.cut.photo())
		}
	}
	damaged := false
	err := j.file.Cut(ctx, cuts, func(i int, img *image.YCbCr, damage error) error {
		damaged = damaged || damage != nil
		return c.store(ctx, wanted[i], img, j.frame.Turn, damage)
	})
	if rejection, ok := errors.AsType[*photo.RejectedError](err); ok {
		for _, r := range wanted {
			r.outcome = items.Outcome{Data: []byte(rejection.Reason)}
		}
	} else if err != nil {
		return err
	}
	if damaged {
		preview, err := c.cutPreview(ctx, j.file)
		if err != nil {
			return err
		}
		for _, r := range wanted {
			if len(r.outcome.Data) > 0 {
				r.outcome.Blobs = append(r.outcome.Blobs, preview...)
			}
		}
	}
	for _, r := range wanted {
		if err := r.item.Done(ctx, r.outcome); err != nil {
			return err
		}
	}
	return c.finish(j)
}

// store stores the picture of a region. Of one that is damaged it notes the reason.
func (c *cutter) store(ctx context.Context, r *region, img *image.YCbCr, turn photo.Orientation, damage error) error {
	if rejection, ok := errors.AsType[*photo.RejectedError](damage); ok {
		r.outcome.Data = []byte(rejection.Reason)
	}
	data, err := r.cut.finish(img, turn)
	if err != nil {
		return fmt.Errorf("box %s: %w", r.box.ID, err)
	}
	d, err := c.task.Store().Put(ctx, bytes.NewReader(data))
	r.outcome.Blobs = []cas.Digest{d}
	return err
}

// previewSide is the longer side of the picture of a photo that is quarantined.
const previewSide = 128

// preview stores what can be seen of a photo, for which it reserves the memory.
func (c *cutter) preview(ctx context.Context, f *photo.File) ([]cas.Digest, error) {
	memory := f.CutMemory([]photo.Cut{f.Fit(previewSide)})
	if memory > c.limits.Memory {
		return nil, nil
	}
	release, err := c.budget.Reserve(ctx, memory-f.Bytes)
	if err != nil {
		return nil, err
	}
	defer release()
	return c.cutPreview(ctx, f)
}

// cutPreview stores what can be seen of a damaged photo; nothing when all of it is of one
// colour.
func (c *cutter) cutPreview(ctx context.Context, f *photo.File) (stored []cas.Digest, err error) {
	err = f.Cut(ctx, []photo.Cut{f.Fit(previewSide)}, func(_ int, img *image.YCbCr, _ error) error {
		if slices.Max(img.Y) == slices.Min(img.Y) {
			return nil
		}
		data, err := jpeg.Encode(nil, f.Orientation.TurnPlanes(img), quality)
		if err != nil {
			return err
		}
		d, err := c.task.Store().Put(ctx, bytes.NewReader(data))
		stored = []cas.Digest{d}
		return err
	})
	return stored, err
}

// finish makes the result of what the crops of a photo came to.
func (c *cutter) finish(j *job) error {
	for i := range j.boxes {
		r := &j.boxes[i]
		reason := string(r.outcome.Data)
		if reason != "" && (reason != truncated || !c.keepsTruncated()) {
			j.result = result{quarantined: reason}
			if len(r.outcome.Blobs) > 0 {
				j.result.preview = r.outcome.Blobs[1:]
			}
			return nil
		}
		crop := newCrop(c.plan, j.planned, r, &j.frame)
		if err := c.task.Out().Add(crop.Path, r.outcome.Blobs[0]); err != nil {
			return err
		}
		j.result.crops = append(j.result.crops, crop)
	}
	return nil
}

func newCrop(p *plan, planned *plannedPhoto, r *region, f *upright.Frame) cropfile.Crop {
	at, size := f.OnUpright(r.cut.Region), f.Upright()
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

// Package pictures is what the kinds have in common that look at pictures: they look at each
// once, whatever they find is an item, and all that are decoded at the same time stay
// within a budget.
package pictures

import (
	"context"
	"errors"
	"fmt"
	"image"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
)

// Budget returns the memory of all pictures that are decoded at the same time, by the
// task's limit. The largest picture that limits let through must fit, or which ones can be
// decoded would depend on it.
func Budget(t *stages.Task, limits photo.Limits) (*photo.Budget, error) {
	least, given := limits.Memory, t.Memory()
	if given == 0 {
		return photo.NewBudget(least), nil
	}
	if given < least {
		return nil, fmt.Errorf("a photo may take %d MiB to decode, and the stage is to have %d: raise its limit of memory", least>>20, given>>20)
	}
	return photo.NewBudget(given), nil
}

// View is a picture to look at.
type View struct {
	Name   string // of the item; they ascend
	Key    any    // decides what is found
	Digest cas.Digest
	Side   int // pixels that the longer side is looked at with, at most
	// See says what is found in the decoded picture, which is as it is stored but for its
	// size, and lent for the call. Where img is nil, it cannot be decoded for the reason given;
	// the header is zero where even that could not be read.
	See func(ctx context.Context, img *image.YCbCr, header photo.Header, rejected *photo.RejectedError) (items.Outcome, error)
}

// Look is one pass over pictures.
type Look struct {
	Task       *stages.Task
	Items      *items.Set
	Limits     photo.Limits
	Unit, Verb string // "photos", "read": what the person is told

	// Use is given what was found in each picture, now or before, by its number, in any order
	// and from any goroutine.
	Use func(i int, found items.Outcome) error
}

// At looks at n pictures.
//
// This goroutine reads the files and reserves the memory, and only then starts a goroutine
// that decodes: so none waits for memory while it holds some.
func (l *Look) At(ctx context.Context, n int, view func(i int) (View, error)) error {
	budget, err := Budget(l.Task, l.Limits)
	if err != nil {
		return err
	}
	var looked int64
	var done atomic.Int64
	tick := func() { l.Task.Progress(done.Add(1), int64(n), l.Unit) }

	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(l.Task.Workers())
	err = func() error {
		for i := range n {
			v, err := view(i)
			if err != nil {
				return err
			}
			item, err := l.Items.Begin(ctx, v.Name, v.Key)
			if err != nil {
				return err
			}
			if found, ok := item.Known(); ok {
				if err := l.Use(i, found); err != nil {
					return err
				}
				tick()
				continue
			}
			looked++
			file, rejected, release, err := l.open(ctx, budget, &v)
			if err != nil {
				return err
			}
			g.Go(func() error {
				defer release()
				found, err := see(ctx, &v, file, rejected)
				if err == nil {
					err = item.Done(ctx, found)
				}
				if err == nil {
					err = l.Use(i, found)
				}
				tick()
				return err
			})
		}
		return nil
	}()
	if cause := g.Wait(); cause != nil {
		return cause // it ended the context, which is what err says
	}
	l.Task.Did(l.Unit, l.Verb, looked, int64(n)-looked)
	return err
}

// open reads a picture and reserves the memory to decode it; release gives that back. A
// picture of which the header shows that it cannot be decoded is rejected.
func (l *Look) open(ctx context.Context, budget *photo.Budget, v *View) (_ *photo.File, _ *photo.RejectedError, release func(), err error) {
	size := v.Digest.Size()
	if size > l.Limits.Bytes {
		return nil, &photo.RejectedError{Reason: fmt.Sprintf("too many bytes: %d", size)}, func() {}, nil
	}
	first, err := budget.Reserve(ctx, size)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			first()
		}
	}()
	data, err := cas.ReadBlob(ctx, l.Task.Store(), v.Digest)
	if err != nil {
		return nil, nil, nil, err
	}
	file, err := photo.Open(data, l.Limits)
	if rejected, ok := errors.AsType[*photo.RejectedError](err); ok {
		return nil, rejected, first, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	memory := file.CutMemory([]photo.Cut{file.Fit(v.Side)})
	if memory > l.Limits.Memory {
		return nil, &photo.RejectedError{Reason: fmt.Sprintf("too much memory to decode: %dx%d", file.Width, file.Height)}, first, nil
	}
	rest, err := budget.Reserve(ctx, memory-size)
	if err != nil {
		return nil, nil, nil, err
	}
	return file, nil, func() { rest(); first() }, nil
}

// see decodes a picture, unless it is rejected already, and asks what is found in it.
func see(ctx context.Context, v *View, file *photo.File, rejected *photo.RejectedError) (items.Outcome, error) {
	if rejected != nil {
		return v.See(ctx, nil, photo.Header{}, rejected)
	}
	var found items.Outcome
	err := file.Cut(ctx, []photo.Cut{file.Fit(v.Side)}, func(_ int, img *image.YCbCr, _ error) (err error) {
		found, err = v.See(ctx, img, file.Header, nil) // of what is damaged, what there is
		return err
	})
	if rejected, ok := errors.AsType[*photo.RejectedError](err); ok {
		return v.See(ctx, nil, file.Header, rejected)
	}
	return found, err
}

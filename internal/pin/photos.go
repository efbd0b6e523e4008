package pin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/sorted"
	"github.com/sandwich-build/sandwich/manifest/lock"
)

// UnreachableError says that photos have neither a pin nor a tombstone, because a place
// that may have them could not be asked. What else was found is kept.
type UnreachableError struct {
	Photos  int       // how many photos are left; 0 when offline
	Total   int       // how many there were to pin; 0 when offline
	Offline bool      // no server has answered, so that the pinning was not carried on
	First   error     // for the first of the photos, by id
	Some    []Failure // the first of these, a few
}

func (e *UnreachableError) Error() string {
	if e.Offline {
		return fmt.Sprintf("pin photos: no server answers: %v", e.First)
	}
	return fmt.Sprintf("pin photos: %d of %d could not be reached, run again to go on with these: %v", e.Photos, e.Total, e.First)
}

// Unwrap returns the reason of the first photo.
func (e *UnreachableError) Unwrap() error { return e.First }

// errOutage ends a pinning in which nobody answers any more.
var errOutage = errors.New("no server answers")

// ahead is how many photos may be pinned before one that takes long. It bounds the memory,
// and is large, since a photo may have to wait for a server for minutes.
const ahead = 1 << 14

// Photos pins each of the images, which are sorted by their ids, at the first of the
// places that has it. have are the pins there are already; those that hold for places are
// kept as they are. The pins come in the order of the images, some while others are still
// looked for, and are worth nothing unless they come to an end without an error. step,
// which may be nil, is called for each photo that is done, by several goroutines.
func (r *Resolver) Photos(
	ctx context.Context, images iter.Seq2[openimages.Image, error], places []string, have lock.Photos, step func(),
) iter.Seq2[lock.Photo, error] {
	if step == nil {
		step = func() {}
	}
	return func(yield func(lock.Photo, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		run := pinning{Resolver: r, places: places, step: step, watch: outage{limit: r.Client.Parallel()}}
		begun, all := make(chan chan pinned, ahead), make(chan error, 1)
		go func() {
			defer close(begun)
			all <- run.start(ctx, cancel, images, have, begun)
		}()
		err := run.collect(begun, yield)
		cancel(err)
		for range begun { // until the other goroutines are gone
		}
		// The first error is the one that the others follow from.
		err = cmp.Or(<-all, err)
		if errors.Is(err, errEnough) {
			return
		}
		if err = cmp.Or(run.ended(err), err); err != nil {
			yield(lock.Photo{}, err)
		}
	}
}

// errEnough says that nobody wants to know of more photos.
var errEnough = errors.New("enough photos")

// pinning is one call of Photos.
type pinning struct {
	*Resolver
	places []string
	step   func()
	watch  outage

	total, left int   // photos, and those that could not be reached
	first       error // for the first of these
	some        []Failure
}

// few is how many photos that could not be reached an error names.
const few = 10

// pinned is what became of a photo.
type pinned struct {
	photo  lock.Photo
	missed []Failure
	err    error
}

// start begins with each photo, and waits for all. It sends, in the order of the photos,
// where each will be told of.
func (r *pinning) start(
	ctx context.Context, cancel context.CancelCauseFunc, images iter.Seq2[openimages.Image, error], have lock.Photos,
	begun chan<- chan pinned,
) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Client.Parallel())
	for pair, err := range sorted.Join(images, have.All(), imageID, photoID) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			cancel(err)
			return cmp.Or(group.Wait(), err)
		}
		if pair.Left == nil {
			continue // of a photo that is not selected any more
		}
		result := make(chan pinned, 1)
		select {
		case begun <- result:
		case <-ctx.Done():
			continue // to the error above
		}
		var old lock.Photo
		if pair.Right != nil {
			old = *pair.Right
		}
		if r.keep(old, pair.Left, r.places) {
			result <- pinned{photo: old}
			r.step()
			continue
		}
		image := *pair.Left
		group.Go(func() error {
			photo, missed, err := r.pin(ctx, &image, old)
			result <- pinned{photo, missed, err}
			if _, ok := errors.AsType[*unreached](err); err != nil && !ok {
				return err
			}
			r.step()
			return nil
		})
	}
	return group.Wait()
}

// collect yields the photos as they are done, and counts those that could not be reached.
func (r *pinning) collect(begun <-chan chan pinned, yield func(lock.Photo, error) bool) error {
	for result := range begun {
		p := <-result
		r.total++
		if r.Missed != nil && (p.photo.Dead != "" || p.err != nil) {
			for _, f := range p.missed {
				r.Missed(f)
			}
		}
		switch _, ok := errors.AsType[*unreached](p.err); {
		case ok:
			if r.left++; r.left <= few && len(p.missed) > 0 {
				r.some = append(r.some, p.missed[len(p.missed)-1])
			}
			r.first = cmp.Or(r.first, p.err)
		case p.err != nil:
			return p.err
		case r.left > 0: // the pins will be of no use
		case !yield(p.photo, nil):
			return errEnough
		}
	}
	return nil
}

// ended returns the error of a pinning that could not reach every photo, and nil of one that
// could, or that ended otherwise.
func (r *pinning) ended(err error) error {
	if err != nil && !errors.Is(err, errOutage) {
		return nil
	}
	if silent := r.watch.silent(); silent != nil {
		return &UnreachableError{Offline: true, First: silent}
	}
	if r.left == 0 {
		return nil
	}
	return &UnreachableError{Photos: r.left, Total: r.total, First: r.first, Some: r.some}
}

func imageID(i openimages.Image) string { return string(i.ImageID) }
func photoID(p lock.Photo) string       { return p.ID }

// keep reports whether a pin of an image, if p is one, holds without a look at the world. A
// file of this machine that was no photo may have become one.
func (r *Resolver) keep(p lock.Photo, image *openimages.Image, places []string) bool {
	if p.Dead != "" {
		return !r.Retry && covers(p.Dead, places) && !fetch.IsLocal(image.OriginalURL)
	}
	return p.ID != "" && !r.Repin && slices.Contains(places, p.Place) && isOf(p, image)
}

// isOf reports whether a pin has the digest of the image, as far as that is known.
func isOf(p lock.Photo, image *openimages.Image) bool {
	return image.SHA256 == "" || p.Place != string(pinfile.Original) || image.SHA256 == p.Digest.Encoded()
}

// pin pins a photo that was p, if p is a pin.
func (r *pinning) pin(ctx context.Context, image *openimages.Image, p lock.Photo) (lock.Photo, []Failure, error) {
	if p.ID == "" || p.Dead != "" || !slices.Contains(r.places, p.Place) || !isOf(p, image) {
		return r.photo(ctx, image)
	}
	want, err := storeDigest(p.Digest, p.Size)
	if err != nil {
		return lock.Photo{}, nil, err
	}
	url := PhotoURL(image, pinfile.Place(p.Place))
	err = r.FetchBlob(ctx, url, want)
	if err == nil {
		return p, nil, nil
	}
	if _, err := judge(ctx, r.watch.note(err), ""); err != nil {
		var missed []Failure
		if silent, ok := errors.AsType[*unreached](err); ok {
			missed = []Failure{{
				ImageID: image.ImageID, Place: pinfile.Place(p.Place), URL: url, Reason: silent.reason(), Attempts: silent.attempts(), Unreached: true,
			}}
		}
		return lock.Photo{}, missed, fmt.Errorf("photo %s: %s: %w", image.ImageID, p.Place, err)
	}
	return r.photo(ctx, image)
}

// outage notices that the network is gone. Without it, each of a million photos would
// run into its own timeouts, and with Resolver.GiveUp be taken for dead.
type outage struct {
	limit    int        // questions in a row without an answer that end the pinning
	mu       sync.Mutex // guards what follows
	row      int        // of questions without an answer
	first    error      // of the row
	answered bool       // whether anybody ever was there
	over     bool       // the limit was reached
}

// note is told how each question ended, and passes err on unless the pinning must end.
func (o *outage) note(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return errOutage // what is being cancelled now is no answer
	}
	if _, silent := errors.AsType[*fetch.NoAnswerError](err); !silent {
		o.row, o.answered = 0, true
		return err
	}
	if o.row++; o.row == 1 {
		o.first = err
	}
	if o.over = o.row >= o.limit; o.over {
		return errOutage
	}
	return err
}

// silent returns why nobody answers, or nil when somebody does or nobody was asked.
func (o *outage) silent() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over || !o.answered {
		return o.first
	}
	return nil
}

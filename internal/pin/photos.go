package pin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest/lock"
)

// UnreachableError says that photos have neither a pin nor a tombstone, because a place
// that may have them could not be asked. What else was found is kept.
type UnreachableError struct {
	Photos  int   // how many photos are left
	Total   int   // how many there were to pin
	Offline bool  // no server has answered, so that the pinning was not carried on
	First   error // for the first of the photos, by id
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

// Photos pins each of the images at the first of the places that has it. have are the
// pins there are already; those that hold for places are kept as they are. The result
// is sorted by id. progress, which may be nil, is called with the number of photos that
// are done, by several goroutines.
func (r *Resolver) Photos(
	ctx context.Context, images []openimages.Image, places []string, have []lock.Photo, progress func(done, total int),
) ([]lock.Photo, error) {
	images = sortedImages(images)
	old := make(map[string]lock.Photo, len(have))
	for _, p := range have {
		old[p.ID] = p
	}
	run := pinning{Resolver: r, places: places, watch: outage{limit: r.Client.Parallel()}}
	pins := make([]lock.Photo, len(images))
	failed := make([]error, len(images)) // each by one goroutine
	var done atomic.Int64
	step := func() {
		if n := done.Add(1); progress != nil {
			progress(int(n), len(images))
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Client.Parallel())
	for i := range images {
		p := old[string(images[i].ImageID)]
		if r.keep(p, places) {
			pins[i] = p
			step()
			continue
		}
		group.Go(func() error {
			pin, err := run.pin(ctx, &images[i], p)
			if _, ok := errors.AsType[*unreached](err); err != nil && !ok {
				return err
			}
			pins[i], failed[i] = pin, err
			step()
			return nil
		})
	}
	if err := group.Wait(); err != nil && !errors.Is(err, errOutage) {
		return nil, err
	}
	if err := run.unreachable(failed); err != nil {
		return nil, err
	}
	return pins, nil
}

// pinning is one call of Photos.
type pinning struct {
	*Resolver
	places []string
	watch  outage
}

// unreachable makes one error of those of the photos, which are nil for most.
func (r *pinning) unreachable(failed []error) error {
	e := &UnreachableError{Total: len(failed)}
	if e.First = r.watch.silent(); e.First != nil {
		e.Photos, e.Offline = len(failed), true
		return e
	}
	for _, err := range failed {
		if err != nil {
			e.Photos++
			e.First = cmp.Or(e.First, err)
		}
	}
	if e.Photos == 0 {
		return nil
	}
	return e
}

// keep reports whether a pin, if p is one, holds without a look at the world.
func (r *Resolver) keep(p lock.Photo, places []string) bool {
	if p.Dead != "" {
		return !r.Retry && covers(p.Dead, places)
	}
	return p.ID != "" && !r.Repin && slices.Contains(places, p.Place)
}

// pin pins a photo that was p, if p is a pin.
func (r *pinning) pin(ctx context.Context, image *openimages.Image, p lock.Photo) (lock.Photo, error) {
	if p.ID == "" || p.Dead != "" || !slices.Contains(r.places, p.Place) {
		return r.photo(ctx, image)
	}
	want, err := storeDigest(p.Digest, p.Size)
	if err != nil {
		return lock.Photo{}, err
	}
	err = r.FetchBlob(ctx, PhotoURL(image, pinfile.Place(p.Place)), want)
	if err == nil {
		return p, nil
	}
	if _, err := judge(ctx, r.watch.note(err), ""); err != nil {
		return lock.Photo{}, fmt.Errorf("photo %s: %s: %w", image.ImageID, p.Place, err)
	}
	return r.photo(ctx, image)
}

func sortedImages(images []openimages.Image) []openimages.Image {
	byID := func(a, b openimages.Image) int { return cmp.Compare(a.ImageID, b.ImageID) }
	images = slices.SortedStableFunc(slices.Values(images), byID)
	return slices.CompactFunc(images, func(a, b openimages.Image) bool { return a.ImageID == b.ImageID })
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

// Package download is the kind of stage that brings the pinned photos into a build.
//
// It reads the input "pins" (pins.csv, dead.csv; package pin makes them of a selection)
// and writes
//
//	photos/<ImageID>.jpg    the bytes, as found, with the extension of their format
//	photos.csv              ImageID, Place, URL, SHA256, Size
//	dead.csv                ImageID, Reason
//
// What the world serves decides nothing here: a photo has the pinned bytes, or the
// stage fails. A photo that the store has, from whichever build, is not fetched again.
package download

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
)

// Fetcher brings a blob into the store.
type Fetcher interface {
	// FetchBlob downloads url. When it returns nil, the store that the build uses has
	// the blob want; other content is an error.
	FetchBlob(ctx context.Context, url string, want cas.Digest) error
}

// Kind is the stage. Its one input is "pins".
type Kind struct {
	Fetcher  Fetcher // how to get what the store does not have; nil where it has all
	Parallel int     // photos fetched at once; at least 1
}

// Name returns "download".
func (Kind) Name() string { return "download" }

// Version returns the behaviour version. Since 2, photos have an extension.
func (Kind) Version() int { return 2 }

// Params returns nothing: the pins decide the output alone.
func (Kind) Params() any { return struct{}{} }

// Parse makes the kind of its parameters, as they are in an action, for photos that the store has.
func Parse(text []byte) (Kind, error) {
	_, err := stages.ParseParams[struct{}](text)
	return Kind{}, err
}

// Failure is a photo that could not be fetched.
type Failure struct {
	Photo pinfile.Photo
	Err   error
}

// Gone reports whether the URL definitely does not have the pinned bytes any more.
func (f Failure) Gone() bool { return fetch.Definite(f.Err) }

// FailedError says which photos could not be fetched, sorted by id. All others are in
// the store.
type FailedError struct{ Failures []Failure }

func (e *FailedError) Error() string {
	first := e.Failures[0]
	text := fmt.Sprintf("download: photo %s: %v", first.Photo.ImageID, first.Err)
	if first.Gone() {
		text = fmt.Sprintf("download: photo %s is not at %s any more as it was locked: %v", first.Photo.ImageID, first.Photo.URL, first.Err)
	}
	if others := len(e.Failures) - 1; others > 0 {
		text += fmt.Sprintf(" (and %d more)", others)
	}
	return text
}

// Unwrap returns why the first photo could not be fetched.
func (e *FailedError) Unwrap() error { return e.Failures[0].Err }

// Gone returns how many of the photos the world does not have any more, so that only a
// new pin helps.
func (e *FailedError) Gone() int {
	n := 0
	for _, f := range e.Failures {
		if f.Gone() {
			n++
		}
	}
	return n
}

// Run makes the output of the pins, fetching first what the store does not have.
func (k Kind) Run(ctx context.Context, t *stages.Task) error {
	photos, err := table.All(ctx, t.Input("pins"), pinfile.PinsFile, pinfile.Photos)
	if err != nil {
		return err
	}
	dead, err := table.All(ctx, t.Input("pins"), pinfile.DeadFile, pinfile.DeadPhotos)
	if err != nil {
		return err
	}
	if k.Fetcher != nil {
		if err := k.fetch(ctx, t, photos); err != nil {
			return err
		}
	}
	extensions, err := extensionsOf(ctx, t, photos)
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	var size int64
	for i, p := range photos {
		size += p.Digest.Size()
		if err := t.Out().Add("photos/"+string(p.ImageID)+extensions[i], p.Digest); err != nil {
			return fmt.Errorf("download: %w", err)
		}
	}
	t.Count("images", int64(len(photos)))
	t.Count("bytes", size)
	t.Count("dead", int64(len(dead)))
	if len(dead) > 0 {
		t.Warnf("dead photos: %d of %d, no place has them", len(dead), len(photos)+len(dead))
	}
	return tables(ctx, t)
}

// Fetch brings into the store what it does not have of the pinned photos. It is all of Run that
// asks the world for anything.
func (k Kind) Fetch(ctx context.Context, t *stages.Task) error {
	photos, err := table.All(ctx, t.Input("pins"), pinfile.PinsFile, pinfile.Photos)
	if err != nil {
		return err
	}
	return k.fetch(ctx, t, photos)
}

// extensions are the file extensions of the formats that photos come in.
var extensions = map[string]string{
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp",
}

// sniffed is how many bytes http.DetectContentType looks at.
const sniffed = 512

// extensionsOf returns the extension by which the bytes of each photo go, whatever its
// URL called them; nothing for bytes that are no photo. Only people need it: a photo is
// found by its digest. A photo is an item, so that it is looked into once.
func extensionsOf(ctx context.Context, t *stages.Task, photos []pinfile.Photo) ([]string, error) {
	formats, err := t.Items(ctx, "formats", nil)
	if err != nil {
		return nil, err
	}
	found := make([]string, len(photos))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(t.Workers())
	for i, p := range photos {
		item, err := formats.Begin(ctx, string(p.ImageID), p.Digest.Hex())
		if err != nil {
			if cause := group.Wait(); cause != nil {
				return nil, cause // it ended the context, which is what err says
			}
			return nil, err
		}
		if o, ok := item.Known(); ok {
			found[i] = string(o.Data)
			continue
		}
		group.Go(func() error {
			var err error
			if found[i], err = extensionOf(ctx, t.Store(), p.Digest); err != nil {
				return err
			}
			return item.Done(ctx, items.Outcome{Data: []byte(found[i])})
		})
	}
	return found, group.Wait()
}

// extensionOf looks at the first bytes of a photo, but reads them all: only then is it
// known that they are not damaged.
func extensionOf(ctx context.Context, store cas.Store, d cas.Digest) (_ string, err error) {
	r, err := store.Open(ctx, d)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	head := make([]byte, min(sniffed, d.Size()))
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return "", err
	}
	return extensions[http.DetectContentType(head)], context.Cause(ctx)
}

// tables makes the output's tables, which are those of the pins.
func tables(ctx context.Context, t *stages.Task) error {
	for _, file := range []struct{ from, to string }{
		{pinfile.PinsFile, pinfile.PhotosFile},
		{pinfile.DeadFile, pinfile.DeadFile},
	} {
		d, err := t.Input("pins").Lookup(ctx, file.from)
		if err == nil {
			err = t.Out().Add(file.to, d)
		}
		if err != nil {
			return fmt.Errorf("download: %w", err)
		}
	}
	return nil
}

// maxUnreachable is after how many photos that cannot be reached the stage gives up:
// more will hardly fare better, and each takes its time.
const maxUnreachable = 64

// fetch brings into the store what it does not have of the photos.
func (k Kind) fetch(ctx context.Context, t *stages.Task, photos []pinfile.Photo) error {
	missing, total, err := lacking(ctx, t.Store(), photos)
	if err != nil {
		return err
	}
	t.Did("photos", "fetched", int64(len(missing)), int64(len(photos)-len(missing)))
	var (
		mu          sync.Mutex // guards the rest
		done        int64
		unreachable int
		failures    []Failure
	)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(max(k.Parallel, 1))
	for _, p := range missing {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := k.Fetcher.FetchBlob(groupCtx, p.URL, p.Digest)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				done += p.Digest.Size()
				t.Progress(done, total, "bytes")
				return nil
			}
			if _, ok := errors.AsType[*fetch.Error](err); !ok || groupCtx.Err() != nil {
				return err // the trouble is not the photo's
			}
			failures = append(failures, Failure{Photo: p, Err: err})
			if !fetch.Definite(err) {
				unreachable++
			}
			if unreachable >= maxUnreachable {
				return errUnreachable
			}
			return nil
		})
	}
	err = group.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil && !errors.Is(err, errUnreachable) {
		return fmt.Errorf("download: %w", err)
	}
	if len(failures) == 0 {
		return nil
	}
	slices.SortFunc(failures, func(a, b Failure) int { return cmp.Compare(a.Photo.ImageID, b.Photo.ImageID) })
	return &FailedError{Failures: failures}
}

// errUnreachable ends a download that gets nowhere.
var errUnreachable = errors.New("too many photos cannot be reached")

// lacking returns the photos that the store does not have, one for each digest, and
// how many bytes they are.
func lacking(ctx context.Context, store cas.Store, photos []pinfile.Photo) (missing []pinfile.Photo, size int64, err error) {
	digests := make([]cas.Digest, 0, len(photos))
	for _, p := range photos {
		digests = append(digests, p.Digest)
	}
	absent, err := store.Missing(ctx, digests)
	if err != nil {
		return nil, 0, fmt.Errorf("download: %w", err)
	}
	wanted := make(map[cas.Digest]bool, len(absent))
	for _, d := range absent {
		wanted[d] = true
	}
	for _, p := range photos {
		if wanted[p.Digest] {
			wanted[p.Digest] = false
			missing = append(missing, p)
			size += p.Digest.Size()
		}
	}
	return missing, size, nil
}

package pin

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"sync"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// maxPhoto bounds a photo whose size the metadata do not tell. Flickr takes at most
// 200 MB.
const maxPhoto = 200 << 20

// cvdfBucket is where the CVD Foundation hosts the photos.
const cvdfBucket = "s3://open-images-dataset/"

// PhotoURL returns where a place has a photo, or "" when the metadata do not say.
func PhotoURL(image *openimages.Image, place pinfile.Place) string {
	switch place {
	case pinfile.Original:
		return image.OriginalURL
	case pinfile.Thumbnail:
		return image.Thumbnail300KURL
	case pinfile.CVDF:
		if image.Subset != "" {
			return cvdfBucket + url.PathEscape(image.Subset) + "/" + url.PathEscape(string(image.ImageID)) + ".jpg"
		}
	}
	return ""
}

// candidate is a photo at a place.
type candidate struct {
	url  string
	want fetch.Want
}

func newCandidate(image *openimages.Image, place pinfile.Place) candidate {
	c := candidate{url: PhotoURL(image, place), want: fetch.Want{Limit: maxPhoto}}
	if place != pinfile.Original {
		return c // copies are made on the fly; nobody publishes their sums
	}
	if image.OriginalSize > 0 {
		c.want = fetch.Want{Size: image.OriginalSize}
	}
	if sum, ok := image.MD5(); ok {
		c.want.MD5 = sum[:]
	}
	if sum, err := hex.DecodeString(image.SHA256); err == nil && len(sum) > 0 {
		c.want.SHA256 = sum
	}
	return c
}

func (c candidate) key() key {
	return key{URL: c.url, MD5: base64.StdEncoding.EncodeToString(c.want.MD5)}
}

// digest returns the digest of the photo, if it is known beforehand.
func (c candidate) digest() (cas.Digest, bool) {
	d, err := cas.NewDigest(hex.EncodeToString(c.want.SHA256), c.want.Size)
	return d, err == nil && c.want.Size > 0
}

// published reports whether the photo has a published sum, so that what arrives whole is
// the photo.
func (c candidate) published() bool { return c.want.MD5 != nil || c.want.SHA256 != nil }

// photo pins a photo at the first place that has it. The error says that a place could
// not be reached, or that the pinning must end. Missed are the places before.
func (r *pinning) photo(ctx context.Context, image *openimages.Image) (_ lock.Photo, missed []Failure, _ error) {
	var reasons []string
	for _, place := range r.places {
		c := newCandidate(image, pinfile.Place(place))
		f, err := r.at(ctx, c)
		miss := Failure{ImageID: image.ImageID, Place: pinfile.Place(place), URL: c.url, Reason: f.dead, Attempts: f.attempts}
		if silent, ok := errors.AsType[*unreached](err); ok {
			miss.Reason, miss.Attempts, miss.Unreached = silent.reason(), silent.attempts(), true
			missed = append(missed, miss)
			if r.GiveUp {
				f, err = fact{dead: "unreachable"}, nil
			}
		} else if f.dead != "" {
			missed = append(missed, miss)
		}
		if err != nil {
			return lock.Photo{}, missed, fmt.Errorf("photo %s: %s: %w", image.ImageID, place, err)
		}
		if f.dead == "" {
			return lock.Photo{ID: string(image.ImageID), Place: place, Digest: lockDigest(f.digest), Size: f.digest.Size()}, missed, nil
		}
		reasons = append(reasons, place+": "+f.dead)
	}
	return lock.Photo{ID: string(image.ImageID), Dead: strings.Join(reasons, "; ")}, missed, nil
}

// covers reports whether a tombstone has a reason for each of the places: one that was
// set before a place was added to the manifest does not speak for it.
func covers(reasons string, places []string) bool {
	for _, place := range places {
		if !strings.HasPrefix(reasons, place+": ") && !strings.Contains(reasons, "; "+place+": ") {
			return false
		}
	}
	return true
}

// at finds out what is at one place, unless this pinning has already.
func (r *pinning) at(ctx context.Context, c candidate) (fact, error) {
	if c.url == "" {
		return fact{dead: reasonNoURL}, nil
	}
	if fetch.IsLocal(c.url) { // which may be another file at any time
		return r.look(ctx, c)
	}
	if f, ok := r.Journal.find(c.key()); ok {
		return f, nil
	}
	f, err := r.look(ctx, c)
	if err = r.watch.note(err); err != nil {
		return fact{}, err
	}
	return f, r.Journal.add(c.key(), f)
}

// readers hold the first bytes of a photo while they are looked at. Known placeholders
// are smaller than this; a whole photo need not be.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// look asks the world what is at one place.
func (r *Resolver) look(ctx context.Context, c candidate) (f fact, _ error) {
	if d, ok := c.digest(); ok {
		if missing, err := r.Store.Missing(ctx, []cas.Digest{d}); err == nil && len(missing) == 0 {
			return fact{digest: d}, nil
		}
	}
	body, err := r.Client.Open(ctx, c.url, c.want)
	if err != nil {
		return judge(ctx, err, "")
	}
	defer func() { _ = body.Close() }() // what was read is verified
	defer func() { f.attempts = body.Attempts() }()
	if isUnavailable(body.URL()) {
		return fact{dead: reasonDeleted}, nil
	}
	in := readers.Get().(*bufio.Reader)
	in.Reset(body)
	defer func() {
		in.Reset(nil)
		readers.Put(in)
	}()
	head, err := in.Peek(in.Size())
	whole := errors.Is(err, io.EOF)
	if ended := whole || fetch.Definite(err); ended && len(head) == 0 {
		return fact{dead: reasonEmpty}, nil
	} else if ended && !(whole && c.published()) { // sums take a fifth of the time that a photo takes
		if stand := placeholder(head); stand != "" {
			return fact{dead: stand}, nil
		}
	}
	suspect := ""
	if len(head) > 0 {
		suspect = notPhoto(head)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return judge(ctx, err, suspect)
	}
	if suspect != "" && c.want.MD5 == nil {
		return fact{dead: suspect}, nil
	}
	d, err := r.Store.Put(ctx, in)
	if err != nil {
		return judge(ctx, err, suspect)
	}
	return fact{digest: d}, nil
}

// unreached says that a place could not be asked.
type unreached struct{ err error }

func (e *unreached) Error() string { return e.err.Error() }
func (e *unreached) Unwrap() error { return e.err }

// reason is the error without the URL, which stands beside it.
func (e *unreached) reason() string {
	if of, ok := errors.AsType[*fetch.Error](e.err); ok {
		return of.Err.Error()
	}
	return e.err.Error()
}

func (e *unreached) attempts() int {
	of, ok := errors.AsType[*fetch.Error](e.err)
	if !ok {
		return 0
	}
	return of.Attempts
}

// judge tells what an error says about a photo: that the place does not have it, that
// the place could not be asked, or nothing because the trouble is on this machine.
// suspect is what the content looked like, which explains a wrong sum better than the
// sum does.
func judge(ctx context.Context, err error, suspect string) (fact, error) {
	if ended := context.Cause(ctx); ended != nil {
		return fact{}, ended
	}
	if _, ok := errors.AsType[*fetch.Error](err); !ok {
		return fact{}, err
	}
	if !fetch.Definite(err) {
		return fact{}, &unreached{err}
	}
	if suspect != "" {
		return fact{dead: suspect}, nil
	}
	return fact{dead: reason(err), attempts: (&unreached{err}).attempts()}, nil
}

// reason is the short text for a definite error.
func reason(err error) string {
	if status, ok := errors.AsType[*fetch.StatusError](err); ok {
		return status.Error()
	}
	if wrong, ok := errors.AsType[*fetch.MismatchError](err); ok {
		return "other content: wrong " + wrong.What
	}
	if no, ok := errors.AsType[*fetch.OptOutError](err); ok {
		return no.Error()
	}
	switch {
	case errors.Is(err, fetch.ErrTooLarge):
		return "too large"
	case errors.Is(err, fetch.ErrRedirects):
		return "too many redirects"
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	}
	return "unusable URL"
}

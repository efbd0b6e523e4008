package pin_test

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/mirrortest"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/shared"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
)

var allPlaces = []string{"original", "thumbnail", "cvdf"}

// world is a server with real photos at all their places.
type world struct {
	*mirrortest.Server
	images []openimages.Image
}

// newWorld serves n of the real originals of apple-orange, with rows that describe
// them. Their copies are other real photos, so that a test sees which it got.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shared.Dir(t), "data", "openimages", "apple-orange", "*", "*.jpg"))
	if err != nil || len(files) < n {
		t.Fatalf("got %d photos, %v; want %d", len(files), err, n)
	}
	slices.Sort(files)
	w := &world{Server: mirrortest.Start(t)}
	small := readFile(t, filepath.Join(shared.Dir(t), "data", "openimages", "full-metadata-23", "images", "00075905539074f2.jpg"))
	for i, file := range files[:n] {
		data := readFile(t, file)
		id := strings.TrimSuffix(filepath.Base(file), ".jpg")
		sum := md5.Sum(data)
		w.add(openimages.Image{
			ImageID: openimages.ImageID(id), Subset: "validation",
			OriginalURL:      fmt.Sprintf("https://farm%d.staticflickr.com/%d/%s_o.jpg", 1+i%9, i, id),
			OriginalSize:     int64(len(data)),
			OriginalMD5:      base64.StdEncoding.EncodeToString(sum[:]),
			Thumbnail300KURL: fmt.Sprintf("https://c%d.staticflickr.com/%d/%s_z.jpg", 1+i%8, i, id),
		}, data, small)
	}
	return w
}

// newRealRows serves the photos of full-metadata-23 under their official rows. They are
// not the bytes that the rows describe, as it happens with old links.
func newRealRows(t *testing.T) *world {
	t.Helper()
	dir := filepath.Join(shared.Dir(t), "data", "openimages", "full-metadata-23")
	f, err := os.Open(filepath.Join(dir, "images.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	w := &world{Server: mirrortest.Start(t)}
	for image, err := range openimages.SelectedImages(f, "images.csv") {
		if err != nil {
			t.Fatal(err)
		}
		data := readFile(t, filepath.Join(dir, "images", string(image.ImageID)+".jpg"))
		w.add(image, data, data)
	}
	return w
}

func (w *world) add(image openimages.Image, original, others []byte) {
	w.images = append(w.images, image)
	w.Put(image.OriginalURL, original)
	w.Put(image.Thumbnail300KURL, others)
	w.Put(pin.PhotoURL(&image, pinfile.CVDF), others)
}

func (w *world) client(t *testing.T, o fetch.Options) *fetch.Client {
	t.Helper()
	o.Mirrors, o.Wait = w.Mirrors(), time.Millisecond
	return newClient(t, o)
}

func newClient(t *testing.T, o fetch.Options) *fetch.Client {
	t.Helper()
	c, err := fetch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) resolver(t *testing.T) *pin.Resolver {
	t.Helper()
	return &pin.Resolver{Blobs: pin.Blobs{Client: w.client(t, fetch.Options{}), Store: cas.NewMemory()}}
}

func (w *world) url(i int, place pinfile.Place) string { return pin.PhotoURL(&w.images[i], place) }

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func find(t *testing.T, pins []lock.Photo, id openimages.ImageID) lock.Photo {
	t.Helper()
	i := slices.IndexFunc(pins, func(p lock.Photo) bool { return p.ID == string(id) })
	if i < 0 {
		t.Fatalf("no pin for %s", id)
	}
	return pins[i]
}

// pinAll pins images in any order, and lists the pins.
func pinAll(ctx context.Context, r *pin.Resolver, images []openimages.Image, places []string, have []lock.Photo, step func()) ([]lock.Photo, error) {
	return collect(lock.Photos(r.Photos(ctx, sequence(images), places, listed(have), step)))
}

// sequence goes through images by their ids.
func sequence(images []openimages.Image) iter.Seq2[openimages.Image, error] {
	images = slices.SortedFunc(slices.Values(images), func(a, b openimages.Image) int { return cmp.Compare(a.ImageID, b.ImageID) })
	return func(yield func(openimages.Image, error) bool) {
		for _, image := range images {
			if !yield(image, nil) {
				return
			}
		}
	}
}

func listed(photos []lock.Photo) lock.Photos {
	return func(yield func(lock.Photo, error) bool) {
		for _, p := range photos {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func collect(photos lock.Photos) ([]lock.Photo, error) {
	var all []lock.Photo
	for p, err := range photos.All() {
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

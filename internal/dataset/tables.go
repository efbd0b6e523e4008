package dataset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Photo is a photo of a data set. What is not known is empty.
type Photo struct {
	Name   string // what tells it from the others of its subset
	URL    string // a URL or a path
	Size   int64  // bytes
	SHA256 string // hex
	MD5    string // base64

	Licence, Author, AuthorURL, Title, LandingURL string
}

// Tables take what a form reads, and write it as files of Open Images into a store.
type Tables struct {
	ctx     context.Context // of the reading; the tables live as long as a call
	subset  string
	classes map[openimages.LabelID]string
	images  chan<- openimages.Image
	boxes   chan<- openimages.Box
}

// Class says that there is a class. A class may be told of more than once.
func (t *Tables) Class(id openimages.LabelID, name string) error {
	if other, ok := t.classes[id]; ok && other != name {
		return fmt.Errorf("the class %s is called %s, and was called %s before", id, excerpt(name), excerpt(other))
	}
	if err := checkClass(name); err != nil {
		return err
	}
	t.classes[id] = name
	return nil
}

// maxClass bounds the name of a class, in bytes.
const maxClass = 120

func checkClass(name string) error {
	switch {
	case name == "" || strings.TrimSpace(name) != name:
		return fmt.Errorf("want the name of a class, without spaces at its ends, got %s", excerpt(name))
	case len(name) > maxClass:
		return fmt.Errorf("want the name of a class of at most %d bytes, got %s", maxClass, excerpt(name))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("want the name of a class in printable UTF-8, got %s", excerpt(name))
	case name[0] == '.' || strings.ContainsAny(name, `/\`):
		return fmt.Errorf("want the name of a class without a slash and without a dot in front, since it names a folder, got %s", excerpt(name))
	}
	return nil
}

// classID is the id of a class that has but a name: the name, with what an id may not have
// escaped as in a URL.
func classID(name string) openimages.LabelID {
	var b strings.Builder
	for _, r := range name {
		if r == '%' || unicode.IsSpace(r) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return openimages.LabelID(b.String())
}

// id returns the id of a photo.
func (t *Tables) id(p Photo) openimages.ImageID {
	sum := sha256.Sum256([]byte(t.subset + "/" + p.Name))
	return openimages.ImageID(hex.EncodeToString(sum[:8]))
}

// Photo adds a photo and returns its id.
func (t *Tables) Photo(p Photo) (openimages.ImageID, error) {
	id := t.id(p)
	image := openimages.Image{
		ImageID: id, Subset: t.subset, OriginalURL: p.URL, OriginalLandingURL: p.LandingURL, License: p.Licence,
		AuthorProfileURL: p.AuthorURL, Author: p.Author, Title: p.Title, OriginalSize: p.Size, OriginalMD5: p.MD5,
		Rotation: openimages.RotationUnknown, SHA256: p.SHA256,
	}
	return id, send(t.ctx, t.images, image)
}

// Box adds a box to a photo.
func (t *Tables) Box(photo openimages.ImageID, class openimages.LabelID, b openimages.Box) error {
	b.ImageID, b.LabelID = photo, class
	return send(t.ctx, t.boxes, b)
}

func send[T any](ctx context.Context, to chan<- T, item T) error {
	select {
	case to <- item:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Convert reads the subsets of a data set, and returns the tree of the metadata that the
// stage select reads.
func Convert(ctx context.Context, store cas.Store, form Form, subsets []Input) (cas.Tree, error) {
	out := cas.NewBuilder(store)
	classes := map[openimages.LabelID]string{}
	for _, in := range subsets {
		images, boxes, err := convert(ctx, store, form, in, classes)
		if err == nil {
			err = cmp.Or(out.Add(openimages.ImagesFile(in.Subset), images), out.Add(openimages.BoxesFile(in.Subset), boxes))
		}
		if err != nil {
			return cas.Tree{}, err
		}
	}
	if len(classes) == 0 {
		return cas.Tree{}, &FaultError{File: subsets[0].first().Name, Problem: "there are no classes"}
	}
	var list strings.Builder
	err := openimages.WriteClasses(&list, func(yield func(openimages.Class) bool) {
		for _, id := range slices.Sorted(maps.Keys(classes)) {
			if !yield(openimages.Class{ID: id, Name: classes[id]}) {
				return
			}
		}
	})
	if err == nil {
		err = out.PutBytes(ctx, openimages.ClassesFile, []byte(list.String()))
	}
	if err != nil {
		return cas.Tree{}, err
	}
	return out.Commit(ctx)
}

// first is a file of the subset to name where all of it is meant.
func (in Input) first() File { return in.Files[slices.Sorted(maps.Keys(in.Files))[0]] }

// convert reads one subset, while its two tables go into the store.
func convert(ctx context.Context, store cas.Store, form Form, in Input, classes map[openimages.LabelID]string) (images, boxes cas.Digest, err error) {
	const ahead = 256 // rows, which one hands to the other
	group, ctx := errgroup.WithContext(ctx)
	imageRows, boxRows := make(chan openimages.Image, ahead), make(chan openimages.Box, ahead)
	group.Go(func() (err error) {
		images, err = put(ctx, store, imageRows, openimages.WriteSelectedImages)
		return err
	})
	group.Go(func() (err error) {
		boxes, err = put(ctx, store, boxRows, openimages.WriteBoxes)
		return err
	})
	group.Go(func() error {
		defer close(imageRows)
		defer close(boxRows)
		return form.Read(ctx, in, &Tables{ctx: ctx, subset: in.Subset, classes: classes, images: imageRows, boxes: boxRows})
	})
	return images, boxes, group.Wait()
}

// put stores the table that write makes of rows.
func put[T any](ctx context.Context, store cas.Store, rows <-chan T, write func(io.Writer, iter.Seq[T]) error) (cas.Digest, error) {
	r, w := io.Pipe()
	go func() {
		// Rows that end early end the context too, and so the blob, which nobody sees then.
		err := write(w, func(yield func(T) bool) {
			for row := range rows {
				if !yield(row) {
					return
				}
			}
		})
		_ = w.CloseWithError(cmp.Or(err, context.Cause(ctx))) // never fails
	}()
	d, err := store.Put(ctx, r)
	_ = r.CloseWithError(cmp.Or(err, io.ErrClosedPipe)) // lets the writer go; never fails
	return d, err
}

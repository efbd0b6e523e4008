package dataset

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
)

// coco has one JSON file, as COCO's object instances are (cocodataset.org/#format-data).
// A crowd has the flag group_of. An annotation without bbox is of the whole photo.
type coco struct{}

func (coco) Describe() string { return "coco 1" }

type cocoLicence struct {
	ID  int64  `json:"id"`
	URL string `json:"url"`
}

type cocoCategory struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

type cocoImage struct {
	ID        int64   `json:"id"`
	FileName  string  `json:"file_name"`
	Width     float64 `json:"width"`
	Height    float64 `json:"height"`
	Licence   int64   `json:"license"`
	COCOURL   string  `json:"coco_url"`
	FlickrURL string  `json:"flickr_url"`
}

type cocoAnnotation struct {
	Image    int64     `json:"image_id"`
	Category int64     `json:"category_id"`
	BBox     []float64 `json:"bbox"` // left, top, width and height in pixels
	Crowd    int       `json:"iscrowd"`
}

// cocoReader is one reading of a file.
type cocoReader struct {
	name       string
	out        *Tables
	folder     *File // of the photos; nil where they are on the web
	files      map[string]Entry
	licences   map[int64]string
	categories map[int64]bool
	images     map[int64]sized
	seen       bool // all images have been read
	early      bool // there were annotations before that
}

// sized is a photo, and its sides in pixels.
type sized struct {
	id            openimages.ImageID
	width, height float64
}

// Read goes through the file twice: licences and categories may stand behind what refers
// to them. Where the annotations stand before the images, it goes through it once more.
func (coco) Read(ctx context.Context, in Input, out *Tables) error {
	file := in.Files[manifest.Annotations]
	r := &cocoReader{
		name: file.Name, out: out,
		licences: map[int64]string{}, categories: map[int64]bool{}, images: map[int64]sized{},
	}
	if photos, ok := in.Files[manifest.Photos]; ok {
		r.folder, r.files = &photos, map[string]Entry{}
		for e, err := range photos.entries(ctx) {
			if err != nil {
				return err
			}
			r.files[e.Path] = e
		}
	}
	passes := []sections{
		{"licenses": each(r.licence), "categories": each(r.category)},
		{"images": each(r.image), "annotations": each(r.annotation)},
	}
	for _, p := range passes {
		if err := r.pass(ctx, file, p); err != nil {
			return err
		}
	}
	if !r.early {
		return nil
	}
	r.seen = true
	return r.pass(ctx, file, sections{"annotations": each(r.annotation)})
}

func (r *cocoReader) licence(l cocoLicence) (string, error) {
	r.licences[l.ID] = l.URL
	return "", nil
}

func (r *cocoReader) category(c cocoCategory) (string, error) {
	if r.categories[c.ID] {
		return "id", fmt.Errorf("the category %d is there twice", c.ID)
	}
	r.categories[c.ID] = true
	return "name", r.out.Class(categoryID(c.ID), c.Name)
}

func categoryID(id int64) openimages.LabelID {
	return openimages.LabelID(strconv.FormatInt(id, 10))
}

func (r *cocoReader) image(i cocoImage) (string, error) {
	if _, ok := r.images[i.ID]; ok {
		return "id", fmt.Errorf("the image %d is there twice", i.ID)
	}
	p := Photo{Name: i.FileName, Licence: r.licences[i.Licence], LandingURL: i.FlickrURL}
	switch {
	case r.folder == nil:
		if p.URL = i.COCOURL; p.URL == "" {
			return "coco_url", errors.New("want a URL, since the manifest names no folder of images")
		}
		p.Name = cmp.Or(i.FileName, i.COCOURL)
	case i.FileName == "":
		return "file_name", errors.New("want a path below the folder of the images")
	default:
		e := r.files[i.FileName]
		p.URL, p.Size, p.SHA256 = r.folder.place(i.FileName), e.Size, e.SHA256
	}
	id, err := r.out.Photo(p)
	r.images[i.ID] = sized{id, i.Width, i.Height}
	return "", err
}

func (r *cocoReader) annotation(a cocoAnnotation) (string, error) {
	photo, ok := r.images[a.Image]
	switch {
	case !ok && !r.seen:
		r.early = true
		return "", errLater
	case !ok:
		return "image_id", fmt.Errorf("there is no image %d", a.Image)
	case !r.categories[a.Category]:
		return "category_id", fmt.Errorf("there is no category %d", a.Category)
	}
	box := whole()
	box.Flags[openimages.GroupOf] = openimages.No
	if a.Crowd != 0 {
		box.Flags[openimages.GroupOf] = openimages.Yes
	}
	if len(a.BBox) > 0 {
		if len(a.BBox) != 4 || a.BBox[2] < 0 || a.BBox[3] < 0 {
			return "bbox", errors.New("want left, top, width and height in pixels")
		}
		if !(photo.width >= 1 && photo.height >= 1) || math.IsInf(photo.width+photo.height, 0) {
			return "bbox", fmt.Errorf("the image %d has no width and height, without which a box says nothing", a.Image)
		}
		box.XMin, box.XMax = fractions(a.BBox[0], a.BBox[0]+a.BBox[2], photo.width)
		box.YMin, box.YMax = fractions(a.BBox[1], a.BBox[1]+a.BBox[3], photo.height)
	}
	return "", r.out.Box(photo.id, categoryID(a.Category), box)
}

// errLater ends a section that is to be read once more.
var errLater = errors.New("later")

// sections say what is done with each item of the lists of a file, by their key.
type sections map[string]func(d *json.Decoder) (column string, err error)

// each decodes an item and hands it on. The column says where in it the error is.
func each[T any](take func(T) (string, error)) func(*json.Decoder) (string, error) {
	return func(d *json.Decoder) (string, error) {
		var item T
		if err := d.Decode(&item); err != nil {
			return "", err
		}
		return take(item)
	}
}

// pass reads the sections of a file, and passes over all else.
func (r *cocoReader) pass(ctx context.Context, file File, read sections) (err error) {
	src, err := file.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	d := json.NewDecoder(src)
	if err := r.open(d, '{', ""); err != nil {
		return err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return r.broken(d, "", "", err)
		}
		key, _ := token.(string)
		if err := r.section(ctx, d, key, read[key]); err != nil {
			return err
		}
		if key == "images" {
			r.seen = r.seen || read[key] != nil
		}
	}
	if _, err := d.Token(); err != nil {
		return r.broken(d, "", "", err)
	}
	return nil
}

// open reads the bracket that begins an object or a list.
func (r *cocoReader) open(d *json.Decoder, want json.Delim, row string) error {
	token, err := d.Token()
	if err != nil {
		return r.broken(d, row, "", err)
	}
	if token != want {
		return &FaultError{File: r.name, Row: row, Problem: fmt.Sprintf("want a %s, got %v", map[json.Delim]string{'{': "JSON object", '[': "list"}[want], token)}
	}
	return nil
}

// section reads the items of one key. take is nil where they are not wanted.
func (r *cocoReader) section(ctx context.Context, d *json.Decoder, key string, take func(*json.Decoder) (string, error)) error {
	const itemsPerCheck = 1 << 10
	if _, isList := cocoLists[key]; !isList {
		return r.skip(d, key)
	}
	if err := r.open(d, '[', key); err != nil {
		return err
	}
	if take == nil {
		take = each(func(json.RawMessage) (string, error) { return "", nil })
	}
	for i := 0; d.More(); i++ {
		if i%itemsPerCheck == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		column, err := take(d)
		if errors.Is(err, errLater) {
			take, err = each(func(json.RawMessage) (string, error) { return "", nil }), nil
		}
		if err != nil {
			return r.broken(d, fmt.Sprintf("%s[%d]", key, i), column, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return r.broken(d, key, "", err)
	}
	return nil
}

// cocoLists are the keys that have lists.
var cocoLists = map[string]struct{}{"images": {}, "annotations": {}, "categories": {}, "licenses": {}}

// skip passes over a value, token by token, so that a large one is not held.
func (r *cocoReader) skip(d *json.Decoder, key string) error {
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return r.broken(d, key, "", err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// broken makes a *FaultError of what is wrong with the file; other errors stay what they are.
func (r *cocoReader) broken(d *json.Decoder, row, column string, err error) error {
	fault := &FaultError{File: r.name, Row: row, Column: column, Problem: err.Error()}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		fault.Problem = fmt.Sprintf("not JSON at byte %d: %s", syntax.Offset, syntax.Error())
		return fault
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		fault.Column, fault.Problem = kind.Field, fmt.Sprintf("want a %s, got a %s", kind.Type, kind.Value)
		return fault
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		fault.Problem = fmt.Sprintf("the file ends too early, at byte %d", d.InputOffset())
		return fault
	}
	if column != "" {
		return fault
	}
	return err
}

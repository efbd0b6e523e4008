package report

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"slices"

	"github.com/disintegration/imaging"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/upright"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
	"github.com/sandwich-build/sandwich/stages/pictures"
)

// wanted is a file of which a small picture is wanted, and who wants it.
type wanted struct {
	name   string // of the item
	digest cas.Digest
	side   int // pixels of the longer side, at most
	photo  pinfile.Photo
	by     []*shown
}

// scale makes the pictures of the sheets.
func (k *Kind) scale(ctx context.Context, t *stages.Task, f *findings, sheets []*contact) error {
	var photos, crops []*wanted
	known := map[string]*wanted{}
	for _, c := range sheets {
		for _, g := range c.groups {
			for _, s := range g.shown {
				name := fmt.Sprintf("%s\x00%d", cmp.Or(s.crop, string(s.photo)), c.side)
				if w := known[name]; w != nil {
					w.by = append(w.by, s)
					continue
				}
				w := &wanted{name: name, side: c.side, by: []*shown{s}}
				switch p, found := f.photos[s.photo]; {
				case s.crop != "":
					d, err := t.Input(Crops).Lookup(ctx, s.crop)
					if err != nil {
						return err
					}
					w.digest = d
					crops = append(crops, w)
				case found:
					w.digest, w.photo = p.Digest, p
					photos = append(photos, w)
				default:
					continue // there is none
				}
				known[name] = w
			}
		}
	}
	if err := k.pass(ctx, t, f, "photos", photos); err != nil {
		return err
	}
	return k.pass(ctx, t, f, "crops", crops)
}

// tileKey decides a small picture.
type tileKey struct {
	Digest string
	Side   int
	Turn   string // what decides how it is turned
}

// stored is what is kept of a header, to draw boxes by.
type stored struct {
	Width, Height int
	Orientation   photo.Orientation
}

// pass scales the pictures of one sort.
func (k *Kind) pass(ctx context.Context, t *stages.Task, f *findings, unit string, all []*wanted) error {
	set, err := t.Items(ctx, unit, k.limits)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *wanted) int { return cmp.Compare(a.name, b.name) })
	look := pictures.Look{Task: t, Items: set, Limits: k.limits, Unit: unit, Verb: "scaled",
		Use: func(i int, found items.Outcome) error { return all[i].use(ctx, t, f, found) },
	}
	return look.At(ctx, len(all), func(i int) (pictures.View, error) {
		w := all[i]
		rotation := f.rotation[w.photo.ImageID]
		return pictures.View{
			Name: w.name, Key: tileKey{w.digest.Hex(), w.side, fmt.Sprint(w.photo.Place, rotation)}, Digest: w.digest, Side: 2 * w.side,
			See: func(ctx context.Context, img *image.YCbCr, h photo.Header, rejected *photo.RejectedError) (items.Outcome, error) {
				if rejected != nil { // it stays without a picture
					return items.Outcome{}, nil
				}
				frame, err := upright.New(&h, w.photo.Place, rotation)
				if err != nil {
					return items.Outcome{}, err
				}
				var small bytes.Buffer
				if err := png.Encode(&small, frame.Turn.Turn(fit(img, w.side))); err != nil {
					return items.Outcome{}, err
				}
				d, err := t.Store().Put(ctx, &small)
				if err != nil {
					return items.Outcome{}, err
				}
				data, err := json.Marshal(stored{h.Width, h.Height, h.Orientation})
				return items.Outcome{Data: data, Blobs: []cas.Digest{d}}, err
			},
		}, nil
	})
}

// fit scales a picture to a tile. One that is much smaller grows by a whole factor, so that
// its pixels stay what they are.
func fit(img image.Image, side int) *image.NRGBA {
	size := img.Bounds().Size()
	if times := side / max(size.X, size.Y); times > 1 {
		return imaging.Resize(img, times*size.X, times*size.Y, imaging.NearestNeighbor)
	}
	return imaging.Fit(img, side, side, imaging.Box)
}

// use hands a small picture to those that want it.
func (w *wanted) use(ctx context.Context, t *stages.Task, f *findings, found items.Outcome) error {
	if len(found.Blobs) == 0 {
		return nil
	}
	var s stored
	if err := json.Unmarshal(found.Data, &s); err != nil {
		return err
	}
	frame, err := upright.New(&photo.Header{Width: s.Width, Height: s.Height, Orientation: s.Orientation}, w.photo.Place, f.rotation[w.photo.ImageID])
	if err != nil {
		return err
	}
	data, err := cas.ReadBlob(ctx, t.Store(), found.Blobs[0])
	if err != nil {
		return err
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return err
	}
	for _, s := range w.by {
		s.picture = img
		if s.stored {
			for i := range s.boxes {
				s.boxes[i].at = onUpright(frame, s.boxes[i].at)
			}
		}
	}
	return nil
}

// onUpright returns where a box that metadata have lies on the upright photo.
func onUpright(f upright.Frame, at [4]float64) [4]float64 {
	measured, size := f.Measured(), f.Upright()
	pixel := func(v float64, side int) int { return int(min(max(v, 0), 1)*float64(side) + 0.5) }
	r := f.OnUpright(f.OnStored(image.Rect(pixel(at[0], measured.X), pixel(at[2], measured.Y), pixel(at[1], measured.X), pixel(at[3], measured.Y))))
	return [4]float64{
		float64(r.Min.X) / float64(size.X), float64(r.Max.X) / float64(size.X),
		float64(r.Min.Y) / float64(size.Y), float64(r.Max.Y) / float64(size.Y),
	}
}

package quality

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/likeness"
	"github.com/sandwich-build/sandwich/internal/luma"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/items"
	"github.com/sandwich-build/sandwich/stages/pictures"
)

// scale is the longer side of the picture that is measured, in pixels. Sharpness is that of
// a size: of the whole photo, blur is what cannot be seen at the size of a crop.
const scale = 64

// viewSide is the longer side of the pictures that are looked at, at most: several times
// what is measured, and little to decode.
const viewSide = 256

// seen is what is kept of a crop.
type seen struct {
	Sharpness, Contrast, Colour float64
	Print                       []byte
}

// cropKey decides what is seen of a crop.
type cropKey struct {
	Picture string      // its digest
	Aspect  image.Point // of what was cut out, where black may lie beside it
}

// measureAll looks at all crops. The result is in their order.
func (k *Kind) measureAll(ctx context.Context, t *stages.Task, crops []cropfile.Crop) ([]*look, error) {
	set, err := t.Items(ctx, "crops", struct {
		Scale, Side int
		Limits      photo.Limits
	}{scale, viewSide, k.limits})
	if err != nil {
		return nil, err
	}
	looks := make([]*look, len(crops))
	for i, c := range crops {
		looks[i] = &look{Crop: c, measured: cropfile.Measured{Path: c.Path}}
	}
	// Items ascend by name, which does not have the label in it: its picture is the same.
	order := slices.Clone(looks)
	slices.SortFunc(order, func(a, b *look) int {
		return cmp.Or(cmp.Compare(a.ImageID, b.ImageID), cmp.Compare(a.Box, b.Box))
	})
	pass := pictures.Look{
		Task: t, Items: set, Limits: k.limits, Unit: "crops", Verb: "measured",
		Use: func(i int, found items.Outcome) error { return order[i].take(found.Data) },
	}
	return looks, pass.At(ctx, len(order), func(i int) (_ pictures.View, err error) {
		l := order[i]
		if l.digest, err = t.Input(Crops).Lookup(ctx, l.Path); err != nil {
			return pictures.View{}, err
		}
		aspect := k.aspect(&l.Crop)
		return pictures.View{
			Name: l.name(), Key: cropKey{l.digest.Hex(), aspect}, Digest: l.digest, Side: viewSide,
			See: func(_ context.Context, img *image.YCbCr, _ photo.Header, rejected *photo.RejectedError) (items.Outcome, error) {
				if rejected != nil {
					return items.Outcome{}, fmt.Errorf("crop %s: %w", l.Path, rejected)
				}
				data, err := json.Marshal(see(img, content(img.Bounds(), aspect)))
				return items.Outcome{Data: data}, err
			},
		}, nil
	})
}

// take notes what was seen of a crop.
func (l *look) take(data []byte) (err error) {
	var s seen
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	l.measured.Sharpness, l.measured.Contrast, l.measured.Colour = s.Sharpness, s.Contrast, s.Colour
	l.thumb, err = likeness.Read(s.Print)
	return err
}

// name tells a crop from all others, whatever its label.
func (l *look) name() string { return string(l.ImageID) + "\x00" + string(l.Box) }

// aspect returns the proportions of what was cut out, or the zero Point when it fills the
// crop.
func (k *Kind) aspect(c *cropfile.Crop) image.Point {
	if k.shape == "letterbox" || k.shape == "square" {
		return image.Point{X: c.Right - c.Left, Y: c.Bottom - c.Top}
	}
	return image.Point{}
}

// content returns the part of a crop that shows the photo. A pixel of its edge counts as
// black, since the JPEG lets it run over.
func content(crop image.Rectangle, aspect image.Point) image.Rectangle {
	if aspect.X == aspect.Y {
		return crop
	}
	width, height := crop.Dx(), crop.Dy()
	if aspect.X > aspect.Y {
		height = max(3, height*aspect.Y/aspect.X-2)
	} else {
		width = max(3, width*aspect.X/aspect.Y-2)
	}
	inner := image.Rect(0, 0, width, height).Add(crop.Min)
	return inner.Add(image.Point{X: (crop.Dx() - width) / 2, Y: (crop.Dy() - height) / 2}).Intersect(crop)
}

func see(img image.Image, r image.Rectangle) seen {
	p := luma.Within(img, r, scale)
	return seen{
		Sharpness: rounded(p.Sharpness()), Contrast: rounded(p.Deviation()), Colour: rounded(luma.Colour(img, r)),
		Print: likeness.Of(img, r, photo.Upright)[:],
	}
}

// rounded has two decimals, as the table does: a person who sees a number there can take it
// for a limit.
func rounded(v float64) float64 { return math.Round(v*100) / 100 }

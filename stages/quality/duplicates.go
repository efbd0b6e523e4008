package quality

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/likeness"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/internal/upright"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
	"github.com/sandwich-build/sandwich/stages/pictures"
)

// source is a photo of which there are crops.
type source struct {
	id       openimages.ImageID
	place    pinfile.Place
	digest   cas.Digest
	rotation openimages.Rotation
	thumb    *likeness.Print // nil when the whole photo cannot be decoded
}

// sources returns the photos of the crops, by id.
func sources(ctx context.Context, t *stages.Task, crops []cropfile.Crop) ([]source, error) {
	at := make(map[openimages.ImageID]int)
	var all []source
	for _, c := range crops {
		if _, ok := at[c.ImageID]; !ok {
			at[c.ImageID] = len(all)
			all = append(all, source{id: c.ImageID, rotation: openimages.RotationUnknown})
		}
	}
	for p, err := range table.Rows(ctx, t.Input(Photos), pinfile.PhotosFile, pinfile.Photos) {
		if err != nil {
			return nil, err
		}
		if i, ok := at[p.ImageID]; ok {
			all[i].place, all[i].digest = p.Place, p.Digest
		}
	}
	for i, err := range table.Rows(ctx, t.Input(Selection), openimages.SelectedImagesFile, openimages.SelectedImages) {
		if err != nil {
			return nil, err
		}
		if at, ok := at[i.ImageID]; ok {
			all[at].rotation = i.Rotation
		}
	}
	slices.SortFunc(all, func(a, b source) int { return cmp.Compare(a.id, b.id) })
	return all, nil
}

// photoKey decides the print of a photo.
type photoKey struct {
	Photo     string // its digest
	Rotation  openimages.Rotation
	Thumbnail bool // which is upright, whatever the rotation
}

// printAll makes the prints of photos.
func (k *Kind) printAll(ctx context.Context, t *stages.Task, photos []source) error {
	set, err := t.Items(ctx, "photos", struct {
		Side   int
		Limits photo.Limits
	}{viewSide, k.limits})
	if err != nil {
		return err
	}
	pass := pictures.Look{
		Task: t, Items: set, Limits: k.limits, Unit: "photos", Verb: "read",
		Use: func(i int, found items.Outcome) (err error) {
			if len(found.Data) > 0 {
				photos[i].thumb, err = likeness.Read(found.Data)
			}
			return err
		},
	}
	return pass.At(ctx, len(photos), func(i int) (pictures.View, error) {
		s := &photos[i]
		return pictures.View{
			Name: string(s.id), Digest: s.digest, Side: viewSide, Key: photoKey{s.digest.Hex(), s.rotation, s.place == pinfile.Thumbnail},
			See: func(_ context.Context, img *image.YCbCr, h photo.Header, rejected *photo.RejectedError) (items.Outcome, error) {
				if rejected != nil { // a crop of it could be made all the same
					return items.Outcome{}, nil
				}
				frame, err := upright.New(&h, s.place, s.rotation)
				if err != nil {
					return items.Outcome{}, fmt.Errorf("photo %s: %w", s.id, err)
				}
				return items.Outcome{Data: likeness.Of(img, img.Bounds(), frame.Turn)[:]}, nil
			},
		}, nil
	})
}

// twins are what shows the same.
type twins struct {
	duplicates     []cropfile.Duplicate
	contradictions []cropfile.Contradiction
	groups         int
}

// search finds the photos that show the same, as a whole or in a crop, and the crops that
// do so and have different labels.
func search(ctx context.Context, photos []source, crops []*look, workers int) (*twins, error) {
	whole := make([]likeness.Picture, len(photos))
	number := make(map[openimages.ImageID]int, len(photos))
	for i, p := range photos {
		whole[i] = likeness.Picture{Name: string(p.id), Bytes: p.digest.Hex(), Print: p.thumb}
		number[p.id] = i
	}
	links, err := likeness.Find(ctx, whole, workers)
	if err != nil {
		return nil, err
	}
	parts := make([]likeness.Picture, len(crops))
	for i, c := range crops {
		parts[i] = likeness.Picture{Name: c.name(), Bytes: c.digest.Hex(), Print: c.thumb}
	}
	cropLinks, err := likeness.Find(ctx, parts, workers)
	if err != nil {
		return nil, err
	}

	s := &twins{}
	groups := likeness.NewGroups(len(photos))
	join := func(a, b int, how cropfile.How, alike float64) {
		if groups.Join(a, b) {
			a, b = min(a, b), max(a, b) // photos are sorted by id
			s.duplicates = append(s.duplicates, cropfile.Duplicate{
				ImageID: photos[a].id, Like: photos[b].id, How: how, Alike: math.Round(alike*1000) / 1000,
			})
		}
	}
	of := make([][]*look, len(photos)) // crops of a photo
	for _, c := range crops {
		of[number[c.ImageID]] = append(of[number[c.ImageID]], c)
	}
	for _, l := range links {
		how := cropfile.SamePhoto
		if l.Exact {
			how = cropfile.SameBytes
		}
		join(l.A, l.B, how, l.Alike)
		s.contradictPhotos(of[l.A], of[l.B], how)
	}
	for _, l := range cropLinks {
		a, b := number[crops[l.A].ImageID], number[crops[l.B].ImageID]
		if a == b {
			continue // boxes of one photo are compared as boxes
		}
		join(a, b, cropfile.SameCrop, l.Alike)
		s.contradict(crops[l.A], crops[l.B], cropfile.SameCrop)
	}
	for _, own := range of {
		for i, a := range own {
			for _, b := range own[i+1:] {
				if overlap(&a.Crop, &b.Crop) {
					s.contradict(a, b, cropfile.SameBox)
				}
			}
		}
	}
	s.settle(photos, number, groups)
	return s, nil
}

// contradict notes two crops that show the same, if their labels differ.
func (s *twins) contradict(a, b *look, how cropfile.How) {
	if a.Label == b.Label {
		return
	}
	if a.ImageID > b.ImageID || a.ImageID == b.ImageID && a.Path > b.Path {
		a, b = b, a
	}
	s.contradictions = append(s.contradictions, cropfile.Contradiction{
		A: a.ImageID, B: b.ImageID, CropA: a.Path, CropB: b.Path, LabelA: a.Label, LabelB: b.Label, How: how,
	})
}

// contradictPhotos compares the crops of two photos that show the same. Where boxes were
// drawn so differently that none are alike, the labels of the photos still must have one in
// common.
func (s *twins) contradictPhotos(a, b []*look, how cropfile.How) {
	common, alike := false, false
	for _, x := range a {
		for _, y := range b {
			common = common || x.Label == y.Label
			if _, same := likeness.Like(x.thumb, y.thumb); same {
				alike = true
				s.contradict(x, y, how)
			}
		}
	}
	if alike || common || len(a) == 0 || len(b) == 0 {
		return
	}
	x, y := a[0], b[0]
	s.contradictions = append(s.contradictions, cropfile.Contradiction{A: x.ImageID, B: y.ImageID, LabelA: x.Label, LabelB: y.Label, How: how})
}

// leastOverlap is how much of what two boxes cover together both must cover to be one.
const leastOverlap = 0.8

// overlap reports whether two crops of a photo show the same part of it.
func overlap(a, b *cropfile.Crop) bool {
	one, other := image.Rect(a.Left, a.Top, a.Right, a.Bottom), image.Rect(b.Left, b.Top, b.Right, b.Bottom)
	area := func(r image.Rectangle) float64 { return float64(r.Dx()) * float64(r.Dy()) }
	both := area(one.Intersect(other))
	return both >= leastOverlap*(area(one)+area(other)-both)
}

// settle names the groups and puts everything into its order.
func (s *twins) settle(photos []source, number map[openimages.ImageID]int, groups likeness.Groups) {
	first := make(map[int]openimages.ImageID)
	for i := range photos {
		if root := groups.Of(i); first[root] == "" {
			first[root] = photos[i].id
		}
	}
	names := make(map[openimages.ImageID]bool)
	for i := range s.duplicates {
		d := &s.duplicates[i]
		d.Group = first[groups.Of(number[d.ImageID])]
		names[d.Group] = true
	}
	s.groups = len(names)
	slices.SortFunc(s.duplicates, func(a, b cropfile.Duplicate) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.ImageID, b.ImageID), cmp.Compare(a.Like, b.Like))
	})
	slices.SortFunc(s.contradictions, func(a, b cropfile.Contradiction) int {
		return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B), cmp.Compare(a.CropA, b.CropA), cmp.Compare(a.CropB, b.CropB), cmp.Compare(a.How, b.How))
	})
	s.contradictions = slices.CompactFunc(s.contradictions, func(a, b cropfile.Contradiction) bool {
		return a.CropA == b.CropA && a.CropB == b.CropB && a.A == b.A && a.B == b.B
	})
}

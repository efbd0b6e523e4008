// Package crop is the stage that cuts the selected boxes out of their photos.
//
// # Which way is up
//
// Open Images' boxes are fractions of the picture as the camera stored it, without
// regard to EXIF: "Rotation" of the image rows is "the degrees (counterclockwise) that
// the image and boxes should be rotated" to be upright
// (storage.googleapis.com/openimages/web/2018-05-17-rotation-information.html). It was
// recovered later from Flickr, whose API calls it "the rotation by which the smaller
// image sizes differ from the original image"
// (www.flickr.com/services/api/flickr.photos.getInfo.html). So:
//
//   - Of an original, or CVDF's copy of it, boxes are measured on the pixels as stored.
//     What is cut out is then turned by Rotation, or where that is not known by the
//     photo's EXIF orientation. Rotation goes before EXIF because it contains it, and
//     what the photo's owner mended by hand.
//   - Of a thumbnail, which Flickr made upright, the boxes are turned by Rotation and
//     the pixels stay as they are.
//
// Positions in crops.csv are those on the upright photo.
package crop

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
)

// The names of the inputs.
const (
	Selection = "selection" // output of select
	Photos    = "photos"    // output of download
)

// version is the behaviour version: raise it when equal inputs would give other bytes.
const version = 2

// quality is that of the JPEG encoder. A crop is decoded once more before it is
// learned from; 90 keeps what matters of it at a third of the bytes of 98.
const quality = 90

// Kind cuts boxes out of photos. Its inputs are Selection and Photos.
type Kind struct {
	crop    manifest.Crop
	minSide int
	limits  photo.Limits
}

// New returns the kind for a manifest's crop section and its boxes.min_side, the least
// length, in pixels of the photo, of a box's shorter side.
func New(crop manifest.Crop, minSide int) *Kind {
	limits := photo.DefaultLimits()
	limits.KeepTruncated = true // whether they are used is a rule, see cutter
	return &Kind{crop: crop, minSide: minSide, limits: limits}
}

// keepsTruncated says whether photos that were cut short are used.
func (k *Kind) keepsTruncated() bool { return k.crop.TruncatedFiles == "keep" }

// Name returns "crop".
func (*Kind) Name() string { return "crop" }

// Version returns the behaviour version.
func (*Kind) Version() int { return version }

// params decides the output. The limits belong to it: they decide which photos are
// quarantined.
type params struct {
	Pad     float64      `json:"pad"`
	Shape   string       `json:"shape"`
	Size    int          `json:"size"`
	MinSide int          `json:"min_side"`
	Quality int          `json:"quality"`
	Keep    bool         `json:"keep_truncated"`
	Limits  photo.Limits `json:"limits"`
}

// Params returns everything besides the inputs that decides the output.
func (k *Kind) Params() any {
	return params{
		Pad: k.crop.Pad, Shape: k.crop.Shape, Size: k.crop.Size, MinSide: k.minSide,
		Quality: quality, Keep: k.keepsTruncated(), Limits: k.limits,
	}
}

// LostLabelsError says that boxes of some labels were selected and not one crop could
// be made of them.
type LostLabelsError struct {
	Labels []string // sorted
}

// Error names the labels.
func (e *LostLabelsError) Error() string {
	return "crop: no box is left of " + strings.Join(e.Labels, ", ")
}

// Run makes the crops. A photo that cannot be used is quarantined with a reason and
// never an error; the error is a *LostLabelsError when a label loses all of its boxes.
func (k *Kind) Run(ctx context.Context, t *stages.Task) error {
	plan, err := readPlan(ctx, t)
	if err != nil {
		return err
	}
	results, err := k.cutAll(ctx, t, plan)
	if err != nil {
		return err
	}
	if lost := lostLabels(plan, results); len(lost) > 0 {
		return &LostLabelsError{Labels: lost}
	}
	return write(ctx, t, plan, results)
}

func lostLabels(p *plan, results []result) []string {
	lost := maps.Clone(p.folders)
	for _, r := range results {
		for _, c := range r.crops {
			delete(lost, c.Label)
		}
	}
	return slices.Sorted(maps.Keys(lost))
}

// Package crop is the stage that cuts the selected boxes out of their photos. Package
// upright says which way is up on them; positions in crops.csv are those on the upright
// photo.
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
const version = 3

// quality is that of the JPEG encoder. A crop is decoded once more before it is
// learned from; 90 keeps what matters of it at a third of the bytes of 98.
const quality = 90

// Kind cuts boxes out of photos. Its inputs are Selection and Photos.
type Kind struct {
	crop   manifest.Crop
	boxes  manifest.Boxes
	limits photo.Limits
}

// New returns the kind for a manifest's crop section and its rules on boxes. Those on the
// attributes of a box are for select.
func New(crop manifest.Crop, boxes manifest.Boxes) *Kind {
	limits := photo.DefaultLimits()
	limits.KeepTruncated = true // whether they are used is a rule, see cutter
	return &Kind{crop: crop, boxes: boxes, limits: limits}
}

// keepTruncated is the value of the manifest's crop.truncated_files that uses them.
const keepTruncated = "keep"

// keepsTruncated says whether photos that were cut short are used.
func (k *Kind) keepsTruncated() bool { return k.crop.TruncatedFiles == keepTruncated }

// Name returns "crop".
func (*Kind) Name() string { return "crop" }

// Version returns the behaviour version.
func (*Kind) Version() int { return version }

// params decides the output. The limits belong to it: they decide which photos are
// quarantined.
type params struct {
	Pad       float64      `json:"pad"`
	Shape     string       `json:"shape"`
	Size      int          `json:"size"`
	MinSide   int          `json:"min_side"`
	MinArea   float64      `json:"min_area"`
	MaxArea   float64      `json:"max_area"`
	MaxAspect float64      `json:"max_aspect"`
	Margin    float64      `json:"margin"`
	Quality   int          `json:"quality"`
	Keep      bool         `json:"keep_truncated"`
	Limits    photo.Limits `json:"limits"`
}

// Params returns everything besides the inputs that decides the output.
func (k *Kind) Params() any {
	return params{
		Pad: k.crop.Pad, Shape: k.crop.Shape, Size: k.crop.Size,
		MinSide: k.boxes.MinSide, MinArea: k.boxes.MinArea, MaxArea: k.boxes.MaxArea, MaxAspect: k.boxes.MaxAspect, Margin: k.boxes.Margin,
		Quality: quality, Keep: k.keepsTruncated(), Limits: k.limits,
	}
}

// Parse makes the kind of its parameters, as they are in an action.
func Parse(text []byte) (*Kind, error) {
	p, err := stages.ParseParams[params](text)
	k := New(
		manifest.Crop{Pad: p.Pad, Shape: p.Shape, Size: p.Size},
		manifest.Boxes{MinSide: p.MinSide, MinArea: p.MinArea, MaxArea: p.MaxArea, MaxAspect: p.MaxAspect, Margin: p.Margin})
	if k.limits = p.Limits; p.Keep {
		k.crop.TruncatedFiles = keepTruncated
	}
	return k, err
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
	return k.write(ctx, t, plan, results)
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

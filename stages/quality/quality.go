// Package quality is the stage that looks at what was cut: it measures the picture of each
// crop, leaves out those that the manifest's rules do not let pass, and finds the photos
// that show the same, of which none may be in another set than the others.
//
// What is measured of a crop is an item, whose key is the bytes of the crop, and so is the
// print of a photo. The rules are applied to the numbers, so that a rule that changes
// decodes nothing.
package quality

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/likeness"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// The names of the inputs.
const (
	Selection = "selection" // the output of select
	Photos    = "photos"    // of download
	Crops     = "crops"     // of crop
)

// version is the behaviour version: raise it when equal inputs would give other bytes.
const version = 1

// Kind applies the rules on pictures. Its inputs are Selection, Photos and Crops.
type Kind struct {
	rules  manifest.Quality
	shape  string
	limits photo.Limits
}

// New returns the kind for a manifest's quality section. shape is that of the crops: some
// have black beside the picture.
func New(q manifest.Quality, shape string) *Kind {
	limits := photo.DefaultLimits()
	limits.KeepTruncated = true // crops of it were made
	return &Kind{rules: q, shape: shape, limits: limits}
}

// Name returns "quality".
func (*Kind) Name() string { return "quality" }

// Version returns the behaviour version.
func (*Kind) Version() int { return version }

// params decides the output.
type params struct {
	MinSharpness float64      `json:"min_sharpness"`
	MinContrast  float64      `json:"min_contrast"`
	MinColour    float64      `json:"min_colour"`
	Shape        string       `json:"shape"`
	Limits       photo.Limits `json:"limits"`
}

// Params returns everything besides the inputs that decides the output.
func (k *Kind) Params() any {
	return params{k.rules.MinSharpness, k.rules.MinContrast, k.rules.MinColour, k.shape, k.limits}
}

// Parse makes the kind of its parameters, as they are in an action.
func Parse(text []byte) (*Kind, error) {
	p, err := stages.ParseParams[params](text)
	k := New(manifest.Quality{MinSharpness: p.MinSharpness, MinContrast: p.MinContrast, MinColour: p.MinColour}, p.Shape)
	k.limits = p.Limits
	return k, err
}

// LostLabelsError says that of some labels no crop passes the rules.
type LostLabelsError struct {
	Labels []string // sorted
}

// Error names the labels and what helps.
func (e *LostLabelsError) Error() string {
	return "quality: no crop is left of " + strings.Join(e.Labels, ", ") + ": lower the limits of quality"
}

// Run writes crops.csv with the crops that pass, measures.csv and funnel.json, and
// duplicates.csv and contradictions.csv. The error is a *LostLabelsError when a label loses
// all of its crops.
func (k *Kind) Run(ctx context.Context, t *stages.Task) error {
	crops, err := table.All(ctx, t.Input(Crops), cropfile.CropsFile, cropfile.Crops)
	if err != nil {
		return err
	}
	looks, err := k.measureAll(ctx, t, crops)
	if err != nil {
		return err
	}
	photos, err := sources(ctx, t, crops)
	if err != nil {
		return err
	}
	if err := k.printAll(ctx, t, photos); err != nil {
		return err
	}
	funnel, kept := k.apply(looks)
	if lost := lostLabels(looks, kept); len(lost) > 0 {
		return &LostLabelsError{Labels: lost}
	}
	twins, err := search(ctx, photos, kept, t.Workers())
	if err != nil {
		return err
	}
	tell(t, funnel, len(crops), len(kept), twins)
	return write(ctx, t, []file{
		{cropfile.CropsFile, func(w io.Writer) error { return cropfile.WriteCrops(w, cropsOf(kept)) }},
		{cropfile.MeasuresFile, func(w io.Writer) error { return cropfile.WriteMeasures(w, measuresOf(looks)) }},
		{openimages.FunnelFile, func(w io.Writer) error { return openimages.WriteFunnel(w, funnel) }},
		{cropfile.DuplicatesFile, func(w io.Writer) error { return cropfile.WriteDuplicates(w, slices.Values(twins.duplicates)) }},
		{cropfile.ContradictionsFile, func(w io.Writer) error {
			return cropfile.WriteContradictions(w, slices.Values(twins.contradictions))
		}},
	})
}

// tell tells the person what came out.
func tell(t *stages.Task, funnel openimages.Funnel, crops, kept int, twins *twins) {
	for _, r := range funnel.Rules {
		if r.DroppedBoxes > 0 {
			t.Infof("crops left out by %s: %d", r.Rule, r.DroppedBoxes)
		}
	}
	if twins.groups > 0 {
		t.Infof("photos that show the same: %d in %d groups", twins.groups+len(twins.duplicates), twins.groups)
	}
	if n := len(twins.contradictions); n > 0 {
		t.Warnf("pairs that show the same and have different labels: %d, see report/%s", n, cropfile.ContradictionsFile)
	}
	t.Count("crops", int64(kept))
	t.Count("dropped", int64(crops-kept))
	t.Count("duplicates", int64(len(twins.duplicates)))
	t.Count("contradictions", int64(len(twins.contradictions)))
}

// look is a crop and what was seen of it.
type look struct {
	cropfile.Crop
	measured cropfile.Measured
	digest   cas.Digest
	thumb    *likeness.Print
}

func cropsOf(looks []*look) iter.Seq[cropfile.Crop] {
	return func(yield func(cropfile.Crop) bool) {
		for _, l := range looks {
			if !yield(l.Crop) {
				return
			}
		}
	}
}

func measuresOf(looks []*look) iter.Seq[cropfile.Measured] {
	return func(yield func(cropfile.Measured) bool) {
		for _, l := range looks {
			if !yield(l.measured) {
				return
			}
		}
	}
}

// rule is a rule on a picture.
type rule struct {
	name  string // as the manifest has it
	least float64
	of    func(*cropfile.Measured) float64
}

// set returns the rules that the manifest sets, in the order in which they are applied.
func (k *Kind) set() []rule {
	return slices.DeleteFunc([]rule{
		{"min_sharpness", k.rules.MinSharpness, func(m *cropfile.Measured) float64 { return m.Sharpness }},
		{"min_contrast", k.rules.MinContrast, func(m *cropfile.Measured) float64 { return m.Contrast }},
		{"min_colour", k.rules.MinColour, func(m *cropfile.Measured) float64 { return m.Colour }},
	}, func(r rule) bool { return r.least == 0 })
}

// apply notes which rule drops a crop, and returns the crops that stay.
func (k *Kind) apply(looks []*look) (funnel openimages.Funnel, kept []*look) {
	kept = slices.Clone(looks)
	funnel.Rules = []openimages.FunnelRule{}
	for _, rule := range k.set() {
		boxes, images := int64(len(kept)), photos(kept)
		var examples openimages.Examples
		kept = slices.DeleteFunc(kept, func(l *look) bool {
			if rule.of(&l.measured) >= rule.least {
				return false
			}
			l.measured.Dropped = rule.name
			examples.Offer(example(&l.Crop))
			return true
		})
		left := photos(kept)
		funnel.Rules = append(funnel.Rules, openimages.FunnelRule{
			Rule: rule.name, Boxes: int64(len(kept)), Images: left,
			DroppedBoxes: boxes - int64(len(kept)), DroppedImages: images - left,
			Examples: examples.Kept(nil),
		})
	}
	return funnel, kept
}

// photos counts the photos of crops.
func photos(crops []*look) int64 {
	ids := make(map[openimages.ImageID]bool)
	for _, c := range crops {
		ids[c.ImageID] = true
	}
	return int64(len(ids))
}

// example shows a crop that was dropped, by where it lies on the upright photo.
func example(c *cropfile.Crop) openimages.FunnelExample {
	at := func(pixel, of int) openimages.Fraction {
		return openimages.Fraction(fmt.Sprintf("%.6f", float64(pixel)/float64(of)))
	}
	return openimages.FunnelExample{
		ImageID: c.ImageID, Box: c.Box, Label: c.Label, Crop: c.Path,
		At: [4]openimages.Fraction{at(c.Left, c.PhotoWidth), at(c.Right, c.PhotoWidth), at(c.Top, c.PhotoHeight), at(c.Bottom, c.PhotoHeight)},
	}
}

func lostLabels(crops, kept []*look) []string {
	lost := make(map[string]bool)
	for _, c := range crops {
		lost[c.Label] = true
	}
	for _, c := range kept {
		delete(lost, c.Label)
	}
	return slices.Sorted(maps.Keys(lost))
}

// file is a file of the output.
type file struct {
	name  string
	write func(io.Writer) error
}

func write(ctx context.Context, t *stages.Task, files []file) error {
	for _, f := range files {
		var buf bytes.Buffer
		if err := f.write(&buf); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
		if err := t.Out().Put(ctx, f.name, &buf); err != nil {
			return err
		}
	}
	return nil
}

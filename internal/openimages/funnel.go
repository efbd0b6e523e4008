package openimages

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Funnel says how many boxes and photos each rule of a stage left and dropped
// (funnel.json), in the order in which the rules were applied.
type Funnel struct {
	Rules []FunnelRule `json:"rules"`
	Moved []Move       `json:"moved,omitempty"`
}

// FunnelRule is what one rule did.
type FunnelRule struct {
	Rule          string `json:"rule"`
	Boxes         int64  `json:"boxes"`  // that passed it
	Images        int64  `json:"images"` // with at least one box that passed it
	DroppedBoxes  int64  `json:"dropped_boxes"`
	DroppedImages int64  `json:"dropped_images"`

	Examples []FunnelExample `json:"examples,omitempty"` // of the boxes that it dropped
}

// FunnelExample is a box that a rule dropped.
type FunnelExample struct {
	ImageID ImageID     `json:"image"`
	Box     BoxID       `json:"box"`
	Label   string      `json:"label"`
	At      [4]Fraction `json:"at"` // left, right, top and bottom, as the box file has them; of a crop, on the upright photo

	Crop string `json:"crop,omitempty"` // the path of its crop, if it came to one
}

// Example returns a box as an example of what was dropped.
func (b *SelectedBox) Example() FunnelExample {
	return FunnelExample{ImageID: b.ImageID, Box: b.ID, Label: b.Label, At: [4]Fraction{b.XMin, b.XMax, b.YMin, b.YMax}}
}

// maxExamples is how many boxes a rule shows of those that it dropped.
const maxExamples = 10

// Examples keep the first boxes, by photo and box, of those that they are offered, in
// whatever order that happens.
type Examples struct{ kept []FunnelExample }

// Wants reports whether a box of the photo could be among the first.
func (e *Examples) Wants(id ImageID) bool {
	return len(e.kept) < maxExamples || id <= e.kept[len(e.kept)-1].ImageID
}

// Offer takes an example if it is among the first so far.
func (e *Examples) Offer(x FunnelExample) {
	at, _ := slices.BinarySearchFunc(e.kept, x, func(a, b FunnelExample) int {
		return cmp.Or(cmp.Compare(a.ImageID, b.ImageID), cmp.Compare(a.Box, b.Box), slices.Compare(a.At[:], b.At[:]))
	})
	if at < maxExamples {
		e.kept = slices.Insert(e.kept, at, x)
		e.kept = e.kept[:min(len(e.kept), maxExamples)]
	}
}

// Kept returns the examples, in their order, with those of less filling up what is left
// of the places.
func (e *Examples) Kept(less *Examples) []FunnelExample {
	kept := slices.Clone(e.kept)
	if less != nil {
		kept = append(kept, less.kept...)
	}
	return kept[:min(len(kept), maxExamples)]
}

// Move says how many boxes two labels of the manifest both asked for, and that the
// more specific one got.
type Move struct {
	From  string `json:"from"` // the label's name
	To    string `json:"to"`
	Boxes int64  `json:"boxes"`
}

// WriteFunnel writes funnel.json.
func WriteFunnel(w io.Writer, f Funnel) error { return writeJSON(w, f) }

// ReadFunnel reads funnel.json from src, which messages call file.
func ReadFunnel(src io.Reader, file string) (Funnel, error) {
	var f Funnel
	err := readJSON(src, file, &f)
	return f, err
}

// labels is labels.json.
type labels struct {
	Labels []string `json:"labels"`
}

// WriteLabels writes labels.json, the classes of a build.
func WriteLabels(w io.Writer, classes []string) error { return writeJSON(w, labels{classes}) }

// ReadLabels reads labels.json from src, which messages call file.
func ReadLabels(src io.Reader, file string) ([]string, error) {
	var l labels
	err := readJSON(src, file, &l)
	return l.Labels, err
}

func writeJSON(w io.Writer, value any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	if err := out.Encode(value); err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	return nil
}

// readJSON reads one of our own small files. They are in the store under their
// digest, so that they need no more than to be JSON.
func readJSON(src io.Reader, file string, into any) error {
	if err := json.NewDecoder(src).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

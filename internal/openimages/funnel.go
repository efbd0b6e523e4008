package openimages

import (
	"encoding/json"
	"fmt"
	"io"
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

// Package crops reads what the crop and split stages hand to training and evaluation:
// which picture has which label and is meant for what, and the pictures themselves.
package crops

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/photo"
)

// SplitFile is the name of the file that Read reads, in the tree of the split stage.
const SplitFile = "split.csv"

// Set is what a crop is for.
type Set string

// The sets.
const (
	Train      Set = "train"
	Validation Set = "validation"
	Test       Set = "test"
)

// Crop is one row of split.csv.
type Crop struct {
	Path    string // in the tree of the crop stage
	Label   string
	ImageID string // of the photo it was cut from
	Set     Set
}

// header is the first row of split.csv.
var header = []string{"Crop", "Label", "ImageID", "Set"}

// Read reads split.csv and returns its rows sorted by path. The error names the line:
// another header, a field that is empty, an unknown set, a path that stands twice.
func Read(r io.Reader) ([]Crop, error) {
	c := csv.NewReader(r)
	c.FieldsPerRecord = len(header)
	c.ReuseRecord = true
	first, err := c.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", SplitFile, err)
	}
	if !slices.Equal(first, header) {
		return nil, fmt.Errorf("read %s: want the columns %s, got %q", SplitFile, strings.Join(header, ","), first)
	}
	var list []Crop
	seen := make(map[string]bool)
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", SplitFile, err)
		}
		crop := Crop{Path: row[0], Label: row[1], ImageID: row[2], Set: Set(row[3])}
		if err := crop.check(seen); err != nil {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("read %s: line %d: %w", SplitFile, line, err)
		}
		seen[crop.Path] = true
		list = append(list, crop)
	}
	slices.SortFunc(list, func(a, b Crop) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

func (c Crop) check(seen map[string]bool) error {
	switch {
	case c.Path == "" || c.Label == "":
		return errors.New("want a crop and a label")
	case seen[c.Path]:
		return fmt.Errorf("the crop %s stands here for the second time", c.Path)
	case c.Set != Train && c.Set != Validation && c.Set != Test:
		return fmt.Errorf("want a set of train, validation or test, got %q", c.Set)
	}
	return nil
}

// In returns the crops of a set.
func In(list []Crop, set Set) []Crop {
	var members []Crop
	for _, c := range list {
		if c.Set == set {
			members = append(members, c)
		}
	}
	return members
}

// Pixels decodes a crop's file and brings it to side × side pixels, three bytes each.
func Pixels(ctx context.Context, file []byte, shape model.Shape, side int) ([]byte, error) {
	img, err := photo.Decode(ctx, file, photo.DefaultLimits())
	if err != nil {
		return nil, err
	}
	return shape.Pixels(img, side)
}

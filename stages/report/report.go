// Package report is the stage that shows a person what a build came to: one page that needs
// nothing else, and contact sheets of what was looked at, kept, left out and mistaken.
//
// The pictures on it are scaled down once: each is an item, so that another training draws
// the page anew and decodes no photo.
package report

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/sheet"
	"github.com/sandwich-build/sandwich/stages"
)

// The names of the inputs.
const (
	Selection  = "selection"  // the output of select
	Photos     = "photos"     // of download
	Crops      = "crops"      // of crop
	Quality    = "quality"    // of quality
	Split      = "split"      // of split
	Evaluation = "evaluation" // of evaluate
)

// PageFile is the page. The sheets are beside it, in a folder.
const PageFile = "report.html"

// version is the behaviour version: raise it when equal inputs would give other bytes.
const version = 1

// Kind is the stage kind. It has no parameters.
type Kind struct{ limits photo.Limits }

// New returns the kind.
func New() *Kind {
	limits := photo.DefaultLimits()
	limits.KeepTruncated = true // a person sees what there is
	return &Kind{limits: limits}
}

// Parse makes the kind of its parameters, as they are in an action.
func Parse(text []byte) (*Kind, error) {
	_, err := stages.ParseParams[struct{}](text)
	return New(), err
}

// Name returns "report".
func (*Kind) Name() string { return "report" }

// Version returns the behaviour version.
func (*Kind) Version() int { return version }

// Params returns nothing: the inputs decide the output.
func (*Kind) Params() any { return struct{}{} }

// Run writes report.html and sheets/*.png.
func (k *Kind) Run(ctx context.Context, t *stages.Task) error {
	f, err := readFindings(ctx, t)
	if err != nil {
		return err
	}
	sections := f.sections()
	if err := k.scale(ctx, t, f, sections); err != nil {
		return err
	}
	page := page{Findings: f}
	for _, s := range sections {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		data, err := s.draw(f).Encode()
		if err != nil {
			return err
		}
		name := "sheets/" + s.name + ".png"
		if err := t.Out().PutBytes(ctx, name, data); err != nil {
			return err
		}
		page.add(s, name, data)
		t.Progress(int64(len(page.Sheets)), int64(len(sections)), "sheets")
	}
	html, err := page.render()
	if err != nil {
		return fmt.Errorf("write %s: %w", PageFile, err)
	}
	t.Count("sheets", int64(len(sections)))
	return errors.Join(t.Out().PutBytes(ctx, PageFile, html))
}

// draw makes the sheet of a section's pictures.
func (s *contact) draw(f *findings) *sheet.Sheet {
	drawn := &sheet.Sheet{Columns: s.columns, Side: s.side}
	for _, g := range s.groups {
		section := sheet.Section{Title: g.title}
		for _, shown := range g.shown {
			tile := sheet.Tile{Picture: shown.picture, Caption: shown.caption}
			for _, b := range shown.boxes {
				tile.Boxes = append(tile.Boxes, sheet.Box{Left: b.at[0], Right: b.at[1], Top: b.at[2], Bottom: b.at[3], Colour: f.colour(b.label)})
			}
			section.Tiles = append(section.Tiles, tile)
		}
		drawn.Sections = append(drawn.Sections, section)
	}
	return drawn
}

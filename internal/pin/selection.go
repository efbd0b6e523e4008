package pin

import (
	"context"
	"fmt"
	"iter"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/sorted"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// selected are the images of a selection. Its table has them subset by subset, each sorted
// by id, and may have an image of several subsets more than once.
type selected struct {
	tree   cas.Tree
	count  int   // rows
	starts []int // the rows at which a subset starts
}

// openSelection goes once through the images of a selection.
func openSelection(ctx context.Context, tree cas.Tree) (*selected, error) {
	s := &selected{tree: tree}
	last := openimages.ImageID("")
	for image, err := range s.rows(ctx) {
		if err != nil {
			return nil, fmt.Errorf("pin photos: %w", err)
		}
		if s.count == 0 || image.ImageID <= last {
			s.starts = append(s.starts, s.count)
		}
		last = image.ImageID
		s.count++
	}
	return s, nil
}

func (s *selected) rows(ctx context.Context) iter.Seq2[openimages.Image, error] {
	return table.Rows(ctx, s.tree, openimages.SelectedImagesFile, openimages.SelectedImages)
}

// images goes through the images by their ids, each once: that of the first subset that has
// it. The table is read once for each subset.
func (s *selected) images(ctx context.Context) iter.Seq2[openimages.Image, error] {
	var subsets []iter.Seq2[openimages.Image, error]
	for i, start := range s.starts {
		end := s.count
		if i+1 < len(s.starts) {
			end = s.starts[i+1]
		}
		subsets = append(subsets, func(yield func(openimages.Image, error) bool) {
			row := 0
			for image, err := range s.rows(ctx) {
				if err == nil && row == end {
					return
				}
				if (err != nil || row >= start) && !yield(image, err) {
					return
				}
				row++
			}
		})
	}
	return sorted.Merge(imageID, subsets...)
}

// ids are those of the images.
func (s *selected) ids(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for image, err := range s.images(ctx) {
			if !yield(imageID(image), err) {
				return
			}
		}
	}
}

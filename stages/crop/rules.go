package crop

import (
	"image"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
)

// The first two rules are about photos.
const (
	ruleMissing     = "photo missing"
	ruleQuarantined = "photo quarantined"
)

// rule is a rule on boxes.
type rule struct {
	name  string // as the manifest has it
	drops func(box *openimages.Box, size image.Point) bool
}

// dropped is a box that a rule dropped.
type dropped struct {
	box  *openimages.SelectedBox
	rule string
}

// rules returns those rules of the manifest that need the photo, in the order in which
// they are applied. One that the manifest does not set is left out, but for min_side and
// for the emptiness that nothing can be cut out of.
func rules(b manifest.Boxes) []rule {
	all := []rule{
		{"min_side", func(_ *openimages.Box, size image.Point) bool { return min(size.X, size.Y) < b.MinSide }},
		{"empty", func(_ *openimages.Box, size image.Point) bool { return min(size.X, size.Y) <= 0 }},
	}
	if b.MinArea > 0 {
		all = append(all, rule{"min_area", func(box *openimages.Box, _ image.Point) bool { return area(box) < b.MinArea }})
	}
	if b.MaxArea > 0 {
		all = append(all, rule{"max_area", func(box *openimages.Box, _ image.Point) bool { return area(box) > b.MaxArea }})
	}
	if b.MaxAspect > 0 {
		all = append(all, rule{"max_aspect", func(_ *openimages.Box, size image.Point) bool {
			return float64(max(size.X, size.Y)) > float64(min(size.X, size.Y))*b.MaxAspect
		}})
	}
	if b.Margin > 0 {
		all = append(all, rule{"margin", func(box *openimages.Box, _ image.Point) bool {
			return min(box.XMin.Float64(), 1-box.XMax.Float64(), box.YMin.Float64(), 1-box.YMax.Float64()) < b.Margin
		}})
	}
	return all
}

// area is the fraction of its photo that a box covers.
func area(box *openimages.Box) float64 {
	return (box.XMax.Float64() - box.XMin.Float64()) * (box.YMax.Float64() - box.YMin.Float64())
}

// broken returns the first rule that drops a box of which size are the pixels, or "".
func broken(rules []rule, box *openimages.Box, size image.Point) string {
	for _, r := range rules {
		if r.drops(box, size) {
			return r.name
		}
	}
	return ""
}

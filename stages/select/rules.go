package selection

import (
	"fmt"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// The rules, in the order in which they are applied: the box has one of the labels;
// it has none of the excluded attributes; it has an area; its photo is listed in the
// image files; the photo has one of the licences, where any are asked for; the photo is within
// the limit; the box is not there twice.
//
// Duplicates come last because they are found among the selected boxes only.
const ruleLabel = 0

func (s *scan) nameRules() {
	s.rules = []string{"label"}
	for _, a := range s.exclude {
		s.rules = append(s.rules, a.String())
	}
	s.rules = append(s.rules, "empty", "unlisted")
	if len(s.licences) > 0 {
		s.rules = append(s.rules, "licence")
	}
	s.rules = append(s.rules, "limit", "duplicate")
	s.dropped = make([]int64, len(s.rules))
	s.examples = make([]examples, len(s.rules))
	s.unknown = make([]int64, len(s.exclude))
}

func (s *scan) ruleEmpty() int     { return len(s.exclude) + 1 }
func (s *scan) ruleUnlisted() int  { return len(s.exclude) + 2 }
func (s *scan) ruleLicence() int   { return len(s.exclude) + 3 } // where any are asked for
func (s *scan) ruleLimit() int     { return len(s.rules) - 2 }
func (s *scan) ruleDuplicate() int { return len(s.rules) - 1 }

// checkBox returns the rule that drops a box with one of the labels, or the first
// rule that it takes more than the box to apply.
func (s *scan) checkBox(box *openimages.Box) int {
	for i, a := range s.exclude {
		// An attribute that is not known does not exclude: the derived and the
		// machine-made boxes, 21,871 of V4's, say -1 to all five.
		if box.Flags[a] == openimages.Yes {
			return 1 + i
		}
	}
	if box.Empty() {
		return s.ruleEmpty()
	}
	return s.ruleUnlisted()
}

// drop counts a box of p that the rule dropped.
func (s *scan) drop(p *photo, rule int) {
	s.dropped[rule]++
	p.reached = max(p.reached, rule)
}

// examples are boxes that a rule dropped; boxes of other labels are not read, and not shown.
// Of those on photos that are selected all the same there will be pictures, so they go
// before others.
type examples struct{ selected, other openimages.Examples }

// show offers a dropped box as an example.
func (s *scan) show(box *openimages.Box, rule int) {
	of, p := &s.examples[rule], s.photos[box.ImageID]
	to := &of.other
	if p.image != nil {
		to = &of.selected
	}
	if !of.selected.Wants(box.ImageID) || !to.Wants(box.ImageID) {
		return
	}
	b := openimages.SelectedBox{Box: *box, Label: s.labels.asked[s.labels.owners[box.LabelID].asked].as}
	b.ID = openimages.BoxID(b.Digest()[:openimages.BoxIDDigits])
	to.Offer(b.Example())
}

// funnel adds up what the rules dropped.
func (s *scan) funnel() openimages.Funnel {
	reached := make([]int64, len(s.rules)+1) // photos, by how far their boxes came
	for _, p := range s.photos {
		reached[p.reached]++
	}
	boxes, images := s.boxesRead, int64(len(s.photos))
	var f openimages.Funnel
	for i, rule := range s.rules {
		boxes -= s.dropped[i]
		images -= reached[i]
		r := openimages.FunnelRule{
			Rule: rule, Boxes: boxes, Images: images,
			DroppedBoxes: s.dropped[i], DroppedImages: reached[i],
			Examples: s.examples[i].selected.Kept(&s.examples[i].other),
		}
		if i == ruleLabel {
			// Photos without such a box are known only from the image files.
			r.DroppedImages = s.imagesRead - s.photosWithLabel
		}
		f.Rules = append(f.Rules, r)
	}
	for to := range s.labels.asked {
		for from := range s.labels.asked {
			if n := s.moved[[2]int{from, to}]; n > 0 {
				f.Moved = append(f.Moved, openimages.Move{From: s.labels.asked[from].Name, To: s.labels.asked[to].Name, Boxes: n})
			}
		}
	}
	return f
}

func (s *scan) classesWithoutBoxes() []string {
	missing := s.labels.Classes()
	for i := range s.boxes {
		if at := slices.Index(missing, s.labels.Class(s.labelID(&s.boxes[i]))); at >= 0 {
			missing = slices.Delete(missing, at, at+1)
		}
		if len(missing) == 0 {
			break
		}
	}
	return missing
}

// report tells the person what was selected.
func (s *scan) report(f openimages.Funnel) {
	var photos, moved int64
	boxesOf, photosOf := map[string]int64{}, map[string]int64{}
	last := map[string]*photo{} // by class
	var lastPhoto *photo
	for i := range s.boxes {
		p, owner := s.boxes[i].photo, s.labels.owners[s.labelID(&s.boxes[i])]
		class := s.labels.asked[owner.asked].as
		boxesOf[class]++
		if last[class] != p {
			last[class] = p
			photosOf[class]++
		}
		if lastPhoto != p {
			lastPhoto = p
			photos++
		}
		if len(owner.other) > 0 {
			moved++
		}
	}
	s.task.Count("boxes", int64(len(s.boxes)))
	s.task.Count("images", photos)
	s.task.Count("moved", moved)
	for _, class := range s.labels.Classes() {
		s.task.Infof("%s: %s on %s", class, count(boxesOf[class], "box", "boxes"), count(photosOf[class], "photo", "photos"))
	}
	for _, m := range f.Moved {
		s.task.Infof("%s asks for %s that went to %s, which is more specific", m.From, count(m.Boxes, "box", "boxes"), m.To)
	}
	for i, a := range s.exclude {
		if s.unknown[i] > 0 {
			s.task.Warnf("%s cannot be excluded by %s: nobody answered that (-1)", count(s.unknown[i], "box", "boxes"), a)
		}
	}
	s.reportLicences()
	if n := s.dropped[s.ruleUnlisted()]; n > 0 {
		s.task.Warnf("left out %s on photos that the image files do not list", count(n, "box", "boxes"))
	}
}

// reportLicences tells the person which photos have no licence that is known.
func (s *scan) reportLicences() {
	if s.unlicensed > 0 {
		s.task.Warnf("left out %s without a licence that is known, such as %s: %q", count(s.unlicensed, "photo", "photos"), s.example.id, s.example.licence)
	}
}

// count returns n with its noun.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

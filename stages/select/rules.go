package selection

import (
	"fmt"
	"slices"

	"github.com/sandwich-build/sandwich/internal/licence"
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
	s.reached = make([]int64, len(s.rules)+1)
	s.examples = make([]examples, len(s.rules))
	s.unknown = make([]int64, len(s.exclude))
}

func (s *scan) ruleEmpty() int     { return len(s.exclude) + 1 }
func (s *scan) ruleUnlisted() int  { return len(s.exclude) + 2 }
func (s *scan) ruleLicence() int   { return len(s.exclude) + 3 } // where any are asked for
func (s *scan) ruleLimit() int     { return len(s.rules) - 2 }
func (s *scan) ruleDuplicate() int { return len(s.rules) - 1 }
func (s *scan) passed() int        { return len(s.rules) } // no rule but the last drops the box

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

// apply finds the rule that drops each box of a photo.
func (s *scan) apply(p *photo) {
	asked, refused := false, false // whether the photo's licence is of concern, and is not among those asked for
	for i := range p.boxes {
		b := &p.boxes[i]
		if b.rule = s.checkBox(&b.Box); b.rule < s.ruleUnlisted() || p.listed == nil {
			continue
		}
		if !asked {
			asked, refused = true, !s.licensed(p)
		}
		switch {
		case refused:
			b.rule = s.ruleLicence()
		case !s.choices[b.owner.asked].takes(p.digest):
			b.rule = s.ruleLimit()
		default:
			b.rule = s.passed()
		}
	}
}

// licensed reports whether a photo has one of the licences asked for.
func (s *scan) licensed(p *photo) bool {
	if len(s.licences) == 0 {
		return true
	}
	l, err := licence.Parse(p.listed.image.License)
	p.unlicensed = err != nil
	return err == nil && slices.ContainsFunc(s.licences, func(asked licence.Licence) bool { return asked.Covers(l) })
}

// examples are boxes that a rule dropped; boxes of other labels are not read, and not shown.
// Of those on photos that are selected all the same there will be pictures, so they go
// before others.
type examples struct{ selected, other openimages.Examples }

// count counts what the rules make of a photo's boxes.
func (s *scan) count(p *photo) {
	reached := 0
	for i := range p.boxes {
		reached = max(reached, p.boxes[i].rule)
	}
	s.reached[reached]++
	if p.listed != nil {
		s.photosListed++
	}
	if p.unlicensed {
		if s.unlicensed++; s.unlicensed == 1 || p.listed.image.ImageID < s.example.ImageID {
			s.example = p.listed.image
		}
	}
	for i := range p.boxes {
		b := &p.boxes[i]
		if b.rule >= s.ruleUnlisted() {
			for i, a := range s.exclude {
				if b.Flags[a] == openimages.Unknown {
					s.unknown[i]++
				}
			}
		}
		if b.rule < s.passed() {
			s.dropped[b.rule]++
			s.show(b, reached == s.passed())
		}
	}
}

// show offers a dropped box as an example. Its photo may be selected for another box.
func (s *scan) show(b *box, selected bool) {
	of := &s.examples[b.rule]
	to := &of.other
	if selected {
		to = &of.selected
	}
	if !of.selected.Wants(b.ImageID) || !to.Wants(b.ImageID) {
		return
	}
	x := openimages.SelectedBox{Box: b.Box, Label: s.labels.asked[b.owner.asked].as}
	x.ID = openimages.BoxID(x.Digest()[:openimages.BoxIDDigits])
	to.Offer(x.Example())
}

// countSelected counts the boxes of a photo that are selected.
func (s *scan) countSelected(boxes []box) {
	if len(boxes) == 0 {
		return
	}
	s.all.boxes += int64(len(boxes))
	s.all.photos++
	for i := range boxes {
		owner := boxes[i].owner
		of := s.byClass[s.labels.asked[owner.asked].as]
		of.boxes++
		if of.last != s.all.photos {
			of.last = s.all.photos
			of.photos++
		}
		for _, other := range owner.other {
			s.moved[[2]int{other, owner.asked}]++
		}
		if len(owner.other) > 0 {
			s.shared++
		}
	}
}

// funnel adds up what the rules dropped.
func (s *scan) funnel() openimages.Funnel {
	boxes, images := s.boxesRead, int64(len(s.numbers))
	var f openimages.Funnel
	for i, rule := range s.rules {
		boxes -= s.dropped[i]
		images -= s.reached[i]
		r := openimages.FunnelRule{
			Rule: rule, Boxes: boxes, Images: images,
			DroppedBoxes: s.dropped[i], DroppedImages: s.reached[i],
			Examples: s.examples[i].selected.Kept(&s.examples[i].other),
		}
		if i == ruleLabel {
			// Photos without such a box are known only from the image files.
			r.DroppedImages = s.imagesRead - s.photosListed
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
	return slices.DeleteFunc(s.labels.Classes(), func(class string) bool { return s.byClass[class].boxes > 0 })
}

// report tells the person what was selected.
func (s *scan) report(f openimages.Funnel) {
	s.task.Count("boxes", s.all.boxes)
	s.task.Count("images", s.all.photos)
	s.task.Count("moved", s.shared)
	for _, class := range s.labels.Classes() {
		s.task.Infof("%s: %s on %s", class, count(s.byClass[class].boxes, "box", "boxes"), count(s.byClass[class].photos, "photo", "photos"))
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
		s.task.Warnf("left out %s without a licence that is known, such as %s: %q", count(s.unlicensed, "photo", "photos"), s.example.ImageID, s.example.License)
	}
}

// count returns n with its noun.
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

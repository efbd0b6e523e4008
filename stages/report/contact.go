package report

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"image"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/openimages"
)

// What is shown, at most: a page is to be looked through, and its size must not grow with
// the data set.
const (
	maxOriginals  = 24
	maxLabels     = 24 // that have a sheet
	maxCrops      = 18 // of a label in a set
	maxGroups     = 12 // of photos that show the same
	maxMembers    = 6  // of such a group
	maxPairs      = 12 // that contradict each other
	maxMistakes   = 18
	originalSide  = 160 // pixels of a tile
	cropSide      = 112
	originalTiles = 6 // in a row
	cropTiles     = 9
)

// contact is a contact sheet.
type contact struct {
	name, title   string
	about         string // a sentence
	columns, side int
	groups        []group
}

// group is pictures under one heading.
type group struct {
	title string
	shown []*shown
}

// shown is a picture on a sheet.
type shown struct {
	photo   openimages.ImageID // whose picture it is, or
	crop    string             // the path of that crop
	caption []string
	boxes   []box       // on the upright photo, or where metadata have them
	stored  bool        // boxes are where metadata have them
	picture image.Image // nil until it is scaled, and when there is none
}

// box is a box with a label: its left, right, top and bottom as fractions of the photo.
type box struct {
	at    [4]float64
	label string
}

// sections are the sheets, in the order in which the page shows them.
func (f *findings) sections() []*contact {
	all := slices.Concat([]*contact{f.originals()}, f.crops(), []*contact{f.dropped(), f.twins(), f.contradictions(), f.wrong()})
	return slices.DeleteFunc(all, func(c *contact) bool { return len(c.groups) == 0 })
}

// sampled returns up to n, chosen by a digest of their names: the same ones as long as they
// are there, and not all from one end.
func sampled[T any](all []T, n int, name func(T) string) []T {
	type ranked struct {
		sum  [sha256.Size]byte
		item T
	}
	ranks := make([]ranked, len(all))
	for i, item := range all {
		ranks[i] = ranked{sha256.Sum256([]byte(name(item))), item}
	}
	slices.SortFunc(ranks, func(a, b ranked) int { return slices.Compare(a.sum[:], b.sum[:]) })
	var chosen []T
	for _, r := range ranks[:min(n, len(ranks))] {
		chosen = append(chosen, r.item)
	}
	return chosen
}

// originals shows photos with the boxes that were cut out of them.
func (f *findings) originals() *contact {
	boxes := map[openimages.ImageID][]box{}
	var ids []openimages.ImageID
	for _, c := range f.kept {
		if boxes[c.ImageID] == nil {
			ids = append(ids, c.ImageID)
		}
		boxes[c.ImageID] = append(boxes[c.ImageID], boxOf(&c))
	}
	chosen := sampled(ids, maxOriginals, func(id openimages.ImageID) string { return string(id) })
	c := &contact{name: "originals", title: "Originals", columns: originalTiles, side: originalSide,
		about: fmt.Sprintf("%d of %d photos, with what was cut out of them.", len(chosen), len(ids))}
	var g group
	for _, id := range chosen {
		g.shown = append(g.shown, &shown{photo: id, boxes: boxes[id], caption: []string{string(id), strings.Join(labelsOf(boxes[id]), ", ")}})
	}
	if len(g.shown) > 0 {
		c.groups = []group{g}
	}
	return c
}

func boxOf(c *cropfile.Crop) box {
	width, height := float64(c.PhotoWidth), float64(c.PhotoHeight)
	return box{label: c.Label, at: [4]float64{float64(c.Left) / width, float64(c.Right) / width, float64(c.Top) / height, float64(c.Bottom) / height}}
}

func labelsOf(boxes []box) []string {
	var labels []string
	for _, b := range boxes {
		labels = append(labels, b.label)
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// crops shows the crops of each label, by set.
func (f *findings) crops() []*contact {
	of := map[string]map[cropfile.Set][]cropfile.Crop{}
	for _, c := range f.kept {
		if of[c.Label] == nil {
			of[c.Label] = map[cropfile.Set][]cropfile.Crop{}
		}
		set := f.sets[c.Path]
		of[c.Label][set] = append(of[c.Label][set], c)
	}
	var all []*contact
	for i, label := range f.Labels {
		if i == maxLabels {
			break
		}
		c := &contact{name: fmt.Sprintf("crops-%02d", i+1), title: "Crops of " + label, columns: cropTiles, side: cropSide,
			about: "By set. Not all, where there are many."}
		for _, set := range cropfile.Sets() {
			crops := of[label][set]
			if len(crops) == 0 {
				continue
			}
			g := group{title: fmt.Sprintf("%s, %s: %d", label, set, len(crops))}
			for _, crop := range sampled(crops, maxCrops, func(c cropfile.Crop) string { return c.Path }) {
				g.shown = append(g.shown, &shown{crop: crop.Path, caption: []string{string(crop.ImageID)}})
			}
			c.groups = append(c.groups, g)
		}
		all = append(all, c)
	}
	return all
}

// dropped shows what each rule dropped.
func (f *findings) dropped() *contact {
	c := &contact{name: "dropped", title: "Left out", columns: originalTiles, side: originalSide,
		about: "Examples of what each rule dropped. A photo that was not downloaded, or cannot be decoded, has no picture."}
	for _, funnel := range f.Funnels {
		for _, r := range funnel.Rules {
			if len(r.Examples) == 0 {
				continue
			}
			g := group{title: fmt.Sprintf("%s, %s: %d boxes", funnel.Stage, r.Rule, r.DroppedBoxes)}
			for _, e := range r.Examples {
				s := &shown{photo: e.ImageID, crop: e.Crop, caption: []string{string(e.ImageID), string(e.Box) + " " + e.Label}}
				if e.Crop == "" {
					s.stored = true
					s.boxes = []box{{label: e.Label, at: [4]float64{e.At[0].Float64(), e.At[1].Float64(), e.At[2].Float64(), e.At[3].Float64()}}}
				}
				g.shown = append(g.shown, s)
			}
			c.groups = append(c.groups, g)
		}
	}
	return c
}

// twins shows the photos of groups that show the same, each with its set.
func (f *findings) twins() *contact {
	sets := map[openimages.ImageID]cropfile.Set{}
	for _, c := range f.kept {
		sets[c.ImageID] = f.sets[c.Path]
	}
	c := &contact{name: "duplicates", title: "Photos that show the same", columns: originalTiles, side: originalSide,
		about: "Each group is in one set."}
	var members []openimages.ImageID
	how := map[openimages.ImageID]cropfile.Duplicate{}
	for i, d := range f.Duplicates {
		for _, id := range []openimages.ImageID{d.ImageID, d.Like} {
			if !slices.Contains(members, id) {
				members = append(members, id)
			}
		}
		how[d.Like] = d
		if i+1 < len(f.Duplicates) && f.Duplicates[i+1].Group == d.Group {
			continue
		}
		slices.Sort(members)
		g := group{title: fmt.Sprintf("group %s: %d photos", d.Group, len(members))}
		for _, id := range members[:min(len(members), maxMembers)] {
			second := cmp.Or(string(sets[id]), "no crop left")
			if d, ok := how[id]; ok {
				second += fmt.Sprintf(", %s %.2f", d.How, d.Alike)
			}
			g.shown = append(g.shown, &shown{photo: id, caption: []string{string(id), second}})
		}
		c.groups = append(c.groups, g)
		members = nil
		if len(c.groups) == maxGroups {
			break
		}
	}
	return c
}

// contradictions shows pairs that show the same and have different labels.
func (f *findings) contradictions() *contact {
	c := &contact{name: "contradictions", title: "Contradicting labels", columns: originalTiles, side: originalSide,
		about: "Pairs that show the same and have different labels."}
	var g group
	for _, d := range f.Contradictions[:min(len(f.Contradictions), maxPairs)] {
		for _, side := range []shown{
			{photo: d.A, crop: d.CropA, caption: []string{string(d.A), d.LabelA}},
			{photo: d.B, crop: d.CropB, caption: []string{string(d.B), d.LabelB}},
		} {
			g.shown = append(g.shown, &side)
		}
	}
	if len(g.shown) > 0 {
		g.title = fmt.Sprintf("%d of %d pairs, side by side", len(g.shown)/2, len(f.Contradictions))
		c.groups = []group{g}
	}
	return c
}

// wrong shows the test crops that were taken for something else.
func (f *findings) wrong() *contact {
	c := &contact{name: "mistakes", title: "Mistakes", columns: cropTiles, side: cropSide,
		about: "Test crops that the model takes for something else, the surest first."}
	var g group
	for _, m := range f.mistakes[:min(len(f.mistakes), maxMistakes)] {
		crop := f.cut[m.path]
		g.shown = append(g.shown, &shown{crop: m.path, caption: []string{"is " + crop.Label, fmt.Sprintf("%.2f %s", m.sure, m.predicted), string(crop.ImageID)}})
	}
	if len(g.shown) > 0 {
		g.title = fmt.Sprintf("%d of %d", len(g.shown), len(f.mistakes))
		c.groups = []group{g}
	}
	return c
}

// mistakesOf reads the rows of predictions.csv: crop, label, predicted, and a probability
// for each label, whose column is P(label).
func mistakesOf(rows [][]string) ([]mistake, error) {
	if len(rows) == 0 || len(rows[0]) < 3 {
		return nil, fmt.Errorf("%s: want a header and at least three columns", predictionsFile)
	}
	var all []mistake
	for _, row := range rows[1:] {
		if row[1] == row[2] {
			continue
		}
		column := slices.Index(rows[0], "P("+row[2]+")")
		if column < 0 {
			return nil, fmt.Errorf("%s: no column of %q", predictionsFile, row[2])
		}
		sure, err := strconv.ParseFloat(row[column], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", predictionsFile, err)
		}
		all = append(all, mistake{row[0], row[2], sure})
	}
	slices.SortFunc(all, func(a, b mistake) int { return cmp.Or(-cmp.Compare(a.sure, b.sure), cmp.Compare(a.path, b.path)) })
	return all, nil
}

package selection

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// kept is a selected box in a third of the memory that an openimages.SelectedBox takes: there may
// be millions, and all of them are sorted.
type kept struct {
	photo  *photo
	digest [sha256.Size]byte // see openimages.Box.Sum
	// place has XMin, XMax, YMin and YMax, one behind the other, and ends where the first three end.
	place                     string
	ends                      [3]uint32
	source, label, confidence uint32 // in scan.texts
	digits                    uint8  // of digest, that the id has
	flags                     [openimages.NumAttributes]openimages.Flag
}

// keep keeps a box of a photo.
func (s *scan) keep(box *openimages.Box, p *photo) {
	k := kept{
		photo: p, digest: box.Sum(), flags: box.Flags,
		place:  string(box.XMin + box.XMax + box.YMin + box.YMax),
		source: s.texts.number(box.Source), label: s.texts.number(string(box.LabelID)), confidence: s.texts.number(string(box.Confidence)),
	}
	end := 0
	for i, f := range []openimages.Fraction{box.XMin, box.XMax, box.YMin} {
		end += len(f)
		k.ends[i] = uint32(end)
	}
	s.boxes = append(s.boxes, k)
}

// labelID returns the id of a box's label.
func (s *scan) labelID(k *kept) openimages.LabelID { return openimages.LabelID(s.texts.all[k.label]) }

// selected returns a box as it is written.
func (s *scan) selected(k *kept) openimages.SelectedBox {
	at := func(from, to uint32) openimages.Fraction { return openimages.Fraction(k.place[from:to]) }
	id := s.labelID(k)
	return openimages.SelectedBox{
		Box: openimages.Box{
			ImageID: k.photo.id, Source: s.texts.all[k.source], LabelID: id, Confidence: openimages.Fraction(s.texts.all[k.confidence]),
			XMin: at(0, k.ends[0]), XMax: at(k.ends[0], k.ends[1]), YMin: at(k.ends[1], k.ends[2]), YMax: at(k.ends[2], uint32(len(k.place))),
			Flags: k.flags,
		},
		ID:     openimages.BoxID(hex.EncodeToString(k.digest[:])[:k.digits]),
		Subset: s.subsets[k.photo.subset], LabelName: s.classes.Name(id), Label: s.labels.Class(id),
	}
}

// selectedBoxes returns the selected boxes, in the order of the output.
func (s *scan) selectedBoxes() iter.Seq[openimages.SelectedBox] {
	return func(yield func(openimages.SelectedBox) bool) {
		for i := range s.boxes {
			if !yield(s.selected(&s.boxes[i])) {
				return
			}
		}
	}
}

// sortBoxes brings the boxes into the order of the output, drops duplicates, and gives each as
// many digits as tell it from its neighbours.
func (s *scan) sortBoxes() {
	slices.SortFunc(s.boxes, s.compare)
	for i := range s.boxes {
		s.boxes[i].digits = openimages.BoxIDDigits
	}
	all := len(s.boxes)
	for i := range s.boxes[min(1, all):] {
		if again := &s.boxes[i+1]; sameBox(s.boxes[i], *again) {
			shown := s.selected(again)
			s.examples[s.ruleDuplicate()].selected.Offer(shown.Example())
		}
	}
	s.boxes = slices.CompactFunc(s.boxes, sameBox)
	s.dropped[s.ruleDuplicate()] = int64(all - len(s.boxes))
	for i := range s.boxes[min(1, len(s.boxes)):] {
		if a, b := &s.boxes[i], &s.boxes[i+1]; a.photo == b.photo {
			apart := commonDigits(a.digest, b.digest) + 1
			a.digits, b.digits = max(a.digits, apart), max(b.digits, apart)
		}
	}
}

// compare is the order of the output.
func (s *scan) compare(a, b kept) int {
	if a.photo != b.photo {
		return cmp.Or(cmp.Compare(a.photo.subset, b.photo.subset), cmp.Compare(a.photo.id, b.photo.id))
	}
	if order := bytes.Compare(a.digest[:], b.digest[:]); order != 0 {
		return order
	}
	// Of rows that differ only in the following one must stay, always the same.
	return cmp.Or(
		cmp.Compare(s.texts.all[a.source], s.texts.all[b.source]),
		cmp.Compare(s.texts.all[a.confidence], s.texts.all[b.confidence]),
		slices.Compare(a.flags[:], b.flags[:]),
	)
}

// sameBox reports whether two boxes are one: the same label at the same place of the
// same photo.
func sameBox(a, b kept) bool { return a.photo == b.photo && a.digest == b.digest }

// commonDigits returns how many hexadecimal digits two digests begin with alike.
func commonDigits(a, b [sha256.Size]byte) uint8 {
	for i := range a {
		if differ := a[i] ^ b[i]; differ >= 0x10 {
			return uint8(2 * i)
		} else if differ > 0 {
			return uint8(2*i + 1)
		}
	}
	return 2 * sha256.Size
}

// texts numbers texts of which there are few.
type texts struct {
	all     []string
	numbers map[string]uint32
}

func (t *texts) number(text string) uint32 {
	n, ok := t.numbers[text]
	if !ok {
		n = uint32(len(t.all))
		t.all = append(t.all, text)
		t.numbers[text] = n
	}
	return n
}

package selection

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/sorted"
)

// photo is one with boxes of the labels asked for.
type photo struct {
	key        string // see keyOf
	digest     digest
	listed     *listed // nil when the image files do not list it
	boxes      []box   // of the labels
	unlicensed bool    // no licence is known of it, and some are asked for
}

// box is a box of a photo.
type box struct {
	openimages.Box
	owner  owner
	rule   int               // that drops it, or scan.passed
	sum    [sha256.Size]byte // see openimages.Box.Sum; only if no rule drops it
	digits int               // of sum, that the id has
}

// keyOf appends what photos are sorted by, the order of the output: the number of the subset, then the id.
func keyOf(b []byte, subset uint8, id openimages.ImageID) []byte {
	return append(append(b, subset), id...)
}

func idOf(key string) openimages.ImageID { return openimages.ImageID(key[1:]) }

// inOrder yields the photos in the order of the output, each with the rules applied to its boxes.
// A photo holds for one turn of the loop.
func (s *scan) inOrder(ctx context.Context) iter.Seq2[*photo, error] {
	pairs := sorted.Join(s.withBoxes(), s.listedPhotos(), func(p *photo) string { return p.key }, func(l *listed) string { return l.key })
	return func(yield func(*photo, error) bool) {
		done := int64(0)
		for pair, err := range pairs {
			if done++; err == nil && done%photosPerCheck == 0 {
				s.task.Progress(done, int64(len(s.numbers)), "photos")
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			p := *pair.Left // no other photos are listed
			if pair.Right != nil {
				p.listed = *pair.Right
			}
			s.apply(p)
			if !yield(p, nil) {
				return
			}
		}
	}
}

// photosPerCheck is how many photos pass between two looks at the context: some milliseconds of
// work.
const photosPerCheck = 1 << 11

// withBoxes yields the photos with their boxes, in the order of the output. A photo holds until
// the next is asked for.
func (s *scan) withBoxes() iter.Seq2[*photo, error] {
	return func(yield func(*photo, error) bool) {
		var p photo
		for record, err := range s.boxes.All() {
			if err != nil {
				yield(nil, err)
				return
			}
			if p.key != string(record.Key) {
				if len(p.boxes) > 0 && !yield(&p, nil) {
					return
				}
				p = photo{key: string(record.Key), boxes: p.boxes[:0]}
				p.digest = digestOf(idOf(p.key))
			}
			b := readBox(record.Value)
			b.ImageID = idOf(p.key)
			p.boxes = append(p.boxes, box{Box: b, owner: s.labels.owners[b.LabelID]})
		}
		if len(p.boxes) > 0 {
			yield(&p, nil)
		}
	}
}

// listedPhotos yields the photos of the image files that have boxes, in the order of the output.
func (s *scan) listedPhotos() iter.Seq2[*listed, error] {
	return func(yield func(*listed, error) bool) {
		for record, err := range s.images.All() {
			if err != nil {
				yield(nil, err)
				return
			}
			l := readListed(record.Value)
			l.key = string(record.Key)
			l.image.ImageID, l.image.Subset = idOf(l.key), s.subsets[l.key[0]]
			if !yield(l, nil) {
				return
			}
		}
	}
}

// selectedBoxes yields the boxes that no rule drops, in the order of the output, and counts
// all of them.
func (s *scan) selectedBoxes(ctx context.Context) iter.Seq2[openimages.SelectedBox, error] {
	return func(yield func(openimages.SelectedBox, error) bool) {
		for p, err := range s.inOrder(ctx) {
			if err != nil {
				yield(openimages.SelectedBox{}, err)
				return
			}
			s.count(p)
			boxes := s.distinct(p)
			if p.listed != nil {
				s.selected = append(s.selected, len(boxes) > 0)
			}
			if len(boxes) > 0 && p.listed.invalid.Problem != "" {
				yield(openimages.SelectedBox{}, &p.listed.invalid)
				return
			}
			s.countSelected(boxes)
			for i := range boxes {
				if !yield(s.output(p, &boxes[i]), nil) {
					return
				}
			}
		}
	}
}

// selectedImages yields the photos that have a selected box, in the order of the output.
func (s *scan) selectedImages() iter.Seq2[openimages.Image, error] {
	return func(yield func(openimages.Image, error) bool) {
		n := 0
		for l, err := range s.listedPhotos() {
			if err != nil {
				yield(openimages.Image{}, err)
				return
			}
			if s.selected[n] && !yield(l.image, nil) {
				return
			}
			n++
		}
	}
}

// distinct returns the boxes of a photo that no rule drops, in the order of the output and
// without duplicates. Each has as many digits as tell it from its neighbours.
func (s *scan) distinct(p *photo) []box {
	boxes := slices.DeleteFunc(p.boxes, func(b box) bool { return b.rule != s.passed() })
	for i := range boxes {
		boxes[i].sum, boxes[i].digits = boxes[i].Sum(), openimages.BoxIDDigits
	}
	slices.SortFunc(boxes, func(a, b box) int {
		return cmp.Or(
			bytes.Compare(a.sum[:], b.sum[:]),
			// Of boxes that differ only in the following one must stay, always the same.
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Confidence, b.Confidence), slices.Compare(a.Flags[:], b.Flags[:]),
		)
	})
	for i := range boxes[min(1, len(boxes)):] {
		if again := &boxes[i+1]; boxes[i].sum == again.sum {
			s.dropped[s.ruleDuplicate()]++
			shown := s.output(p, again)
			s.examples[s.ruleDuplicate()].selected.Offer(shown.Example())
		}
	}
	boxes = slices.CompactFunc(boxes, func(a, b box) bool { return a.sum == b.sum })
	for i := range boxes[min(1, len(boxes)):] {
		a, b := &boxes[i], &boxes[i+1]
		apart := commonDigits(a.sum, b.sum) + 1
		a.digits, b.digits = max(a.digits, apart), max(b.digits, apart)
	}
	return boxes
}

// commonDigits returns how many hexadecimal digits two sums begin with alike.
func commonDigits(a, b [sha256.Size]byte) int {
	for i := range a {
		if differ := a[i] ^ b[i]; differ >= 0x10 {
			return 2 * i
		} else if differ > 0 {
			return 2*i + 1
		}
	}
	return 2 * sha256.Size
}

// output returns a box as it is written.
func (s *scan) output(p *photo, b *box) openimages.SelectedBox {
	return openimages.SelectedBox{
		Box: b.Box, ID: openimages.BoxID(hex.EncodeToString(b.sum[:])[:b.digits]),
		Subset: p.listed.image.Subset, LabelName: s.names.Name(b.LabelID), Label: s.labels.asked[b.owner.asked].as,
	}
}

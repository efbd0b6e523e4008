package selection

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// digest is the first half of the SHA-256 of a photo's id. It stands for the photo where there are
// many: no two have the same.
type digest [sha256.Size / 2]byte

func digestOf(id openimages.ImageID) digest {
	sum := sha256.Sum256([]byte(id))
	return digest(sum[:len(digest{})])
}

func (d digest) compare(other digest) int { return bytes.Compare(d[:], other[:]) }

// choice is what one label has chosen so far: the limit of photos with the smallest digests. The
// digest is of the photo's id alone, so that the choice is the same in any order, and a larger
// limit only adds photos.
type choice struct {
	limit int
	best  []digest // of which the limit smallest are chosen
	full  bool     // there are more than the limit
	last  digest   // if full, no greater one can be chosen
}

// takes reports whether the label can choose a photo, and behind the last offer whether it has.
func (c *choice) takes(d digest) bool { return !c.full || d.compare(c.last) <= 0 }

// offer lets the label choose a photo, which it is offered once.
func (c *choice) offer(d digest) {
	if c.best = append(c.best, d); len(c.best) >= 2*c.limit {
		c.cut()
	}
}

// cut leaves what is chosen.
func (c *choice) cut() {
	if len(c.best) > c.limit {
		slices.SortFunc(c.best, digest.compare)
		c.best = c.best[:c.limit]
		c.full, c.last = true, c.best[c.limit-1]
	}
}

// choose lets the labels choose among their photos, where there is a limit.
func (s *scan) choose(ctx context.Context) error {
	s.choices = make([]choice, len(s.labels.asked))
	if s.limit == 0 {
		return nil
	}
	for i := range s.choices {
		s.choices[i].limit = s.limit
	}
	var asked []int // labels
	for p, err := range s.inOrder(ctx) {
		if err != nil {
			return err
		}
		asked = asked[:0]
		for i := range p.boxes {
			if b := &p.boxes[i]; b.rule == s.passed() && !slices.Contains(asked, b.owner.asked) {
				asked = append(asked, b.owner.asked)
				s.choices[b.owner.asked].offer(p.digest)
			}
		}
	}
	for i := range s.choices {
		s.choices[i].cut()
		s.choices[i].best = nil
	}
	return nil
}

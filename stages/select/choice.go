package selection

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// choice holds the photos that one label has chosen so far: the limit of them with the
// smallest digests. The digest is of the photo's id alone, so that the choice is
// the same in any order, and a larger limit only adds photos.
type choice struct {
	photos choiceHeap
}

// offer lets the label choose the photo. It returns the photo that loses its place,
// which may be the one on offer, or nil.
func (c *choice) offer(id openimages.ImageID, p *photo, limit int) (out *photo) {
	if limit == 0 {
		return nil
	}
	sum := sha256.Sum256([]byte(id))
	candidate := chosen{rank: binary.BigEndian.Uint64(sum[:]), id: id, photo: p}
	if len(c.photos) < limit {
		heap.Push(&c.photos, candidate)
		return nil
	}
	worst := c.photos[0]
	if compareChosen(candidate, worst) >= 0 {
		return p
	}
	c.photos[0] = candidate
	heap.Fix(&c.photos, 0)
	return worst.photo
}

// chosen is a photo that a label has chosen.
type chosen struct {
	rank  uint64 // the first bytes of the digest of id
	id    openimages.ImageID
	photo *photo
}

func compareChosen(a, b chosen) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.id, b.id))
}

// choiceHeap is a heap.Interface with the photo of the largest digest on top.
type choiceHeap []chosen

func (h choiceHeap) Len() int           { return len(h) }
func (h choiceHeap) Less(i, j int) bool { return compareChosen(h[i], h[j]) > 0 }
func (h choiceHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *choiceHeap) Push(x any)        { *h = append(*h, x.(chosen)) }
func (h *choiceHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

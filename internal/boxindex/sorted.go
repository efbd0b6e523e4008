package boxindex

import (
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// sorted are the rows of a piece of the file, sorted by label.
type sorted struct {
	known       map[openimages.LabelID]*pile // of this piece and of ones before
	piles       []*pile                      // of this piece
	inOrder     []byte                       // the records in the order of the file
	slots       []slot                       // of each of them
	byLabel     []byte                       // the records of all piles, one pile behind the other
	first, last []byte                       // images
	ordered     bool
	rows        int64
}

// maxKnown bounds the piles that are kept for the next piece. There are 600 labels.
const maxKnown = 1 << 12

// slot says where a record is to go.
type slot struct {
	pile *pile
	size int // of the record, bytes
}

// pile is the rows of a label.
type pile struct {
	id          openimages.LabelID
	size        int    // of its records, bytes
	records     []byte // of byLabel
	images      int64
	rows        int64
	first, last []byte // images
	yes         [openimages.NumAttributes]int64
	unknown     [openimages.NumAttributes]int64
}

func newSorted() *sorted { return &sorted{known: map[openimages.LabelID]*pile{}, ordered: true} }

func (s *sorted) reset() {
	for _, p := range s.piles {
		*p = pile{id: p.id, first: p.first[:0], last: p.last[:0]}
	}
	if len(s.known) > maxKnown {
		clear(s.known)
	}
	s.piles, s.rows, s.ordered = s.piles[:0], 0, true
	s.first, s.last = s.first[:0], s.last[:0]
	s.inOrder, s.slots, s.byLabel = s.inOrder[:0], s.slots[:0], s.byLabel[:0]
}

// pile returns the pile of a label, to which a row is to be added.
func (s *sorted) pile(id []byte) *pile {
	p, ok := s.known[openimages.LabelID(id)]
	if !ok {
		p = &pile{id: openimages.LabelID(id)}
		s.known[p.id] = p
	}
	if p.rows == 0 {
		s.piles = append(s.piles, p)
	}
	return p
}

// add adds a row to a pile.
func (s *sorted) add(p *pile, row *openimages.BoxRow, source uint16) {
	image := row.ImageID()
	if s.rows == 0 {
		s.first = append(s.first, image...)
	}
	if string(s.last) != string(image) {
		s.ordered = s.ordered && string(s.last) < string(image)
		s.last = append(s.last[:0], image...)
	}
	same := p.rows > 0 && string(p.last) == string(image)
	if !same {
		if p.rows == 0 {
			p.first = append(p.first, image...)
		}
		p.images++
		p.last = append(p.last[:0], image...)
	}
	flags := flagsOf(row)
	from := len(s.inOrder)
	s.inOrder = appendRecord(s.inOrder, row, same, flags, source)
	size := len(s.inOrder) - from
	s.slots = append(s.slots, slot{p, size})
	p.size += size
	p.rows++
	s.rows++
	for a := range openimages.NumAttributes {
		switch flagAt(flags, a) {
		case openimages.Yes:
			p.yes[a]++
		case openimages.Unknown:
			p.unknown[a]++
		case openimages.No:
		}
	}
}

// deal copies the records from the order of the file onto their piles. If each pile had memory of
// its own, it would come to have that of the most frequent label.
func (s *sorted) deal() {
	s.byLabel = slices.Grow(s.byLabel, len(s.inOrder))
	at := 0
	for _, p := range s.piles {
		p.records = s.byLabel[at : at : at+p.size]
		at += p.size
	}
	rest := s.inOrder
	for _, to := range s.slots {
		to.pile.records = append(to.pile.records, rest[:to.size]...)
		rest = rest[to.size:]
	}
}

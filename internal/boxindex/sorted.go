package boxindex

import (
	"slices"

	"github.com/sandwich-build/sandwich/internal/openimages"
)

// sorted are the rows of a piece of the file, sorted by label.
type sorted struct {
	byID        map[openimages.LabelID]*pile
	piles       []*pile // those in use come first
	used        int
	inOrder     []byte // the records in the order of the file
	slots       []slot // of each of them
	byLabel     []byte // the records of all piles, one pile behind the other
	first, last []byte // images
	ordered     bool
	rows        int64
}

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

func (s *sorted) reset() {
	clear(s.byID)
	s.used, s.rows, s.ordered = 0, 0, true
	s.first, s.last = s.first[:0], s.last[:0]
	s.inOrder, s.slots, s.byLabel = s.inOrder[:0], s.slots[:0], s.byLabel[:0]
}

func (s *sorted) pile(id []byte) *pile {
	if p, ok := s.byID[openimages.LabelID(id)]; ok {
		return p
	}
	if s.used == len(s.piles) {
		s.piles = append(s.piles, &pile{})
	}
	p := s.piles[s.used]
	s.used++
	*p = pile{id: openimages.LabelID(id), first: p.first[:0], last: p.last[:0]}
	s.byID[p.id] = p
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
	for _, p := range s.piles[:s.used] {
		p.records = s.byLabel[at : at : at+p.size]
		at += p.size
	}
	rest := s.inOrder
	for _, to := range s.slots {
		to.pile.records = append(to.pile.records, rest[:to.size]...)
		rest = rest[to.size:]
	}
}

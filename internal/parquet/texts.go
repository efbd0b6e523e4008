package parquet

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Texts are texts one behind the other. Of a column of a million, each for itself would be a
// call of the allocator, and garbage when the next million comes; these take the same memory again.
// A nil *Texts has none.
type Texts struct {
	all  []byte
	ends []int // in all
}

// Append adds a text, of which it takes a copy.
func (t *Texts) Append(text []byte) {
	t.all = append(t.all, text...)
	t.ends = append(t.ends, len(t.all))
}

// Reset removes all texts, and keeps their memory.
func (t *Texts) Reset() { t.all, t.ends = t.all[:0], t.ends[:0] }

// Len returns how many texts there are.
func (t *Texts) Len() int {
	if t == nil {
		return 0
	}
	return len(t.ends)
}

// At returns a text, until Reset.
func (t *Texts) At(i int) []byte {
	start := 0
	if i > 0 {
		start = t.ends[i-1]
	}
	return t.all[start:t.ends[i]]
}

// Strings returns all texts. They share memory, which is theirs alone.
func (t *Texts) Strings() []string {
	all, start := string(t.all), 0
	texts := make([]string, len(t.ends))
	for i, end := range t.ends {
		texts[i], start = all[start:end], end
	}
	return texts
}

// appendPlain appends the texts as a page has them: each behind its length.
func (t *Texts) appendPlain(page []byte) []byte {
	page = slices.Grow(page, 4*t.Len()+len(t.all))
	for i := range t.Len() {
		text := t.At(i)
		page = binary.LittleEndian.AppendUint32(page, uint32(len(text)))
		page = append(page, text...)
	}
	return page
}

// bounds returns the first and the last text in the order of bytes; of no texts, empty ones.
func (t *Texts) bounds() (least, most string) {
	if t.Len() == 0 {
		return "", ""
	}
	first, last := t.At(0), t.At(0)
	for i := range t.Len() {
		text := t.At(i)
		if bytes.Compare(text, first) < 0 {
			first = text
		}
		if bytes.Compare(text, last) > 0 {
			last = text
		}
	}
	return string(first), string(last)
}

package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gofrs/flock"

	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// Whether a hundred thousand blobs are in the store takes a look-up each, unless it is
// known that they were there and that nothing was removed since. So every removal, be it
// by gc or because a blob was damaged, changes the random text in the file removals, and
// who has seen blobs notes that text and how far the packs went: a mark.
//
// A mark is made of a text that was read before the look-ups. The text is changed, and
// is durable, before a blob goes, and only whoever holds the file's lock removes anything.
// So a blob that goes after it was looked up changes the text after it was read, also
// when the process that removes it is killed at any moment.

// removalsFile has the text.
const removalsFile = "removals"

// removals is the path of that file.
type removals struct{ name string }

// note calls remove, which takes blobs out of the store, when everybody can know. When
// that cannot be noted, nothing is removed.
func (r removals) note(remove func() error) (err error) {
	lock := flock.New(r.name, flock.SetPermissions(0o666))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("note removal: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	f, err := os.OpenFile(r.name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("note removal: %w", err)
	}
	_, err = f.WriteString(rand.Text()) // always as long, so that a full disk does not matter
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("note removal: %w", err)
	}
	return remove()
}

// text returns the text when no removal is under way, and makes one where there is none.
// It is empty where that cannot be, as in a store that may only be read.
func (r removals) text() string {
	for range 2 {
		lock := flock.New(r.name, flock.SetPermissions(0o666))
		if lock.RLock() != nil {
			return ""
		}
		data, err := os.ReadFile(r.name)
		if errors.Join(err, lock.Unlock()) != nil {
			return ""
		}
		if len(data) > 0 {
			return string(data)
		}
		if r.note(func() error { return nil }) != nil {
			return ""
		}
	}
	return ""
}

// Watch tells what is left of what a mark says was there: all blobs of up to so many bytes
// that the store had then, or none if kept is zero. renew returns the mark of what the
// store has when it is called, of which nothing was removed since Watch. What it covers
// must be durable (see Record) before the mark is relied on.
func (s *Store) Watch(mark string) (kept int64, renew func() string) {
	text := s.gone.text()
	renew = func() string {
		list := s.packs.known()
		fields := []string{text}
		for _, p := range list {
			extent, err := p.Extent()
			if err != nil || text == "" {
				return ""
			}
			fields = append(fields, fmt.Sprintf("%d:%s", p.id, extent))
		}
		return strings.Join(fields, " ")
	}
	if s.holds(text, mark) {
		kept = pack.MaxBlob
	}
	return kept, renew
}

// holds tells whether the packs are, or have grown from, what they were at the mark.
func (s *Store) holds(text, mark string) bool {
	was, extents, _ := strings.Cut(mark, " ")
	if text == "" || was != text {
		return false
	}
	now := map[string]pack.Extent{}
	for _, p := range s.packs.known() {
		extent, err := p.Extent()
		if err != nil {
			return false
		}
		now[fmt.Sprint(p.id)] = extent
	}
	for field := range strings.FieldsSeq(extents) {
		id, then, _ := strings.Cut(field, ":")
		was, err := pack.ParseExtent(then)
		if has, ok := now[id]; err != nil || !ok || !has.Covers(was) {
			return false
		}
	}
	return true
}

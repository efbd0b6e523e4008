package cas

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// packs are the packs of a store. A process reads all of them and appends to one.
type packs struct {
	dir string

	mu   sync.RWMutex // guards what follows
	list []*pack      // by id
	out  *packWriter  // nil until the first small blob is stored
}

// found is a blob in a pack.
type found struct {
	*pack
	place
	slot int64
}

// find returns where a blob is. When it is in none of the packs that are known, and
// fresh is true, it looks for packs that another process has begun.
func (p *packs) find(d Digest, fresh bool) (found, bool, error) {
	if d.size > SmallBlob {
		return found{}, false, nil
	}
	known := p.known()
	at, ok, err := findIn(known, d)
	if ok || err != nil || !fresh {
		return at, ok, err
	}
	if err := p.refresh(); err != nil {
		return found{}, false, err
	}
	if now := p.known(); len(now) > len(known) {
		return findIn(now, d)
	}
	return found{}, false, nil
}

// findIn asks the newest pack first: what was stored again because it was damaged is
// behind what it replaces.
func findIn(list []*pack, d Digest) (found, bool, error) {
	for _, p := range slices.Backward(list) {
		e, slot, ok, err := p.index.find(d)
		if err != nil && !errors.Is(err, errIndexFull) {
			return found{}, false, err
		}
		if ok {
			return found{pack: p, place: e, slot: slot}, true, nil
		}
	}
	return found{}, false, nil
}

func (p *packs) known() []*pack {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.list
}

// refresh opens the packs that are not open yet.
func (p *packs) refresh() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refreshLocked()
}

func (p *packs) refreshLocked() error {
	names, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	list := slices.Clone(p.list) // a reader may be walking the old one
	for _, name := range names {
		number, ok := strings.CutSuffix(filepath.Base(name.Name()), ".pack")
		id, err := strconv.Atoi(number)
		if !ok || err != nil || slices.ContainsFunc(list, func(have *pack) bool { return have.id == id }) {
			continue
		}
		opened, err := openPack(p.dir, id)
		if err != nil {
			return errors.Join(err, closeAll(list[len(p.list):]))
		}
		list = append(list, opened)
	}
	slices.SortFunc(list, func(a, b *pack) int { return a.id - b.id })
	p.list = list
	return nil
}

func closeAll(list []*pack) error {
	var errs []error
	for _, p := range list {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// put stores the small blob d, whose bytes follow headerSize bytes of room in record. A
// blob that is there already is compared rather than trusted, so that storing it again
// is what heals damage.
func (p *packs) put(d Digest, record []byte) error {
	at, ok, err := p.find(d, false)
	if err != nil {
		return err
	}
	if ok {
		data, _, err := at.read(at.place)
		if err == nil && bytes.Equal(data, record[headerSize:]) {
			return nil
		}
		if err := at.index.takeOut(at.slot); err != nil {
			return err
		}
	}
	for {
		w, err := p.writer()
		if err != nil {
			return err
		}
		if err := w.append(d, record); !errors.Is(err, errPackClosed) {
			return err
		}
	}
}

// writer returns the pack to append to: the first that is not full and that nobody else
// appends to, so that builds that follow each other fill one pack.
func (p *packs) writer() (*packWriter, error) {
	p.mu.RLock()
	w := p.out
	p.mu.RUnlock()
	if w != nil && !w.full() {
		return w, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out != w { // another goroutine was faster
		return p.out, nil
	}
	if w != nil {
		p.out = nil
		if err := w.close(); err != nil {
			return nil, err
		}
	}
	for id := 1; ; id++ {
		w, err := openWriter(p.dir, id)
		if err != nil {
			return nil, err
		}
		if w != nil {
			p.out = w
			return w, errors.Join(syncDir(p.dir), p.refreshLocked())
		}
	}
}

// sync makes what this process has packed durable.
func (p *packs) sync() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.out == nil {
		return nil
	}
	return p.out.sync()
}

// close ends all use of the packs.
func (p *packs) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.out != nil {
		err = p.out.close()
	}
	err = errors.Join(err, closeAll(p.list))
	p.out, p.list = nil, nil
	return err
}

// syncDir makes the names in a folder durable. Systems that cannot do that say so with
// an error which means nothing to the caller.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = f.Sync()
	return f.Close()
}

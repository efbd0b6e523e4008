package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// packs are the packs of a store: 000001.pack and so on. A process reads all of them and
// appends to one.
type packs struct {
	dir   string
	limit int64 // the size at which a pack is full
	gone  removals

	mu   sync.RWMutex // guards what follows
	list []numbered   // by id
	out  *pack.Writer // nil until the first small blob is stored
}

// packLimit is the size at which a pack is full. A look-up asks every pack, so they should
// be few; gc copies what it keeps of one, so they should not be huge.
const packLimit = 1 << 30

type numbered struct {
	*pack.Pack
	id int
}

func (p *packs) base(id int) string { return filepath.Join(p.dir, fmt.Sprintf("%06d", id)) }

// found is a blob in a pack.
type found struct {
	pack  *pack.Pack
	place pack.Place
}

func (f found) read() (data []byte, whole bool, err error) { return f.pack.Read(f.place) }

// find returns where a blob is. When it is in none of the packs that are known, and
// fresh is true, it looks for packs that another process has begun.
func (p *packs) find(d cas.Digest, fresh bool) (found, bool, error) {
	if d.Size() > pack.MaxBlob {
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

// lacking returns those of the digests that no pack has, in order. When there are some, it
// looks once for packs that another process has begun.
func (p *packs) lacking(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	ask := func(list []numbered, small []cas.Digest) (_ []cas.Digest, err error) {
		for _, one := range slices.Backward(list) {
			if len(small) == 0 {
				break
			}
			if small, err = one.Lacking(small); err != nil {
				return nil, err
			}
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
		}
		return small, nil
	}
	var small []cas.Digest
	for _, d := range ds {
		if d.Size() <= pack.MaxBlob {
			small = append(small, d)
		}
	}
	known := p.known()
	absent, err := ask(known, small)
	if err == nil && len(absent) > 0 {
		if err = p.refresh(); err == nil {
			absent, err = ask(p.added(known), absent)
		}
	}
	if err != nil || len(absent) == len(ds) {
		return absent, err
	}
	// The large ones and the absent ones, in the order of ds.
	is := make(map[cas.Digest]bool, len(absent))
	for _, d := range absent {
		is[d] = true
	}
	return slices.DeleteFunc(slices.Clone(ds), func(d cas.Digest) bool { return d.Size() <= pack.MaxBlob && !is[d] }), nil
}

// added returns the packs that are known now and were not then.
func (p *packs) added(then []numbered) []numbered {
	var list []numbered
	for _, now := range p.known() {
		if !slices.ContainsFunc(then, func(was numbered) bool { return was.id == now.id }) {
			list = append(list, now)
		}
	}
	return list
}

// findIn asks the newest pack first: what was stored again because it was damaged is
// behind what it replaces.
func findIn(list []numbered, d cas.Digest) (found, bool, error) {
	for _, p := range slices.Backward(list) {
		at, ok, err := p.Find(d)
		if err != nil || ok {
			return found{p.Pack, at}, ok, err
		}
	}
	return found{}, false, nil
}

func (p *packs) known() []numbered {
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
		if !ok || err != nil || slices.ContainsFunc(list, func(have numbered) bool { return have.id == id }) {
			continue
		}
		opened, err := pack.Open(p.base(id))
		if err != nil {
			return errors.Join(err, closeAll(list[len(p.list):]))
		}
		list = append(list, numbered{opened, id})
	}
	slices.SortFunc(list, func(a, b numbered) int { return a.id - b.id })
	p.list = list
	return nil
}

func closeAll(list []numbered) error {
	var errs []error
	for _, p := range list {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// put stores the small blob d, whose bytes follow pack.HeaderSize bytes of room in record. A
// blob that is there already is compared rather than trusted, so that storing it again
// is what heals damage.
func (p *packs) put(d cas.Digest, record []byte) error {
	at, ok, err := p.find(d, false)
	if err != nil {
		return err
	}
	if ok {
		data, _, err := at.read()
		if err == nil && bytes.Equal(data, record[pack.HeaderSize:]) {
			return nil
		}
		if err := p.gone.note(func() error { return at.pack.TakeOut(at.place) }); err != nil {
			return err
		}
	}
	for {
		w, err := p.writer()
		if err != nil {
			return err
		}
		if err := w.Append(d, record); !errors.Is(err, pack.ErrClosed) {
			return err
		}
	}
}

// writer returns the pack to append to: the first that is not full and that nobody else
// appends to, so that builds that follow each other fill one pack.
func (p *packs) writer() (*pack.Writer, error) {
	p.mu.RLock()
	w := p.out
	p.mu.RUnlock()
	if w != nil && !w.Full() {
		return w, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out != w { // another goroutine was faster
		return p.out, nil
	}
	if w != nil {
		p.out = nil
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	for id := 1; ; id++ {
		w, err := pack.Append(p.base(id), p.limit)
		if errors.Is(err, pack.ErrLocked) || errors.Is(err, pack.ErrFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.out = w
		return w, errors.Join(syncDir(p.dir), p.refreshLocked())
	}
}

// sync makes what this process has packed durable.
func (p *packs) sync() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.out == nil {
		return nil
	}
	return p.out.Sync()
}

// close ends all use of the packs.
func (p *packs) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.out != nil {
		err = p.out.Close()
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

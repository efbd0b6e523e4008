package objects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

const (
	// fewObjects are asked for one by one. More are looked up in a listing, which tells
	// of a thousand in one request.
	fewObjects = 16
	// listed bounds the listing, for each object that is looked for: from a thousand on,
	// asking one by one takes fewer requests.
	listed = 100
)

// Send puts the bytes of a batch into the store, but for those that are there, and
// writes into its entries where they are. In a bucket with versions they go below name,
// and latest, which may be nil, is a package that tells where some of them may be.
func (s *Store) Send(ctx context.Context, name string, b *Batch, latest *quilt.Package, meter *transfer.Meter) error {
	versions, err := s.versions(ctx)
	if err != nil {
		return err
	}
	if versions != nil {
		return s.sendNamed(ctx, versions, name, b, latest, meter)
	}
	return s.sendHashed(ctx, b, meter)
}

// versions returns the store as one that keeps versions, and nil when it does not.
func (s *Store) versions(ctx context.Context) (blob.Versioned, error) {
	store, ok := s.Blobs.(blob.Versioned)
	if !ok || s.Home.Bucket == "" {
		return nil, nil
	}
	if versioned, err := store.Versioned(ctx); err != nil || !versioned {
		return nil, err
	}
	return store, nil
}

// sendHashed puts each content once, under its hash.
func (s *Store) sendHashed(ctx context.Context, b *Batch, meter *transfer.Meter) error {
	wanted := make(contents, len(b.Entries))
	first := make([]int, 0, len(b.Entries)) // of the files with equal content
	for i := range b.Entries {
		e := &b.Entries[i]
		key, ok := hashed(e.Hash())
		if !ok {
			return fmt.Errorf("hash %s: no place for %v", e.Key, e.Hash())
		}
		e.PhysicalKey = s.Home.physical(place{key: key})
		if sum, _ := e.Hash().Sum(); wanted.add(sum, i) {
			first = append(first, i)
		} else {
			meter.Have(e.Size())
		}
	}
	there, err := s.arrived(ctx, b, wanted, first)
	if err != nil {
		return err
	}
	first = slices.DeleteFunc(first, func(i int) bool {
		if there[i] {
			meter.Have(b.Entries[i].Size())
		}
		return there[i]
	})
	return b.pace.Each(ctx, len(first), func(ctx context.Context, n int) (int64, error) {
		e := b.Entries[first[n]]
		key, _ := hashed(e.Hash())
		count := meter.File(e.Size())
		if _, err := s.put(ctx, key, b, first[n], count); err != nil {
			return 0, damaged(e.Key, err)
		}
		count.Done()
		return e.Size(), nil
	})
}

// contents are the first of the entries with each content.
type contents map[[sha256.Size]byte]int

// add reports whether the content was not known yet.
func (c contents) add(sum [sha256.Size]byte, i int) bool {
	if _, ok := c[sum]; ok {
		return false
	}
	c[sum] = i
	return true
}

// damaged makes a *DamageError of what a store says of bytes that are not those that were
// hashed.
func damaged(key string, err error) error {
	if errors.Is(err, blob.ErrDiffers) {
		return &DamageError{Object: key, Err: err}
	}
	return err
}

// arrived tells of each entry whether its content is there with the size that it is to
// have. Of equal contents it tells of the first.
func (s *Store) arrived(ctx context.Context, b *Batch, wanted contents, first []int) ([]bool, error) {
	there := make([]bool, len(b.Entries))
	if len(wanted) > fewObjects {
		complete, err := s.list(ctx, b, wanted, there)
		if err != nil || complete {
			return there, err
		}
	}
	return there, b.pace.Each(ctx, len(first), func(ctx context.Context, n int) (int64, error) {
		i := first[n]
		if there[i] {
			return 0, nil
		}
		key, _ := hashed(b.Entries[i].Hash())
		info, err := s.Blobs.Stat(ctx, key)
		there[i] = err == nil && info.Size == b.Entries[i].Size()
		return 0, ignoreAbsent(err)
	})
}

// list marks those of the wanted contents that a listing shows, and reports whether it
// showed all objects there are.
func (s *Store) list(ctx context.Context, b *Batch, wanted contents, there []bool) (bool, error) {
	left := listed * len(wanted)
	for info, err := range s.Blobs.List(ctx, Prefix) {
		if err != nil {
			return false, err
		}
		if sum, ok := sumOf(info.Key); ok {
			i, found := wanted[sum]
			if found && info.Size == b.Entries[i].Size() {
				there[i] = true
			}
		}
		if left--; left == 0 {
			return false, nil
		}
	}
	return true, nil
}

// sendNamed puts each file under its name, as Quilt does, where the store keeps what was
// there before as a version.
func (s *Store) sendNamed(ctx context.Context, store blob.Versioned, name string, b *Batch, latest *quilt.Package, meter *transfer.Meter) error {
	known, err := s.known(ctx, store, name, b, latest)
	if err != nil {
		return err
	}
	return b.pace.Each(ctx, len(b.Entries), func(ctx context.Context, i int) (moved int64, err error) {
		e := &b.Entries[i]
		at, ok, err := known.find(ctx, store, i)
		if err != nil {
			return 0, err
		}
		if ok {
			meter.Have(e.Size())
		} else {
			count := meter.File(e.Size())
			if at.version, err = s.put(ctx, at.key, b, i, count); err != nil {
				return 0, damaged(e.Key, err)
			}
			count.Done()
			moved = e.Size()
		}
		if at.version == "" {
			return moved, fmt.Errorf("put %s: the bucket keeps no versions any more: push again", e.Key)
		}
		e.PhysicalKey = s.Home.physical(at)
		return moved, nil
	})
}

// known is what a bucket with versions holds of a batch.
type known struct {
	prefix string // of the keys of the package's files
	batch  *Batch
	newest []version                     // of each file of the batch
	latest map[[sha256.Size]byte][]place // where the latest revision has content, as far as that is there
}

// version is one version of a file; zero for none.
type version struct {
	id   string
	size int64
}

// known lists the versions of all files of the package. One listing takes the place of a
// request for each file. It keeps what can be of use, which is bounded by the files of two
// revisions, however many there were.
func (s *Store) known(ctx context.Context, store blob.Versioned, name string, b *Batch, latest *quilt.Package) (*known, error) {
	k := &known{prefix: name + "/", batch: b, newest: make([]version, len(b.Entries)), latest: map[[sha256.Size]byte][]place{}}
	used := s.used(b, latest)
	last := ""
	for v, err := range store.ListVersions(ctx, k.prefix) {
		if err != nil {
			return nil, err
		}
		at, first := place{key: v.Key, version: v.ID}, v.Key != last
		last = v.Key
		if i, wanted := b.index(strings.TrimPrefix(v.Key, k.prefix)); first && wanted {
			k.newest[i] = version{id: v.ID, size: v.Size}
		}
		if u, ok := used[at]; ok && u.size == v.Size && v.ID != "" {
			k.latest[u.sum] = append(k.latest[u.sum], at)
		}
	}
	return k, nil
}

// index returns which file of the batch has a key.
func (b *Batch) index(key string) (int, bool) {
	return slices.BinarySearchFunc(b.Entries, key, func(e quilt.Entry, key string) int { return quilt.CompareKeys(e.Key, key) })
}

// content is what a place should hold.
type content struct {
	sum  [sha256.Size]byte
	size int64
}

// used returns the places where the latest revision has content of the batch.
func (s *Store) used(b *Batch, latest *quilt.Package) map[place]content {
	used := map[place]content{}
	if latest == nil {
		return used
	}
	wanted := make(contents, len(b.Entries))
	for i, e := range b.Entries {
		if sum, ok := e.Hash().Sum(); ok {
			wanted.add(sum, i)
		}
	}
	for _, e := range latest.Entries {
		sum, ok := e.Hash().Sum()
		if _, found := wanted[sum]; !ok || !found {
			continue
		}
		if at, err := s.Home.inside(e.PhysicalKey); err == nil {
			used[at] = content{sum: sum, size: e.Size()}
		}
	}
	return used
}

// find returns where the bytes of an entry are, and otherwise where they are to be put.
// They are where the latest revision has the same hash, under this name or under another
// one, or where a push that was cut off has put them, whose checksum the store tells.
func (k *known) find(ctx context.Context, store blob.Versioned, i int) (place, bool, error) {
	e := k.batch.Entries[i]
	sum, _ := e.Hash().Sum()
	own := place{key: k.prefix + e.Key}
	if places := k.latest[sum]; len(places) > 0 {
		same := slices.IndexFunc(places, func(at place) bool { return at.key == own.key })
		return places[max(same, 0)], true, nil
	}
	if n := k.newest[i]; n.id == "" || n.size != e.Size() {
		return own, false, nil
	}
	v, err := store.StatVersion(ctx, own.key)
	if err != nil {
		return own, false, ignoreAbsent(err)
	}
	if v.ID == "" || !bytes.Equal(v.Sum, sum[:]) {
		return own, false, nil
	}
	return place{key: own.key, version: v.ID}, true, nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

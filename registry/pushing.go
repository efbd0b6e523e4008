package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

const (
	// fewObjects are asked for one by one. More are looked up in a listing, which tells
	// of a thousand in one request.
	fewObjects = 16
	// listed bounds the listing, for each object that is looked for: from a thousand on,
	// asking one by one takes fewer requests.
	listed = 100
)

// pushing is one run of Push.
type pushing struct {
	registry *Registry
	name     string
	rev      Revision
	latest   quilt.TopHash // when the push started
	workers  int

	content *quilt.Package
	bodies  map[string]blob.Body // by logical key
}

// compose makes the package of the revision, without physical keys. It reads only files
// whose hash does not follow from what is known.
func (p *pushing) compose(ctx context.Context) error {
	for _, file := range p.rev.Files {
		if err := quilt.CheckFileKey(file.Key); err != nil {
			return err
		}
		if file.Size < 0 {
			return fmt.Errorf("file %s: negative size", file.Key)
		}
	}
	entries := make([]quilt.Entry, len(p.rev.Files))
	p.bodies = make(map[string]blob.Body, len(p.rev.Files))
	var mu sync.Mutex // guards p.bodies
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.workers)
	for i, file := range p.rev.Files {
		group.Go(func() error {
			hash, sums, err := file.hash(ctx)
			if err != nil {
				return fmt.Errorf("hash %s: %w", file.Key, err)
			}
			entries[i] = quilt.NewEntry(file.Key, "", file.Size, hash, quilt.Value{})
			mu.Lock()
			defer mu.Unlock()
			p.bodies[file.Key] = blob.Body{Size: file.Size, Sums: sums, Chunk: quilt.ChunkSize(file.Size), Open: file.open}
			return nil
		})
	}
	err := group.Wait()
	if err == nil {
		p.content, err = quilt.New(quilt.NewHeader(p.rev.Meta, quilt.Value{}, p.rev.Message), entries)
	}
	return err
}

// hash returns the hash of the file, with that of each chunk, and reads the file only
// where it must.
func (f File) hash(ctx context.Context) (quilt.Hash, [][sha256.Size]byte, error) {
	if f.SHA256 != [sha256.Size]byte{} {
		if hash, ok := quilt.ChunkedFromSHA256(f.SHA256, f.Size); ok {
			return hash, [][sha256.Size]byte{f.SHA256}, nil
		}
	}
	hasher, err := quilt.NewHasher(quilt.SHA256Chunked, f.Size)
	if err != nil {
		return quilt.Hash{}, nil, err
	}
	if err := blob.Copy(ctx, hasher, blob.Body{Size: f.Size, Open: f.Open}); err != nil {
		return quilt.Hash{}, nil, err
	}
	return hasher.Hash(), hasher.Chunks(), nil
}

func (f File) open(ctx context.Context) (io.ReadCloser, error) {
	body, err := f.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.Key, err)
	}
	return body, nil
}

// pushObjects puts the bytes of all files into the store, but for those that are there,
// and writes into the package where they are.
func (p *pushing) pushObjects(ctx context.Context, count *progress) error {
	versions, versioned, err := p.registry.versions(ctx)
	if err != nil {
		return err
	}
	if versioned {
		return p.pushNamed(ctx, versions, count)
	}
	return p.pushHashed(ctx, count)
}

// versions returns the store as one that keeps versions, and whether it does.
func (r *Registry) versions(ctx context.Context) (blob.Versioned, bool, error) {
	store, ok := r.store.(blob.Versioned)
	if !ok || r.home.bucket == "" {
		return nil, false, nil
	}
	versioned, err := store.Versioned(ctx)
	return store, versioned, err
}

// pushHashed puts each content once, under its hash.
func (p *pushing) pushHashed(ctx context.Context, count *progress) error {
	wanted := map[string]int64{} // sizes by object key
	for i, e := range p.content.Entries {
		key, ok := objectKey(e.Hash())
		if !ok {
			return fmt.Errorf("hash %s: no place for %v", e.Key, e.Hash())
		}
		wanted[key] = e.Size()
		p.content.Entries[i].PhysicalKey = p.registry.home.physical(place{key: key})
	}
	there, err := p.registry.arrived(ctx, wanted, p.workers)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.workers)
	for _, e := range p.content.Entries {
		key, _ := objectKey(e.Hash())
		if there[key] {
			count.add(e.Size())
			continue
		}
		there[key] = true // for the next file with this content
		group.Go(func() error {
			return damaged(e.Key, p.registry.store.Put(ctx, key, p.body(e.Key, count)))
		})
	}
	return group.Wait()
}

// body returns what Put writes for a file; count is told how much of it was read.
func (p *pushing) body(key string, count *progress) blob.Body {
	body := p.bodies[key]
	open := body.Open
	body.Open = func(ctx context.Context) (io.ReadCloser, error) {
		r, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return count.reader(r), nil
	}
	return body
}

// damaged makes a *DamageError of what a store says of bytes that are not those that were
// hashed.
func damaged(key string, err error) error {
	if errors.Is(err, blob.ErrDiffers) {
		return &DamageError{Object: key, Err: err}
	}
	return err
}

// arrived returns which objects are there with the size that they are to have.
func (r *Registry) arrived(ctx context.Context, wanted map[string]int64, workers int) (map[string]bool, error) {
	there := make(map[string]bool, len(wanted))
	if len(wanted) > fewObjects {
		complete, err := r.list(ctx, wanted, there)
		if err != nil || complete {
			return there, err
		}
	}
	unseen := maps.Clone(wanted)
	maps.DeleteFunc(unseen, func(key string, _ int64) bool { return there[key] })
	var mu sync.Mutex // guards there
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for key, size := range unseen {
		group.Go(func() error {
			info, err := r.store.Stat(groupCtx, key)
			if err != nil || info.Size != size {
				return ignoreAbsent(err)
			}
			mu.Lock()
			defer mu.Unlock()
			there[key] = true
			return nil
		})
	}
	return there, group.Wait()
}

// list marks those of the wanted objects that a listing shows, and reports whether it
// showed all objects there are.
func (r *Registry) list(ctx context.Context, wanted map[string]int64, there map[string]bool) (bool, error) {
	left := listed * len(wanted)
	for info, err := range r.store.List(ctx, objectsPrefix) {
		if err != nil {
			return false, err
		}
		if size, ok := wanted[info.Key]; ok && size == info.Size {
			there[info.Key] = true
		}
		if left--; left == 0 {
			return false, nil
		}
	}
	return true, nil
}

// pushNamed puts each file under its name, as Quilt does, where the store keeps what was
// there before as a version.
func (p *pushing) pushNamed(ctx context.Context, store blob.Versioned, count *progress) error {
	known, err := p.known(ctx, store)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.workers)
	for i := range p.content.Entries {
		e := &p.content.Entries[i]
		group.Go(func() error {
			at, ok, err := known.find(ctx, store, p.name, *e)
			if err != nil {
				return err
			}
			if ok {
				count.add(e.Size())
			} else if at.version, err = store.PutVersion(ctx, at.key, p.body(e.Key, count)); err != nil {
				return damaged(e.Key, err)
			}
			if at.version == "" {
				return fmt.Errorf("put %s: the bucket keeps no versions any more: push again", e.Key)
			}
			e.PhysicalKey = p.registry.home.physical(at)
			return nil
		})
	}
	return group.Wait()
}

// known is what a bucket with versions holds of a package.
type known struct {
	latest map[quilt.Hash][]place // where the latest revision has content with a hash
	sizes  map[place]int64        // of those places, and of the newest versions
	newest map[string]place       // by key, of the files to push
}

// known lists the versions of all files of the package. One listing takes the place of a
// request for each file. It keeps what can be of use, which is bounded by the files of two
// revisions, however many there were.
func (p *pushing) known(ctx context.Context, store blob.Versioned) (*known, error) {
	k := &known{latest: map[quilt.Hash][]place{}, sizes: map[place]int64{}, newest: map[string]place{}}
	used, err := p.addLatest(ctx, k)
	if err != nil {
		return nil, err
	}
	last := ""
	for v, err := range store.ListVersions(ctx, p.name+"/") {
		if err != nil {
			return nil, err
		}
		at, first := place{key: v.Key, version: v.ID}, v.Key != last
		last = v.Key
		if _, wanted := p.bodies[strings.TrimPrefix(v.Key, p.name+"/")]; first && wanted {
			k.newest[v.Key] = at
		} else if !used[at] {
			continue
		}
		k.sizes[at] = v.Size
	}
	return k, nil
}

// addLatest reads where the latest revision has its files, and returns these places.
func (p *pushing) addLatest(ctx context.Context, k *known) (map[place]bool, error) {
	used := map[place]bool{}
	if p.latest.IsZero() {
		return used, nil
	}
	content, err := p.registry.load(ctx, p.latest)
	var damage *DamageError
	if errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) {
		return used, nil // pushing is what repairs it
	}
	if err != nil {
		return nil, err
	}
	for _, e := range content.Entries {
		if at, err := p.registry.home.inside(e.PhysicalKey); err == nil {
			k.latest[e.Hash()] = append(k.latest[e.Hash()], at)
			used[at] = true
		}
	}
	return used, nil
}

// find returns where an entry's bytes are, and otherwise where they are to be put. They
// are where the latest revision has the same hash, under this name or under another one,
// or where a push that was cut off has put them, whose checksum the store tells.
func (k *known) find(ctx context.Context, store blob.Versioned, name string, e quilt.Entry) (place, bool, error) {
	own := place{key: name + "/" + e.Key}
	var found place
	for _, at := range k.latest[e.Hash()] {
		size, ok := k.sizes[at]
		if ok && at.version != "" && size == e.Size() && (found == place{} || at.key == own.key) {
			found = at
		}
	}
	if (found != place{}) {
		return found, true, nil
	}
	at, ok := k.newest[own.key]
	if !ok || at.version == "" || k.sizes[at] != e.Size() {
		return own, false, nil
	}
	v, err := store.StatVersion(ctx, own.key)
	if err != nil {
		return own, false, ignoreAbsent(err)
	}
	sum, _ := e.Hash().Sum()
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

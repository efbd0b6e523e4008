package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/history"
	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/upkeep"
)

// rootForgotten is how long a lock or an installed package may be away, as on a disk that
// is not plugged in, before nothing is kept for it.
const rootForgotten = 30 * 24 * time.Hour

// noteRoot tells the cache that the project's lock needs what it pins. It is a courtesy: a
// cache that cannot be written to cannot be cleaned up either.
func (s *session) noteRoot(ctx context.Context) {
	if !s.lock.onDisk() {
		return
	}
	path, err := filepath.Abs(s.LockPath)
	if err != nil {
		return
	}
	d, err := s.lock.digest(ctx, s.memory)
	if err != nil {
		return
	}
	store := s.options.Store
	root := disk.Root{Path: path, Name: s.Manifest.Name, Lock: fmt.Sprintf("%s %d", d.Hex(), d.Size())}
	if disk.AddRoot(store.Root(), root) != nil {
		return
	}
	if missing, err := store.Missing(ctx, []cas.Digest{d}); err == nil && len(missing) > 0 {
		_, _ = store.Put(ctx, s.lock.disk.Text()) // for when the lock is away
	}
}

// Roots returns what gc must keep in a store besides recent results: what locks pin, what
// installed packages were built from, and what explains the last build of each. It also
// returns the roots that need nothing any more, because their path has been gone for long.
func Roots(ctx context.Context, store *disk.Store, now time.Time) (keep []upkeep.Root, gone []disk.Root, err error) {
	names := map[string]bool{}
	for r, err := range store.Roots(ctx) {
		if err != nil {
			return nil, nil, err
		}
		_, statErr := os.Stat(r.Path)
		if errors.Is(statErr, fs.ErrNotExist) && now.Sub(r.Seen) > rootForgotten {
			gone = append(gone, r)
			continue
		}
		var root upkeep.Root
		if r.Package != "" {
			root, err = installed(ctx, store, r)
		} else {
			root, err = locked(ctx, store, r)
			names[r.Name] = true
		}
		if err != nil {
			return nil, nil, err
		}
		keep = append(keep, root)
	}
	for name := range names {
		root, err := explained(ctx, store, name)
		if err != nil {
			return nil, nil, err
		}
		keep = append(keep, root)
	}
	upkeep.SortRoots(keep)
	return keep, gone, nil
}

// locked returns what a lock pins: the lock as it is, or as it was when it is away.
func locked(ctx context.Context, store *disk.Store, r disk.Root) (upkeep.Root, error) {
	root := upkeep.Root{Reason: upkeep.ReasonLock, Name: r.Path}
	if f, err := lock.Open(r.Path); err == nil {
		err := addPins(ctx, store, &root, &f.Lock)
		if closeErr := f.Close(); err == nil && closeErr == nil {
			return root, nil
		}
		root.Blobs = nil // of another version, or damaged
	}
	d, err := cas.ParseDigest(r.Lock)
	if err != nil {
		return root, nil
	}
	root.Blobs = append(root.Blobs, d)
	text, err := cas.ReadBlob(ctx, store, d)
	if _, lost := errors.AsType[*cas.BlobError](err); lost {
		return root, nil
	}
	if err != nil {
		return root, err
	}
	l, err := lock.Decode(r.Path, bytes.NewReader(text), int64(len(text)))
	if err == nil {
		err = addPins(ctx, store, &root, l)
	}
	if _, other := errors.AsType[*lock.FormatError](err); other {
		return root, nil // of another version
	}
	return root, err
}

// addPins adds what a lock pins.
func addPins(ctx context.Context, store *disk.Store, root *upkeep.Root, l *lock.Lock) error {
	if l.Image != nil {
		root.Blobs = append(root.Blobs, imageBlobs(ctx, store, l.Image)...)
	}
	for _, w := range l.Wheels {
		if d, err := cas.NewDigest(w.Digest.Encoded(), w.Size); err == nil {
			root.Blobs = append(root.Blobs, d)
		}
	}
	for _, p := range l.Conda {
		if d, err := cas.NewDigest(p.Digest.Encoded(), p.Size); err == nil {
			root.Blobs = append(root.Blobs, d)
		}
	}
	for p, err := range l.Photos.All() {
		if err != nil {
			return err
		}
		if p.Dead != "" {
			continue // a tombstone has no digest
		}
		if d, err := cas.NewDigest(p.Digest.Encoded(), p.Size); err == nil {
			root.Blobs = append(root.Blobs, d)
		}
	}
	for _, s := range l.Sources {
		if d, err := blobDigest(s); err == nil {
			root.Blobs = append(root.Blobs, d)
		}
	}
	for _, in := range l.Inputs {
		if d, err := cas.NewDigest(in.Digest.Encoded(), in.Size); err == nil {
			root.Blobs = append(root.Blobs, d)
		}
	}
	return nil
}

// imageBlobs returns the blobs of a pinned image, as far as the store has what names them.
func imageBlobs(ctx context.Context, store *disk.Store, pin *lock.Image) []cas.Digest {
	found, err := image.Find(ctx, specs.Descriptor{Digest: pin.Digest, Size: pin.Size}, image.Host(), image.In(store))
	if err != nil {
		return nil // it was never fetched, or not as a whole
	}
	return found.Blobs()
}

// installed returns the results of the build that made an installed package, as far as
// the history knows it.
func installed(ctx context.Context, store *disk.Store, r disk.Root) (upkeep.Root, error) {
	root := upkeep.Root{Reason: upkeep.ReasonInstalled, Name: r.Path}
	records, err := history.Read(ctx, store, r.Name)
	for _, record := range records {
		if record.Package != r.Package {
			continue
		}
		for _, stage := range record.Stages {
			root.Results = append(root.Results, stage.Action.Digest)
		}
		break
	}
	return root, err
}

// explained returns what explains the last build of a package's name: its actions.
func explained(ctx context.Context, store *disk.Store, name string) (upkeep.Root, error) {
	root := upkeep.Root{Reason: upkeep.ReasonHistory, Name: name}
	records, err := history.Read(ctx, store, name)
	if len(records) > 0 {
		for _, stage := range records[0].Stages {
			root.Actions = append(root.Actions, stage.Action.Digest)
		}
	}
	return root, err
}

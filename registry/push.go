package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// Revision is what a push makes a revision of.
type Revision struct {
	Message string
	Meta    quilt.Value // an object, null, or absent; each makes another top hash
	Files   []File
}

// File is one file of a revision.
type File struct {
	Key  string // its logical key
	Size int64  // bytes
	// SHA256 is the plain sha256 of the bytes where it is known, and zero otherwise. With
	// it, a file up to 8 MiB that the registry has already is not opened.
	SHA256 [sha256.Size]byte
	Open   func(ctx context.Context) (io.ReadCloser, error)
}

// PushOptions say how to push. The zero PushOptions are fine.
type PushOptions struct {
	// Expect is the revision that must be the latest, zero for none at all. By default it
	// is the one that is the latest when the push starts.
	Expect   *quilt.TopHash
	Workers  int                     // files at once; 0 for the default
	Progress func(done, total int64) // bytes of the files in the registry
}

// Push makes rev the latest revision of a package, and reports whether that changed
// anything: when the latest revision has the same top hash, nothing is written.
// Objects that are there already are not sent again; so a push that failed is resumed
// by pushing again.
//
// A race that is lost is a *ConflictError. A file whose bytes are not what its size and
// hash say is a *DamageError, and a key that could not be installed a *quilt.KeyError.
func (r *Registry) Push(ctx context.Context, name string, rev Revision, opts PushOptions) (quilt.TopHash, bool, error) {
	top, created, err := r.push(ctx, name, rev, opts)
	var conflict *ConflictError
	if err != nil && !errors.As(err, &conflict) { // which names the push itself
		err = fmt.Errorf("push %s: %w", name, err)
	}
	return top, created, err
}

func (r *Registry) push(ctx context.Context, name string, rev Revision, opts PushOptions) (quilt.TopHash, bool, error) {
	if err := quilt.CheckName(name); err != nil {
		return quilt.TopHash{}, false, err
	}
	latest, tag, err := r.latest(ctx, name)
	if err != nil {
		return quilt.TopHash{}, false, err
	}
	content, err := r.compose(ctx, rev, workers(opts.Workers))
	if err != nil {
		return quilt.TopHash{}, false, err
	}
	top, err := content.TopHash()
	if err != nil || top == latest {
		return top, false, err
	}
	if opts.Expect != nil && *opts.Expect != latest {
		return top, false, &ConflictError{Name: name, Expected: *opts.Expect, Found: latest, Pushed: top}
	}
	if err := r.pushObjects(ctx, content, rev.Files, opts); err != nil {
		return top, false, err
	}
	if err := r.putPackage(ctx, top, content); err != nil {
		return top, false, err
	}
	created, err := r.advance(ctx, name, top, latest, tag)
	return top, created, err
}

// latest returns the latest revision, zero when there is none, with the tag of its
// pointer.
func (r *Registry) latest(ctx context.Context, name string) (quilt.TopHash, blob.Tag, error) {
	key := pointerKey(name, latestTag)
	data, tag, err := r.store.ReadTagged(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return quilt.TopHash{}, "", nil
	}
	if err != nil {
		return quilt.TopHash{}, "", err
	}
	top, err := pointer(key, data)
	return top, tag, err
}

// compose makes the package of a revision. It reads only files whose hash does not
// follow from what is known.
func (r *Registry) compose(ctx context.Context, rev Revision, workers int) (*quilt.Package, error) {
	for _, file := range rev.Files {
		if err := quilt.CheckFileKey(file.Key); err != nil {
			return nil, err
		}
		if file.Size < 0 {
			return nil, fmt.Errorf("file %s: negative size", file.Key)
		}
	}
	entries := make([]quilt.Entry, len(rev.Files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i, file := range rev.Files {
		group.Go(func() error {
			hash, err := file.hash(ctx)
			if err != nil {
				return fmt.Errorf("hash %s: %w", file.Key, err)
			}
			key, ok := objectKey(hash)
			if !ok {
				return fmt.Errorf("hash %s: no place for %v", file.Key, hash)
			}
			physical := quilt.PhysicalKey{Path: strings.TrimSuffix(r.root, "/") + "/" + key}
			entries[i] = quilt.NewEntry(file.Key, physical.String(), file.Size, hash, quilt.Value{})
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return quilt.New(quilt.NewHeader(rev.Meta, quilt.Value{}, rev.Message), entries)
}

// hash returns the hash of the file, and reads the file only where it must.
func (f File) hash(ctx context.Context) (quilt.Hash, error) {
	if f.SHA256 != [sha256.Size]byte{} {
		if hash, ok := quilt.ChunkedFromSHA256(f.SHA256, f.Size); ok {
			return hash, nil
		}
	}
	hasher, err := quilt.NewHasher(quilt.SHA256Chunked, f.Size)
	if err != nil {
		return quilt.Hash{}, err
	}
	if err := blob.Copy(ctx, hasher, blob.Body{Size: f.Size, Open: f.Open}); err != nil {
		return quilt.Hash{}, err
	}
	return hasher.Hash(), nil
}

// pushObjects puts the bytes of all files into the store, each content once.
func (r *Registry) pushObjects(ctx context.Context, content *quilt.Package, files []File, opts PushOptions) error {
	count := &progress{report: opts.Progress, total: content.Size()}
	seen := make(map[string]bool, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers(opts.Workers))
	for _, file := range files {
		e, ok := content.Entry(file.Key)
		if !ok {
			return errors.Join(fmt.Errorf("file %s: not in its package", file.Key), group.Wait())
		}
		key, _ := objectKey(e.Hash())
		if seen[key] {
			count.add(file.Size)
			continue
		}
		seen[key] = true
		group.Go(func() error { return r.pushObject(ctx, key, file, e.Hash(), count) })
	}
	return group.Wait()
}

func (r *Registry) pushObject(ctx context.Context, key string, file File, hash quilt.Hash, count *progress) error {
	info, err := r.store.Stat(ctx, key)
	if err == nil && info.Size == file.Size {
		count.add(file.Size)
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.store.Put(ctx, key, blob.Body{Size: file.Size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		body, err := file.Open(ctx)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", file.Key, err)
		}
		hasher, err := quilt.NewHasher(hash.Type, file.Size)
		if err != nil {
			return nil, errors.Join(err, body.Close())
		}
		return &verifier{ReadCloser: count.reader(body), object: file.Key, hasher: hasher, want: hash, left: file.Size}, nil
	}})
}

// putPackage writes the package file, over one that may be there: that one has the same
// content, but may be damaged, or lead to where the registry was before.
func (r *Registry) putPackage(ctx context.Context, top quilt.TopHash, content *quilt.Package) error {
	var buf bytes.Buffer
	if err := content.Encode(&buf); err != nil {
		return err
	}
	return r.store.Put(ctx, packagesPrefix+top.String(), blob.Bytes(buf.Bytes()))
}

// advance makes top the latest revision if expected still is, and reports whether it
// was this call that did.
func (r *Registry) advance(ctx context.Context, name string, top, expected quilt.TopHash, tag blob.Tag) (bool, error) {
	stamp, err := r.stamp(ctx, name, top)
	if err != nil {
		return false, err
	}
	err = r.store.PutIf(ctx, pointerKey(name, latestTag), []byte(top.String()), tag)
	if !errors.Is(err, blob.ErrChanged) {
		return err == nil, err
	}
	found, _, err := r.latest(ctx, name)
	if err != nil {
		return false, err
	}
	if found == top {
		return false, nil // somebody pushed the same
	}
	err = &ConflictError{Name: name, Expected: expected, Found: found, Pushed: top}
	if stamp != "" {
		// The revision was never the latest, so the log must not show it.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, r.store.Delete(clean, stamp))
	}
	return false, err
}

// maxStamp is the last timestamp of ten digits, which is what Quilt's servers take for
// one.
const maxStamp = 9_999_999_999

// stamp writes the timestamp pointer of a push and returns its key. It returns no key
// when a push that was killed, of the same content, left one.
//
// Timestamps only grow, whatever the clocks of the pushers say, and no push takes the
// timestamp of another one of the same second.
func (r *Registry) stamp(ctx context.Context, name string, top quilt.TopHash) (string, error) {
	stamps, err := r.stamps(ctx, name)
	if err != nil {
		return "", err
	}
	at := r.now().Unix()
	if len(stamps) > 0 {
		newest := stamps[len(stamps)-1]
		found, err := r.readPointer(ctx, newest.key)
		if err == nil && found == top {
			return "", nil
		}
		at = max(at, newest.unix+1)
	}
	for ; at <= maxStamp; at++ {
		key := pointerKey(name, fmt.Sprintf("%010d", at))
		err := r.store.PutIf(ctx, key, []byte(top.String()), "")
		if !errors.Is(err, blob.ErrChanged) {
			return key, err
		}
	}
	return "", fmt.Errorf("no timestamp is left after %d", maxStamp)
}

// stamped is a timestamp pointer.
type stamped struct {
	key  string
	unix int64 // seconds
}

// stamps lists the timestamp pointers of a package, oldest first.
func (r *Registry) stamps(ctx context.Context, name string) ([]stamped, error) {
	prefix := pointersPrefix + name + "/"
	var stamps []stamped
	for info, err := range r.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if unix, ok := parseStamp(strings.TrimPrefix(info.Key, prefix)); ok {
			stamps = append(stamps, stamped{info.Key, unix})
		}
	}
	slices.SortFunc(stamps, func(a, b stamped) int { return strings.Compare(a.key, b.key) })
	return stamps, nil
}

func parseStamp(s string) (int64, bool) {
	if len(s) != len("1500000000") {
		return 0, false
	}
	var unix int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		unix = 10*unix + int64(s[i]-'0')
	}
	return unix, true
}

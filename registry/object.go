package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

// objectKey returns where the bytes with a hash lie, and false for a hash that pushed
// objects do not have.
func objectKey(h quilt.Hash) (string, bool) {
	sum, ok := h.Sum()
	if !ok {
		return "", false
	}
	digits := hex.EncodeToString(sum[:])
	return objectsPrefix + digits[:2] + "/" + digits, true
}

// OpenFile reads the file of p with the given logical key. The reader verifies: before
// it would yield the last bytes of a wrong file it returns a *DamageError. A key that p
// does not have is fs.ErrNotExist.
func (r *Registry) OpenFile(ctx context.Context, p *Package, key string) (io.ReadCloser, error) {
	e, ok := p.Content.Entry(key)
	if !ok {
		return nil, fmt.Errorf("open %s of %s: %w", key, p.Ref(), fs.ErrNotExist)
	}
	return r.openEntry(ctx, e)
}

// ReadFile reads a whole file of p, as OpenFile does.
func (r *Registry) ReadFile(ctx context.Context, p *Package, key string) (_ []byte, err error) {
	f, err := r.OpenFile(ctx, p, key)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

func (r *Registry) openEntry(ctx context.Context, e quilt.Entry) (io.ReadCloser, error) {
	hasher, err := quilt.NewHasher(e.Hash().Type, e.Size())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", e.Key, err)
	}
	key, body, err := r.openObject(ctx, e, 0, -1)
	if err != nil {
		return nil, err
	}
	return &verifier{ReadCloser: body, object: key, hasher: hasher, want: e.Hash(), left: e.Size()}, nil
}

// openObject opens a range of the bytes of an entry. A physical key is followed only to a place
// inside of the registry: a package must not make its reader open any file of the machine
// or any object that its credentials give access to. Otherwise the bytes are looked for
// under their hash, so that a registry can be moved.
func (r *Registry) openObject(ctx context.Context, e quilt.Entry, offset, length int64) (string, io.ReadCloser, error) {
	at, outside := r.home.inside(e.PhysicalKey)
	if outside == nil {
		body, err := r.openAt(ctx, at, offset, length)
		if !errors.Is(err, fs.ErrNotExist) {
			return at.key, body, err
		}
		outside = fmt.Errorf("its object %s is missing", at.key)
	}
	key, ok := objectKey(e.Hash())
	if !ok || key == at.key {
		return "", nil, &DamageError{Object: e.Key, Err: outside}
	}
	body, err := r.store.Open(ctx, key, offset, length)
	if errors.Is(err, fs.ErrNotExist) {
		err = &DamageError{Object: e.Key, Err: outside}
	}
	return key, body, err
}

// openAt reads a range of the bytes at a place.
func (r *Registry) openAt(ctx context.Context, at place, offset, length int64) (io.ReadCloser, error) {
	if at.version == "" {
		return r.store.Open(ctx, at.key, offset, length)
	}
	versions, ok := r.store.(interface {
		OpenVersion(ctx context.Context, key, id string, offset, length int64) (io.ReadCloser, error)
	})
	if !ok {
		return nil, fmt.Errorf("open %s: this store has no versions: %w", at.key, fs.ErrNotExist)
	}
	return versions.OpenVersion(ctx, at.key, at.version, offset, length)
}

// verifier reads bytes that must have a size and a hash. It compares before it hands out
// the last of them, so that nobody gets the whole of a wrong file.
type verifier struct {
	io.ReadCloser
	object  string
	hasher  *quilt.Hasher
	want    quilt.Hash
	left    int64
	checked bool
	err     error // once damage was seen
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	n, err := v.ReadCloser.Read(p)
	if int64(n) > v.left {
		return v.fail(errors.New("has more bytes than it should"))
	}
	v.left -= int64(n)
	if _, err := v.hasher.Write(p[:n]); err != nil {
		return v.fail(err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		// A source that verifies by itself says more than that the sum is wrong.
		return n, err
	}
	if v.left > 0 && errors.Is(err, io.EOF) {
		return v.fail(fmt.Errorf("%d bytes are missing", v.left))
	}
	if v.left == 0 && !v.checked {
		v.checked = true
		if got := v.hasher.Hash(); got != v.want {
			return v.fail(fmt.Errorf("want %s %s, got %s", v.want.Type, v.want.Value, got.Value))
		}
	}
	return n, err
}

func (v *verifier) fail(err error) (int, error) {
	v.err = &DamageError{Object: v.object, Err: err}
	return 0, v.err
}

// progress adds up bytes for a caller's function, which may be nil and is not called
// twice at the same time.
type progress struct {
	report func(done, total int64)
	total  int64
	mu     sync.Mutex // guards done, and calls of report
	done   int64
}

func (p *progress) add(n int64) {
	if p.report == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.report(p.done, p.total)
}

// reader counts what is read from r.
func (p *progress) reader(r io.ReadCloser) io.ReadCloser {
	if p.report == nil {
		return r
	}
	return &counter{r, p}
}

type counter struct {
	io.ReadCloser
	progress *progress
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.progress.add(int64(n))
	return n, err
}

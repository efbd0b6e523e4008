// Package registry keeps revisions of packages: it pushes, resolves, lists, installs
// and verifies them, in the layout that Quilt has.
//
// A registry is a blob store:
//
//	.quilt/named_packages/<ns>/<name>/<unix seconds>   pointer: 64 digits of a top hash
//	.quilt/named_packages/<ns>/<name>/latest           pointer to the newest revision
//	.quilt/packages/<top hash>                         the package file
//	.sandwich/objects/<hh>/<hash>                      the bytes of a file
//
// The first three are Quilt's own. A folder has no versions of objects, so a file's
// bytes lie under their hash instead of under their name: the next revision overwrites
// nothing, and each revision stays installable.
//
// A push writes in this order: objects, package file, timestamp pointer, and last
// "latest", by a conditional write. So whoever follows a pointer finds everything, and
// of two pushers one wins while the other gets a *ConflictError.
//
// Nothing that is read is trusted: a package must have its top hash, an object its
// hash, and a key must stay below the folder that it is installed to.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

const (
	packagesPrefix = ".quilt/packages/"
	pointersPrefix = ".quilt/named_packages/"
	objectsPrefix  = ".sandwich/objects/"

	// maxPointer is the most bytes of a pointer: 64 digits, and room for the spaces that
	// old clients left.
	maxPointer = 128
	// defaultWorkers is how many files are moved at once. Small files wait for the disk
	// or the network rather than for a core.
	defaultWorkers = 8
)

// Registry is an open registry. Its methods may be called at the same time.
type Registry struct {
	store blob.Conditional
	root  string // slash-separated absolute path that physical keys start with
	now   func() time.Time
}

// Options say how a registry is opened. The zero Options are fine.
type Options struct {
	Base string           // the folder that relative locations start from; the working directory when empty
	Now  func() time.Time // the clock of timestamp pointers; time.Now when nil
}

// Open opens the registry at location: a folder, as a path or a file:// URL. The folder
// need not exist; the first push makes it. Another scheme is an *UnsupportedError.
func Open(ctx context.Context, location string, opts Options) (*Registry, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("open registry %s: %w", location, err)
	}
	root, err := folder(location, opts.Base)
	if err != nil {
		return nil, fmt.Errorf("open registry %s: %w", location, err)
	}
	return New(dir.New(root), root, opts)
}

// folder returns the absolute path of a location.
func folder(location, base string) (string, error) {
	root := location
	scheme, _, isURL := strings.Cut(location, "://")
	switch {
	case location == "":
		return "", errors.New("no location")
	case isURL && scheme == "file":
		place, err := quilt.ParsePhysicalKey(location)
		if err != nil {
			return "", err
		}
		root = filepath.FromSlash(place.Path)
	case isURL:
		return "", &UnsupportedError{Scheme: scheme}
	case !filepath.IsAbs(location):
		root = filepath.Join(base, location)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	// Physical keys hold the real path, as quilt3 writes it.
	if resolved, err := filepath.EvalSymlinks(root); err == nil {
		root = resolved
	}
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		return "", errors.New("is not a folder")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return root, nil
}

// New returns the registry in store. root is the absolute path of the folder that
// other clients find the store's blobs in. The store must be able to write
// conditionally.
func New(store blob.Store, root string, opts Options) (*Registry, error) {
	conditional, ok := store.(blob.Conditional)
	if !ok {
		return nil, fmt.Errorf("open registry %s: the store has no conditional writes", root)
	}
	now := opts.Now
	if now == nil {
		now = time.Now
	}
	return &Registry{store: conditional, root: path.Clean("/" + filepath.ToSlash(root)), now: now}, nil
}

// String returns the URL of the registry.
func (r *Registry) String() string { return quilt.PhysicalKey{Path: r.root}.String() }

// Package is a revision that was read from a registry and has the top hash that it
// was asked for by.
type Package struct {
	Name    string // namespace/name
	TopHash quilt.TopHash
	Content *quilt.Package
}

// Ref returns the reference that names exactly this revision.
func (p *Package) Ref() Ref { return Ref{Name: p.Name, Hash: p.TopHash.String()} }

// Load reads the revision that ref names and verifies its top hash: a package file that
// has another one is a *DamageError.
func (r *Registry) Load(ctx context.Context, ref Ref) (*Package, error) {
	top, err := r.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	content, err := r.load(ctx, top)
	if errors.Is(err, fs.ErrNotExist) {
		err = &NotFoundError{Ref: Ref{Name: ref.Name, Hash: top.String()}, Registry: r.String()}
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", ref, err)
	}
	return &Package{Name: ref.Name, TopHash: top, Content: content}, nil
}

func (r *Registry) load(ctx context.Context, top quilt.TopHash) (_ *quilt.Package, err error) {
	key := packagesPrefix + top.String()
	body, err := r.store.Open(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	content, err := quilt.Decode(body)
	if err != nil {
		return nil, &DamageError{Object: key, Err: err}
	}
	got, err := content.TopHash()
	if err == nil && got != top {
		err = fmt.Errorf("its top hash is %s", got)
	}
	if err != nil {
		return nil, &DamageError{Object: key, Err: err}
	}
	return content, nil
}

// pointer parses the content of the pointer at key.
func pointer(key string, data []byte) (quilt.TopHash, error) {
	top, err := quilt.ParseTopHash(strings.TrimSpace(string(data)))
	if err == nil && top.IsZero() {
		err = errors.New("names no revision")
	}
	if err != nil {
		return quilt.TopHash{}, &DamageError{Object: key, Err: err}
	}
	return top, nil
}

func (r *Registry) readPointer(ctx context.Context, key string) (quilt.TopHash, error) {
	data, err := blob.ReadAll(ctx, r.store, key, maxPointer)
	if errors.Is(err, blob.ErrTooLarge) {
		return quilt.TopHash{}, &DamageError{Object: key, Err: err}
	}
	if err != nil {
		return quilt.TopHash{}, err
	}
	return pointer(key, data)
}

func pointerKey(name, tag string) string { return pointersPrefix + name + "/" + tag }

func workers(n int) int {
	if n <= 0 {
		return defaultWorkers
	}
	return n
}

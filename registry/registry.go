// Package registry keeps revisions of packages: it pushes, resolves, lists, installs
// and verifies them, in the layout that Quilt has.
//
// A registry is a blob store:
//
//	.quilt/named_packages/<ns>/<name>/<unix seconds>   pointer: 64 digits of a top hash
//	.quilt/named_packages/<ns>/<name>/latest           pointer to the newest revision
//	.quilt/packages/<top hash>                         the package file
//	<ns>/<name>/<logical key>                          the bytes of a file, in a bucket that keeps versions
//	.sandwich/objects/<hh>/<hash>                      the bytes of a file, anywhere else
//
// All but the last are Quilt's own. Where nothing keeps versions of objects, a file's
// bytes lie under their hash instead of under their name: the next revision overwrites
// nothing, and each revision stays installable. A package file names the place of each
// file, with its version, so Quilt's clients read both.
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
	"github.com/sandwich-build/sandwich/registry/blob/https"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

const (
	packagesPrefix = ".quilt/packages/"
	pointersPrefix = ".quilt/named_packages/"

	// maxPointer is the most bytes of a pointer: 64 digits, and room for the spaces that
	// old clients left.
	maxPointer = 128
	// atOnce is how many pointers and package files are read at once.
	atOnce = 16
	// folderStart and serverStart are how many files are moved at once at first, and
	// folderMost and serverMost at the most. Small files wait for the disk rather than for a
	// core, and longer for a server.
	folderStart, folderMost = 4, 16
	serverStart, serverMost = 16, 64
)

// Registry is an open registry. Its methods may be called at the same time.
type Registry struct {
	store   blob.Conditional
	objects *objects.Store // the bytes of files, in the same store
	now     func() time.Time
}

// Options say how a registry is opened. The zero Options are fine.
type Options struct {
	Base  string           // the folder that relative locations start from; the working directory when empty
	Now   func() time.Time // the clock of timestamp pointers; time.Now when nil
	S3    s3.Options       // of a registry in a bucket
	HTTPS https.Options    // of a registry that a web server shows
	Warn  func(string)     // is told what a server can not do, and what is lost by that; nil tells nobody
}

// Open opens the registry at location: a bucket, s3://bucket; a folder, as a path or a
// file:// URL, which need not exist, since the first push makes it; or, to read only, the
// URL below which a web server shows either. Another scheme is an *UnsupportedError.
func Open(ctx context.Context, location string, opts Options) (*Registry, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("open registry %s: %w", shown(location), err)
	}
	if bucket, ok := strings.CutPrefix(location, "s3://"); ok {
		r, err := openBucket(ctx, strings.TrimSuffix(bucket, "/"), opts)
		if err != nil {
			return nil, fmt.Errorf("open registry %s: %w", shown(location), err)
		}
		return r, nil
	}
	if isWeb(location) {
		pace := transfer.NewPace(serverStart, serverMost, nil)
		opts.HTTPS.Slow = pace.Slow
		store, err := https.New(location, opts.HTTPS)
		if err != nil {
			return nil, fmt.Errorf("open registry %s: %w", shown(location), err)
		}
		return newRegistry(store, objects.Home{URL: store.String()}, pace, opts), nil
	}
	root, err := folderOf(location, opts.Base)
	if err != nil {
		return nil, fmt.Errorf("open registry %s: %w", shown(location), err)
	}
	return New(dir.New(root), root, opts)
}

// shown returns a location as errors may tell it: without a user, a query or a fragment,
// each of which can be a secret.
func shown(location string) string {
	scheme, rest, isURL := strings.Cut(location, "://")
	if !isURL {
		return location
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "#")
	return scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
}

// isWeb reports whether a location is to be read from a web server.
func isWeb(location string) bool {
	return strings.HasPrefix(location, "https://") || strings.HasPrefix(location, "http://")
}

func openBucket(ctx context.Context, bucket string, opts Options) (*Registry, error) {
	if name, path, below := strings.Cut(bucket, "/"); below {
		path, _, _ = strings.Cut(path, "?")
		return nil, fmt.Errorf("a registry is a whole bucket: want s3://%s, without %s", name, path)
	}
	pace := transfer.NewPace(serverStart, serverMost, nil)
	opts.S3.Warn, opts.S3.Pace = opts.Warn, pace
	store, err := s3.New(ctx, bucket, opts.S3)
	if err != nil {
		return nil, err
	}
	return newRegistry(store, objects.Home{Bucket: bucket}, pace, opts), nil
}

// folderOf returns the absolute path of a location.
func folderOf(location, base string) (string, error) {
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
	absolute := path.Clean("/" + filepath.ToSlash(root))
	return newRegistry(conditional, objects.Home{Root: absolute}, transfer.NewPace(folderStart, folderMost, nil), opts), nil
}

func newRegistry(store blob.Conditional, home objects.Home, pace *transfer.Pace, opts Options) *Registry {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Registry{store: store, objects: &objects.Store{Blobs: store, Home: home, Pace: pace}, now: opts.Now}
}

// Reach returns an error unless the registry can be read. The registry need not have the
// package that it is asked for, and a folder need not exist.
func (r *Registry) Reach(ctx context.Context, name string) error {
	_, _, err := r.latest(ctx, name)
	var damage *DamageError
	if err != nil && !errors.As(err, &damage) {
		return fmt.Errorf("reach %s: %w", r, err)
	}
	return nil
}

// trier is the ability of a store to try whether it can be written to. It leaves nothing behind.
type trier interface {
	TryWrite(ctx context.Context) error
}

// TryWrite returns an error unless the registry can be pushed to: a *blob.TrialError that says
// what is refused, if something is. What it puts to find out it removes.
func (r *Registry) TryWrite(ctx context.Context) error {
	if err := r.writable(); err != nil {
		return err
	}
	if store, ok := r.store.(trier); ok {
		return store.TryWrite(ctx)
	}
	return nil
}

// writable returns an error when the registry can only be read.
func (r *Registry) writable() error {
	if r.objects.Home.URL != "" {
		return fmt.Errorf("%s can only be read; name the bucket or the folder that it shows: %w", r, errors.ErrUnsupported)
	}
	return nil
}

// String returns the URL of the registry.
func (r *Registry) String() string { return r.objects.Home.String() }

// Package is a revision that was read from a registry and has the top hash that it
// was asked for by.
type Package struct {
	Name    string // namespace/name
	TopHash quilt.TopHash
	Content *quilt.Package
	prefix  string // what the keys of a part lack in front
}

// Part returns the file or the folder of p at a path, as a package whose keys are
// relative to the folder that holds the file, or to the folder. Where p has neither that is
// a *NoPartError.
func (p *Package) Part(at string) (*Package, error) {
	part := &Package{Name: p.Name, TopHash: p.TopHash, prefix: p.prefix + at + "/", Content: &quilt.Package{Header: p.Content.Header}}
	if e, ok := p.Content.Entry(at); ok {
		e.Key = path.Base(at)
		part.prefix = strings.TrimSuffix(p.prefix+at, e.Key)
		part.Content.Entries = []quilt.Entry{e}
		return part, nil
	}
	for _, e := range p.Content.Entries {
		if below, ok := strings.CutPrefix(e.Key, at+"/"); ok {
			e.Key = below
			part.Content.Entries = append(part.Content.Entries, e)
		}
	}
	if len(part.Content.Entries) == 0 {
		return nil, &NoPartError{Ref: p.Ref(), Path: at}
	}
	return part, nil
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

// paceOf returns how files are moved when a caller wants so many at once, 0 for as many as
// prove good.
func (r *Registry) paceOf(workers int) *transfer.Pace {
	if workers > 0 {
		return transfer.Fixed(workers)
	}
	return r.objects.Pace
}

// Access returns with what the bucket of the registry is reached; ok is false of one that is no
// bucket.
func (r *Registry) Access(ctx context.Context) (access s3.Access, ok bool) {
	bucket, ok := r.store.(*s3.Store)
	if !ok {
		return s3.Access{}, false
	}
	return bucket.Access(ctx), true
}

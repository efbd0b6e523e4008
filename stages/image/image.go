// Package image is the kind of stage that fetches the image that stages of the user's own run in.
//
// Its output is the layout of the Open Container Initiative, which other tools read:
//
//	oci-layout
//	index.json
//	blobs/sha256/<sum>   the index of all platforms, if there is one, and of this platform's
//	                     image the manifest, the configuration and the layers
//
// The digest decides the output, and so does the platform. Where the bytes are fetched from does
// not, and what the store has is not fetched.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Kind is the stage. It has no inputs.
type Kind struct {
	root     cas.Digest // of the manifest, or of the index of manifests
	platform image.Platform
	open     Opener
}

// Opener opens what has the image.
type Opener func(ctx context.Context) (image.Source, error)

// New returns the stage that fetches the image with a digest. What has it is opened when the store
// does not have all of it.
func New(root cas.Digest, p image.Platform, open Opener) Kind {
	return Kind{root: root, platform: p, open: open}
}

// Name returns "image".
func (Kind) Name() string { return "image" }

// Version returns the behaviour version.
func (Kind) Version() int { return 1 }

// Params returns the digest and the platform.
func (k Kind) Params() any {
	return map[string]string{"digest": k.root.String(), "platform": k.platform.String()}
}

// Reads returns what the parameters name, which may be in the store.
func (k Kind) Reads() []cas.Digest { return []cas.Digest{k.root} }

// parallel is how many layers are fetched at once, as other tools do it.
const parallel = 4

// Run fetches what the store lacks.
func (k Kind) Run(ctx context.Context, t *stages.Task) (err error) {
	f := &fetching{task: t, open: k.open}
	defer func() { err = errors.Join(err, f.close()) }()
	root := specs.Descriptor{Digest: digest.Digest(k.root.String()), Size: k.root.Size()}
	found, err := image.Find(ctx, root, k.platform, f.document)
	if err != nil {
		return err
	}
	blobs := found.Blobs()
	for _, d := range blobs {
		f.total += d.Size()
	}
	group, fetching := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, l := range found.Layers {
		group.Go(func() error {
			return f.fetch(fetching, specs.Descriptor{MediaType: specs.MediaTypeImageLayer, Digest: digest.Digest(l.Blob.String()), Size: l.Blob.Size()})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	t.Count("layers", int64(len(found.Layers)))
	return image.Lay(ctx, found, t.Out(), t.Store())
}

// fetching is one run.
type fetching struct {
	task  *stages.Task
	open  Opener
	total int64        // bytes of the image
	done  atomic.Int64 // bytes of it that have been fetched

	mu     sync.Mutex // guards source
	source image.Source
}

// from returns the source, which is opened first.
func (f *fetching) from(ctx context.Context) (_ image.Source, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.source == nil {
		f.source, err = f.open(ctx)
	}
	return f.source, err
}

func (f *fetching) close() error {
	if f.source == nil {
		return nil
	}
	return f.source.Close()
}

// document opens a document, which is in the store then.
func (f *fetching) document(ctx context.Context, d specs.Descriptor) (io.ReadCloser, error) {
	if err := f.fetch(ctx, d); err != nil {
		return nil, err
	}
	want, err := image.Digest(d)
	if err != nil {
		return nil, err
	}
	return f.task.Store().Open(ctx, want)
}

// fetch brings a blob into the store. One that is damaged there is set aside by who reads it, and
// missing then.
func (f *fetching) fetch(ctx context.Context, d specs.Descriptor) (err error) {
	want, err := image.Digest(d)
	if err != nil {
		return err
	}
	missing, err := f.task.Store().Missing(ctx, []cas.Digest{want})
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		f.done.Add(want.Size())
		return nil
	}
	source, err := f.from(ctx)
	if err != nil {
		return err
	}
	in, err := source.Open(ctx, d)
	if err != nil {
		return err
	}
	checked := cas.Verify(in, want, nil)
	defer func() { err = errors.Join(err, checked.Close()) }()
	if _, err := f.task.Store().Put(ctx, &counted{checked, f}); err != nil {
		return fmt.Errorf("fetch %s: %w", want, err)
	}
	return nil
}

// counted tells how far the whole is.
type counted struct {
	io.Reader
	*fetching
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if done := c.done.Add(int64(n)); c.total > 0 {
		c.task.Progress(done, c.total, "bytes")
	}
	return n, err
}

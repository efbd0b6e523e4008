// Package image reads images in the form of the Open Container Initiative: from a layout folder,
// from a tarball, or from a tree of the content store that has the layout.
//
// An image is a manifest, which names a configuration and layers by digest, or an index that has
// such a manifest for each platform. Everything in it is a blob with a SHA-256, so that an image
// lies in the content store as it is, and what has the digest needs no trust.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	specsversion "github.com/opencontainers/image-spec/specs-go"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Source has an image.
type Source interface {
	// Root describes the image: its manifest, or its index of manifests.
	Root(ctx context.Context) (specs.Descriptor, error)
	// Open opens a blob, a manifest or an index of it. Whoever reads it checks it.
	Open(ctx context.Context, d specs.Descriptor) (io.ReadCloser, error)
	// Close ends the use of the source.
	Close() error
}

// Platform is what a manifest is for.
type Platform struct{ OS, Arch string }

// Host is the platform of images that run on this machine.
func Host() Platform { return Platform{"linux", runtime.GOARCH} }

// String is the platform as image tools write it, "linux/amd64".
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Bounds of what is parsed, which are those of registries, or above what images have.
const (
	maxDocument = 4 << 20 // bytes of a manifest, an index or a configuration
	maxLayers   = 1024
	maxNesting  = 4 // indexes within each other
)

// Image is what a manifest says.
type Image struct {
	Digest cas.Digest // of the manifest
	Config specs.Image
	Layers []Layer      // the lowest first
	blobs  []cas.Digest // of the whole image: what leads to the manifest, the configuration and the layers
}

// Layer is an archive of files that are laid over those of the layers below it.
type Layer struct {
	Blob cas.Digest    // as it is kept, compressed or not
	Diff digest.Digest // of the archive, not compressed
}

// Blobs are all blobs of the image: the index, if there is one, the manifest, the configuration
// and the layers. There are no others of an index, of other platforms.
func (i *Image) Blobs() []cas.Digest { return i.blobs }

// PlatformError says that an image is not for a platform.
type PlatformError struct {
	Want Platform
	Has  []string
}

func (e *PlatformError) Error() string {
	return fmt.Sprintf("the image is for %s, and not for %s", strings.Join(e.Has, ", "), e.Want)
}

// FormatError says that something is no image.
type FormatError struct{ Problem string }

func (e *FormatError) Error() string { return "not an image: " + e.Problem }

func malformed(format string, args ...any) error { return &FormatError{fmt.Sprintf(format, args...)} }

// Digest makes the digest of the store of one of an image.
func Digest(d specs.Descriptor) (cas.Digest, error) {
	if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 {
		return cas.Digest{}, malformed("want a digest of SHA-256, got %q", d.Digest)
	}
	return cas.NewDigest(d.Digest.Encoded(), d.Size)
}

// descriptor describes bytes.
func descriptor(mediaType string, data []byte) specs.Descriptor {
	return specs.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// document is a manifest or an index. Docker's have the same fields under other media types, and
// which of the two it is, the fields tell.
type document struct {
	MediaType string             `json:"mediaType"`
	Config    *specs.Descriptor  `json:"config"`
	Layers    []specs.Descriptor `json:"layers"`
	Manifests []specs.Descriptor `json:"manifests"`
}

func parseDocument(data []byte) (*document, error) {
	d := new(document)
	if err := json.Unmarshal(data, d); err != nil {
		return nil, malformed("%v", err)
	}
	if (d.Config == nil) == (d.Manifests == nil) {
		return nil, malformed("want a manifest with a config, or an index with manifests")
	}
	return d, nil
}

// mediaType is what the document is.
func (d *document) mediaType() string {
	switch {
	case d.MediaType != "":
		return d.MediaType
	case d.Manifests != nil:
		return specs.MediaTypeImageIndex
	}
	return specs.MediaTypeImageManifest
}

// choose returns the manifest or index for a platform.
func (d *document) choose(p Platform) (specs.Descriptor, error) {
	var fits []specs.Descriptor
	var has []string
	for _, m := range d.Manifests {
		switch {
		case m.Platform == nil:
			fits = append(fits, m)
		case m.Platform.OS == p.OS && m.Platform.Architecture == p.Arch:
			fits = append(fits, m)
		case m.Platform.OS != "unknown": // attestations, which are no images, have that
			has = append(has, Platform{m.Platform.OS, m.Platform.Architecture}.String())
		}
	}
	switch {
	case len(fits) == 1:
		return fits[0], nil
	case len(fits) == 0 && len(has) > 0:
		slices.Sort(has)
		return specs.Descriptor{}, &PlatformError{Want: p, Has: slices.Compact(has)}
	case len(fits) == 0:
		return specs.Descriptor{}, malformed("the index has no manifests")
	}
	// Variants of an architecture, such as those of arm, begin with the one that all processors have.
	if a, b := fits[0].Platform, fits[1].Platform; a != nil && b != nil && a.Variant != b.Variant {
		return fits[0], nil
	}
	return specs.Descriptor{}, malformed("there are %d for %s", len(fits), p)
}

// Opener opens blobs by their digest.
type Opener func(ctx context.Context, d specs.Descriptor) (io.ReadCloser, error)

// In opens blobs of a store.
func In(store cas.Store) Opener {
	return func(ctx context.Context, d specs.Descriptor) (io.ReadCloser, error) {
		want, err := Digest(d)
		if err != nil {
			return nil, err
		}
		return store.Open(ctx, want)
	}
}

// Find reads an image from its manifest or index on.
func Find(ctx context.Context, root specs.Descriptor, p Platform, open Opener) (*Image, error) {
	i := new(Image)
	at := root
	for range maxNesting {
		data, err := i.read(ctx, at, open)
		if err != nil {
			return nil, err
		}
		doc, err := parseDocument(data)
		if err != nil {
			return nil, err
		}
		if doc.Config != nil {
			return i, i.fill(ctx, doc, p, open)
		}
		if at, err = doc.choose(p); err != nil {
			return nil, err
		}
	}
	return nil, malformed("more than %d indexes within each other", maxNesting)
}

// fill reads what a manifest names.
func (i *Image) fill(ctx context.Context, doc *document, p Platform, open Opener) error {
	i.Digest = i.blobs[len(i.blobs)-1]
	text, err := i.read(ctx, *doc.Config, open)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &i.Config); err != nil {
		return malformed("configuration: %v", err)
	}
	if has := (Platform{i.Config.OS, i.Config.Architecture}); has != p && has != (Platform{}) {
		return &PlatformError{Want: p, Has: []string{has.String()}}
	}
	diffs := i.Config.RootFS.DiffIDs
	if len(doc.Layers) != len(diffs) || len(diffs) > maxLayers {
		return malformed("%d layers in the manifest, %d in the configuration; want as many, and at most %d", len(doc.Layers), len(diffs), maxLayers)
	}
	for k, l := range doc.Layers {
		d, err := Digest(l)
		if err != nil {
			return err
		}
		if diffs[k].Validate() != nil || diffs[k].Algorithm() != digest.SHA256 {
			return malformed("want a digest of SHA-256, got %q", diffs[k])
		}
		i.Layers = append(i.Layers, Layer{Blob: d, Diff: diffs[k]})
		i.blobs = append(i.blobs, d)
	}
	return nil
}

// read reads a document.
func (i *Image) read(ctx context.Context, d specs.Descriptor, open Opener) (_ []byte, err error) {
	want, err := Digest(d)
	if err != nil {
		return nil, err
	}
	if d.Size > maxDocument {
		return nil, malformed("a document of %d bytes, more than %d", d.Size, maxDocument)
	}
	in, err := open(ctx, d)
	if err != nil {
		return nil, err
	}
	checked := cas.Verify(in, want, nil)
	defer func() { err = errors.Join(err, checked.Close()) }()
	i.blobs = append(i.blobs, want)
	return io.ReadAll(checked)
}

// version is that of manifests and indexes.
var version = specsversion.Versioned{SchemaVersion: 2}

// The files of a layout, besides blobs.
const (
	layoutFile = specs.ImageLayoutFile
	indexFile  = specs.ImageIndexFile
)

func blobFile(d digest.Digest) string {
	return path.Join(specs.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// Lay makes out, which is empty, the layout of an image whose blobs the store has.
func Lay(ctx context.Context, i *Image, out *cas.Builder, store cas.Store) error {
	root := i.blobs[0]
	text, err := cas.ReadBlob(ctx, store, root)
	if err != nil {
		return err
	}
	doc, err := parseDocument(text)
	if err != nil {
		return err
	}
	index, err := json.Marshal(specs.Index{
		Versioned: version, MediaType: specs.MediaTypeImageIndex,
		Manifests: []specs.Descriptor{{MediaType: doc.mediaType(), Digest: digest.Digest(root.String()), Size: root.Size()}},
	})
	if err != nil {
		return err
	}
	if err := out.PutBytes(ctx, indexFile, append(index, '\n')); err != nil {
		return err
	}
	if err := out.PutBytes(ctx, layoutFile, []byte(`{"imageLayoutVersion":"`+specs.ImageLayoutVersion+"\"}\n")); err != nil {
		return err
	}
	for k, d := range i.blobs {
		if slices.Contains(i.blobs[:k], d) { // a layer twice
			continue
		}
		if err := out.Add(blobFile(digest.Digest(d.String())), d); err != nil {
			return err
		}
	}
	return nil
}

// Open reads the image of a layout in the store.
func Open(ctx context.Context, layout cas.Tree, p Platform) (*Image, error) {
	text, err := layout.ReadFile(ctx, indexFile)
	if err != nil {
		return nil, err
	}
	root, err := rootOf(text)
	if err != nil {
		return nil, err
	}
	return Find(ctx, root, p, func(ctx context.Context, d specs.Descriptor) (io.ReadCloser, error) {
		return layout.Open(ctx, blobFile(d.Digest))
	})
}

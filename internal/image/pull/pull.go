// Package pull reads images from registries.
package pull

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Reference names an image of a registry.
type Reference struct{ name.Reference }

// Parse parses repository:tag or repository@digest, as Docker reads it.
func Parse(reference string) (Reference, error) {
	ref, err := name.ParseReference(reference)
	return Reference{ref}, err
}

// Docker's registry has a name that people write, and one that is asked.
const dockerHub, dockerHubHost = "docker.io", name.DefaultRegistry

// URL is where the repository is: "https://docker.io/library/python".
func (r Reference) URL() string {
	repository := r.Context()
	host := repository.RegistryStr()
	if host == dockerHubHost {
		host = dockerHub
	}
	return repository.Scheme() + "://" + host + "/" + repository.RepositoryStr()
}

// At is the image with the same tag or digest of the repository at another URL.
func (r Reference) At(url string) (Reference, error) {
	scheme, repository, _ := strings.Cut(url, "://")
	separator, options := ":", []name.Option(nil)
	if _, byDigest := r.Reference.(name.Digest); byDigest {
		separator = "@"
	}
	if scheme == "http" {
		options = append(options, name.Insecure)
	}
	ref, err := name.ParseReference(repository+separator+r.Identifier(), options...)
	return Reference{ref}, err
}

// Image is an image of a registry.
type Image struct {
	ref    Reference
	puller *remote.Puller
}

// New returns the image that a reference names. Nothing is asked for yet. Credentials are those that
// Docker and Podman keep for its registry.
func New(ref Reference, agent string) (*Image, error) {
	puller, err := remote.NewPuller(remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent(agent))
	if err != nil {
		return nil, err
	}
	return &Image{ref, puller}, nil
}

// Root describes what the reference names now.
func (i *Image) Root(ctx context.Context) (specs.Descriptor, error) {
	d, err := i.puller.Get(ctx, i.ref)
	if err != nil {
		return specs.Descriptor{}, fmt.Errorf("image %s: %w", i.ref, err)
	}
	return specs.Descriptor{MediaType: string(d.MediaType), Digest: digest.Digest(d.Digest.String()), Size: d.Size}, nil
}

// Open opens a manifest, an index or a blob of the reference's repository.
func (i *Image) Open(ctx context.Context, d specs.Descriptor) (io.ReadCloser, error) {
	at := i.ref.Context().Digest(d.Digest.String())
	if isDocument(d.MediaType) {
		doc, err := i.puller.Get(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", i.ref, err)
		}
		return io.NopCloser(bytes.NewReader(doc.Manifest)), nil
	}
	layer, err := i.puller.Layer(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.ref, err)
	}
	in, err := layer.Compressed() // which is: as it is
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.ref, err)
	}
	return in, nil
}

// Close does nothing: nothing is held.
func (i *Image) Close() error { return nil }

// isDocument tells manifests and indexes, which registries keep apart from blobs. A root that only
// a lock knows has no media type.
func isDocument(mediaType string) bool {
	m := types.MediaType(mediaType)
	return m == "" || m.IsImage() || m.IsIndex()
}

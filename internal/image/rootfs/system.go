package rootfs

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// System is an image whose blobs a store has, as a sandbox takes it: as a folder, or layer by layer.
type System struct {
	cache Cache
	store cas.Store
	image *image.Image
}

// System returns an image, which is unpacked when its folder is asked for.
func (c Cache) System(store cas.Store, i *image.Image) System { return System{c, store, i} }

// Unpack returns the folder of its files: see Cache.Open.
func (s System) Unpack(ctx context.Context) (dir string, release func() error, err error) {
	return s.cache.Open(ctx, s.store, s.image)
}

// Layers are the digests of the layers, not compressed, the lowest first.
func (s System) Layers() []digest.Digest {
	all := make([]digest.Digest, len(s.image.Layers))
	for i, l := range s.image.Layers {
		all[i] = l.Diff
	}
	return all
}

// Open opens the archive of a layer and tells its size. It is as it is kept, compressed with gzip or
// not at all, unless it is kept compressed with Zstandard, which is undone: not every engine knows that.
func (s System) Open(ctx context.Context, layer int) (_ io.ReadCloser, size int64, err error) {
	d := s.image.Layers[layer].Blob
	in, err := openBlob(ctx, s.store, d)
	if err != nil {
		return nil, 0, err
	}
	buffered := bufio.NewReader(in)
	how, err := image.Compression(buffered)
	if err == nil && how != image.Zstandard {
		return reading{buffered, in.Close}, d.Size(), nil
	}
	if err := errors.Join(err, in.Close()); err != nil {
		return nil, 0, err
	}
	if size, err = s.plainSize(ctx, d); err != nil {
		return nil, 0, err
	}
	plain, err := s.openPlain(ctx, d)
	return plain, size, err
}

// openPlain opens a layer, decompressed.
func (s System) openPlain(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	in, err := openBlob(ctx, s.store, d)
	if err != nil {
		return nil, err
	}
	archive, end, err := image.Decompress(in)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return reading{archive, func() error {
		end()
		return in.Close()
	}}, nil
}

func (s System) plainSize(ctx context.Context, d cas.Digest) (size int64, err error) {
	plain, err := s.openPlain(ctx, d)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	return io.Copy(io.Discard, plain)
}

// reading is a reader that is closed with something else.
type reading struct {
	io.Reader
	close func() error
}

func (r reading) Close() error { return r.close() }

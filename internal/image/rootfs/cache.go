package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/unpacked"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Cache is a folder of unpacked images, each under the digest of its manifest.
type Cache struct {
	Dir    string
	Bounds Bounds
	// Folders and Files are made in each image where it lacks them, as absolute paths, for what
	// a sandbox mounts there: an image itself is never written to.
	Folders, Files []string
}

// Open returns the folder of an image, which is unpacked first where it is not there. It stays
// until release is called.
func (c Cache) Open(ctx context.Context, store cas.Store, i *image.Image) (dir string, release func() error, err error) {
	dir, release, err = unpacked.Cache{Dir: c.Dir}.Open(ctx, i.Digest.Hex(), func(dir string) error { return c.unpack(ctx, store, i, dir) })
	if err != nil {
		err = fmt.Errorf("unpack image %s: %w", i.Digest, err)
	}
	return dir, release, err
}

// Has says whether an image is unpacked.
func (c Cache) Has(i *image.Image) bool {
	_, err := os.Stat(filepath.Join(c.Dir, i.Digest.Hex()))
	return err == nil
}

// unpack unpacks an image into an empty folder.
func (c Cache) unpack(ctx context.Context, store cas.Store, i *image.Image, dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	u := NewUnpacker(root, c.Bounds)
	for _, l := range i.Layers {
		if err := layer(ctx, u, store, l, c.Bounds.Bytes); err != nil {
			return fmt.Errorf("layer %s: %w", l.Blob, err)
		}
	}
	for _, name := range c.Folders {
		if err := u.MountPoint(name, true); err != nil {
			return err
		}
	}
	for _, name := range c.Files {
		if err := u.MountPoint(name, false); err != nil {
			return err
		}
	}
	return u.Finish()
}

// DiffError says that a layer is not what the configuration of its image says.
type DiffError struct{ Want, Got digest.Digest }

func (e *DiffError) Error() string {
	return fmt.Sprintf("its archive is %s, and the configuration of the image says %s", e.Got, e.Want)
}

func openBlob(ctx context.Context, store cas.Store, d cas.Digest) (io.ReadCloser, error) {
	in, err := store.Open(ctx, d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &cas.BlobError{Digest: d, Err: cas.ErrLost}
	}
	return in, err
}

// layer unpacks a layer.
func layer(ctx context.Context, u *Unpacker, store cas.Store, l image.Layer, most int64) (err error) {
	in, err := openBlob(ctx, store, l.Blob)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	archive, end, err := image.Decompress(in)
	if err != nil {
		return err
	}
	defer end()
	sum := digest.SHA256.Digester()
	whole := io.TeeReader(&bounded{archive, most}, sum.Hash())
	if err := u.Layer(ctx, whole); err != nil {
		return err
	}
	// What follows the archive, which is padding, is part of the digest.
	if _, err := io.Copy(io.Discard, &cancelled{ctx, whole}); err != nil {
		return err
	}
	if got := sum.Digest(); got != l.Diff {
		return &DiffError{Want: l.Diff, Got: got}
	}
	// And what follows the compressed bytes is part of the blob, which is checked at its end.
	_, err = io.Copy(io.Discard, in)
	return err
}

// bounded ends with an error after so many bytes.
type bounded struct {
	io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &UnsafeError{"", "the layer has more bytes than it may"}
	}
	return n, err
}

// Clean removes the images that nobody uses, and returns how many they are and how many bytes their
// files have. With dry it removes nothing.
func (c Cache) Clean(dry bool) (images int, bytes int64, err error) {
	return unpacked.Cache{Dir: c.Dir}.Clean(dry)
}

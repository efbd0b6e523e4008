package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/flush"
	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Cache is a folder of unpacked images, each under the digest of its manifest. An image is
// unpacked once, and processes that want the same one at once wait for each other.
type Cache struct {
	Dir    string
	Bounds Bounds
	// Folders and Files are made in each image where it lacks them, as absolute paths, for what
	// a sandbox mounts there: an image itself is never written to.
	Folders, Files []string
}

// poll is how often a process that waits looks whether another one is done.
const poll = 100 * time.Millisecond

// Open returns the folder of an image, which is unpacked first where it is not there. It stays
// until release is called.
func (c Cache) Open(ctx context.Context, store cas.Store, i *image.Image) (dir string, release func() error, err error) {
	dir = filepath.Join(c.Dir, i.Digest.Hex())
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return "", nil, fmt.Errorf("unpack image: %w", err)
	}
	lock := flock.New(dir+lockSuffix, flock.SetPermissions(0o666))
	for {
		if _, err := lock.TryRLockContext(ctx, poll); err != nil {
			return "", nil, fmt.Errorf("unpack image: %w", err)
		}
		if _, err := os.Stat(dir); err == nil {
			return dir, lock.Unlock, nil
		}
		if err := errors.Join(lock.Unlock(), c.make(ctx, lock, store, i, dir)); err != nil {
			return "", nil, fmt.Errorf("unpack image %s: %w", i.Digest, err)
		}
	}
}

const (
	lockSuffix = ".lock"
	partSuffix = ".part" // of one that is being unpacked
)

// make unpacks an image, unless another process has.
func (c Cache) make(ctx context.Context, lock *flock.Flock, store cas.Store, i *image.Image, dir string) (err error) {
	if _, err := lock.TryLockContext(ctx, poll); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	part := dir + partSuffix
	if err := os.RemoveAll(part); err != nil { // of a process that was killed
		return err
	}
	if err := os.Mkdir(part, folderMode); err != nil {
		return err
	}
	if err := c.unpack(ctx, store, i, part); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	if err := durable(part); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// durable waits until what was unpacked is on the disk: a folder of the name means a whole image.
func durable(dir string) error {
	if !flush.Whole {
		return nil // images run on Linux
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(flush.FileSystem(d), d.Close())
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
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("clean up images: %w", err)
	}
	for _, e := range entries {
		name, isLock := strings.CutSuffix(e.Name(), lockSuffix)
		if !isLock {
			continue
		}
		size, gone, err := clean(filepath.Join(c.Dir, name), dry)
		if err != nil {
			return images, bytes, fmt.Errorf("clean up images: %w", err)
		}
		if gone {
			images, bytes = images+1, bytes+size
		}
	}
	return images, bytes, nil
}

// clean removes an image, if it is there and nobody uses it.
func clean(dir string, dry bool) (bytes int64, gone bool, err error) {
	lock := flock.New(dir+lockSuffix, flock.SetPermissions(0o666))
	free, err := lock.TryLock()
	if err != nil || !free {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if !dry { // what a killed process left
		if err := os.RemoveAll(dir + partSuffix); err != nil {
			return 0, false, err
		}
	}
	bytes, err = size(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil || dry {
		return bytes, err == nil, err
	}
	// It is renamed first: were this process killed, half an image must not have the name.
	if err := os.Rename(dir, dir+partSuffix); err != nil {
		return 0, false, err
	}
	return bytes, true, os.RemoveAll(dir + partSuffix)
}

// size is how many bytes the files in a folder have.
func size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

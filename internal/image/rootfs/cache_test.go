package rootfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/image/rootfs"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// stored puts an image of an archive into a store, the layer packed as it is to be.
func stored(t *testing.T, archive []byte, packing func([]byte) []byte) (cas.Store, *image.Image) {
	t.Helper()
	store := cas.NewMemory()
	blob, err := store.Put(t.Context(), bytes.NewReader(packing(archive)))
	if err != nil {
		t.Fatal(err)
	}
	return store, &image.Image{Digest: cas.Sum(archive), Layers: []image.Layer{{Blob: blob, Diff: digest.FromBytes(archive)}}}
}

func plain(data []byte) []byte { return data }

func packed(t *testing.T) func([]byte) []byte {
	return func(data []byte) []byte {
		one := imagetest.New(t, "amd64", nil, data)
		for _, blob := range one.Blobs {
			if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
				return blob
			}
		}
		t.Fatal("no layer")
		return nil
	}
}

func zstandard(t *testing.T) func([]byte) []byte {
	return func(data []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.EncodeAll(data, nil)
	}
}

// TestOpen unpacks an image once, whatever its layers are packed with, and for all who want it.
func TestOpen(t *testing.T) {
	archive := imagetest.Layer(t, entry{Name: "a/", Mode: 0o700}, entry{Name: "a/b", Text: "x"})
	for name, packing := range map[string]func([]byte) []byte{"plain": plain, "gzip": packed(t), "zstd": zstandard(t)} {
		t.Run(name, func(t *testing.T) {
			store, i := stored(t, archive, packing)
			c := rootfs.Cache{Dir: filepath.Join(t.TempDir(), "images"), Bounds: few, Folders: []string{"/proc"}, Files: []string{"/etc/hosts"}}
			var wait sync.WaitGroup
			for range 8 {
				wait.Go(func() {
					dir, release, err := c.Open(t.Context(), store, i)
					if err != nil {
						t.Error(err)
						return
					}
					if text, err := os.ReadFile(filepath.Join(dir, "a", "b")); err != nil || string(text) != "x" {
						t.Errorf("got %q, %v", text, err)
					}
					if err := release(); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			dir, release, err := c.Open(t.Context(), cas.NewMemory(), i) // the store is not asked again
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"a": "folder", "a/b": "x", "proc": "folder", "etc": "folder", "etc/hosts": ""}
			if got := show(t, dir); len(got) != len(want) || got["etc/hosts"] != "" || got["proc"] != "folder" {
				t.Errorf("got %v", got)
			}

			// What is in use is not cleaned up.
			if n, _, err := c.Clean(false); n != 0 || err != nil {
				t.Errorf("cleaned up %d, %v", n, err)
			}
			if err := release(); err != nil {
				t.Fatal(err)
			}
			for _, dry := range []bool{true, false} {
				if n, size, err := c.Clean(dry); n != 1 || size != 1 || err != nil {
					t.Errorf("cleaned up %d of %d bytes, %v", n, size, err)
				}
			}
			if n, _, err := c.Clean(false); n != 0 || err != nil {
				t.Errorf("cleaned up %d, %v", n, err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

// TestSystem gives layers away as engines take them: plain, or compressed with gzip.
func TestSystem(t *testing.T) {
	archive := imagetest.Layer(t, entry{Name: "a", Text: strings.Repeat("x", 10_000)})
	for name, packing := range map[string]func([]byte) []byte{"plain": plain, "gzip": packed(t), "zstd": zstandard(t)} {
		store, i := stored(t, archive, packing)
		s := rootfs.Cache{}.System(store, i)
		want := archive
		if name == "gzip" {
			want = packing(archive)
		}
		layer, size, err := s.Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(layer)
		if err := errors.Join(err, layer.Close()); err != nil || size != int64(len(want)) || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d of %d bytes, want %d, %v", name, len(got), size, len(want), err)
		}
		if layers := s.Layers(); len(layers) != 1 || layers[0] != digest.FromBytes(archive) {
			t.Errorf("%s: the layers are %v", name, layers)
		}
		if _, _, err := (rootfs.Cache{}).System(cas.NewMemory(), i).Open(t.Context(), 0); !errors.Is(err, cas.ErrLost) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestOpenFails leaves nothing under the image's name.
func TestOpenFails(t *testing.T) {
	archive := imagetest.Layer(t, entry{Name: "a", Text: strings.Repeat("x", 2000)})
	for name, test := range map[string]struct {
		change func(store cas.Store, i *image.Image)
		bounds rootfs.Bounds
		want   string
	}{
		"other content": {func(_ cas.Store, i *image.Image) { i.Layers[0].Diff = digest.FromString("x") }, few, "the configuration of the image says"},
		"lost":          {func(_ cas.Store, i *image.Image) { i.Layers[0].Blob = cas.Sum([]byte("x")) }, few, "not in the store"},
		"too large":     {func(cas.Store, *image.Image) {}, rootfs.Bounds{Bytes: 1000, Entries: 10}, "more bytes than it may"},
		"no archive": {func(s cas.Store, i *image.Image) {
			text := bytes.Repeat([]byte("no archive "), 100)
			d, err := s.Put(t.Context(), bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			i.Layers[0] = image.Layer{Blob: d, Diff: digest.FromBytes(text)}
		}, few, "tar"},
	} {
		store, i := stored(t, archive, plain)
		test.change(store, i)
		c := rootfs.Cache{Dir: t.TempDir(), Bounds: test.bounds}
		if _, _, err := c.Open(t.Context(), store, i); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if left, err := filepath.Glob(filepath.Join(c.Dir, i.Digest.Hex()+"*")); err != nil || len(left) != 1 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

// TestKilled unpacks anew what a killed process has left half done.
func TestKilled(t *testing.T) {
	store, i := stored(t, imagetest.Layer(t, entry{Name: "a", Text: "x"}), plain)
	c := rootfs.Cache{Dir: t.TempDir(), Bounds: few}
	if err := os.MkdirAll(filepath.Join(c.Dir, i.Digest.Hex()+".part", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, release, err := c.Open(t.Context(), store, i)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	if got := show(t, dir); len(got) != 1 || got["a"] != "x" {
		t.Errorf("got %v", got)
	}
}

// TestWhole goes the way of an image from its blobs to its files.
func TestWhole(t *testing.T) {
	made := imagetest.New(t, "amd64", nil, imagetest.Layer(t, entry{Name: "a", Text: "1"}, entry{Name: "b", Text: "1"}), imagetest.Layer(t, entry{Name: ".wh.a"}, entry{Name: "b", Text: "2"}))
	store := cas.NewMemory()
	for _, data := range made.Blobs {
		if _, err := store.Put(t.Context(), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := image.Find(t.Context(), made.Root, image.Platform{OS: "linux", Arch: "amd64"}, func(_ context.Context, d specs.Descriptor) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(made.Blobs[d.Digest])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dir, release, err := (rootfs.Cache{Dir: t.TempDir(), Bounds: few}).Open(t.Context(), store, found)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	if got := show(t, dir); len(got) != 1 || got["b"] != "2" {
		t.Errorf("got %v", got)
	}
}

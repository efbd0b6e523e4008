package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/stages/cas"
)

var amd64 = image.Platform{OS: "linux", Arch: "amd64"}

// sample has two layers.
func sample(t *testing.T, arch string) *imagetest.Image {
	t.Helper()
	return imagetest.New(t, arch, []string{"PATH=/bin"},
		imagetest.Layer(t, imagetest.Entry{Name: "a", Text: arch}), imagetest.Layer(t, imagetest.Entry{Name: "b", Text: "b"}))
}

// find reads an image of a source as a stage does.
func find(t *testing.T, source image.Source, p image.Platform) (*image.Image, error) {
	t.Helper()
	root, err := source.Root(t.Context())
	if err != nil {
		return nil, err
	}
	return image.Find(t.Context(), root, p, source.Open)
}

// tarball packs a folder.
func tarball(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, name string) *image.Local {
	t.Helper()
	l, err := image.OpenLocal(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestLocal reads layouts, as folders and as tarballs: of one image, of one with an index, and of
// several, for as many platforms.
func TestLocal(t *testing.T) {
	one, other := sample(t, "amd64"), sample(t, "arm64")
	for name, images := range map[string][]*imagetest.Image{
		"one":     {one},
		"index":   {imagetest.Index(t, map[string]*imagetest.Image{"amd64": one, "arm64": other})},
		"several": {imagetest.Index(t, map[string]*imagetest.Image{"arm64": other}), one},
	} {
		dir := t.TempDir()
		imagetest.Layout(t, dir, images...)
		if name == "several" { // what has no platform could be for any
			continue
		}
		for _, place := range []string{dir, tarball(t, dir)} {
			l := open(t, place)
			root, err := l.Root(t.Context())
			if err != nil || root.Digest != images[0].Root.Digest || root.Size != images[0].Root.Size {
				t.Errorf("%s: got %v, %v, want %v", name, root, err, images[0].Root)
			}
			found, err := find(t, l, amd64)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if found.Digest.String() != one.Root.Digest.String() || len(found.Layers) != 2 || found.Config.Config.Env[0] != "PATH=/bin" {
				t.Errorf("%s: got %+v", name, found)
			}
			if want := map[string]int{"one": 4, "index": 5}[name]; len(found.Blobs()) != want {
				t.Errorf("%s has %d blobs, want %d", name, len(found.Blobs()), want)
			}
			var e *image.PlatformError
			if _, err := find(t, l, image.Platform{OS: "linux", Arch: "s390x"}); !errors.As(err, &e) {
				t.Errorf("%s for another platform: %v", name, err)
			}
		}
	}
}

// TestSeveral tells images of a layout apart by platform, and refuses where that is no help.
func TestSeveral(t *testing.T) {
	one, other := sample(t, "amd64"), sample(t, "arm64")
	one.Root.Platform, other.Root.Platform = &specs.Platform{OS: "linux", Architecture: "amd64"}, &specs.Platform{OS: "linux", Architecture: "arm64"}
	dir := t.TempDir()
	imagetest.Layout(t, dir, other, one)
	if found, err := find(t, open(t, dir), amd64); err != nil || found.Digest.String() != one.Root.Digest.String() {
		t.Errorf("got %+v, %v", found, err)
	}
	second := imagetest.New(t, "amd64", nil)
	second.Root.Platform = one.Root.Platform
	dir = t.TempDir()
	imagetest.Layout(t, dir, one, second)
	if _, err := find(t, open(t, dir), amd64); err == nil || !strings.Contains(err.Error(), "there are 2 for linux/amd64") {
		t.Errorf("got %v", err)
	}
}

// TestDocker reads a tarball as docker save wrote it: layers that are not compressed, one of them
// twice, as a link.
func TestDocker(t *testing.T) {
	layer := imagetest.Layer(t, imagetest.Entry{Name: "a", Text: "x"})
	config, err := json.Marshal(specs.Image{
		Platform: specs.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   specs.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer), digest.FromBytes(layer)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "docker.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, e := range []imagetest.Entry{
		{Name: "c.json", Text: string(config)}, {Name: "1/layer.tar", Text: string(layer)},
		{Name: "2/layer.tar", Link: "../1/layer.tar", Type: tar.TypeSymlink},
		{Name: "manifest.json", Text: `[{"Config":"c.json","RepoTags":["x:1"],"Layers":["1/layer.tar","2/layer.tar"]}]`},
	} {
		h := &tar.Header{Name: e.Name, Typeflag: e.Type, Linkname: e.Link, Size: int64(len(e.Text)), Mode: 0o644}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.Text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	found, err := find(t, open(t, name), amd64)
	if err != nil || len(found.Layers) != 2 || found.Layers[0].Blob != cas.Sum(layer) {
		t.Fatalf("got %+v, %v", found, err)
	}
	// Whoever opens it anew reads the manifest that was made before.
	in, err := open(t, name).Open(t.Context(), specs.Descriptor{Digest: digest.Digest(found.Digest.String())})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err != nil || cas.Sum(text) != found.Digest {
		t.Errorf("got %s, %v", text, err)
	}
}

// TestLay keeps an image in a store as a layout, and reads it back.
func TestLay(t *testing.T) {
	i := imagetest.Index(t, map[string]*imagetest.Image{"amd64": sample(t, "amd64"), "arm64": sample(t, "arm64")})
	store := cas.NewMemory()
	for _, data := range i.Blobs {
		if _, err := store.Put(t.Context(), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	fromMemory := func(_ context.Context, d specs.Descriptor) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(i.Blobs[d.Digest])), nil
	}
	found, err := image.Find(t.Context(), i.Root, amd64, fromMemory)
	if err != nil {
		t.Fatal(err)
	}
	out := cas.NewBuilder(store)
	if err := image.Lay(t.Context(), found, out, store); err != nil {
		t.Fatal(err)
	}
	tree, err := out.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := image.Open(t.Context(), tree, amd64)
	if err != nil || again.Digest != found.Digest || len(again.Layers) != 2 {
		t.Errorf("got %+v, %v", again, err)
	}
	if _, err := image.Open(t.Context(), tree, image.Platform{OS: "linux", Arch: "arm64"}); err == nil {
		t.Error("the layout has a manifest of another platform")
	}
}

// TestHostile refuses what is no image, and what would take too much.
func TestHostile(t *testing.T) {
	one := sample(t, "amd64")
	layout := func(change func(files map[string]string)) string {
		dir := t.TempDir()
		imagetest.Layout(t, dir, one)
		files := map[string]string{}
		change(files)
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	manifest := "blobs/sha256/" + one.Root.Digest.Encoded()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(files map[string]string)
		want   string
	}{
		"no JSON":      {func(f map[string]string) { f["index.json"] = "{" }, "not an image"},
		"no manifests": {func(f map[string]string) { f["index.json"] = `{"manifests":[]}` }, "no manifests"},
		"neither":      {func(f map[string]string) { f["index.json"] = `{}` }, "want a manifest with a config"},
		"SHA-512": {func(f map[string]string) {
			f["index.json"] = `{"manifests":[{"digest":"sha512:` + strings.Repeat("a", 128) + `"}]}`
		}, "SHA-256"},
		"a path":      {func(f map[string]string) { f["index.json"] = `{"manifests":[{"digest":"sha256:../../x"}]}` }, "SHA-256"},
		"large index": {func(f map[string]string) { f["index.json"] = strings.Repeat(" ", 5<<20) }, "more than 4194304 bytes"},
		"large manifest": {func(f map[string]string) {
			f["index.json"] = strings.Replace(`{"manifests":[{"size":5000000,"digest":"D"}]}`, "D", one.Root.Digest.String(), 1)
		}, "more than 4194304"},
		"changed manifest": {func(f map[string]string) { f[manifest] = strings.Repeat("x", int(one.Root.Size)) }, "does not match its digest"},
		"cut manifest":     {func(f map[string]string) { f[manifest] = "{" }, "does not match its digest"},
	} {
		l := open(t, layout(test.change))
		if _, err := find(t, l, amd64); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, text := range map[string]string{"compressed": packed.String(), "text": strings.Repeat("text", 1000)} {
		file := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var e *image.FormatError
		if _, err := image.OpenLocal(file); !errors.As(err, &e) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := image.OpenLocal(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// FuzzFind reads documents of any kind.
func FuzzFind(f *testing.F) {
	one := imagetest.New(f, "amd64", nil, imagetest.Layer(f))
	for _, data := range one.Blobs {
		f.Add(data)
	}
	f.Add(imagetest.Index(f, map[string]*imagetest.Image{"amd64": one}).Blobs[one.Root.Digest])
	f.Fuzz(func(t *testing.T, data []byte) {
		root := specs.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
		found, err := image.Find(t.Context(), root, amd64, func(_ context.Context, d specs.Descriptor) (io.ReadCloser, error) {
			if d.Digest == root.Digest {
				return io.NopCloser(bytes.NewReader(data)), nil
			}
			if text, ok := one.Blobs[d.Digest]; ok {
				return io.NopCloser(bytes.NewReader(text)), nil
			}
			return nil, fs.ErrNotExist
		})
		if err == nil && len(found.Layers) != len(found.Config.RootFS.DiffIDs) {
			t.Errorf("got %+v", found)
		}
	})
}

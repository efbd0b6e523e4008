// Package imagetest makes images for tests.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	specsversion "github.com/opencontainers/image-spec/specs-go"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entry is an entry of a layer: a file with Text, unless Type says that it is something else.
type Entry struct {
	Name, Text, Link string
	Type             byte  // as package tar has it; 0 for a file, or a folder when the name ends with a slash
	Mode             int64 // 0 for 0644, or 0755 of folders
}

// Time is the time of all entries.
var Time = time.Unix(1_600_000_000, 0)

// Layer makes the archive of a layer.
func Layer(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.Name, Typeflag: e.Type, Linkname: e.Link, Mode: e.Mode, ModTime: Time, Format: tar.FormatPAX}
		if e.Type == 0 {
			h.Typeflag = tar.TypeReg
			if e.Name != "" && e.Name[len(e.Name)-1] == '/' {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			h.Mode = map[bool]int64{true: 0o755, false: 0o644}[h.Typeflag == tar.TypeDir]
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.Text))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(e.Text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Image is an image in memory.
type Image struct {
	Root   specs.Descriptor // of its manifest, or of an index
	Blobs  map[digest.Digest][]byte
	layers []specs.Descriptor
	config specs.Descriptor
}

// add keeps a blob.
func (i *Image) add(mediaType string, data []byte) specs.Descriptor {
	d := specs.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	i.Blobs[d.Digest] = data
	return d
}

func (i *Image) addJSON(t testing.TB, mediaType string, v any) specs.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return i.add(mediaType, data)
}

var version = specsversion.Versioned{SchemaVersion: 2}

// New makes an image for an architecture, of archives that are compressed with gzip.
func New(t testing.TB, arch string, env []string, layers ...[]byte) *Image {
	t.Helper()
	i := &Image{Blobs: map[digest.Digest][]byte{}}
	config := specs.Image{Platform: specs.Platform{OS: "linux", Architecture: arch}, Config: specs.ImageConfig{Env: env}, RootFS: specs.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	for _, archive := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(archive))
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(archive); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		i.layers = append(i.layers, i.add(specs.MediaTypeImageLayerGzip, packed.Bytes()))
	}
	i.config = i.addJSON(t, specs.MediaTypeImageConfig, config)
	i.Root = i.addJSON(t, specs.MediaTypeImageManifest, specs.Manifest{Versioned: version, MediaType: specs.MediaTypeImageManifest, Config: i.config, Layers: i.layers})
	return i
}

// Index makes an index of images by their architectures.
func Index(t testing.TB, images map[string]*Image) *Image {
	t.Helper()
	all := &Image{Blobs: map[digest.Digest][]byte{}}
	index := specs.Index{Versioned: version, MediaType: specs.MediaTypeImageIndex}
	for _, arch := range []string{"amd64", "arm64", "s390x"} {
		one, ok := images[arch]
		if !ok {
			continue
		}
		for d, data := range one.Blobs {
			all.Blobs[d] = data
		}
		m := one.Root
		m.Platform = &specs.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, m)
	}
	all.Root = all.addJSON(t, index.MediaType, index)
	return all
}

// Layout writes images as an OCI layout into a folder.
func Layout(t testing.TB, dir string, images ...*Image) {
	t.Helper()
	index := specs.Index{Versioned: version, MediaType: specs.MediaTypeImageIndex}
	blobs := map[digest.Digest][]byte{}
	for _, i := range images {
		index.Manifests = append(index.Manifests, i.Root)
		maps.Copy(blobs, i.Blobs)
	}
	if err := write(dir, index, blobs); err != nil {
		t.Fatal(err)
	}
}

// write writes the files of a layout.
func write(dir string, index specs.Index, blobs map[digest.Digest][]byte) error {
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	files := map[string][]byte{specs.ImageLayoutFile: []byte(`{"imageLayoutVersion":"1.0.0"}`), specs.ImageIndexFile: text}
	for d, data := range blobs {
		files[filepath.Join("blobs", "sha256", d.Encoded())] = data
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// LayoutOf writes a layout of an image of one layer, an archive that may be large.
func LayoutOf(dir, arch, archive string) (err error) {
	i := &Image{Blobs: map[digest.Digest][]byte{}}
	if err := write(dir, specs.Index{}, nil); err != nil {
		return err
	}
	layer, err := copyBlob(filepath.Join(dir, "blobs", "sha256"), archive)
	if err != nil {
		return err
	}
	config, err := json.Marshal(specs.Image{
		Platform: specs.Platform{OS: "linux", Architecture: arch}, RootFS: specs.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(specs.Manifest{
		Versioned: version, MediaType: specs.MediaTypeImageManifest, Config: i.add(specs.MediaTypeImageConfig, config), Layers: []specs.Descriptor{layer},
	})
	if err != nil {
		return err
	}
	root := i.add(specs.MediaTypeImageManifest, manifest)
	return write(dir, specs.Index{Versioned: version, MediaType: specs.MediaTypeImageIndex, Manifests: []specs.Descriptor{root}}, i.Blobs)
}

// copyBlob copies a file into a folder of blobs.
func copyBlob(dir, file string) (_ specs.Descriptor, err error) {
	in, err := os.Open(file)
	if err != nil {
		return specs.Descriptor{}, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.CreateTemp(dir, "blob-*")
	if err != nil {
		return specs.Descriptor{}, err
	}
	sum := digest.SHA256.Digester()
	n, err := io.Copy(io.MultiWriter(out, sum.Hash()), in)
	if err := errors.Join(err, out.Close()); err != nil {
		return specs.Descriptor{}, err
	}
	d := specs.Descriptor{MediaType: specs.MediaTypeImageLayer, Digest: sum.Digest(), Size: n}
	return d, os.Rename(out.Name(), filepath.Join(dir, d.Digest.Encoded()))
}

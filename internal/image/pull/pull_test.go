package pull_test

import (
	"io"
	"log" //nolint:depguard // the registry of the tests wants one
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/image/pull"
)

// serve runs a registry with an image at tools:1, and returns its host.
func serve(t *testing.T, made *imagetest.Image) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	imagetest.Layout(t, dir, made)
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/tools:1")
	if err != nil {
		t.Fatal(err)
	}
	index, err := all.ImageIndex(list.Manifests[0].Digest)
	if err == nil {
		err = remote.WriteIndex(ref, index)
	}
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// TestPull reads an image for several platforms by its tag and by its digest.
func TestPull(t *testing.T) {
	layer := imagetest.Layer(t, imagetest.Entry{Name: "a", Text: "x"})
	made := imagetest.Index(t, map[string]*imagetest.Image{"amd64": imagetest.New(t, "amd64", nil, layer), "arm64": imagetest.New(t, "arm64", nil, layer)})
	host := serve(t, made)
	for _, reference := range []string{host + "/tools:1", host + "/tools@" + made.Root.Digest.String()} {
		i := open(t, reference)
		root, err := i.Root(t.Context())
		if err != nil || root.Digest != made.Root.Digest || root.Size != made.Root.Size {
			t.Fatalf("got %v, %v", root, err)
		}
		root.MediaType = "" // as a lock knows it
		found, err := image.Find(t.Context(), root, image.Platform{OS: "linux", Arch: "amd64"}, i.Open)
		if err != nil {
			t.Fatal(err)
		}
		d := made.Root
		d.MediaType, d.Digest = "application/vnd.oci.image.layer.v1.tar+gzip", ""
		for sum, data := range made.Blobs {
			if sum.String() == found.Layers[0].Blob.String() {
				d.Digest, d.Size = sum, int64(len(data))
			}
		}
		in, err := i.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil || string(text) != string(made.Blobs[d.Digest]) {
			t.Errorf("got %d bytes, %v", len(text), err)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, reference := range []string{host + "/tools:2", host + "/none:1"} {
		i := open(t, reference)
		if _, err := i.Root(t.Context()); err == nil || !strings.Contains(err.Error(), reference) {
			t.Errorf("%s: got %v", reference, err)
		}
	}
	if _, err := pull.Parse("Upper/Case:1"); err == nil {
		t.Error("a name that no repository can have is taken")
	}
}

// open opens the image that a reference names.
func open(t *testing.T, reference string) *pull.Image {
	t.Helper()
	ref, err := pull.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	i, err := pull.New(ref, "test")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestElsewhere says where repositories are, and what they are called at another place.
func TestElsewhere(t *testing.T) {
	sum := "@sha256:" + strings.Repeat("0", 64)
	for _, test := range []struct{ reference, url, at, want string }{
		{"python:3.12", "https://docker.io/library/python", "https://mirror.example.com/hub/library/python", "mirror.example.com/hub/library/python:3.12"},
		{"python" + sum, "https://docker.io/library/python", "https://a.example/python", "a.example/python" + sum},
		{"ghcr.io/a/b:1", "https://ghcr.io/a/b", "http://mirror.example.com/a/b", "mirror.example.com/a/b:1"},
		{"127.0.0.1:5000/tools:1", "http://127.0.0.1:5000/tools", "https://c.example/tools", "c.example/tools:1"},
	} {
		ref, err := pull.Parse(test.reference)
		if err != nil {
			t.Fatal(err)
		}
		if ref.URL() != test.url {
			t.Errorf("%s is at %s, want %s", test.reference, ref.URL(), test.url)
		}
		moved, err := ref.At(test.at)
		if err != nil || moved.Name() != test.want || moved.Context().Scheme() != strings.Split(test.at, ":")[0] {
			t.Errorf("%s at %s is %v (%s), %v", test.reference, test.at, moved, moved.Context().Scheme(), err)
		}
	}
	ref, err := pull.Parse("python:3")
	if err != nil {
		t.Fatal(err)
	}
	if moved, err := ref.At("https://mirror.example.com/Upper"); err == nil {
		t.Errorf("%v is taken", moved)
	}
}

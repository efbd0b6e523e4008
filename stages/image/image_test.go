package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/stages/cas"
	imagestage "github.com/sandwich-build/sandwich/stages/image"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

var amd64 = image.Platform{OS: "linux", Arch: "amd64"}

// source is an image in memory.
type source struct {
	*imagetest.Image
	closed *bool
}

func (s source) Root(context.Context) (specs.Descriptor, error) { return s.Image.Root, nil }

func (s source) Open(_ context.Context, d specs.Descriptor) (io.ReadCloser, error) {
	data, ok := s.Blobs[d.Digest]
	if !ok {
		return nil, errors.New("not there")
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (s source) Close() error {
	*s.closed = true
	return nil
}

// sample is for two platforms, and has two layers.
func sample(t *testing.T) *imagetest.Image {
	t.Helper()
	one := imagetest.New(t, "amd64", []string{"PATH=/bin"}, imagetest.Layer(t, imagetest.Entry{Name: "a", Text: "x"}), imagetest.Layer(t, imagetest.Entry{Name: "b", Text: "y"}))
	return imagetest.Index(t, map[string]*imagetest.Image{"amd64": one, "arm64": imagetest.New(t, "arm64", nil, imagetest.Layer(t))})
}

func kind(t *testing.T, made *imagetest.Image) (imagestage.Kind, *bool) {
	t.Helper()
	closed := new(bool)
	root, err := image.Digest(made.Root)
	if err != nil {
		t.Fatal(err)
	}
	return imagestage.New(root, amd64, func(context.Context) (image.Source, error) { return source{made, closed}, nil }), closed
}

func TestSuite(t *testing.T) {
	k, _ := kind(t, sample(t))
	stagetest.Suite(t, cas.NewMemory(), k, nil, stagetest.Golden{Version: 1})
}

// TestFetch takes what the store lacks from the source, and nothing where it lacks nothing.
func TestFetch(t *testing.T) {
	made := sample(t)
	store := cas.NewMemory()
	k, closed := kind(t, made)
	tree, result := stagetest.Run(t, store, k, nil)
	if !*closed || result.Counters["layers"] != 2 {
		t.Errorf("closed is %v, counters are %v", *closed, result.Counters)
	}
	found, err := image.Open(t.Context(), tree, amd64)
	if err != nil || len(found.Layers) != 2 {
		t.Fatalf("got %+v, %v", found, err)
	}
	offline := imagestage.New(found.Blobs()[0], amd64, func(context.Context) (image.Source, error) {
		return nil, errors.New("there is no network")
	})
	again, _ := stagetest.Run(t, store, offline, nil)
	if again.ID() != tree.ID() {
		t.Errorf("got %v, want %v", again.ID(), tree.ID())
	}
	if err := stagetest.Fails(t, cas.NewMemory(), offline, nil); !strings.Contains(err.Error(), "no network") {
		t.Errorf("got %v", err)
	}
}

// TestWrongBytes refuses what is not what its digest says.
func TestWrongBytes(t *testing.T) {
	made := sample(t)
	for d, data := range made.Blobs {
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			wrong := bytes.Clone(data)
			wrong[len(wrong)-1] ^= 1
			made.Blobs[d] = wrong
		}
	}
	k, _ := kind(t, made)
	var e *cas.BlobError
	if err := stagetest.Fails(t, cas.NewMemory(), k, nil); !errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}

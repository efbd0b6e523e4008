package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // the registry of the tests wants one
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/conda/condatest"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/sandbox/enginetest"
)

// images are images for scripts: the layouts $IMAGES/one and $IMAGES/two, which have the program
// of testdata/imageprogram, $IMAGES/tool, and a file that tells them apart, and a registry at $IMAGE_REGISTRY that
// has the first as tools:1.
type images struct {
	dir, host string
	closed    atomic.Bool // the registry refuses everything
}

// makeImages makes them. Images run on Linux.
func makeImages(t *testing.T) *images {
	t.Helper()
	i := &images{dir: t.TempDir()}
	if runtime.GOOS != "linux" || testing.Short() {
		return i
	}
	program := filepath.Join(i.dir, "tool")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/imageprogram")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // no race detector
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	base := imagetest.Layer(t, imagetest.Entry{Name: "usr/bin/tool", Text: string(text), Mode: 0o755}, imagetest.Entry{Name: "etc/version", Text: "nothing"})
	for _, version := range []string{"one", "two"} {
		made := imagetest.New(t, runtime.GOARCH, []string{"PATH=/usr/bin", "FLAVOUR=" + version}, base, imagetest.Layer(t, imagetest.Entry{Name: "etc/version", Text: version}))
		imagetest.Layout(t, filepath.Join(i.dir, version), made)
	}
	i.host = i.start(t)
	if err := i.tag("one"); err != nil {
		t.Fatal(err)
	}
	return i
}

// start starts the registry.
func (i *images) start(t *testing.T) string {
	t.Helper()
	all := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.closed.Load() {
			http.Error(w, "closed", http.StatusForbidden)
			return
		}
		all.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// tag makes tools:1 one of the images.
func (i *images) tag(version string) error {
	all, err := layout.ImageIndexFromPath(filepath.Join(i.dir, version))
	if err != nil {
		return err
	}
	list, err := all.IndexManifest()
	if err != nil {
		return err
	}
	image, err := all.Image(list.Manifests[0].Digest)
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(i.host + "/tools:1")
	if err != nil {
		return err
	}
	return remote.Write(ref, image)
}

// serve changes the registry: images two lets it have the other image as tools:1, images closed
// lets it refuse everything.
func (i *images) serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: images one|two|closed")
	}
	i.closed.Store(args[0] == "closed")
	if args[0] != "closed" {
		ts.Check(i.tag(args[0]))
	}
}

// condition knows torch, whether there is a system with PyTorch; podman, whether that builds images;
// docker, whether the command engines starts its daemon; pip, whether there is a Python that can resolve requirements;
// and rattler, whether there is one that resolves environments. CI has all of them.
func condition(name string) (has bool, err error) {
	var lacks string
	switch name {
	case "podman":
		_, err := exec.LookPath(name)
		has, lacks = err == nil, "there is no podman"
	case "docker":
		_, err := exec.LookPath("dockerd")
		has, lacks = err == nil && os.Geteuid() == 0, "there is no dockerd, or this is not root"
	case "torch":
		has, lacks = os.Getenv("SANDWICH_TORCH") != "", "SANDWICH_TORCH names no tarball of a system with PyTorch"
	case "pip":
		has, lacks = exec.CommandContext(context.Background(), "python3", "-m", "pip", "--version").Run() == nil, "there is no python3 with pip"
	case "rattler":
		has, lacks = condatest.FindRattler() != "", "there is no Python with py-rattler; SANDWICH_RATTLER names one"
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
	if !has && os.Getenv("CI") != "" {
		return false, errors.New(lacks)
	}
	return has, nil
}

// torchImage makes a layout of the tarball that SANDWICH_TORCH names: torchimage folder.
func torchImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: torchimage folder")
	}
	ts.Check(imagetest.LayoutOf(ts.MkAbs(args[0]), runtime.GOARCH, os.Getenv("SANDWICH_TORCH")))
}

// engines gives the script a Docker and a Podman of its own.
func engines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: engines")
	}
	vars, stop, err := enginetest.Start(context.Background())
	ts.Check(err)
	ts.Defer(func() { ts.Check(stop()) })
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		ts.Setenv(name, value)
	}
}

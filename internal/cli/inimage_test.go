package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// unpacked is an unpacked image.
type unpacked string

func (f unpacked) Unpack(context.Context) (string, func() error, error) {
	return string(f), func() error { return nil }, nil
}

func (unpacked) Layers() []digest.Digest { return nil }

func (unpacked) Open(context.Context, int) (io.ReadCloser, int64, error) {
	return nil, 0, errors.ErrUnsupported
}

// TestBuildInImage builds an example as a program of this machine, in an image that has this program and
// nothing else, and in one of a Debian: built-in stages, which run in no image, read nothing of a system,
// and the package is the same.
func TestBuildInImage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an example several times")
	}
	runner, why, err := sandbox.For(t.Context(), "", sandbox.Need{})
	if err != nil || why != "" {
		t.Skipf("nothing here runs an image: %v %s", err, why)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "program", "sandwich")
	compile := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/sandwich")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // no race detector
	if said, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	images := map[string]string{"nothing": filepath.Join(dir, "nothing")}
	if tarball := os.Getenv("SANDWICH_TORCH"); tarball != "" {
		images["debian"] = filepath.Join(dir, "debian")
	}
	for name, root := range images {
		points, files := sandbox.MountPoints()
		for _, point := range append(points, "/program", "/example", "/cache", "/tmp", "/etc") {
			if err := os.MkdirAll(filepath.Join(root, point), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if name == "debian" {
			unpack := exec.CommandContext(t.Context(), "tar", "-xf", os.Getenv("SANDWICH_TORCH"), "-C", root, "--exclude=./usr/lib/*", "--exclude=./usr/share/*", "--exclude=./dev/*")
			if said, err := unpack.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
		}
		for _, file := range files {
			if err := os.WriteFile(filepath.Join(root, file), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	// run builds a copy of the example, in an image or not, and returns the package that it came to.
	run := func(name string, build func(example, cache string, out io.Writer) error) string {
		example, cache := filepath.Join(dir, name+".example"), filepath.Join(dir, name+".cache")
		if err := errors.Join(os.CopyFS(example, os.DirFS("../../examples/quickstart")), os.Mkdir(cache, 0o777)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := build(example, cache, &out); err != nil {
			t.Fatalf("%s: %v: %s", name, err, &out)
		}
		lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
		var last struct{ Answer struct{ Package string } }
		if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.Answer.Package == "" {
			t.Fatalf("%s: %v: %s", name, err, lines[len(lines)-1])
		}
		return last.Answer.Package
	}
	args := []string{"build", "--locked", "--json", "-S", "model.epochs=2"}
	want := run("here", func(example, cache string, out io.Writer) error {
		cmd := exec.CommandContext(t.Context(), program, append(args, filepath.Join(example, "manifest.yaml"))...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "SANDWICH_CACHE="+cache), out, os.Stderr
		return cmd.Run()
	})
	for name, root := range images {
		got := run(name, func(example, cache string, out io.Writer) error {
			tmp := filepath.Join(dir, name+".tmp")
			if err := os.Mkdir(tmp, 0o777); err != nil {
				return err
			}
			return runner.Run(t.Context(), sandbox.Process{
				Image: unpacked(root), Args: append(append([]string{"/program/sandwich"}, args...), "/example/manifest.yaml"), Dir: "/", Env: []string{"SANDWICH_CACHE=/cache", "HOME=/tmp"},
				Mounts: []sandbox.Mount{
					{From: filepath.Dir(program), To: "/program"}, {From: example, To: "/example", Writable: true},
					{From: cache, To: "/cache", Writable: true}, {From: tmp, To: "/tmp", Writable: true},
				},
				Stdout: out, Stderr: os.Stderr,
			})
		})
		if got != want {
			t.Errorf("in the image %s the package is %s, want %s", name, got, want)
		}
	}
}

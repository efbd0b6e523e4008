package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// bare is an image with nothing but its mount points, and libraries that no program can use.
type bare string

func makeBare(t *testing.T) bare {
	t.Helper()
	root := t.TempDir()
	folders, files := sandbox.MountPoints()
	for _, name := range append(folders, "sandwich", "tmp", "etc", "lib64", "lib/x86_64-linux-gnu") {
		if err := os.MkdirAll(filepath.Join(root, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range append(files, "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6", "etc/ld.so.cache") {
		if err := os.WriteFile(filepath.Join(root, name), []byte("nonsense"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return bare(root)
}

func (b bare) Unpack(context.Context) (string, func() error, error) {
	return string(b), func() error { return nil }, nil
}

func (bare) Layers() []digest.Digest { return nil }

func (bare) Open(context.Context, int) (io.ReadCloser, int64, error) {
	return nil, 0, errors.ErrUnsupported
}

// TestCarry runs a static program and one that is linked dynamically in an image that has nothing of use.
func TestCarry(t *testing.T) {
	image := makeBare(t)
	sources := t.TempDir()
	main := filepath.Join(sources, "main.go")
	if err := os.WriteFile(main, []byte("package main\nimport (\"fmt\"; \"net\"; \"os\")\nfunc main() { fmt.Println(net.ParseIP(\"::1\"), os.Args[1:]) }\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, cgo := range map[string]string{"static": "0", "dynamic": "1"} {
		program := filepath.Join(sources, name)
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, main)
		build.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOFLAGS=")
		if said, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		for _, r := range runners(t) {
			if slices.Contains([]string{"docker"}, r.Name()) {
				continue // it takes images by their layers
			}
			t.Run(name+" "+r.Name(), func(t *testing.T) {
				carried, err := sandbox.Carry(program, t.TempDir(), "/sandwich/program")
				if err != nil {
					t.Fatal(err)
				}
				if linked := len(carried.Mounts) > 2; linked != (name == "dynamic") {
					t.Errorf("it carries %v", carried.Mounts)
				}
				var said bytes.Buffer
				err = r.Run(t.Context(), sandbox.Process{
					Image: image, Args: append(carried.Args, "a", "b c"), Dir: "/sandwich", Mounts: carried.Mounts, Stdout: &said, Stderr: &said,
				})
				if err != nil || strings.TrimSpace(said.String()) != "::1 [a b c]" {
					t.Errorf("it says %q, %v", &said, err)
				}
			})
		}
	}
}

func TestCarryRefuses(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.Carry(script, t.TempDir(), "/sandwich/program"); !errors.Is(err, sandbox.ErrForeign) {
		t.Errorf("a script: %v", err)
	}
	if _, err := sandbox.Carry(filepath.Join(script, "none"), t.TempDir(), "/sandwich/program"); err == nil || errors.Is(err, sandbox.ErrForeign) {
		t.Errorf("nothing: %v", err)
	}
	// A program of this machine with libraries that do not lie beside its loader.
	if program, err := exec.LookPath("git"); err == nil && runtime.GOOS == "linux" {
		if _, err := sandbox.Carry(program, t.TempDir(), "/sandwich/program"); err != nil && !strings.Contains(err.Error(), "the library ") {
			t.Errorf("git: %v", err)
		}
	}
}

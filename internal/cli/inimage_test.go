package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// notInside are the stages that do not run within the image: the one that brings it. What pack leaves tells of
// the environment, which the image is a part of.
var notInside = []string{pipeline.Image, pipeline.Pack}

// TestBuildInImage builds an example on this machine and in an image that has nothing of use, with this program
// linked statically and dynamically. Every stage runs there, without a network, and leaves the same bytes.
func TestBuildInImage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an example several times")
	}
	bwrap, err := exec.LookPath("bwrap")
	if _, why, found := sandbox.For(t.Context(), "bubblewrap", sandbox.Need{Image: true}); err != nil || found != nil || why != "" {
		t.Skipf("bubblewrap does not run here: %v %v %s", err, found, why)
	}
	dir := t.TempDir()
	nonsense := func(name string) imagetest.Entry { return imagetest.Entry{Name: name, Text: "nonsense", Mode: 0o755} }
	made := imagetest.New(t, runtime.GOARCH, []string{"PATH=/nowhere", "GODEBUG=nonsense", "TZ=Nowhere"}, imagetest.Layer(t,
		nonsense("lib64/ld-linux-x86-64.so.2"), nonsense("lib/x86_64-linux-gnu/libc.so.6"), nonsense("etc/localtime"), nonsense("etc/mime.types"),
		nonsense("etc/passwd"), nonsense("sandwich/manifest.yaml"), nonsense("tmp/nonsense")))
	imagetest.Layout(t, filepath.Join(dir, "layout"), made)
	// A bubblewrap that tells what it is asked to run.
	asked := filepath.Join(dir, "asked")
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >> %s\nexec %s \"$@\"\n", asked, bwrap)
	if err := os.WriteFile(filepath.Join(dir, "bin", "bwrap"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	// build builds a copy of the example, and returns what each stage has left.
	build := func(name, program, environment string) map[string]string {
		t.Helper()
		example := filepath.Join(dir, name)
		if err := os.CopyFS(example, os.DirFS("../../examples/quickstart")); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(example, "manifest.yaml")
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, append(text, environment...), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), program, "build", "--runner", "bubblewrap", "--json", "-S", "model.epochs=2", file)
		cmd.Env = append(os.Environ(), "SANDWICH_CACHE="+filepath.Join(dir, name+".cache"), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, &out)
		}
		left := map[string]string{}
		for line := range bytes.Lines(out.Bytes()) {
			var e struct{ Event, Stage, Tree string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if e.Event == "finished" && !slices.Contains(notInside, e.Stage) {
				left[e.Stage] = e.Tree
			}
		}
		return left
	}
	for name, cgo := range map[string]string{"static": "0", "dynamic": "1"} {
		program := filepath.Join(dir, "bin", "sandwich-"+name)
		compile := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/sandwich")
		compile.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOFLAGS=") // no race detector
		if said, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		want := build(name+" here", program, "")
		if _, err := os.Stat(asked); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: without an image bubblewrap is asked for something: %v", name, err)
		}
		got := build(name+" inside", program, "environment: {image: "+filepath.Join(dir, "layout")+"}\n")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: in the image the stages leave other bytes (-here +inside)\n%s", name, diff)
		}
		text, err := os.ReadFile(asked)
		if err := errors.Join(err, os.Remove(asked)); err != nil {
			t.Fatal(err)
		}
		var workers int
		for line := range strings.Lines(string(text)) {
			if !strings.HasSuffix(strings.TrimSpace(line), " "+pipeline.WorkerVerb) {
				continue
			}
			workers++
			if strings.Contains(line, "--share-net") || strings.Contains(line, "--ro-bind / /") {
				t.Errorf("%s: a stage is given more than it needs: %s", name, line)
			}
		}
		if want := len(want) + 1; workers != want { // pack too
			t.Errorf("%s: %d stages ran in the image, want %d: %v", name, workers, want, slices.Sorted(maps.Keys(got)))
		}
	}
}

//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// asCommand makes the test binary run as the command itself.
const asCommand = "SANDWICH_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	// As a worker in an image, it has no variables of this process.
	if os.Getenv(asCommand) != "" || slices.Equal(os.Args[1:], []string{pipeline.WorkerVerb}) {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// endless is the quickstart with a training that nobody waits for.
const endless = `version: 1
name: test/endless
dataset:
  source:
    classes: mirror/openimages/2018_04/class-descriptions-boxable.csv
    hierarchy: mirror/openimages/2018_04/bbox_labels_600_hierarchy.json
    boxes: mirror/openimages/2018_04/{subset}/{subset}-annotations-bbox.csv
    images: mirror/openimages/2018_04/{subset}/{subset}-images-boxable-with-rotation.csv
  labels: [Hamburger, Sandwich]
  images: [original, thumbnail]
  limit: 40
crop: {size: 32}
model:
  layers: [conv: {filters: 16, kernel: 3}, max_pool: 2, flatten, dense: {units: 32}]
  epochs: 100000
registry: ./registry
mirrors:
  https://farm1.staticflickr.com: ./mirror/farm1.staticflickr.com
  https://farm2.staticflickr.com: ./mirror/farm2.staticflickr.com
  https://farm3.staticflickr.com: ./mirror/farm3.staticflickr.com
  https://c1.staticflickr.com: ./mirror/c1.staticflickr.com
`

// runner runs images. Others take longer to start.
const runner = "bubblewrap"

// systems are where builds run: additions to a manifest, by name.
func systems(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{"this machine": ""}
	if _, _, err := sandbox.For(t.Context(), runner, sandbox.Need{Image: true}); err != nil {
		t.Logf("no build runs in an image: %v", err)
		return all
	}
	layout := filepath.Join(t.TempDir(), "layout")
	imagetest.Layout(t, layout, imagetest.New(t, runtime.GOARCH, nil, imagetest.Layer(t)))
	all["an image"] = "environment: {image: " + layout + "}\n"
	return all
}

// event is what the test reads of the JSON lines.
type event struct {
	Event  string
	Stage  string
	Status string
	Exit   int
	Error  struct{ Message string }
	Answer struct{ Package string }
}

// build is a running build.
type build struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	lines  *bufio.Scanner
}

func start(t *testing.T, dir string) *build {
	t.Helper()
	b := &build{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], "build", "--json")}
	b.cmd.Dir = dir
	b.cmd.Env = append(os.Environ(), asCommand+"=1", "SANDWICH_CACHE="+filepath.Join(dir, "cache"), "SANDWICH_RUNNER="+runner)
	b.cmd.Stderr = &b.stderr
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.lines = bufio.NewScanner(stdout)
	b.lines.Buffer(nil, 1<<20)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// until reads events up to the first that is, and returns all of them.
func (b *build) until(is func(event) bool) []event {
	b.t.Helper()
	var events []event
	for b.lines.Scan() {
		var e event
		if err := json.Unmarshal(b.lines.Bytes(), &e); err != nil {
			b.t.Fatalf("%q: %v", b.lines.Text(), err)
		}
		if events = append(events, e); is(e) {
			return events
		}
	}
	b.t.Fatalf("the build ended: %+v, %v\n%s", events, b.lines.Err(), &b.stderr)
	return nil
}

// newProject returns a folder with a manifest and the quickstart's photos.
func newProject(t *testing.T, manifest string) string {
	t.Helper()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = errors.Join(
		os.Symlink(filepath.Join(examples, "quickstart", "mirror"), filepath.Join(dir, "mirror")),
		os.WriteFile(filepath.Join(dir, "manifest.yaml"), []byte(manifest), 0o666))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// end reads on to the end of the build, and returns its result, the zero event where
// there is none.
func (b *build) end() event {
	b.t.Helper()
	var last event
	for b.lines.Scan() {
		var e event
		if json.Unmarshal(b.lines.Bytes(), &e) == nil && e.Event == "result" { // a line may be cut off
			last = e
		}
	}
	_ = b.cmd.Wait() // who calls looks at the result
	return last
}

func isTraining(e event) bool { return e.Event == "message" && e.Stage == "train" }

// TestInterrupt interrupts a training: the command ends within a second, cleanly, and
// the next one does nothing again that was done.
func TestInterrupt(t *testing.T) {
	for name, system := range systems(t) {
		t.Run(name, func(t *testing.T) { interrupt(t, endless+system) })
	}
}

func interrupt(t *testing.T, manifest string) {
	dir := newProject(t, manifest)
	for i, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		b := start(t, dir)
		for _, e := range b.until(isTraining) {
			if e.Event == "started" && e.Stage != "train" && i > 0 {
				t.Errorf("stage %s runs again", e.Stage)
			}
		}
		at := time.Now()
		if err := b.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		b.until(func(e event) bool { return e.Event == "finished" && e.Stage == "train" && e.Status == "stopped" })
		end := b.until(func(e event) bool { return e.Event == "result" })
		if last := end[len(end)-1]; last.Exit != 130 || last.Error.Message != "interrupted in train" {
			t.Errorf("the result is %+v", last)
		}
		exit, ok := errors.AsType[*exec.ExitError](b.cmd.Wait())
		if took := time.Since(at); took > time.Second {
			t.Errorf("%s: it took %s to end", signal, took)
		}
		if !ok || exit.ExitCode() != 130 {
			t.Errorf("%s: %v, want exit code 130", signal, exit)
		}
		if b.stderr.Len() > 0 {
			t.Errorf("%s: stderr: %s", signal, &b.stderr)
		}
	}
}

// TestKilled kills builds with SIGKILL at 20 random moments of their lives. Each project goes on
// until it is built, and its package must be the one of a build that nobody disturbed.
func TestKilled(t *testing.T) {
	for name, system := range systems(t) {
		t.Run(name, func(t *testing.T) { killed(t, system) })
	}
}

func killed(t *testing.T, system string) {
	manifest := system + strings.NewReplacer("epochs: 100000", "epochs: 30", "limit: 40", "limit: 16").Replace(endless)
	began := time.Now()
	want := start(t, newProject(t, manifest)).end().Answer.Package
	whole := time.Since(began)
	if want == "" {
		t.Fatal("the build that nobody disturbed made no package")
	}
	kills := 20
	if testing.Short() {
		kills = 5
	}
	for kills > 0 {
		dir := newProject(t, manifest)
		for built := false; !built; {
			b := start(t, dir)
			moment := time.Hour
			if kills > 0 {
				moment = rand.N(whole)
			}
			timer := time.AfterFunc(moment, func() { _ = b.cmd.Process.Kill() }) // it may have ended
			got := b.end()
			timer.Stop()
			switch status, _ := b.cmd.ProcessState.Sys().(syscall.WaitStatus); {
			case status.Signaled():
				kills--
			case got.Exit != 0 || got.Answer.Package != want:
				t.Fatalf("after kills: %+v, want the package %s\n%s", got, want, &b.stderr)
			default:
				built = true
			}
		}
	}
}

package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// story is a build in which everything happens once. took is how long each stage takes,
// which a log must not show.
func story(took time.Duration) []stages.Event {
	action := func(name string) cas.Digest { return cas.Sum([]byte(name)) }
	tree := func(name string) cas.TreeID { return cas.NewTreeID(cas.Sum([]byte("tree of " + name))) }
	return []stages.Event{
		stages.Finished{Stage: "select", Action: action("select"), Cached: true, Elapsed: took, Result: cas.Result{
			Tree: tree("select"), Counters: map[string]int64{"boxes": 1234, "images": 3},
			Log: []cas.Line{{Warning: true, Text: "the class list has Hamburger twice"}},
		}},
		stages.Progress{Stage: "download", Done: 10, Total: 3000, Unit: "bytes"},
		stages.Waiting{Stage: "download", Action: action("download"), Holder: cas.Holder{
			PID: 123, Host: "kitchen\x1b[31m", Since: time.Date(2026, 1, 2, 12, 3, 4, 0, time.UTC),
		}},
		stages.Waiting{Stage: "download", Action: action("download")},
		stages.Finished{Stage: "download", Action: action("download"), Cached: true, Elapsed: took, Result: cas.Result{Tree: tree("download")}},
		stages.Started{Stage: "crop", Action: action("crop"), Why: []string{"size: 64, was 32", "input photos: changed"}},
		stages.Progress{Stage: "crop", Done: 1, Total: 1500, Unit: "crops"},
		stages.Progress{Stage: "crop", Done: 2, Total: 1500, Unit: "crops"},
		stages.Message{Stage: "crop", Line: cas.Line{Text: "1,500 boxes"}},
		stages.Message{Stage: "crop", Line: cas.Line{Warning: true, Text: "0a\x1b[31m.jpg\nis <broken>"}},
		stages.Progress{Stage: "crop", Done: 1500, Total: 1500, Unit: "crops"},
		stages.Finished{Stage: "crop", Action: action("crop"), Elapsed: took, Result: cas.Result{
			Tree: tree("crop"), Counters: map[string]int64{"quarantined": 3, "crops": 1234567, "bytes": 45_600_000},
		}, Work: []stages.Work{{Unit: "photos", Verb: "read", Done: 1, Reused: 1106}}},
		stages.Started{Stage: "split", Action: action("split"), Why: []string{"no earlier run is known"}},
		stages.Finished{Stage: "split", Action: action("split"), Elapsed: took, Result: cas.Result{Tree: tree("split")}, Work: []stages.Work{{Unit: "crops", Verb: "split", Done: 7}}},
		stages.Started{Stage: "train", Action: action("train"), Why: []string{"a: 1", "b: 2", "c: 3", "d: 4", "e: 5"}},
		stages.Finished{Stage: "train", Action: action("train"), Elapsed: took, Err: errors.New("loss is NaN")},
	}
}

type answer struct {
	Package string `json:"package"`
}

func (a answer) Text(w io.Writer) { fmt.Fprintln(w, a.Package) }

var problem = &Problem{
	Message: "manifest.yaml: 2 faults",
	Faults: []Fault{
		{File: "manifest.yaml", Line: 12, Column: 5, Path: "model.epoch", Message: "unknown key", Hint: "did you mean `epochs`?"},
		{File: "manifest.yaml", Line: 13, Column: 1, Message: "not YAML"},
	},
	Items: []string{"one", "two"},
	Hint:  "see `sandwich schema`",
}

// show runs the story through a view and returns what it writes.
func show(t *testing.T, o Options, took time.Duration, end End) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	o.Stdout, o.Stderr = &out, &err
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Now == nil {
		clock := time.Unix(0, 0)
		o.Now = func() time.Time {
			clock = clock.Add(400 * time.Millisecond)
			return clock
		}
	}
	v := Open(o)
	for _, e := range story(took) {
		v.Observe(e)
	}
	if err := v.Close(end); err != nil {
		t.Fatal(err)
	}
	return out.String(), err.String()
}

// golden compares got with a file; UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), UPDATE=1 accepts it:\n%s", path, diff)
	}
}

func TestGolden(t *testing.T) {
	for _, test := range []struct {
		name  string
		mode  Mode
		quiet bool
	}{
		{"plain.txt", Plain, false},
		{"plain-quiet.txt", Plain, true},
		{"json.txt", JSON, false},
		{"json-quiet.txt", JSON, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := show(t, Options{Mode: test.mode, Quiet: test.quiet}, 1500*time.Millisecond,
				End{Command: "build", Exit: 3, Summary: "no stage ran", Answer: answer{"a/b@1234"}, Problem: problem})
			golden(t, test.name, "--- stdout\n"+out+"--- stderr\n"+err)
		})
	}
}

func TestPlainOfEqualBuildsIsEqual(t *testing.T) {
	_, once := show(t, Options{Mode: Plain}, time.Second, End{})
	_, again := show(t, Options{Mode: Plain}, 17*time.Second, End{})
	if once != again {
		t.Errorf("plain output depends on the clock:\n%s", cmp.Diff(once, again))
	}
}

func TestJSONIsOneObjectALine(t *testing.T) {
	out, stderr := show(t, Options{Mode: JSON}, time.Second, End{Command: "build"})
	if stderr != "" {
		t.Errorf("stderr: %q", stderr)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(out, "\n"), "\n")
	last := ""
	for _, line := range lines {
		var event struct{ Event string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Event == "" {
			t.Errorf("%q: event %q, %v", line, event.Event, err)
		}
		last = event.Event
	}
	if last != "result" {
		t.Errorf("the last event is %q", last)
	}
}

func TestStoppedIsNotFailed(t *testing.T) {
	e := stages.Finished{Stage: "train", Err: fmt.Errorf("epoch 3: %w", context.Canceled)}
	if got := outcome(e); got != "stopped" {
		t.Errorf("outcome = %q", got)
	}
	if got := finished(e).Status; got != "stopped" {
		t.Errorf("status = %q", got)
	}
}

func TestTerminal(t *testing.T) {
	_, stderr := show(t, Options{Mode: Terminal, Getenv: func(name string) string {
		return map[string]string{"NO_COLOR": "1"}[name]
	}}, 4200*time.Millisecond, End{Problem: problem})
	screen := render(stderr)
	for _, line := range []string{
		"= select    cached",
		"  crop      size: 64, was 32; input photos: changed",
		`! crop      0a\x1b[31m.jpg\nis <broken>`,
		"✓ crop      45.6 MB, 1,234,567 crops, 3 quarantined; photos read: 1, reused: 1,106   4.2s",
		"  train     a: 1; b: 2; c: 3; and 2 more",
		"✗ train     failed   4.2s",
		"hint: see `sandwich schema`",
	} {
		if !strings.Contains(screen, line+"\n") {
			t.Errorf("the screen lacks %q:\n%s", line, screen)
		}
	}
	if strings.Contains(screen, "/ 1,500") || strings.Contains(screen, "\x1b") {
		t.Errorf("the live line was left on the screen:\n%q", screen)
	}
}

// render does what a terminal does with the two sequences that mpb writes: the cursor
// goes up, and what is below is erased.
func render(output string) string {
	var lines []string
	for _, line := range strings.SplitAfter(output, "\n") {
		for strings.HasPrefix(line, "\x1b[") {
			var up int
			if _, err := fmt.Sscanf(line, "\x1b[%dA\x1b[J", &up); err != nil {
				break
			}
			lines = lines[:len(lines)-up]
			line = line[strings.Index(line, "J")+1:]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

func TestTerminalColours(t *testing.T) {
	_, stderr := show(t, Options{Mode: Terminal}, time.Second, End{Problem: problem})
	for _, part := range []string{"\x1b[32m✓\x1b[0m", "\x1b[31m✗\x1b[0m", "\x1b[33m!\x1b[0m"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("no %q in %q", part, stderr)
		}
	}
}

// failing is a disk that is full.
type failing struct{}

var errFull = errors.New("no space left on device")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestCloseTellsThatTheAnswerWasNotWritten(t *testing.T) {
	for _, mode := range []Mode{Plain, Terminal, JSON} {
		v := Open(Options{Mode: mode, Stdout: failing{}, Stderr: io.Discard, Getenv: func(string) string { return "" }, Now: time.Now})
		if err := v.Close(End{Answer: answer{"a"}}); !errors.Is(err, errFull) {
			t.Errorf("%s: Close = %v, want %v", mode, err, errFull)
		}
	}
}

func TestAutoIsPlainWhereNothingCanBeRedrawn(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, stderr := range []io.Writer{file, &bytes.Buffer{}} {
		o := Options{Mode: Auto, Stderr: stderr, Getenv: func(string) string { return "xterm" }}
		if got := o.resolve(); got != Plain {
			t.Errorf("%T: %s", stderr, got)
		}
	}
}

func TestMode(t *testing.T) {
	var m Mode
	for _, name := range []string{"auto", "tty", "plain", "json"} {
		if err := m.Set(name); err != nil || m.String() != name {
			t.Errorf("Set(%q) = %v, is %q", name, err, m.String())
		}
	}
	if err := m.Set("fancy"); err == nil {
		t.Error("Set accepts any name")
	}
}

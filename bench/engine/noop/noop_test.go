//go:build linux

// Package noop measures a build that has nothing to do: how long it takes beyond the
// start of the process, and how many files it opens, which must not depend on how many
// photos there are.
//
//	go test ./bench/engine/noop -run '^$' -bench . -photos 100000
package noop

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/cli"
)

var photos = flag.Int("photos", 10_000, "photos of the project that is built in benchmarks")

// asCommand makes the test binary run as sandwich.
const asCommand = "SANDWICH_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(cli.Main(context.Background(), cli.Process{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
	}
	os.Exit(m.Run())
}

// project is a project that was built, and a program that can build it.
type project struct {
	dir     string
	program string
}

// newProject builds a project of n photos, and then nothing until all is remembered that
// can be: the digest of a file that is two seconds young is not.
func newProject(t testing.TB, program string, n int) project {
	t.Helper()
	p := project{dir: t.TempDir(), program: program}
	if err := writeProject(filepath.Join(p.dir, "project"), n); err != nil {
		t.Fatal(err)
	}
	p.run(t, "build", "-q")
	time.Sleep(2100 * time.Millisecond)
	p.run(t, "build", "-q")
	return p
}

func (p project) command(t testing.TB, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = filepath.Join(p.dir, "project")
	c.Env = append(os.Environ(), "SANDWICH_CACHE="+filepath.Join(p.dir, "cache"), asCommand+"=1")
	return c
}

// run runs a verb of the program.
func (p project) run(t testing.TB, args ...string) {
	t.Helper()
	if out, err := p.command(t, p.program, args...).CombinedOutput(); err != nil {
		t.Fatalf("sandwich %v: %v\n%s", args, err, out)
	}
}

// system are the folders of what a process opens to find out about its machine, its C
// library and itself.
var system = regexp.MustCompile(`"/(etc|lib|lib64|usr|proc|sys)/`)

// opens returns what a verb opens besides what is the system's.
func (p project) opens(t testing.TB, args ...string) []string {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	args = append([]string{"-f", "-e", "trace=open,openat,openat2", "-o", trace, p.program}, args...)
	if out, err := p.command(t, "strace", args...).CombinedOutput(); err != nil {
		t.Fatalf("strace %v: %v\n%s", args, err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var opened []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, call, ok := strings.Cut(lines.Text(), "open"); ok && !strings.Contains(call, "<... ") && !strings.Contains(call, " resumed>") && !system.MatchString(call) {
			opened = append(opened, call)
		}
	}
	return opened
}

func needStrace(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// perStage is how many files a build of nothing may open for each of its eight stages; it
// opens three, and some fifteen that are not about a stage.
const perStage = 6

// TestOpensDoNotGrow counts what a build of nothing opens with few photos and with more.
func TestOpensDoNotGrow(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two projects")
	}
	needStrace(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	few := newProject(t, program, 40).opens(t, "build", "-q")
	many := newProject(t, program, 400).opens(t, "build", "-q")
	if len(many) != len(few) {
		t.Errorf("a build of nothing opens %d files with 40 photos and %d with 400:\n%s", len(few), len(many), strings.Join(many, "\n"))
	}
	if len(many) > 8*perStage {
		t.Errorf("a build of nothing opens %d files:\n%s", len(many), strings.Join(many, "\n"))
	}
	for _, call := range many {
		if strings.Contains(call, "train-boxes.csv") || strings.Contains(call, "train-images.csv") {
			t.Errorf("a build of nothing reads the metadata: %s", call)
		}
	}
}

// BenchmarkNoop times a build of nothing and, beside it, the program doing nothing at all.
func BenchmarkNoop(b *testing.B) {
	program := filepath.Join(b.TempDir(), "sandwich")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "../../../cmd/sandwich").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	p := newProject(b, program, *photos)
	for _, args := range [][]string{{"version"}, {"build", "-q"}} {
		b.Run(fmt.Sprintf("%s/photos=%d", args[0], *photos), func(b *testing.B) {
			for b.Loop() {
				p.run(b, args...)
			}
			if _, err := exec.LookPath("strace"); err == nil {
				b.ReportMetric(float64(len(p.opens(b, args...))), "opens")
			}
		})
	}
}

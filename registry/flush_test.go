//go:build linux

package registry_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// trace runs the process that TestKill kills and returns what it flushes and renames, in
// order.
func trace(t *testing.T, env ...string) []string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-y", "-e", "trace=rename,renameat,renameat2,syncfs,fsync", "-o", file, program)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "started" {
		t.Fatalf("strace: %v: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.Contains(line, "resumed>") })
}

// last returns where the last call stands that holds both words; -1 for nowhere.
func last(calls []string, call, about string) int {
	for i, line := range slices.Backward(calls) {
		if strings.Contains(line, call) && strings.Contains(line, about) {
			return i
		}
	}
	return -1
}

// What a name leads to is on the disk before the name is given, so that a power cut leaves
// no package without its bytes: of a push into a folder, and of an install of few files and
// of many.
func TestPowerCut(t *testing.T) {
	root := t.TempDir()
	calls := trace(t, "SANDWICH_TEST_REGISTRY="+root, "SANDWICH_TEST_CONTENT=x")
	object, flushed, latest := last(calls, "rename", "/.quilt/packages/"), last(calls, "syncfs", root), last(calls, "rename", "/latest")
	if object < 0 || flushed < object || latest < flushed || last(calls, "fsync", "/.quilt/named_packages") < latest {
		t.Errorf("a push: objects at %d, flushed at %d, latest at %d:\n%s", object, flushed, latest, strings.Join(calls, "\n"))
	}
	for part, flush := range map[string]string{"": "syncfs", "d0": "fsync"} {
		dest := filepath.Join(t.TempDir(), "dest")
		calls := trace(t, "SANDWICH_TEST_REGISTRY="+root, "SANDWICH_TEST_DEST="+dest, "SANDWICH_TEST_PART="+part)
		flushed, renamed := last(calls, flush, "/files"), last(calls, "rename", fmt.Sprintf("%q", dest))
		if flushed < 0 || renamed < flushed || last(calls, "fsync", filepath.Dir(dest)+">") < renamed {
			t.Errorf("an install of %q: flushed at %d, there at %d:\n%s", part, flushed, renamed, strings.Join(calls, "\n"))
		}
		if n := strings.Count(strings.Join(calls, "\n"), "fsync"); part == "d0" && n < 15 {
			t.Errorf("%d files were flushed", n)
		}
	}
}

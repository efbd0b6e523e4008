package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
)

// many are enough files for a push to last some milliseconds.
func many(content string) map[string]string {
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprint(i, strings.Repeat(content, 500))
	}
	return files
}

// TestMain runs the tests, or is the process that TestKill kills. What goes wrong there is
// written to stderr.
func TestMain(m *testing.M) {
	root := os.Getenv("SANDWICH_TEST_REGISTRY")
	if root == "" {
		m.Run()
		return
	}
	if err := child(context.Background(), root); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// child pushes, or installs where there is a destination.
func child(ctx context.Context, root string) error {
	r, err := registry.Open(ctx, root, registry.Options{Now: clock})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "started")
	if dest := os.Getenv("SANDWICH_TEST_DEST"); dest != "" {
		p, err := r.Load(ctx, registry.Ref{Name: name})
		if err != nil {
			return err
		}
		_, err = r.Install(ctx, p, dest, registry.InstallOptions{})
		return err
	}
	_, _, err = r.Push(ctx, name, revision("m", many(os.Getenv("SANDWICH_TEST_CONTENT"))), registry.PushOptions{})
	return err
}

// killed starts a child and kills it delay after it started working; it reports whether
// the child was still at work.
func killed(t *testing.T, delay time.Duration, env ...string) bool {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), env...)
	var faults bytes.Buffer
	child.Stderr = &faults
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(delay)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err = child.Wait()
	if faults.Len() > 0 {
		t.Fatalf("child: %s", faults.String())
	}
	return err != nil
}

// Processes that push and install are killed at many moments (kill -9). What the registry
// shows is complete each time, a folder that is installed is complete or absent, and doing
// it again ends well.
func TestKill(t *testing.T) {
	root := filepath.Join(t.TempDir(), "registry")
	early := 0
	for step := range 6 {
		content := fmt.Sprint("content ", step)
		if killed(t, time.Duration(3*step)*time.Millisecond, "SANDWICH_TEST_REGISTRY="+root, "SANDWICH_TEST_CONTENT="+content) {
			early++
		}
		checkAllReachable(t, dir.New(root))
		r := openFolder(t, root)
		if _, _, err := r.Push(t.Context(), name, revision("m", many(content)), registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		p := load(t, r, registry.Ref{Name: name})
		dest := filepath.Join(t.TempDir(), "dest")
		if killed(t, time.Duration(2*step)*time.Millisecond, "SANDWICH_TEST_REGISTRY="+root, "SANDWICH_TEST_DEST="+dest) {
			early++
		}
		if exists(dest) {
			report, err := registry.VerifyFolder(t.Context(), p, dest)
			if err != nil || !report.OK(false) {
				t.Fatalf("a part of the package is visible: %+v, %v", report, err)
			}
		}
		install(t, r, p, dest)
		wantTree(t, dest, many(content))
	}
	if early == 0 {
		t.Error("no process was killed before it was done")
	}
	t.Logf("%d of 12 processes were killed at work", early)
}

package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/folder"
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
		if part := os.Getenv("SANDWICH_TEST_PART"); err == nil && part != "" {
			p, err = p.Part(part)
		}
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
	t.Run("folder", func(t *testing.T) { testKill(t, filepath.Join(t.TempDir(), "registry")) })
	t.Run("s3", func(t *testing.T) {
		server := s3test.Start(t)
		for label, versioned := range map[string]bool{"with versions": true, "without versions": false} {
			t.Run(label, func(t *testing.T) { testKill(t, "s3://"+server.NewBucket(t, versioned)) })
		}
	})
}

func testKill(t *testing.T, location string) {
	r, err := registry.Open(t.Context(), location, registry.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	early, rounds := 0, repeated(t, 6)
	for step := range rounds {
		content := fmt.Sprint("content ", step)
		if killed(t, time.Duration(3*(step%40))*time.Millisecond, "SANDWICH_TEST_REGISTRY="+location, "SANDWICH_TEST_CONTENT="+content) {
			early++
		}
		checkWhole(t, r)
		if _, _, err := r.Push(t.Context(), name, revision("m", many(content)), registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		p := load(t, r, registry.Ref{Name: name})
		dest := filepath.Join(t.TempDir(), "dest")
		if killed(t, time.Duration(2*(step%40))*time.Millisecond, "SANDWICH_TEST_REGISTRY="+location, "SANDWICH_TEST_DEST="+dest) {
			early++
		}
		if exists(dest) {
			report, err := folder.Verify(t.Context(), p.Content, dest, nil)
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
	t.Logf("%d of %d processes were killed at work", early, 2*rounds)
}

// checkWhole reads all of the newest revisions that the log shows.
func checkWhole(t *testing.T, r *registry.Registry) {
	t.Helper()
	entries, err := r.Log(t.Context(), name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries[:min(len(entries), 3)] {
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		p := load(t, r, registry.Ref{Name: name, Hash: e.TopHash.String()})
		if report, err := r.VerifyObjects(t.Context(), p, nil); err != nil || !report.OK(false) {
			t.Fatalf("%s is incomplete: %+v, %v", p.Ref(), report, err)
		}
	}
}

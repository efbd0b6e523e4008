package workdir_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/workdir"
)

// parentVar makes the test binary a process that works in a folder below it until it is killed.
const parentVar = "WORKDIR_PARENT"

func TestMain(m *testing.M) {
	if parent := os.Getenv(parentVar); parent != "" {
		dir, _, err := workdir.Make(parent)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o666)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(dir)
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

// names are what lies below a folder, but for the file by which processes take turns.
func names(t *testing.T, parent string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			all = append(all, e.Name())
		}
	}
	return all
}

// TestKilled kills a process that works in a folder: as long as it lives, nobody removes that, and then the
// next one does.
func TestKilled(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "not", "there")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), parentVar+"="+parent)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.TrimSpace(line)
	if err := workdir.Sweep(parent); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(theirs, "file")); err != nil {
		t.Errorf("while it works: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	_, remove, err := workdir.Make(parent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(theirs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after it was killed: %v", err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if left := names(t, parent); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// TestTogether makes, uses and removes folders all at once.
func TestTogether(t *testing.T) {
	parent := t.TempDir()
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 25 {
				dir, remove, err := workdir.Make(parent)
				if err != nil {
					t.Error(err)
					return
				}
				file := filepath.Join(dir, "file")
				err = os.WriteFile(file, fmt.Append(nil, i), 0o666)
				if i%2 == 0 {
					err = errors.Join(err, workdir.Sweep(parent))
				}
				if _, gone := os.Stat(file); errors.Join(err, gone) != nil {
					t.Error(errors.Join(err, gone))
				}
				if err := remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if left := names(t, parent); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// TestRights removes a folder of a program that has taken its own rights away.
func TestRights(t *testing.T) {
	dir, remove, err := workdir.Make(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "inner")
	if err := errors.Join(os.MkdirAll(filepath.Join(inner, "most"), 0o777), os.Chmod(inner, 0)); err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestNothingToSweep(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "none")
	if err := workdir.Sweep(parent); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(parent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("sweeping makes the folder: %v", err)
	}
}

package unpacked_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/unpacked"
)

// dirVar names the cache in which this program begins to make a folder, as a process to be killed.
const dirVar = "TEST_UNPACKED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirVar); dir != "" {
		_, _, err := unpacked.Cache{Dir: dir}.Open(context.Background(), name, func(dir string) error {
			err := os.WriteFile(filepath.Join(dir, "half"), []byte("half"), 0o666)
			fmt.Println("half")
			time.Sleep(time.Minute) // it is killed before
			return err
		})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const name = "bread"

// fill makes a folder of one file.
func fill(dir string) error { return os.WriteFile(filepath.Join(dir, "whole"), []byte("whole"), 0o666) }

// open opens the folder, which must be whole.
func open(t *testing.T, c unpacked.Cache, fill func(string) error) func() error {
	t.Helper()
	dir, release, err := c.Open(t.Context(), name, fill)
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"whole"}) {
		t.Errorf("it has %q", got)
	}
	return release
}

// files are the names in a folder.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// clean cleans up, which must come to so many folders and bytes.
func clean(t *testing.T, c unpacked.Cache, dry bool, folders int, bytes int64) {
	t.Helper()
	if n, size, err := c.Clean(dry); n != folders || size != bytes || err != nil {
		t.Errorf("cleaning up, dry %t, comes to %d folders and %d bytes, %v; want %d and %d", dry, n, size, err, folders, bytes)
	}
}

func release(t *testing.T, end func() error) {
	t.Helper()
	if err := end(); err != nil {
		t.Error(err)
	}
}

// TestOnce has many open a folder at once, which is made once, and others clean up meanwhile: nobody is left without
// what they have opened.
func TestOnce(t *testing.T) {
	c := unpacked.Cache{Dir: filepath.Join(t.TempDir(), "cache")}
	clean(t, c, false, 0, 0) // there is none yet
	var made atomic.Int32
	slowly := func(dir string) error {
		made.Add(1)
		time.Sleep(50 * time.Millisecond)
		return fill(dir)
	}
	first := open(t, c, slowly)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, end, err := c.Open(t.Context(), name, slowly)
			if err != nil {
				t.Error(err)
				return
			}
			_, _, cleaned := c.Clean(false)
			text, err := os.ReadFile(filepath.Join(dir, "whole"))
			if err := errors.Join(cleaned, err, end()); err != nil || string(text) != "whole" {
				t.Errorf("it has %q, %v", text, err)
			}
		})
	}
	all.Wait()
	release(t, first)
	if n := made.Load(); n != 1 {
		t.Errorf("it is made %d times", n)
	}
}

// TestAgain has some open what others remove as soon as nobody uses it.
func TestAgain(t *testing.T) {
	c := unpacked.Cache{Dir: t.TempDir()}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				dir, end, err := c.Open(t.Context(), name, fill)
				if err != nil {
					t.Error(err)
					return
				}
				text, err := os.ReadFile(filepath.Join(dir, "whole"))
				_, _, cleaned := c.Clean(false)
				if err := errors.Join(err, cleaned, end()); err != nil || string(text) != "whole" {
					t.Errorf("it has %q, %v", text, err)
				}
			}
		})
	}
	all.Wait()
}

// TestClean removes what nobody uses, and nothing else.
func TestClean(t *testing.T) {
	c := unpacked.Cache{Dir: t.TempDir()}
	one, two := open(t, c, fill), open(t, c, fill)
	clean(t, c, false, 0, 0)
	release(t, one)
	clean(t, c, false, 0, 0) // the other still uses it
	release(t, two)
	clean(t, c, true, 1, 5)
	release(t, open(t, c, func(string) error { return errors.New("it is there") }))
	clean(t, c, false, 1, 5)
	clean(t, c, false, 0, 0)
	release(t, open(t, c, fill))
}

// TestFails makes nothing of what fails.
func TestFails(t *testing.T) {
	c := unpacked.Cache{Dir: t.TempDir()}
	broken := errors.New("broken")
	if _, _, err := c.Open(t.Context(), name, func(dir string) error { return errors.Join(fill(dir), broken) }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	clean(t, c, false, 0, 0)
	release(t, open(t, c, func(dir string) error {
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("what failed has left %q", left)
		}
		return fill(dir)
	}))
}

// TestWait waits for another process that makes the folder, and makes it when that is killed.
func TestWait(t *testing.T) {
	c := unpacked.Cache{Dir: t.TempDir()}
	kill := begin(t, c.Dir)
	clean(t, c, false, 0, 0) // and leaves what is being made
	if got := files(t, filepath.Join(c.Dir, name+".part")); !slices.Equal(got, []string{"half"}) {
		t.Errorf("what is being made has %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := c.Open(ctx, name, fill); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		dir, end, err := c.Open(t.Context(), name, fill)
		if err == nil {
			_, half := os.Stat(filepath.Join(dir, "half"))
			if _, err = os.Stat(filepath.Join(dir, "whole")); half == nil {
				err = errors.New("it has what the killed process made")
			}
			err = errors.Join(err, end())
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(250 * time.Millisecond):
	}
	kill()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// TestKilled cleans up what a killed process has left.
func TestKilled(t *testing.T) {
	c := unpacked.Cache{Dir: t.TempDir()}
	begin(t, c.Dir)()
	clean(t, c, true, 0, 0)
	clean(t, c, false, 0, 0)
	if got := files(t, c.Dir); !slices.Equal(got, []string{name + ".lock"}) {
		t.Errorf("there still are %q", got)
	}
}

// begin has another process make half of the folder. kill kills it.
func begin(t *testing.T, dir string) (kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), dirVar+"="+dir), os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "half\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	return func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	}
}

package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// inspect looks at a folder, and sees that it is as it was after it.
func inspect(t *testing.T, dir, in string) disk.Condition {
	t.Helper()
	before := names(t, in)
	c, err := disk.Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, names(t, in)); diff != "" {
		t.Errorf("looking at it has changed it (-before +after)\n%s", diff)
	}
	return c
}

// names lists all that is in a folder.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		all = append(all, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestInspect(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "a", "store")
	c := inspect(t, dir, above)
	if c.Made || c.Folder != above || c.Write != nil {
		t.Errorf("of a store that is not there: %+v", c)
	}
	s := openDisk(t, dir)
	action := cas.Sum([]byte("action"))
	unlock, err := s.Lock(t.Context(), action, nil)
	if err != nil {
		t.Fatal(err)
	}
	c = inspect(t, dir, above)
	if !c.Made || c.Folder != dir || c.Write != nil || c.Sync != nil || c.Owner != os.Getuid() || c.Cleaning != nil || c.DeadLocks != 0 {
		t.Errorf("of a store in use: %+v", c)
	}
	if c.Skew.Abs() > 5*time.Second {
		t.Errorf("the file system's clock differs by %v", c.Skew)
	}
	lock := filepath.Join(dir, "locks", action.Hex()[:2], action.Hex()[2:])
	held, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := os.WriteFile(lock, held, 0o666); err != nil { // as a process that was killed leaves it
		t.Fatal(err)
	}
	if c := inspect(t, dir, above); c.DeadLocks != 1 {
		t.Errorf("%d locks of the dead, want 1", c.DeadLocks)
	}
	release, err := s.Alone()
	if err != nil {
		t.Fatal(err)
	}
	if c := inspect(t, dir, above); c.Cleaning == nil || c.Cleaning.By.PID != os.Getpid() {
		t.Errorf("cleaned by %v", c.Cleaning)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}

func TestInspectNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "store")} {
		if _, err := disk.Inspect(t.Context(), dir); err == nil {
			t.Errorf("%s is no folder, and nobody says so", dir)
		}
	}
}

// TestInspectDisk looks at a disk that is nearly full, and at one that may only be read.
func TestInspectDisk(t *testing.T) {
	dir := mount(t, 1<<20)
	c := inspect(t, dir, dir)
	if c.FileSystem != "tmpfs" || c.Shared || c.Free <= 0 || c.Free > 1<<20 || c.Clones || !c.ChangeTimes {
		t.Errorf("a small disk is %+v", c)
	}
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if c := inspect(t, dir, dir); !errors.Is(c.Write, syscall.EROFS) {
		t.Errorf("a read-only disk can be written to: %v", c.Write)
	}
}

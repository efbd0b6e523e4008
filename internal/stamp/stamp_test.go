package stamp_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/stamp"
)

// TestOneStamp takes the stamp of a file in each way. A write changes it, also when size
// and modification time are put back.
func TestOneStamp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("one"), 0o666); err != nil {
		t.Fatal(err)
	}
	before := stampOf(t, name)
	info, err := os.Stat(name)
	if err != nil || stamp.From(info) != before {
		t.Errorf("From = %+v, want %+v, %v", stamp.From(info), before, err)
	}
	dir, err := stamp.OpenDir(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if s, mode, err := dir.Lstat("file"); err != nil || s != before || !mode.IsRegular() {
		t.Errorf("Lstat = %+v, %v, %v", s, mode, err)
	}
	time.Sleep(20 * time.Millisecond) // more than a tick of the kernel's clock
	if err := os.WriteFile(name, []byte("two"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if stampOf(t, name) == before {
		t.Error("a file that was written has the stamp that it had")
	}
}

func stampOf(t *testing.T, name string) stamp.Stamp {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := stamp.Of(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTypes(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dir"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("dir", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	dir, err := stamp.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if _, mode, err := dir.Lstat("dir"); err != nil || !mode.IsDir() {
		t.Errorf("dir: %v, %v", mode, err)
	}
	if _, mode, err := dir.Lstat("link"); err != nil || mode.IsDir() || mode.IsRegular() {
		t.Errorf("link: %v, %v", mode, err)
	}
	if _, _, err := dir.Lstat("none"); !os.IsNotExist(err) {
		t.Errorf("none: %v", err)
	}
}

func TestSettled(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixNano() }
	whole := now.Truncate(time.Second)
	for name, c := range map[string]struct {
		s    stamp.Stamp
		want bool
	}{
		"long ago":                       {stamp.Stamp{Mtime: ago(time.Hour), Ctime: ago(time.Minute)}, true},
		"a moment ago":                   {stamp.Stamp{Mtime: ago(time.Hour), Ctime: ago(50 * time.Millisecond)}, false},
		"from the future":                {stamp.Stamp{Mtime: ago(-time.Hour), Ctime: ago(time.Hour)}, false},
		"whole seconds, a moment ago":    {stamp.Stamp{Mtime: whole.UnixNano(), Ctime: whole.UnixNano()}, false},
		"whole seconds, before":          {stamp.Stamp{Mtime: whole.Add(-2 * time.Second).UnixNano(), Ctime: whole.Add(-2 * time.Second).UnixNano()}, true},
		"the system does not say when":   {stamp.Stamp{Mtime: ago(time.Hour)}, false},
		"modified at a full second only": {stamp.Stamp{Mtime: whole.UnixNano(), Ctime: ago(200 * time.Millisecond)}, true},
	} {
		if got := c.s.Settled(now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

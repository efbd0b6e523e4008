package disk_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// TestRoots notes roots, changes one, damages one, and forgets them.
func TestRoots(t *testing.T) {
	s := openDisk(t, t.TempDir())
	roots := func() map[string]disk.Root {
		t.Helper()
		all := map[string]disk.Root{}
		for r, err := range s.Roots(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Since(r.Seen); age < -time.Minute || age > time.Minute {
				t.Errorf("%s was seen at %s", r.Path, r.Seen)
			}
			r.Seen = time.Time{}
			all[r.Path] = r
		}
		return all
	}
	if got := roots(); len(got) > 0 {
		t.Errorf("a new store has roots: %v", got)
	}
	a, b := disk.Root{Path: "/a", Package: "me/lunch@1"}, disk.Root{Path: "/b", Lock: "x"}
	for _, r := range []disk.Root{a, b, {Path: "/a", Package: "me/lunch@2"}, b} {
		if err := disk.AddRoot(s.Root(), r); err != nil {
			t.Fatal(err)
		}
	}
	if got := roots(); len(got) != 2 || got["/a"].Package != "me/lunch@2" || got["/b"] != b {
		t.Errorf("roots are %v", got)
	}
	files := listFiles(t, filepath.Join(s.Root(), "roots"))
	if len(files) != 2 {
		t.Fatalf("files: %q", files)
	}
	long := time.Now().Add(-48 * time.Hour)
	for _, name := range files {
		if err := os.Chtimes(name, long, long); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []disk.Root{{Path: "/a", Package: "me/lunch@2"}, b} {
		if err := disk.AddRoot(s.Root(), r); err != nil { // seen again
			t.Fatal(err)
		}
	}
	if err := s.ForgetRoot(a); err != nil {
		t.Fatal(err)
	}
	if got := roots(); len(got) != 1 || got["/b"] != b {
		t.Errorf("roots are %v", got)
	}
	name := listFiles(t, filepath.Join(s.Root(), "roots"))[0]
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if err := os.WriteFile(name, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		if got := roots(); len(got) > 0 {
			t.Fatalf("byte %d flipped: %v", i, got)
		}
	}
}

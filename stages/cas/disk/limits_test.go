package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// TestOpenGivesUp opens a store that is being cleaned up for longer than one waits.
func TestOpenGivesUp(t *testing.T) {
	s := openDisk(t, t.TempDir())
	release, err := s.Alone()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := disk.Open(s.Root())
		busy, ok := errors.AsType[*disk.BusyError](err)
		if !ok || !busy.Cleaning || busy.By.PID != os.Getpid() {
			t.Errorf("Open = %v", err)
		}
		if waited := time.Since(began); waited < 30*time.Second || waited > 31*time.Second {
			t.Errorf("gave up after %s", waited)
		}
	})
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := openDisk(t, s.Root()).Close(); err != nil {
		t.Error(err)
	}
}

// TestPackIsFull stores, from several goroutines, more than a pack may hold, and sweeps
// it into packs that are full as well.
func TestPackIsFull(t *testing.T) {
	const limit, size = 64 << 10, 3000
	dir := t.TempDir()
	s := openDisk(t, dir)
	s.SetPackLimit(limit)
	content := func(i int) string { return strings.Repeat(fmt.Sprintf("%05d ", i), size/6) }
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w * 50; i < w*50+100; i++ { // half of them twice
				if _, err := s.Put(t.Context(), strings.NewReader(content(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	check := func(from int, packs int) {
		t.Helper()
		for i := from; i < 250; i++ {
			if got, err := cas.ReadBlob(t.Context(), s, cas.Sum([]byte(content(i)))); err != nil || string(got) != content(i) {
				t.Fatalf("blob %d: %d bytes, %v", i, len(got), err)
			}
		}
		names, err := filepath.Glob(filepath.Join(dir, "packs", "*.pack"))
		if err != nil || len(names) < packs {
			t.Errorf("%d packs, want %d at least: %v", len(names), packs, err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || info.Size() > limit+8*(size+100) {
				t.Errorf("%s: %v, %v", name, info.Size(), err)
			}
		}
	}
	check(0, 250*size/limit)
	release, err := s.Alone()
	if err != nil {
		t.Fatal(err)
	}
	keep := map[cas.Digest]bool{}
	for i := 100; i < 250; i++ {
		keep[cas.Sum([]byte(content(i)))] = true
	}
	if _, err := s.Sweep(t.Context(), func(d cas.Digest) bool { return keep[d] }, false); err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	check(100, 150*size/limit)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openDisk(t, dir)
	check(100, 150*size/limit)
	checkPlaces(t, s)
}

// TestReadFails has a disk that fails to read (EIO). That is told as such: it is no damage,
// and nothing is set aside, since the bytes may well be there once the cable is fixed.
func TestReadFails(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a file that fails to be read")
	}
	const broken = "/proc/self/mem" // EIO at address 0 and wherever nothing is mapped
	for name, data := range map[string]string{"small": "small", "large": strings.Repeat("x", pack.MaxBlob+1)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openDisk(t, dir)
			d := put(t, s, data)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "packs", "000001.pack")
			if name == "large" {
				file = filepath.Join(dir, "blobs", d.Hex()[:2], d.Hex()[2:])
			}
			good := file + ".good"
			if err := errors.Join(os.Rename(file, good), os.Symlink(broken, file)); err != nil {
				t.Fatal(err)
			}
			s = openDisk(t, dir)
			_, err := cas.ReadBlob(t.Context(), s, d)
			if _, bad := errors.AsType[*cas.BlobError](err); !errors.Is(err, syscall.EIO) || bad {
				t.Errorf("ReadBlob = %v", err)
			}
			for l, err := range s.Blobs(t.Context()) {
				if name == "small" && err == nil {
					err = s.Check(t.Context(), l)
				}
				if name == "small" && !errors.Is(err, syscall.EIO) {
					t.Errorf("Check = %v", err)
				}
			}
			if left := listFiles(t, filepath.Join(dir, "damaged")); len(left) > 0 {
				t.Errorf("set aside: %q", left)
			}
			if err := errors.Join(s.Close(), os.Rename(good, file)); err != nil {
				t.Fatal(err)
			}
			s = openDisk(t, dir)
			if got, err := cas.ReadBlob(t.Context(), s, d); err != nil || string(got) != data {
				t.Errorf("once it can be read: %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestPutOfAFailingReader has a user's disk that fails to read.
func TestPutOfAFailingReader(t *testing.T) {
	s := openDisk(t, t.TempDir())
	fails := io.MultiReader(bytes.NewReader(make([]byte, pack.MaxBlob+5)), errReader{})
	if _, err := s.Put(t.Context(), fails); !errors.Is(err, syscall.EIO) {
		t.Errorf("Put = %v", err)
	}
	if left := listFiles(t, filepath.Join(s.Root(), "tmp")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, syscall.EIO }

package cas_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// cache is what both stores offer besides blobs.
type cache interface {
	cas.Store
	Result(context.Context, cas.Digest) (cas.Result, error)
	Record(context.Context, cas.Digest, cas.Result) error
	Forget(context.Context, cas.Digest) error
	Latest(context.Context, string) (cas.Digest, error)
	Note(context.Context, string, cas.Digest) error
}

// eachStore runs a test on every implementation.
func eachStore(t *testing.T, test func(t *testing.T, s cache)) {
	t.Run("memory", func(t *testing.T) { test(t, cas.NewMemory()) })
	t.Run("disk", func(t *testing.T) { test(t, openDisk(t, t.TempDir())) })
}

func openDisk(t *testing.T, dir string) *cas.Disk {
	t.Helper()
	s, err := cas.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s cas.Store, data string) cas.Digest {
	t.Helper()
	d, err := s.Put(t.Context(), strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBlobs(t *testing.T) {
	eachStore(t, func(t *testing.T, s cache) {
		for _, data := range []string{"", "a", strings.Repeat("sandwich", 100_000)} {
			d := put(t, s, data)
			if d != cas.Sum([]byte(data)) {
				t.Errorf("Put of %d bytes returned %s", len(data), d)
			}
			got, err := cas.ReadBlob(t.Context(), s, d)
			if err != nil || string(got) != data {
				t.Errorf("read %d bytes back, want %d: %v", len(got), len(data), err)
			}
		}
		absent := cas.Sum([]byte("absent"))
		if _, err := s.Open(t.Context(), absent); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open of an absent blob: %v", err)
		}
		missing, err := s.Missing(t.Context(), []cas.Digest{absent, cas.Sum(nil)})
		if err != nil || !cmp.Equal(missing, []cas.Digest{absent}, cmp.Comparer(func(a, b cas.Digest) bool { return a == b })) {
			t.Errorf("Missing = %v, %v", missing, err)
		}
	})
}

func TestPutThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := s.Put(t.Context(), broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Put = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put after cancel = %v", err)
	}
	if files := listFiles(t, dir); len(files) > 0 {
		t.Errorf("left behind: %q", files)
	}
}

func listFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDamageIsAMiss changes the one file of a store in several ways; the blob must be
// refused once, be gone then, and be whole after it is stored again.
func TestDamageIsAMiss(t *testing.T) {
	const data = "the bytes of a blob"
	damages := map[string]func([]byte) []byte{
		"flipped":  func(b []byte) []byte { b = bytes.Clone(b); b[3] ^= 1; return b },
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
		"emptied":  func([]byte) []byte { return nil },
		"extended": func(b []byte) []byte { return append(bytes.Clone(b), '!') },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openDisk(t, dir)
			d := put(t, s, data)
			file := listFiles(t, filepath.Join(dir, "blobs"))[0]
			if err := os.Chmod(file, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage([]byte(data)), 0o644); err != nil {
				t.Fatal(err)
			}
			if got, err := cas.ReadBlob(t.Context(), s, d); !errors.Is(err, cas.ErrDamaged) {
				t.Fatalf("read %q, %v; want ErrDamaged", got, err)
			}
			if _, err := s.Open(t.Context(), d); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("damaged blob is still there: %v", err)
			}
			put(t, s, data)
			if got, err := cas.ReadBlob(t.Context(), s, d); err != nil || string(got) != data {
				t.Errorf("after healing: %q, %v", got, err)
			}
		})
	}
}

func TestResults(t *testing.T) {
	eachStore(t, func(t *testing.T, s cache) {
		action := cas.Sum([]byte("action"))
		want := cas.Result{
			Tree:     cas.NewTreeID(cas.Sum([]byte("tree"))),
			Counters: map[string]int64{"crops": 3},
			Log:      []cas.Line{{Text: "hello"}, {Warning: true, Text: "careful"}},
		}
		if _, err := s.Result(t.Context(), action); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Result before Record: %v", err)
		}
		if err := s.Record(t.Context(), action, want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Result(t.Context(), action)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(cas.TreeID{}, cas.Digest{})); err != nil || diff != "" {
			t.Errorf("Result: %v (-want +got)\n%s", err, diff)
		}
		if err := s.Forget(t.Context(), action); err != nil {
			t.Fatal(err)
		}
		if err := s.Forget(t.Context(), action); err != nil {
			t.Errorf("Forget twice: %v", err)
		}
		if _, err := s.Result(t.Context(), action); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Result after Forget: %v", err)
		}

		if _, err := s.Latest(t.Context(), "crop"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Latest before Note: %v", err)
		}
		if err := s.Note(t.Context(), "crop", action); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Latest(t.Context(), "crop"); err != nil || got != action {
			t.Errorf("Latest = %s, %v", got, err)
		}
	})
}

// TestDamageIsToldWithTheLastByte reads a damaged blob to its size and no further.
func TestDamageIsToldWithTheLastByte(t *testing.T) {
	const data = "the bytes of a blob"
	dir := t.TempDir()
	s := openDisk(t, dir)
	d := put(t, s, data)
	file := listFiles(t, filepath.Join(dir, "blobs"))[0]
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("the bytes of a blot"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if n, err := r.Read(make([]byte, len(data))); !errors.Is(err, cas.ErrDamaged) {
		t.Errorf("read %d bytes, %v; want ErrDamaged", n, err)
	}
	if missing, err := s.Missing(t.Context(), []cas.Digest{d}); err != nil || len(missing) != 1 {
		t.Errorf("missing %v, %v; want the damaged blob", missing, err)
	}
}

// TestDamagedResultIsAMiss flips every byte of a result in turn.
func TestDamagedResultIsAMiss(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	action := cas.Sum([]byte("action"))
	if err := s.Record(t.Context(), action, cas.Result{Tree: cas.NewTreeID(cas.Sum(nil))}); err != nil {
		t.Fatal(err)
	}
	file := listFiles(t, filepath.Join(dir, "results"))[0]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Result(t.Context(), action); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("byte %d flipped: %v, %v", i, r, err)
		}
	}
}

func TestLockLetsOneThrough(t *testing.T) {
	dir := t.TempDir()
	action := cas.Sum([]byte("action"))
	a, b := openDisk(t, dir), openDisk(t, dir)
	unlock, err := a.Lock(t.Context(), action, func() { t.Error("waited for nobody") })
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	if _, err := b.Lock(ctx, action, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("second Lock, cancelled while it waits: %v", err)
	}

	var wg sync.WaitGroup
	waiting := make(chan struct{})
	wg.Go(func() {
		second, err := b.Lock(t.Context(), action, func() { close(waiting) })
		if err != nil {
			t.Error(err)
			return
		}
		second()
	})
	<-waiting
	unlock()
	wg.Wait()
}

package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/castest"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

func TestStore(t *testing.T) {
	castest.Run(t, func(t *testing.T) castest.Store { return openDisk(t, t.TempDir()) })
}

func openDisk(t *testing.T, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
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
	if files := listFiles(t, dir); len(files) != 1 || filepath.Base(files[0]) != "in-use.lock" {
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

// TestDamageIsAMiss changes the one blob of a store in several ways; it must be refused
// once, be gone then, and be whole after it is stored again.
func TestDamageIsAMiss(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"flipped":  func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-3] ^= 1; return b },
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
		"emptied":  func([]byte) []byte { return nil },
		"extended": func(b []byte) []byte { return append(bytes.Clone(b), '!') },
	}
	for where, size := range map[string]int{"packs": 1000, "blobs": pack.MaxBlob + 1} {
		for name, damage := range damages {
			if where == "packs" && name == "extended" {
				continue // what follows a record in a pack is not its business
			}
			t.Run(where+" "+name, func(t *testing.T) { damageIsAMiss(t, strings.Repeat("x", size), where, damage) })
		}
	}
}

func damageIsAMiss(t *testing.T, data, where string, damage func([]byte) []byte) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	d := put(t, s, data)
	for _, file := range listFiles(t, filepath.Join(dir, where)) {
		if strings.HasSuffix(file, ".index") || strings.HasSuffix(file, ".lock") {
			continue
		}
		good, err := os.ReadFile(file)
		if err == nil {
			err = errors.Join(os.Chmod(file, 0o644), os.WriteFile(file, damage(good), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, err := cas.ReadBlob(t.Context(), s, d); !errors.Is(err, cas.ErrDamaged) {
		t.Fatalf("read %q, %v; want ErrDamaged", got, err)
	}
	if _, err := s.Open(t.Context(), d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("damaged blob is still there: %v", err)
	}
	if files := listFiles(t, filepath.Join(dir, "damaged")); len(files) != 1 {
		t.Errorf("kept for a look: %q", files)
	}
	put(t, s, data)
	if got, err := cas.ReadBlob(t.Context(), s, d); err != nil || string(got) != data {
		t.Errorf("after healing: %d bytes, %v", len(got), err)
	}
}

// TestDamageIsToldWithTheLastByte reads a damaged blob to its size and no further.
func TestDamageIsToldWithTheLastByte(t *testing.T) {
	data := strings.Repeat("the bytes of a blob", pack.MaxBlob)
	dir := t.TempDir()
	s := openDisk(t, dir)
	d := put(t, s, data)
	file := listFiles(t, filepath.Join(dir, "blobs"))[0]
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.TrimSuffix(data, "b")+"t"), 0o644); err != nil {
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

// TestRecordedAgain records a result that is there, which writes nothing, and another one.
func TestRecordedAgain(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	action := cas.Sum([]byte("action"))
	file := func(data string) fs.FileInfo {
		t.Helper()
		err := s.Record(t.Context(), action, cas.Result{Tree: cas.NewTreeID(put(t, s, data))})
		names, globErr := filepath.Glob(filepath.Join(dir, "results", "*", "*"))
		if err = errors.Join(err, globErr); err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		info, err := os.Stat(names[0])
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := file("a tree")
	if !os.SameFile(first, file("a tree")) {
		t.Error("the same result was written again")
	}
	if os.SameFile(first, file("another tree")) {
		t.Error("another result was not written")
	}
}

func TestLockLetsOneThrough(t *testing.T) {
	dir := t.TempDir()
	action := cas.Sum([]byte("action"))
	a, b := openDisk(t, dir), openDisk(t, dir)
	unlock, err := a.Lock(t.Context(), action, func(cas.Holder) { t.Error("waited for nobody") })
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var by cas.Holder
	if _, err := b.Lock(ctx, action, func(h cas.Holder) { by = h; cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("second Lock, cancelled while it waits: %v", err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if by.PID != os.Getpid() || by.Host != host || time.Since(by.Since) > time.Minute {
		t.Errorf("waited for %+v", by)
	}

	var wg sync.WaitGroup
	waiting := make(chan struct{})
	wg.Go(func() {
		second, err := b.Lock(t.Context(), action, func(cas.Holder) { close(waiting) })
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

// TestLocksOfTheDead finds what a process has left in the file of a lock that it had
// when it died. Nobody has the lock, and nobody is waited for.
func TestLocksOfTheDead(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	action := cas.Sum([]byte("action"))
	lock := func() func() {
		t.Helper()
		unlock, err := s.Lock(t.Context(), action, func(h cas.Holder) { t.Errorf("waited for %s", h) })
		if err != nil {
			t.Fatal(err)
		}
		return unlock
	}
	lock()()
	name := listFiles(t, filepath.Join(dir, "locks"))[0]
	for _, left := range []string{`{"pid":1,"host":"gone","since":"2100-01-01T00:00:00Z"}`, `{"pid":`, ""} {
		if err := os.WriteFile(name, []byte(left), 0o666); err != nil {
			t.Fatal(err)
		}
		unlock := lock()
		if text, err := os.ReadFile(name); err != nil || !strings.Contains(string(text), fmt.Sprintf(`"pid":%d,`, os.Getpid())) {
			t.Errorf("the lock says %q, %v", text, err)
		}
		unlock()
	}
}

// TestSmallBlobInAFile reads what an earlier version has stored: small blobs were files.
func TestSmallBlobInAFile(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	const data = "stored before there were packs"
	d := cas.Sum([]byte(data))
	name := filepath.Join(dir, "blobs", d.Hex()[:2], d.Hex()[2:])
	if err := errors.Join(os.Mkdir(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(data), 0o444)); err != nil {
		t.Fatal(err)
	}
	if missing, err := s.Missing(t.Context(), []cas.Digest{d}); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
	if got, err := cas.ReadBlob(t.Context(), s, d); err != nil || string(got) != data {
		t.Errorf("read %q, %v", got, err)
	}
}

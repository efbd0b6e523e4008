package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// mount gives a test a disk of its own, of so many bytes.
func mount(t *testing.T, size int) string {
	dir := t.TempDir()
	err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("only root can mount a small disk")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk stores until the disk is full, small blobs and large ones. The error says
// so; what was stored is whole; and once there is room the store goes on.
func TestFullDisk(t *testing.T) {
	for name, size := range map[string]int{"small": 5000, "large": pack.MaxBlob + 1} {
		t.Run(name, func(t *testing.T) {
			dir := mount(t, 2<<20)
			s := openDisk(t, dir)
			stored := map[cas.Digest][]byte{}
			var full error
			for i := 0; full == nil && i < 1000; i++ {
				data := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2+1)
				var d cas.Digest
				if d, full = s.Put(t.Context(), bytes.NewReader(data)); full == nil {
					stored[d] = data
				}
			}
			if !errors.Is(full, syscall.ENOSPC) || !strings.HasPrefix(full.Error(), "store blob: ") {
				t.Fatalf("after %d blobs: %v", len(stored), full)
			}
			if err := s.Record(t.Context(), cas.Sum(nil), cas.Result{}); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Record on a full disk: %v", err)
			}
			if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=8388608"); err != nil {
				t.Fatal(err)
			}
			more := []byte("there is room again" + strings.Repeat("!", size))
			stored[put(t, s, string(more))] = more
			s = openDisk(t, dir)
			for d, want := range stored {
				if got, err := cas.ReadBlob(t.Context(), s, d); err != nil || !bytes.Equal(got, want) {
					t.Errorf("read %d bytes, %v", len(got), err)
				}
			}
			checkPlaces(t, s)
		})
	}
}

// TestReadOnlyDisk reads from a store that may only be read. Storing what is there is
// no change and no error; anything else is an error that says why.
func TestReadOnlyDisk(t *testing.T) {
	dir := mount(t, 8<<20)
	s := newSampleIn(t, dir)
	if err := s.store.Note(t.Context(), "crop", s.action); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s.store = openDisk(t, dir)
	if !s.look(t, "read-only") {
		t.Error("not whole")
	}
	if err := s.store.Note(t.Context(), "crop", s.action); err != nil {
		t.Errorf("Note of what is noted: %v", err)
	}
	put(t, s.store, "a")
	if _, err := s.store.Put(t.Context(), strings.NewReader("new")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Put = %v", err)
	}
	if err := s.store.Record(t.Context(), cas.Sum(nil), cas.Result{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Record = %v", err)
	}
	if _, err := s.store.Alone(); err != nil && !errors.Is(err, syscall.EROFS) {
		t.Errorf("Alone = %v", err)
	}
}

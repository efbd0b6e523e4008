package dir_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return dir.New(filepath.Join(t.TempDir(), "absent", "root")) })
}

func TestStoreUnderFaults(t *testing.T) {
	blobtest.RunFaults(t, func(t *testing.T) blob.Conditional { return dir.New(t.TempDir()) })
}

// Readers must not meet temporary files, nor may a failed or killed write leave one.
func TestTemporaryFiles(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	s := dir.New(root)
	scratch := filepath.Join(root, ".sandwich", "tmp")
	old := filepath.Join(scratch, "killed")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("part"), 0o644); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	broken := blob.Body{Size: 1, Open: func(context.Context) (io.ReadCloser, error) { return nil, errors.New("broken") }}
	if err := s.Put(ctx, "a", broken); err == nil {
		t.Fatal("Put of a broken body succeeded")
	}
	left, err := os.ReadDir(scratch)
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
	if err := s.Put(ctx, ".sandwich/tmp/x", blob.Bytes(nil)); err == nil {
		t.Error("the folder of temporary files was written to")
	}
	if err := s.PutIf(ctx, "a", nil, ""); err != nil { // makes the lock file
		t.Fatal(err)
	}
	for _, prefix := range []string{"", ".sandwich/tmp/", ".sandwich/tmp/l"} {
		for info, err := range s.List(ctx, prefix) {
			if err != nil || info.Key != "a" {
				t.Errorf("List(%q) yields %v, %v", prefix, info, err)
			}
		}
	}
}

// What is no regular file is no blob, and opening it does not block.
func TestIrregularFiles(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	s := dir.New(root)
	if err := os.Mkdir(filepath.Join(root, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(ctx, "folder", 0, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a folder: %v", err)
	}
	if err := s.Delete(ctx, "folder"); err != nil {
		t.Errorf("Delete of a folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "folder")); err != nil {
		t.Error("Delete removed a folder")
	}
}

func TestPutIfWaitsNoLongerThanItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := dir.New(t.TempDir()).PutIf(ctx, "a", nil, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("PutIf = %v, want %v", err, context.Canceled)
	}
}

package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sandwich-build/sandwich/registry/blob"
)

// TryWrite returns a *blob.TrialError unless blobs can be put. It does what a conditional write
// does, in a folder of its own, which it removes: where temporary files are or, when nothing has
// been put yet, in the nearest folder above that there is.
func (s *Store) TryWrite(ctx context.Context) error {
	at := filepath.Join(s.root, filepath.FromSlash(scratch))
	for {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	root, err := os.MkdirTemp(at, ".sandwich-trial-*")
	if err != nil {
		return &blob.TrialError{Doing: "put", Err: err}
	}
	err = New(root).PutIf(ctx, "blob", []byte("sandwich doctor"), "")
	if err != nil {
		err = &blob.TrialError{Doing: "put", Err: err}
	}
	if removeErr := os.RemoveAll(root); removeErr != nil && err == nil {
		err = &blob.TrialError{Doing: "remove", Works: true, Err: removeErr}
	}
	return err
}

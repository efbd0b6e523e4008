package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/sandwich-build/sandwich/internal/flush"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// fewFiles is up to how many files are flushed one by one. To flush the whole file system
// is one call, but it waits for what others have written as well.
const fewFiles = 32

// flush puts the files of the entries on the disk, before they get their names: else a
// power cut could leave names of files without bytes, as the file system writes those later.
func (i *install) flush(ctx context.Context, files *os.Root, entries []quilt.Entry) (err error) {
	top, err := files.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	if flush.Whole && len(entries) > fewFiles {
		return flush.FileSystem(top)
	}
	err = i.pace.Each(ctx, len(entries), func(_ context.Context, n int) (int64, error) {
		f, err := files.OpenFile(entries[n].Key, os.O_RDWR, 0) // which some systems want for it
		if err != nil {
			return 0, err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return 0, fmt.Errorf("flush %s: %w", entries[n].Key, err)
		}
		return 0, nil
	})
	if err != nil {
		return err
	}
	flushed := map[string]bool{}
	for _, e := range entries {
		for dir := path.Dir(e.Key); !flushed[dir]; dir = path.Dir(dir) {
			flushed[dir] = true
			f, err := files.Open(dir)
			if err != nil {
				return err
			}
			if err := errors.Join(flush.Folder(f), f.Close()); err != nil {
				return fmt.Errorf("flush %s: %w", dir, err)
			}
		}
	}
	return nil
}

// flushFolder makes the names in a folder survive a power cut.
func flushFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(flush.Folder(f), f.Close())
}

package upkeep

import (
	"context"
	"io/fs"
	"path/filepath"

	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// Stats says what is in a store.
type Stats struct {
	Blobs   int   // places of blobs
	Bytes   int64 // of these
	Packed  int   // of the blobs, those in packs
	Packs   int
	Results int
	Damaged int   // blobs that were set aside, and results that say nothing
	Files   int   // on the disk
	Disk    int64 // the sum of their sizes
}

// Measure counts, and reads no blob.
func Measure(ctx context.Context, s *disk.Store) (Stats, error) {
	var st Stats
	packs := map[string]bool{}
	for l, err := range s.Blobs(ctx) {
		if err != nil {
			return st, err
		}
		st.Blobs++
		st.Bytes += l.Digest.Size()
		if l.Packed() {
			st.Packed++
			packs[l.File] = true
		}
	}
	st.Packs = len(packs)
	for r, err := range s.Results(ctx) {
		if err != nil {
			return st, err
		}
		st.Results++
		if r.Damaged {
			st.Damaged++
		}
	}
	err := filepath.WalkDir(s.Root(), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st.Files++
		st.Disk += info.Size()
		if filepath.Base(filepath.Dir(name)) == "damaged" {
			st.Damaged++
		}
		return nil
	})
	return st, err
}

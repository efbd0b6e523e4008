//go:build !linux && !darwin

package dirindex

import (
	"io/fs"
	"os"
	"path/filepath"
)

// stampAll fills in the stamps of files in a directory: size and time only, where the
// system tells no more.
func stampAll(dir string, files []File) error {
	for i := range files {
		info, err := os.Lstat(filepath.Join(dir, files[i].Name))
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return errChanged(filepath.Join(dir, files[i].Name))
		}
		files[i].Stamp = stampOf(info)
	}
	return nil
}

func stampOf(info fs.FileInfo) Stamp {
	return Stamp{Size: info.Size(), Mtime: info.ModTime().UnixNano()}
}

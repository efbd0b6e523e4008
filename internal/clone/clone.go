// Package clone copies files without copying their bytes, on file systems that can share
// them until one of the two is written (btrfs, XFS, APFS and others: "reflinks").
package clone

import (
	"fmt"
	"os"
)

// File makes the file name, which must not exist, with the content of src, and opens it.
// The error is errors.ErrUnsupported, or another one of the system's, where the two cannot
// share bytes; then there is no file name, and the bytes have to be copied.
func File(src *os.File, name string) (*os.File, error) {
	f, err := file(src, name)
	if err != nil {
		return nil, fmt.Errorf("clone %s: %w", src.Name(), err)
	}
	return f, nil
}

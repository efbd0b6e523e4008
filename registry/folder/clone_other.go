//go:build !linux

package folder

import (
	"errors"
	"os"
)

// clone is for file systems whose files can share bytes.
func clone(*os.File, *os.File) error { return errors.ErrUnsupported }

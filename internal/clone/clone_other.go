//go:build !linux && !darwin

package clone

import (
	"errors"
	"os"
)

func file(*os.File, string) (*os.File, error) { return nil, errors.ErrUnsupported }

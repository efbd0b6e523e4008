//go:build !xla

package neural

import (
	"errors"

	"github.com/gomlx/compute"
)

var errNoXLA = errors.New("this binary was built without it: build with -tags xla")

func newXLA(string, int) (compute.Backend, error) { return nil, errNoXLA }

//go:build xla

package neural

import (
	"cmp"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
)

// newXLA makes XLA's backend, for those who have a GPU. It needs a PJRT plugin, which it
// installs itself where there is a network. What it computes has other bits.
func newXLA(plugin string, _ int) (compute.Backend, error) {
	return xla.New(cmp.Or(plugin, "cpu"))
}

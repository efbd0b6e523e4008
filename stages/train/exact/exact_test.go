package exact

import (
	"testing"

	"github.com/gomlx/compute/support/backendtest"
)

func newBackend(tb testing.TB, config string) *Backend {
	tb.Helper()
	b, err := New(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Finalize)
	return b
}

// gomlx's own suite for backends, with one worker and with several.
func TestConformance(t *testing.T) {
	for _, config := range []string{"workers=1", "workers=3", "workers=2,kernels=portable"} {
		t.Run(config, func(t *testing.T) { backendtest.RunAll(t, newBackend(t, config), nil) })
	}
}

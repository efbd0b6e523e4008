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

// gomlx's own suite for backends. With the race detector it takes minutes; what runs at
// the same time there also runs in other tests.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the race detector")
	}
	for _, config := range []string{"workers=3", "workers=1,kernels=portable"} {
		t.Run(config, func(t *testing.T) { backendtest.RunAll(t, newBackend(t, config), nil) })
	}
}

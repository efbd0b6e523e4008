// Package shared finds the real data and test vectors that stand beside the
// project and may not be copied into it.
package shared

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Dir returns the folder of shared data: $SANDWICH_SHARED, or ../shared beside the
// project. A test that needs it is skipped where it is missing, but fails in CI:
// there, a skip would hide that nothing was tested.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("SANDWICH_SHARED")
	if dir == "" {
		_, file, _, ok := runtime.Caller(0)
		if !ok {
			tb.Fatal("shared data: the place of this source file is unknown; set SANDWICH_SHARED")
		}
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "shared")
	}
	if _, err := os.Stat(filepath.Join(dir, "vectors")); err == nil {
		return dir
	}
	if os.Getenv("CI") != "" {
		tb.Fatalf("shared data: not at %s; CI needs it, set SANDWICH_SHARED", dir)
	}
	tb.Skipf("shared data: not at %s; set SANDWICH_SHARED to run this test", dir)
	return ""
}

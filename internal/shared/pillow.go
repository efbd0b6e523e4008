package shared

import (
	"os"
	"path/filepath"
	"testing"
)

// Pillow returns a Python with the Pillow that .ci/run installs, and in it libjpeg-turbo
// and Little CMS. A test that needs it is skipped where it is missing, but fails in CI.
func Pillow(tb testing.TB) (python string) {
	tb.Helper()
	python = os.Getenv("SANDWICH_PILLOW")
	if cache, err := os.UserCacheDir(); python == "" && err == nil {
		python = filepath.Join(cache, "sandwich-ci", "pillow-13.0.0", "bin", "python")
	}
	if _, err := os.Stat(python); err == nil {
		return python
	}
	const hint = "Pillow is not installed; set SANDWICH_PILLOW to the python of a virtual environment with pillow==13.0.0"
	if os.Getenv("CI") != "" {
		tb.Fatal(hint)
	}
	tb.Skip(hint)
	return ""
}

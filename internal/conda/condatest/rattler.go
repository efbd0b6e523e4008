package condatest

import (
	"os"
	"path/filepath"
	"testing"
)

// Rattler returns a folder with a Python that has rattler, which .ci/run installs: a PATH on which it is the
// one tool of conda's. Where it is missing the test is skipped, or fails in CI.
func Rattler(t testing.TB) string {
	t.Helper()
	if dir := FindRattler(); dir != "" {
		return dir
	}
	const hint = "rattler is not installed; set SANDWICH_RATTLER to the python of a virtual environment with py-rattler==0.28.0"
	if os.Getenv("CI") != "" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

// FindRattler returns that folder, or "".
func FindRattler() string {
	python := os.Getenv("SANDWICH_RATTLER")
	if cache, err := os.UserCacheDir(); python == "" && err == nil {
		python = filepath.Join(cache, "sandwich-ci", "py-rattler-0.28.0", "bin", "python")
	}
	if _, err := os.Stat(python); err != nil {
		return ""
	}
	return filepath.Dir(python)
}

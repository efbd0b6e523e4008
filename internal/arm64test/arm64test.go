// Package arm64test holds results that are promised to be equal on every machine to their
// word on another than the one at hand.
package arm64test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Run runs tests of the package that calls it, those whose names match pattern, as a program
// for arm64 in an emulator. There Go's compiler may fuse what is not written as a
// conversion, and there is no assembly of ours. It skips when the emulator is not there
// (Debian has it as qemu-user), and in short tests.
func Run(t *testing.T, pattern string) {
	t.Helper()
	emulator, err := exec.LookPath("qemu-aarch64")
	if testing.Short() || err != nil {
		t.Skip("needs qemu-aarch64, and a while")
	}
	binary := filepath.Join(t.TempDir(), "arm64.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), emulator, binary, "-test.run", pattern, "-test.v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

package exact

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The digests hold on arm64 too, where Go's compiler may fuse what is not written as a
// conversion: an emulator runs this package's own test. Debian has it as qemu-user.
func TestTrainingGivesTheSameBitsOnARM64(t *testing.T) {
	emulator, err := exec.LookPath("qemu-aarch64")
	if testing.Short() || err != nil {
		t.Skip("needs qemu-aarch64, and a while")
	}
	binary := filepath.Join(t.TempDir(), "exact.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), emulator, binary, "-test.run", "^TestTrainingGivesTheSameBits$/^workers=2,", "-test.v")
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

package train_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The digests hold on arm64 too: decoding, augmentation, learning rates and losses fuse
// nothing that would round otherwise there. An emulator, Debian's qemu-user, runs the test.
func TestTrainIsStableOnARM64(t *testing.T) {
	emulator, err := exec.LookPath("qemu-aarch64")
	if testing.Short() || err != nil {
		t.Skip("needs qemu-aarch64, and a while")
	}
	binary := filepath.Join(t.TempDir(), "train.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), emulator, binary, "-test.run", "^TestTrainIsStable$/^batch_6,.*workers:2")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

package stages_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// TestCachedBuildFromReadOnlyStore builds from a store on a disk that may only be read:
// what was built before is found, and what was not fails with the disk's reason.
func TestCachedBuildFromReadOnlyStore(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("none", dir, "tmpfs", 0, "size=1048576")
	if errors.Is(err, syscall.EPERM) {
		t.Skip("only root can mount a disk")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	engine := func() *stages.Engine {
		store, err := disk.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return &stages.Engine{Store: store, Cache: store, Environment: "sha256:e"}
	}
	f := newFixture()
	first := engine()
	built := build(t, first, f.plan(t))
	if err := first.Store.(*disk.Store).Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	b := build(t, engine(), f.plan(t))
	for _, stage := range []string{"left", "both"} {
		if got, want := output(t, b, stage), output(t, built, stage); got != want || b.Ran() != 0 {
			t.Errorf("output of %s is %q after %d stages ran, want %q", stage, got, b.Ran(), want)
		}
	}
	f.left += "!"
	if _, err := engine().Build(t.Context(), f.plan(t)); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Build of something new = %v", err)
	}
}

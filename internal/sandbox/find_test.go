package sandbox_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// TestOrder takes away what comes first, one by one.
func TestOrder(t *testing.T) {
	image, here := sandbox.Need{Image: true}, sandbox.Need{}
	first := func(need sandbox.Need) string {
		t.Helper()
		r, why, err := sandbox.For(t.Context(), "", need)
		if err != nil || need.Image && why != "" {
			t.Fatal(err, why)
		}
		return r.Name()
	}
	works := func(name string) bool {
		return slices.ContainsFunc(runners(t), func(r sandbox.Runner) bool { return r.Name() == name })
	}
	if works("docker") {
		if got := first(image); got != "docker" {
			t.Errorf("%s runs images, and not Docker", got)
		}
	}
	// a daemon that does not answer
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "socket"))
	if works("podman") {
		begin := time.Now()
		got := first(image)
		took := time.Since(begin)
		if got != "podman" {
			t.Errorf("%s runs images, and not Podman", got)
		}
		begin = time.Now()
		if _, _, err := sandbox.For(t.Context(), "podman", image); err != nil {
			t.Fatal(err)
		}
		if alone := time.Since(begin); took > alone+2*time.Second {
			t.Errorf("it took %v, and without Docker %v", took, alone)
		}
	}
	// neither of them
	dir := t.TempDir()
	if bwrap, err := exec.LookPath("bwrap"); err == nil {
		if err := os.Symlink(bwrap, filepath.Join(dir, "bwrap")); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	for _, name := range []string{"bubblewrap", "runc", "crun"} {
		if !works(name) {
			continue
		}
		for _, need := range []sandbox.Need{here, image} {
			if got := first(need); got != name {
				t.Errorf("%s runs %+v, and not %s", got, need, name)
			}
		}
		if r, _, err := sandbox.Among(survey(), "", here); err != nil || r.Name() != name {
			t.Errorf("%s is the first of all, and not %s: %v", r.Name(), name, err)
		}
		break
	}
	// one that is asked for, and none
	if _, _, err := sandbox.For(t.Context(), "docker", image); err == nil {
		t.Error("a Docker that is not there is taken")
	}
	if _, _, err := sandbox.For(t.Context(), "nonsense", image); !isUnknown(err) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if r, _, err := sandbox.For(ctx, "", image); !errors.Is(err, stop) {
		t.Errorf("got %v, %v", r, err)
	}
}

func isUnknown(err error) bool {
	_, ok := errors.AsType[*sandbox.UnknownError](err)
	return ok
}

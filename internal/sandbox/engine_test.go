package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/image/rootfs"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// system is an image of two layers that has the programs of this machine once /usr is mounted.
func system(t *testing.T) (sandbox.Image, []sandbox.Mount) {
	t.Helper()
	entries := []imagetest.Entry{
		{Name: "usr/"}, {Name: "run/"}, {Name: "sys/"}, {Name: "root/", Mode: 0o700},
		{Name: "etc/"}, {Name: "etc/version", Text: "one"}, {Name: "etc/gone", Text: "x"}, {Name: "etc/hostname"}, {Name: "etc/mtab", Type: '2', Link: "/proc/mounts"}, {Name: "etc/gai.conf"}, {Name: "etc/host.conf"},
		{Name: "etc/passwd", Text: "root:x:0:0:root:/root:/bin/sh\n"}, {Name: "etc/group", Text: "root:x:0:\n"},
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + name); err == nil {
			entries = append(entries, imagetest.Entry{Name: name, Type: '2', Link: to})
		}
	}
	if len(entries) == 13 {
		t.Skip("the programs of this machine are not in /usr")
	}
	made := imagetest.New(t, runtime.GOARCH, []string{"PATH=/bin"}, imagetest.Layer(t, entries...),
		imagetest.Layer(t, imagetest.Entry{Name: "etc/"}, imagetest.Entry{Name: "etc/version", Text: "two"}, imagetest.Entry{Name: "etc/.wh.gone"}))
	store := cas.NewMemory()
	for _, blob := range made.Blobs {
		if _, err := store.Put(t.Context(), bytes.NewReader(blob)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := image.Find(t.Context(), made.Root, image.Host(), image.In(store))
	if err != nil {
		t.Fatal(err)
	}
	folders, files := sandbox.MountPoints()
	cache := rootfs.Cache{Dir: t.TempDir(), Bounds: rootfs.Usual, Folders: append(folders, "/sandwich", "/tmp"), Files: files}
	return cache.System(store, found), []sandbox.Mount{{From: "/usr", To: "/usr"}}
}

// remains are what engines show of their own in an image, and nothing covers.
var remains = map[string][]string{
	"docker": {"/.dockerenv"},
	"podman": {"/run/.containerenv", "HOSTNAME=sandwich"},
}

// TestImage shows all that a program sees of its image with each runner. It is the same.
func TestImage(t *testing.T) {
	made, mounts := system(t)
	const script = `find / -xdev -path /usr -prune -o -path /proc -prune -o -path /dev -prune -o -path /sys/fs -prune -o -path /sandwich -prune -o -print | sort
env | sort; hostname; pwd; id -u; umask; cat /etc/version /etc/passwd /etc/group /etc/hosts /etc/hostname /etc/resolv.conf
nproc; cat /proc/net/dev | grep -v lo:; echo x > /dev/shm/x; cat given; echo written > out/x; (echo x > /etc/x) 2>/dev/null || echo refused`
	first := map[string]string{}
	for _, r := range runners(t) {
		p, said, dir := process(t, script)
		p.Image, p.Mounts, p.Env = made, append(mounts, p.Mounts...), append(p.Env, "HOME=/tmp")
		if err := r.Run(t.Context(), p); err != nil {
			t.Fatalf("%s: %v: %s", r.Name(), err, said)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "out", "x")); err != nil || string(text) != "written\n" {
			t.Errorf("%s has left %q, %v", r.Name(), text, err)
		}
		var lines []string
		for line := range strings.Lines(said.String()) {
			if !slices.Contains(remains[r.Name()], strings.TrimSpace(line)) {
				lines = append(lines, line)
			}
		}
		if got := strings.Join(lines, ""); len(first) == 0 {
			first[r.Name()] = got
		} else {
			for name, want := range first {
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("with %s, not as with %s: %s", r.Name(), name, diff)
				}
			}
		}
	}
	for _, text := range first {
		if !strings.Contains(text, "tworoot:x:0:0") || strings.Contains(text, "gone") {
			t.Errorf("it saw %s", text)
		}
	}
}

// TestNotStarted tells an engine that fails from a program that does.
func TestNotStarted(t *testing.T) {
	made, mounts := system(t)
	for _, r := range engines(t) {
		p, said, _ := process(t, "exit 125")
		p.Image, p.Mounts = made, append(mounts, p.Mounts...)
		if exit, ok := errors.AsType[*sandbox.ExitError](r.Run(t.Context(), p)); !ok || exit.Code != 125 {
			t.Errorf("%s: got %v %s", r.Name(), exit, said)
		}
		p.Args = []string{"nowhere"}
		err := r.Run(t.Context(), p)
		if _, failed := errors.AsType[*sandbox.ExitError](err); failed || err == nil || !strings.Contains(err.Error(), "executable file not found") {
			t.Errorf("%s: got %v", r.Name(), err)
		}
		p.Mounts = append(p.Mounts, sandbox.Mount{From: "/nowhere", To: "/sandwich/x"})
		err = r.Run(t.Context(), p)
		if _, failed := errors.AsType[*sandbox.ExitError](err); failed || err == nil || !strings.Contains(err.Error(), "/nowhere") {
			t.Errorf("%s: got %v", r.Name(), err)
		}
		if left := containers(t, r); left != "" {
			t.Errorf("%s has left %s", r.Name(), left)
		}
	}
}

// engines are Docker and Podman.
func engines(t *testing.T) []sandbox.Runner {
	t.Helper()
	all := slices.DeleteFunc(runners(t), func(r sandbox.Runner) bool { return remains[r.Name()] == nil })
	if len(all) == 0 {
		t.Skip("neither Docker nor Podman works here")
	}
	return all
}

// containers lists what an engine has of this program's.
func containers(t *testing.T, r sandbox.Runner) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), r.Name(), "ps", "--all", "--quiet", "--filter", "label=build.sandwich").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// runnerVar names the runner that this program runs another with, as a process to be killed; outVar is the
// folder where that writes.
const runnerVar, outVar = "TEST_RUNNER", "TEST_OUT"

// runForKill runs a program that does not end.
func runForKill(wanted string) int {
	r, _, err := sandbox.For(context.Background(), wanted, sandbox.Need{})
	if err == nil {
		err = r.Run(context.Background(), sandbox.Process{
			Args: []string{"/bin/sh", "-c", `trap "" TERM INT; while :; do echo x >> /out/alive; sleep 0.05; done`}, Env: []string{"PATH=/bin"}, Dir: "/",
			Mounts: []sandbox.Mount{{From: os.Getenv(outVar), To: "/out", Writable: true}}, Stdout: io.Discard, Stderr: io.Discard,
		})
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestKilled kills the process that runs a program in an engine, which leaves no container.
func TestKilled(t *testing.T) {
	for _, r := range engines(t) {
		dir := t.TempDir()
		var said bytes.Buffer
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), runnerVar+"="+r.Name(), outVar+"="+dir)
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		alive := filepath.Join(dir, "alive")
		for _, err := os.Stat(alive); err != nil; _, err = os.Stat(alive) {
			select {
			case err := <-ended:
				t.Fatalf("%s: it ended: %v %s", r.Name(), err, &said)
			case <-time.After(10 * time.Millisecond):
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: it was not killed", r.Name())
		}
		for begin := time.Now(); containers(t, r) != ""; time.Sleep(50 * time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Fatalf("%s: the container stays", r.Name())
			}
		}
	}
}

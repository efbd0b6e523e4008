package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// process is a shell script over folders in and out.
func process(t *testing.T, script string) (sandbox.Process, *bytes.Buffer, string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"in/out", "out", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "in", "given"), []byte("given\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	return sandbox.Process{
		Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "MINE=1"}, Dir: "/sandwich",
		Mounts: []sandbox.Mount{
			{From: filepath.Join(dir, "in"), To: "/sandwich"}, {From: filepath.Join(dir, "out"), To: "/sandwich/out", Writable: true},
			{From: filepath.Join(dir, "tmp"), To: "/tmp", Writable: true},
		},
		Stdout: &said, Stderr: &said,
	}, &said, dir
}

// survey is what this machine has, each tried once.
var survey = sync.OnceValue(func() []sandbox.Found { return sandbox.Survey(context.Background()) })

// runners are those that work here and keep programs to what they declare.
func runners(t *testing.T) []sandbox.Runner {
	t.Helper()
	var all []sandbox.Runner
	for _, f := range survey() {
		switch {
		case f.Engine() && testing.Short():
		case f.Err == nil:
			all = append(all, f.Runner)
		case os.Getenv("CI") != "" && f.Name != "crun":
			t.Errorf("%s does not work: %v", f.Name, f.Err)
		}
	}
	if len(all) == 0 {
		t.Skip("nothing here keeps a program to what it declares")
	}
	return all
}

// TestRefused tries what a program may not do, and what it may, with each runner.
func TestRefused(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hidden"), 0o666); err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	t.Setenv("SECRET", "hidden")
	connect := "bash -c 'exec 3<>/dev/tcp/127.0.0.1/" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port) + "'"
	tries := []struct{ name, script string }{
		{"reads its input", "cat given"},
		{"writes its output", "echo x > out/x"},
		{"writes to its home", "echo x > /tmp/x"},
		{"has the devices", "echo x > /dev/null && head -c1 /dev/urandom > /tmp/y"},
		{"has its variables", `test "$MINE" = 1`},
		{"reads another file", "cat " + secret},
		{"lists the home", "ls /root/* /home/*"},
		{"has this process' variables", `test -n "$SECRET"`},
		{"changes its input", "echo x > given"},
		{"adds to its input", "echo x > more"},
		{"removes its input", "rm -f given"},
		{"writes to the root", "echo x > /x"},
		{"writes to the system", "echo x > /usr/x"},
		{"sees other processes", "kill -0 " + strconv.Itoa(os.Getpid())},
		{"mounts", "mount -t tmpfs tmpfs /tmp"},
		{"uses the network", connect},
	}
	var script strings.Builder
	for _, try := range tries {
		fmt.Fprintf(&script, "if ( %s ) >/dev/null 2>&1; then echo %q; fi\n", try.script, try.name)
	}
	allowed := "reads its input\nwrites its output\nwrites to its home\nhas the devices\nhas its variables\n"
	for _, r := range runners(t) {
		for network, want := range map[bool]string{false: allowed, true: allowed + "uses the network\n"} {
			t.Run(fmt.Sprintf("%s/network=%t", r.Name(), network), func(t *testing.T) {
				p, said, dir := process(t, script.String())
				p.Network = network
				if err := r.Run(t.Context(), p); err != nil {
					t.Fatalf("%v: %s", err, said)
				}
				if diff := cmp.Diff(want, said.String()); diff != "" {
					t.Error(diff)
				}
				if text, err := os.ReadFile(filepath.Join(dir, "in", "given")); err != nil || string(text) != "given\n" {
					t.Errorf("the input is %q, %v", text, err)
				}
			})
		}
	}
}

// TestExitCode tells how a program ends.
func TestExitCode(t *testing.T) {
	for _, r := range append(runners(t), sandbox.Native()) {
		p, _, _ := process(t, "exit 3")
		err := r.Run(t.Context(), p)
		if exit, ok := errors.AsType[*sandbox.ExitError](err); !ok || exit.Code != 3 {
			t.Errorf("%s: got %v", r.Name(), err)
		}
		p.Args = []string{"/nowhere/program"}
		if err := r.Run(t.Context(), p); err == nil {
			t.Errorf("%s: a program that is not there ran", r.Name())
		}
	}
}

// TestCancel ends a program that ignores it, and what it has started.
func TestCancel(t *testing.T) {
	for _, r := range append(runners(t), sandbox.Native()) {
		t.Run(r.Name(), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			p, _, dir := process(t, `trap "" TERM INT; (while :; do echo x >> out/alive; sleep 0.05; done) & wait; sleep 60`)
			if r.Name() == sandbox.Native().Name() {
				p.Args[2] = strings.ReplaceAll(p.Args[2], "out/alive", filepath.Join(dir, "out", "alive"))
			}
			alive := filepath.Join(dir, "out", "alive")
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx, p) }()
			for _, err := os.Stat(alive); err != nil; _, err = os.Stat(alive) {
				select {
				case err := <-done:
					t.Fatalf("it ended: %v", err)
				case <-time.After(10 * time.Millisecond):
				}
			}
			cancel()
			begin := time.Now()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %v to end", took)
			}
			before, err := os.Stat(alive)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			if after, err := os.Stat(alive); err != nil || after.Size() != before.Size() {
				t.Errorf("something of it still writes: %v", err)
			}
		})
	}
}

// TestLimits takes more memory than it may.
func TestLimits(t *testing.T) {
	for _, r := range runners(t) {
		if !r.Enforced().Memory {
			continue
		}
		if err := sandbox.TryLimits(t.Context(), r); err != nil {
			t.Errorf("%s: %v", r.Name(), err)
		}
		p, said, _ := process(t, "exec dd if=/dev/zero of=/dev/null bs=200M count=1")
		p.Memory = 32 << 20
		err := r.Run(t.Context(), p)
		if exit, ok := errors.AsType[*sandbox.ExitError](err); !ok || exit.Code != 137 {
			t.Errorf("%s: got %v %s", r.Name(), err, said)
		}
	}
}

// TestProgram finds what a program needs mounted.
func TestProgram(t *testing.T) {
	home := t.TempDir()
	python := filepath.Join(home, "venv", "bin", "python")
	tool := filepath.Join(home, "bin", "tool")
	for _, name := range []string{python, tool} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/bin/sh", python); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, nil, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, "bin") + ":" + filepath.Dir(python) + ":/bin"
	for name, want := range map[string]string{
		"python": filepath.Join(home, "venv"), "tool": filepath.Join(home, "bin"), "sh": "",
	} {
		_, mounts, err := sandbox.Program(name, path, home)
		got := ""
		if len(mounts) > 0 {
			got = mounts[0].From
		}
		if err != nil || len(mounts) > 1 || got != want {
			t.Errorf("%s needs %+v, %v, want %q", name, mounts, err, want)
		}
	}
	_, _, err := sandbox.Program("nowhere", path, home)
	if missing, ok := errors.AsType[*sandbox.NotFoundError](err); !ok || missing.Program != "nowhere" {
		t.Errorf("got %v", err)
	}
}

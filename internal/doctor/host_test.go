package doctor

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/cosign"
	"github.com/sandwich-build/sandwich/internal/neural"
)

func TestProgram(t *testing.T) {
	usual, other := ask(t, Program(neural.DefaultBackend)), ask(t, Program("go"))
	want(t, usual, "environment", OK, "sha256:", "")
	if usual[0].Found == other[0].Found {
		t.Error("the backend, which decides bits, is not in it")
	}
}

func TestKernels(t *testing.T) {
	for _, test := range []struct {
		forced string
		status Status
		found  string
		mend   string
	}{
		{"", OK, "kernels", ""},
		{"portable", OK, "(portable kernels, ", ""},
		{"nonsense", Fault, "nonsense", "unset " + neural.KernelsVariable},
	} {
		t.Setenv(neural.KernelsVariable, test.forced)
		want(t, ask(t, Kernels(neural.DefaultBackend, neural.KernelsVariable, test.forced)), "kernels", test.status, test.found, test.mend)
	}
	want(t, ask(t, Kernels("exact:fast", neural.KernelsVariable, "")), "kernels", Fault, "takes no configuration", "another --backend")
}

func TestOpenFiles(t *testing.T) {
	for _, test := range []struct {
		limit  uint64
		status Status
		found  string
		mend   string
	}{
		{0, OK, "does not tell", ""},
		{256, Warning, "256 files", "ulimit -n 1024"},
		{1024, OK, "1024 files", ""},
	} {
		want(t, ask(t, openFiles(func() uint64 { return test.limit })), "open files", test.status, test.found, test.mend)
	}
	if f := ask(t, OpenFiles()); len(f) != 1 {
		t.Errorf("of this machine: %+v", f)
	}
}

func TestClock(t *testing.T) {
	at := func(when time.Time) func() time.Time { return func() time.Time { return when } }
	made := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	want(t, ask(t, clock(at(made), made)), "clock", OK, "2026-05-01T00:00:00Z", "")
	want(t, ask(t, clock(at(made.Add(-time.Hour)), made)), "clock", Warning, "was 2026-05-01", fixClock)
	want(t, ask(t, clock(at(time.Unix(0, 0)), time.Time{})), "clock", Warning, "it is 1970-01-01", fixClock)
	want(t, ask(t, Clock(time.Now)), "clock", OK, "20", "")
}

func TestCosign(t *testing.T) {
	for name, test := range map[string]struct {
		tool   *cosign.Tool
		err    error
		status Status
		found  string
		mend   string
	}{
		"there":   {&cosign.Tool{Program: "/bin/cosign", Version: "3.1.3"}, nil, OK, "/bin/cosign: version 3.1.3", ""},
		"unknown": {&cosign.Tool{Program: "/bin/cosign"}, nil, OK, "version unknown", ""},
		"none":    {nil, &cosign.NotFoundError{Err: exec.ErrNotFound}, OK, "not installed", ""},
		"old":     {nil, &cosign.OldError{Program: "/bin/cosign", Version: "2.6.2"}, Warning, "cosign 2.6.2", "install a later one"},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, ask(t, Cosign(func(context.Context) (*cosign.Tool, error) { return test.tool, test.err })), "cosign", test.status, test.found, test.mend)
		})
	}
}

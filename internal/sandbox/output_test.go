package sandbox_test

import (
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// slow takes its time for what it is given.
type slow struct {
	taken int
	err   error // after the first
}

func (s *slow) Write(p []byte) (int, error) {
	if s.taken > 0 && s.err != nil {
		return 0, s.err
	}
	time.Sleep(400 * time.Millisecond)
	s.taken += len(p)
	return len(p), nil
}

// TestSlow has a program end long before its output is taken.
func TestSlow(t *testing.T) {
	eachRunner(t, func(t *testing.T, r sandbox.Runner) {
		const size = 100_000
		p, said, _ := process(t, "head -c 100000 /dev/zero")
		out := new(slow)
		p.Stdout = out
		if err := r.Run(t.Context(), p); err != nil || out.taken != size {
			t.Errorf("%d bytes are taken of %d: %v %s", out.taken, size, err, said)
		}
		full := errors.New("full")
		p.Stdout = &slow{err: full}
		if err := r.Run(t.Context(), p); err == nil {
			t.Error("nobody says that not all is taken")
		}
	})
}

// TestHeld leaves somebody who holds the output open.
func TestHeld(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	eachRunner(t, func(t *testing.T, r sandbox.Runner) {
		for name, script := range map[string]string{
			"in its group": "sleep 30 & echo done", "in another": "setsid sleep 5 & sleep 0.2; echo done", "and prints": "setsid yes & sleep 0.2; echo done >&2",
		} {
			p, said, _ := process(t, script)
			if name == "and prints" {
				p.Stdout = io.Discard
			}
			begin := time.Now()
			if err := r.Run(t.Context(), p); err != nil || said.String() != "done\n" {
				t.Errorf("%s: it said %q, %v", name, said, err)
			}
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		}
	})
}

package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// eachRunner runs a test with each runner, and with none.
func eachRunner(t *testing.T, test func(t *testing.T, r sandbox.Runner)) {
	t.Helper()
	for _, r := range append(runners(t), sandbox.Native()) {
		t.Run(r.Name(), func(t *testing.T) { test(t, r) })
	}
}

// TestEcho has a program write what it reads while it reads it. Its output is taken only as its input is given,
// and so nobody may keep much of either.
func TestEcho(t *testing.T) {
	const size, piece = 8 << 20, 1 << 20
	sent := make([]byte, size)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{1}), sent); err != nil {
		t.Fatal(err)
	}
	eachRunner(t, func(t *testing.T, r sandbox.Runner) {
		p, said, _ := process(t, "exec cat")
		from, in := io.Pipe()
		out, to := io.Pipe()
		p.Stdin, p.Stdout = from, to
		written := make(chan error, 1)
		go func() {
			_, err := io.Copy(in, struct{ io.Reader }{bytes.NewReader(sent)})
			written <- errors.Join(err, in.Close())
		}()
		ended := make(chan error, 1)
		go func() {
			err := r.Run(t.Context(), p)
			ended <- errors.Join(err, to.Close(), from.Close())
		}()
		sum, got := sha256.New(), int64(0)
		for {
			n, err := io.CopyN(sum, out, piece)
			if got += n; err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond) // a reader that is slower than the program
		}
		if err := errors.Join(<-ended, <-written); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		if got != size || [32]byte(sum.Sum(nil)) != sha256.Sum256(sent) {
			t.Errorf("%d bytes came back of %d, or others", got, size)
		}
	})
}

// TestInput gives a program inputs that end before it, and those that do not.
func TestInput(t *testing.T) {
	eachRunner(t, func(t *testing.T, r sandbox.Runner) {
		run := func(script string, in io.Reader) (string, time.Duration, error) {
			p, said, _ := process(t, script)
			p.Stdin = in
			begin := time.Now()
			err := r.Run(t.Context(), p)
			return said.String(), time.Since(begin), err
		}
		silent, end := io.Pipe()
		open, openEnd, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _, _ = end.Close(), open.Close(), openEnd.Close() })
		for name, c := range map[string]struct {
			in   io.Reader
			want string
		}{
			"nothing": {nil, ""}, "an empty one": {strings.NewReader(""), ""}, "bytes": {strings.NewReader("a\x00\r\n\xff\x04"), "a\x00\r\n\xff\x04"},
		} {
			if said, _, err := run("cat", c.in); said != c.want || err != nil {
				t.Errorf("%s: it said %q, %v", name, said, err)
			}
		}
		const endless = "an endless one"
		_, usual, err := run(":", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, in := range map[string]io.Reader{
			"a pipe in memory that stays silent": silent, "a pipe that stays silent": open, endless: rand.NewChaCha8([32]byte{2}),
		} {
			said, took, err := run("echo done", in)
			// Podman ends without passing on what was said when it cannot pass on what comes in.
			cutOff := said == "" && name == endless && r.Name() == "podman"
			if said != "done\n" && !cutOff || err != nil {
				t.Errorf("%s: it said %q, %v", name, said, err)
			}
			if took > usual+250*time.Millisecond && !engine(r) { // half of how long an output is waited for
				t.Errorf("%s: it took %v instead of %v", name, took, usual)
			}
			if _, _, err := run("exit 3", in); exitCode(err) != 3 {
				t.Errorf("%s: got %v", name, err)
			}
		}
		cut := errors.New("cut")
		if _, _, err := run("cat; exit 3", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(cut))); !errors.Is(err, cut) || exitCode(err) == 3 {
			t.Errorf("an input that fails: got %v", err)
		}
	})
}

// TestCancelInput ends a program that waits for its input.
func TestCancelInput(t *testing.T) {
	eachRunner(t, func(t *testing.T, r sandbox.Runner) {
		silent, end := io.Pipe()
		t.Cleanup(func() { _ = end.Close() })
		p, _, _ := process(t, "echo waits; exec cat")
		out, to := io.Pipe()
		p.Stdin, p.Stdout = silent, to
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			err := r.Run(ctx, p)
			_ = to.Close()
			ended <- err
		}()
		if _, err := io.ReadFull(out, make([]byte, len("waits\n"))); err != nil {
			t.Fatal(err, <-ended)
		}
		cancel()
		begin := time.Now()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %v to end", took)
		}
	})
}

// engine tells whether a runner is Docker or Podman.
func engine(r sandbox.Runner) bool { return remains[r.Name()] != nil }

// exitCode is the exit code of a program that has failed, and else 0.
func exitCode(err error) int {
	if exit, ok := errors.AsType[*sandbox.ExitError](err); ok {
		return exit.Code
	}
	return 0
}

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
)

func splitVariable(v string) (key, value string) {
	key, value, _ = strings.Cut(v, "=")
	return key, value
}

// candidate is a way to run programs.
type candidate struct {
	name string
	open func(ctx context.Context) (Runner, error)
}

// candidates are in the order of preference.
var candidates = []candidate{
	{"runc", newOCI("runc")},
	{"crun", newOCI("crun")},
	{"bubblewrap", newBubblewrap},
}

// none is the name that asks for no sandbox.
const none = "none"

// Found is a way to run programs, or why it is none.
type Found struct {
	Name   string
	Runner Runner
	Err    error // why it cannot be used here
}

// Absent says that the program that would do it is not installed.
func (f Found) Absent() bool {
	_, absent := errors.AsType[*NotFoundError](f.Err)
	return absent
}

// Survey tries every way to run programs.
func Survey(ctx context.Context) []Found {
	all := make([]Found, len(candidates))
	for i, c := range candidates {
		runner, err := c.open(ctx)
		all[i] = Found{Name: c.name, Runner: runner, Err: err}
	}
	return all
}

// For returns the Runner that is wanted, or else bubblewrap, which starts fastest, unless there
// are limits, which it does not enforce; or else whatever works here. "none" wants no sandbox,
// and the second result says why there is none.
func For(ctx context.Context, want string, limited bool) (Runner, string, error) {
	if want == none {
		const off = "it is turned off"
		return native{off}, off, nil
	}
	if want == "" && !limited {
		if r, err := choose(ctx, "bubblewrap"); err == nil {
			return r, "", nil
		}
	}
	r, err := choose(ctx, want)
	if err != nil && want == "" {
		return native{err.Error()}, err.Error(), nil
	}
	return r, "", err
}

// NoRunnerError says that an image cannot be run without a sandbox, and why there is none.
type NoRunnerError struct{ Problem string }

func (e *NoRunnerError) Error() string { return "nothing here can run an image: " + e.Problem }

// choose returns the first candidate that works.
func choose(ctx context.Context, want string) (Runner, error) {
	var problems []string
	for _, c := range candidates {
		if want != "" && c.name != want {
			continue
		}
		r, err := c.open(ctx)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		problems = append(problems, fmt.Sprintf("%s: %v", c.name, err))
	}
	if len(problems) == 0 {
		return nil, &UnknownError{Name: want}
	}
	return nil, errors.New(strings.Join(problems, "; "))
}

// UnknownError says that there is no way to run programs of a name.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	var names []string
	for _, c := range candidates {
		names = append(names, c.name)
	}
	return fmt.Sprintf("unknown runner %q; there are %s and %s", e.Name, strings.Join(names, ", "), none)
}

// try runs a program that does nothing.
func try(ctx context.Context, r Runner) error { return tryWithin(ctx, r, 0, 0) }

// smallMemory is a bound that a shell which does nothing stays far below.
const smallMemory = 64 << 20

// TryLimits runs a program that does nothing with limits of cores and memory, as which a Runner
// may enforce them. What a machine refuses of them is known only then.
func TryLimits(ctx context.Context, r Runner) error { return tryWithin(ctx, r, 1, smallMemory) }

func tryWithin(ctx context.Context, r Runner, cores int, memory int64) error {
	var said bytes.Buffer
	err := r.Run(ctx, Process{Args: []string{"/bin/sh", "-c", ":"}, Dir: "/", CPU: cores, Memory: memory, Stdout: &said, Stderr: &said})
	return problem(err, said.String())
}

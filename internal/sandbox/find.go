package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

func splitVariable(v string) (key, value string) {
	key, value, _ = strings.Cut(v, "=")
	return key, value
}

// candidate is a way to run programs.
type candidate struct {
	name   string
	engine bool // it is Docker or Podman, and of use for images alone
	open   func(ctx context.Context) (Runner, error)
}

// candidates are in the order of preference. Engines are for images alone, and come first for them: who has
// Docker or Podman expects images to run there. The others start a program in milliseconds and not in a second,
// and take the unpacked image as it is, of which Docker first copies the layers into a store of its own: see
// manifest/README.md, which has the figures.
var candidates = []candidate{
	{"docker", true, newEngine(docker)},
	{"podman", true, newEngine(podman)},
	{"bubblewrap", false, newBubblewrap},
	{"runc", false, newOCI("runc")},
	{"crun", false, newOCI("crun")},
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

// Engine says that it is Docker or Podman, which are of use for images, where they answer.
func (f Found) Engine() bool {
	return slices.ContainsFunc(candidates, func(c candidate) bool { return c.name == f.Name && c.engine })
}

// Survey tries every way to run programs, all at once.
func Survey(ctx context.Context) []Found {
	all := make([]Found, len(candidates))
	var wait sync.WaitGroup
	for i, c := range candidates {
		wait.Go(func() {
			runner, err := c.open(ctx)
			all[i] = Found{Name: c.name, Runner: runner, Err: err}
		})
	}
	wait.Wait()
	return all
}

// Need is what a Runner is wanted for.
type Need struct {
	Limits bool // of cores or memory, which not every Runner enforces
	Image  bool // to run in
}

// For returns the Runner that is wanted, or else the first that works here, and enforces limits if it
// needs to and one does. "none" wants no sandbox, and the second result says why there is none.
func For(ctx context.Context, want string, need Need) (Runner, string, error) {
	r, why, err := pick(want, need, func(c candidate) (Runner, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return c.open(ctx)
	})
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	return r, why, err
}

// Among is For of what a Survey has found.
func Among(found []Found, want string, need Need) (Runner, string, error) {
	return pick(want, need, func(c candidate) (Runner, error) {
		if i := slices.IndexFunc(found, func(f Found) bool { return f.Name == c.name }); i >= 0 {
			return found[i].Runner, found[i].Err
		}
		return nil, &NotFoundError{c.name, os.Getenv("PATH")}
	})
}

func pick(want string, need Need, open func(candidate) (Runner, error)) (Runner, string, error) {
	if want == none {
		const off = "it is turned off"
		return native{off}, off, nil
	}
	r, err := choose(want, need, open)
	if err != nil && want == "" {
		return native{err.Error()}, err.Error(), nil
	}
	return r, "", err
}

// NoRunnerError says that an image cannot be run without a sandbox, and why there is none.
type NoRunnerError struct{ Problem string }

func (e *NoRunnerError) Error() string { return "nothing here can run an image: " + e.Problem }

// choose returns the first candidate that works, if possible one that enforces what is needed.
func choose(want string, need Need, open func(candidate) (Runner, error)) (Runner, error) {
	var problems []string
	var second Runner
	known := false
	for _, c := range candidates {
		if want != "" && c.name != want || want == "" && c.engine && !need.Image {
			continue
		}
		known = true
		r, err := open(c)
		switch {
		case err == nil && (want != "" || !need.Limits || r.Enforced().CPU && r.Enforced().Memory):
			return r, nil
		case err == nil && second == nil:
			second = r
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s: %v", c.name, err))
		}
	}
	switch {
	case second != nil:
		return second, nil
	case !known:
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

func tryWithin(ctx context.Context, r Runner, cores int, memory int64) (err error) {
	p := Process{Args: []string{"/bin/sh", "-c", ":"}, Dir: "/"}
	if _, ok := r.(*engine); ok { // which may be in a virtual machine
		var clean func() error
		if p, clean, err = idle(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, clean()) }()
	}
	var said bytes.Buffer
	p.CPU, p.Memory, p.Stdout, p.Stderr = cores, memory, &said, &said
	return problem(r.Run(ctx, p), said.String())
}

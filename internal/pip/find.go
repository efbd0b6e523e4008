package pip

import (
	"context"
	"io"
	"os/exec"

	"github.com/sandwich-build/sandwich/internal/sandbox"
)

// Python is an interpreter that can be run.
type Python struct {
	Interpreter
	Program string // as Run takes it
	Run     Run
}

// names are what interpreters are called, in the order of preference.
var names = []string{"python3", "python"}

// NoPythonError says that there is no Python that packages could be installed for.
type NoPythonError struct {
	Image string // that has none; empty for this machine
	Err   error
}

func (e *NoPythonError) Error() string {
	if e.Image != "" {
		return "there is no Python in the image " + e.Image + ": " + e.Err.Error()
	}
	return "there is no Python: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *NoPythonError) Unwrap() error { return e.Err }

// Here finds the interpreter of this machine by the variables PATH and HOME. It runs in a folder, with
// the variables of this process, which pip's settings are among. The error is a *NoPythonError.
func Here(ctx context.Context, path, home, dir string) (Python, error) {
	p := Python{Run: func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, stdout, stderr
		return cmd.Run()
	}}
	var err error
	for _, name := range names {
		if p.Program, _, err = sandbox.Program(name, path, home); err == nil {
			break
		}
	}
	if err == nil {
		p.Interpreter, err = Probe(ctx, p.Run, p.Program)
	}
	if err != nil {
		return p, &NoPythonError{Err: err}
	}
	return p, nil
}

// In finds the interpreter of an image, in which run runs programs. The error is a *NoPythonError.
func In(ctx context.Context, run Run, image string) (Python, error) {
	var first error
	for _, name := range names {
		found, err := Probe(ctx, run, name)
		if err == nil {
			return Python{Interpreter: found, Program: name, Run: run}, nil
		}
		if first == nil {
			first = err
		}
	}
	return Python{}, &NoPythonError{Image: image, Err: first}
}

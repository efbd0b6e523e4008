package sandbox

import (
	"errors"
	"io"
	"os"
	"os/exec"
)

// input gives a program what it reads. os/exec would do that too, but waits until all is read, also of an
// input whose end does not come before that of the program.
type input struct {
	from   io.Reader
	to     io.WriteCloser // the program's end; nil for a program that reads a file, or nothing
	failed chan error     // has what reading failed with, before the program can know of it
}

// of makes it the input of a command that is to be started.
func (i *input) of(cmd *exec.Cmd) (err error) {
	switch from := i.from.(type) {
	case nil:
	case *os.File:
		cmd.Stdin = from // which the program reads itself
	default:
		i.failed = make(chan error, 1)
		i.to, err = cmd.StdinPipe() // which cmd.Wait closes
	}
	return err
}

// start passes on what there is to read, once the command has started.
func (i *input) start() {
	if i.to == nil {
		return
	}
	go func() {
		// A program that reads no more is no failure: that it could not be written to is not asked.
		_, _ = io.Copy(i.to, i)
		_ = i.to.Close()
	}()
}

// Read implements io.Reader.
func (i *input) Read(p []byte) (int, error) {
	n, err := i.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		i.failed <- err
	}
	return n, err
}

// problem tells, once the program has ended, whether its input has failed before.
func (i *input) problem() error {
	select {
	case err := <-i.failed:
		return &InputError{err}
	default:
		return nil
	}
}

// InputError says that Process.Stdin has failed before its end, so that what the program has made counts for nothing.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "read the input of the program: " + e.Err.Error() }

func (e *InputError) Unwrap() error { return e.Err }

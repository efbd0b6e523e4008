package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"reflect"
	"sync/atomic"
	"time"
)

// output takes what a program prints. os/exec would do that too, but waits for who holds it open after the program
// has ended, or, with a WaitDelay, loses what has not been taken by then.
type output struct {
	to    io.Writer
	from  *os.File      // the end of the pipe that is read
	steps atomic.Int64  // counts how often to was given something, and how often it had taken that
	taken atomic.Int64  // counts bytes
	ended chan struct{} // is closed when the copy has ended
	err   error         // how; after that
}

// outputs are those of a command that is to be started, which given are the program's ends of.
type outputs struct {
	all   []*output
	given []*os.File
}

// of makes them the outputs of a command that is to be started.
func (o *outputs) of(cmd *exec.Cmd, stdout, stderr io.Writer) (err error) {
	if cmd.Stdout, err = o.add(stdout); err != nil {
		return err
	}
	if same(stdout, stderr) {
		cmd.Stderr = cmd.Stdout
		return nil
	}
	cmd.Stderr, err = o.add(stderr)
	return err
}

// add returns what a command is to write to.
func (o *outputs) add(to io.Writer) (io.Writer, error) {
	if _, ok := to.(*os.File); ok || to == nil {
		return to, nil // the program writes there itself
	}
	from, given, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.all = append(o.all, &output{to: to, from: from, ended: make(chan struct{})})
	o.given = append(o.given, given)
	return given, nil
}

// start takes what comes, once the command has started, or has failed to.
func (o *outputs) start() {
	for _, f := range o.given {
		_ = f.Close() // the program has it
	}
	for _, out := range o.all {
		go func() {
			defer close(out.ended)
			_, out.err = io.Copy(out, out.from)
			_ = out.from.Close() // or who still prints would wait to be read
		}()
	}
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.steps.Add(1)
	n, err := o.to.Write(p)
	o.taken.Add(int64(n))
	o.steps.Add(1)
	return n, err
}

// wait waits, once the program has ended and its group with it, until all that it has printed is taken.
func (o *outputs) wait(ctx context.Context) error {
	var errs []error
	for _, out := range o.all {
		errs = append(errs, out.wait(ctx))
	}
	return errors.Join(errs...)
}

// pipeHolds is the most that a pipe can hold, in bytes, as Linux has it by default.
const pipeHolds = 1 << 20

// wait gives up on somebody that has left the group and holds the output open: nothing comes any more although it
// would be taken, or more comes than the program can have left.
func (o *output) wait(ctx context.Context) error {
	steps, taken := o.steps.Load(), o.taken.Load()
	for {
		select {
		case <-o.ended:
			return o.err
		case <-ctx.Done():
		case <-time.After(killAfter):
		}
		now := o.steps.Load()
		writes := now%2 == 1
		if ctx.Err() != nil || now == steps && !writes || o.taken.Load() > taken+pipeHolds {
			_ = o.from.Close()
			<-o.ended
			return nil // it was cut off here
		}
		steps = now
	}
}

// same tells whether two writers are one, so that what is printed to both stays in order.
func same(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

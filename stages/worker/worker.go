// Package worker has the work of a stage done by a process of its own, which may run within another
// system than this one: an image. That process has nothing of this machine but a pair of pipes, over
// which it reads and stores blobs and tells how far it is; what a kind needs of the world is
// fetched here before (see Fetcher).
//
// The kind is made there of its parameters alone, as they are in the key. What a stage comes to can
// therefore depend on nothing that its key does not have.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/worker/internal/wire"
)

// Catalogue is what both processes know.
type Catalogue struct {
	// Kinds make the kinds of their parameters, as they are in an action, by the name of the kind.
	Kinds map[string]func(params []byte) (stages.Kind, error)
	// Errors arrive as what they are, and not as their text alone: pointers to the zero values of
	// types whose fields JSON keeps.
	Errors []error
}

// Streams are what the other process has of this one.
type Streams struct {
	Stdin          *os.File
	Stdout, Stderr io.Writer
}

// Kind is a kind whose work is done by another process.
type Kind struct {
	stages.Kind
	Catalogue Catalogue
	// Start runs the process, which calls Main with its standard streams, to its end.
	Start func(ctx context.Context, t *stages.Task, s Streams) error
}

// Fetcher is a kind that needs something of the world. Fetch puts all of that into the store, so
// that the rest of its work can be done elsewhere.
type Fetcher interface {
	Fetch(ctx context.Context, t *stages.Task) error
}

// DiedError says that the process of a stage ended without having said what became of its work.
type DiedError struct {
	Err     error  // nil when it ended as if all were well
	Printed string // the beginning of what it printed
}

func (e *DiedError) Error() string {
	words := []string{"the process that does its work has ended before that"}
	if e.Err != nil {
		words = append(words, e.Err.Error())
	}
	if !strings.Contains(words[len(words)-1], e.Printed) {
		words = append(words, e.Printed)
	}
	return strings.Join(words, ": ")
}

// Unwrap returns how it ended.
func (e *DiedError) Unwrap() error { return e.Err }

// grace is how long the other process may take to put away what it has when the work is to end. It is
// less than what the whole of an interrupted command may take.
const grace = 600 * time.Millisecond

// Run implements stages.Kind. The error may be a *DiedError, or that of Start.
func (k Kind) Run(ctx context.Context, t *stages.Task) (err error) {
	if f, ok := k.Kind.(Fetcher); ok {
		if err := f.Fetch(ctx, t); err != nil {
			return err
		}
	}
	order, err := t.Order(ctx, k.Kind)
	if err != nil {
		return err
	}
	working, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, kill) })()
	desk := wire.NewDesk(ctx, t, order, k.Catalogue.Errors)
	printed := new(head)
	died := k.serve(working, t, desk, printed)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch outcome := desk.Outcome(); {
	case outcome == nil && died != nil && !desk.Asked() && printed.String() == "":
		return died // there was no process
	case outcome == nil:
		return &DiedError{died, printed.String()}
	case outcome.Failure != nil:
		return desk.Err(outcome.Failure)
	default:
		return errors.Join(t.Take(ctx, outcome.Done), died)
	}
}

// serve runs the process, and answers it until it has ended.
func (k Kind) serve(ctx context.Context, t *stages.Task, desk *wire.Desk, printed io.Writer) error {
	stdin, answers, err := wire.Pipe()
	if err != nil {
		return err
	}
	questions, stdout, err := wire.Pipe()
	if err != nil {
		return errors.Join(err, stdin.Close(), answers.Close())
	}
	served := make(chan error, 1)
	go func() { served <- desk.Serve(questions, answers) }()
	err = k.Start(ctx, t, Streams{stdin, stdout, printed})
	desk.End()
	return errors.Join(err, stdin.Close(), stdout.Close(), <-served)
}

// Main is the other process: it does one order, which it is given over in and out. The error says
// that it could not tell what became of that.
func Main(ctx context.Context, in io.Reader, out io.Writer, c Catalogue) error {
	client := wire.Connect(in, out, c.Errors)
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		client.Wait()
		end()
	}()
	done, err := do(ctx, client, c)
	return client.Finish(done, err)
}

func do(ctx context.Context, client *wire.Client, c Catalogue) (stages.Done, error) {
	order, err := client.Order(ctx)
	if err != nil {
		return stages.Done{}, err
	}
	parse, ok := c.Kinds[order.Kind]
	if !ok {
		return stages.Done{}, fmt.Errorf("the other process is another version of sandwich: it has no kind %q", order.Kind)
	}
	kind, err := parse(order.Params)
	if err != nil {
		return stages.Done{}, fmt.Errorf("the other process is another version of sandwich: parameters of %s: %w", order.Kind, err)
	}
	return stages.Do(ctx, client, kind, order, client)
}

// head keeps the beginning of what is printed: a process that should print nothing says there what is wrong.
type head struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

// maxHead bounds it, in bytes.
const maxHead = 1024

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = append(h.kept, p[:min(len(p), maxHead-len(h.kept))]...)
	return len(p), nil
}

// String is the beginning of what was printed.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.TrimSpace(string(h.kept))
}

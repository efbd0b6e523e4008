// Command sandwich builds models that anyone can rebuild from one YAML file.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sandwich-build/sandwich/internal/cli"
)

// grace is how long an interrupted command may take to end. It is less than the second
// in which a person loses patience.
const grace = 800 * time.Millisecond

// exitInterrupted is the exit code of a command that did not end within grace.
const exitInterrupted = 130

func main() { os.Exit(run()) }

// run runs the command of this process. The first signal cancels it, the second one
// kills the process.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from here on a signal does what it does to any process

	done := make(chan int, 1)
	go func() {
		done <- cli.Main(ctx, cli.Process{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv})
	}()
	select {
	case code := <-done:
		return code
	case <-ctx.Done():
	}
	// Nothing that others see is written in place, so to leave without waiting for a
	// stage that does not listen loses the work of that stage and nothing else.
	select {
	case code := <-done:
		return code
	case <-time.After(grace):
		return exitInterrupted
	}
}

// Command writemirror writes the mirror of examples/quickstart into a folder, which
// it replaces. It is what go generate runs.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/sandwich-build/sandwich/internal/synthetic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "writemirror:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one argument, the folder to write, got %d", len(args))
	}
	folder := filepath.Clean(args[0])
	// Written beside its final place, so that what is there is complete or the old one.
	fresh, err := os.MkdirTemp(filepath.Dir(folder), ".mirror-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := synthetic.Quickstart().Write(ctx, inFolder(fresh)); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(fresh, folder)
}

// inFolder creates files below a folder.
func inFolder(folder string) synthetic.Create {
	return func(name string) (io.WriteCloser, error) {
		file := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		return os.Create(file)
	}
}

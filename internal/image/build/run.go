package build

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/internal/image"
)

// NoBuilderError says that nothing here builds images, and why.
type NoBuilderError struct{ Problems []string }

func (e *NoBuilderError) Error() string {
	return "nothing here builds images of Dockerfiles: " + strings.Join(e.Problems, "; ")
}

// Request is an image to build.
type Request struct {
	Dockerfile string // absolute; its folder is the context
	Platform   image.Platform
	Fresh      bool      // take nothing of what the tool has kept of earlier builds, and ask for the images that it begins from
	Log        io.Writer // gets what the tool prints
}

// Run builds an image with the first tool that answers, and writes it to out as a tarball that
// image.OpenLocal reads. When the context ends, so does the tool.
func Run(ctx context.Context, r Request, out string) error {
	var problems []string
	for _, t := range tools {
		found := t.look(ctx)
		if found.Err == nil {
			return t.build(ctx, found.Path, r, out)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		problems = append(problems, found.Err.Error())
	}
	return &NoBuilderError{problems}
}

// build builds and saves.
func (t tool) build(ctx context.Context, program string, r Request, out string) error {
	id := filepath.Join(filepath.Dir(out), filepath.Base(out)+".id")
	args := []string{"build", "--iidfile", id, "--platform", r.Platform.String(), "--file", r.Dockerfile}
	if r.Fresh {
		args = append(args, "--no-cache", "--pull")
	}
	if err := execute(ctx, r.Log, program, append(append(args, t.same...), filepath.Dir(r.Dockerfile))...); err != nil {
		return fmt.Errorf("build the image of %s with %s: %w", r.Dockerfile, t.name, err)
	}
	text, err := os.ReadFile(id)
	if err != nil {
		return fmt.Errorf("build the image of %s with %s: %w", r.Dockerfile, t.name, err)
	}
	if err := execute(ctx, r.Log, program, t.save(strings.TrimSpace(string(text)), out)...); err != nil {
		return fmt.Errorf("save the image of %s with %s: %w", r.Dockerfile, t.name, err)
	}
	return os.Remove(id)
}

// killAfter is how long a tool may tidy up after the context has ended.
const killAfter = 5 * time.Second

func execute(ctx context.Context, log io.Writer, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killAfter
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

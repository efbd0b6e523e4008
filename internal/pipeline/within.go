package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sandwich-build/sandwich/internal/image"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/internal/workdir"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/command"
	"github.com/sandwich-build/sandwich/stages/worker"
)

// WorkerVerb is the command by which this program does the work of one of its stages within an image.
// Its standard streams are those of worker.Main.
const WorkerVerb = "worker"

// within has a built-in stage run in the image of the environment, as the user's own do. The image is
// no part of its key: the stage is this program, which needs nothing of a system, so that another image
// would give the same bytes. What cannot run there runs here: stages with an index that is
// installed on this machine, networks on a backend of this machine, and all where this program is none of Linux.
func (s *session) within(stage stages.Stage) stages.Stage {
	if s.lock.Image == nil || runtime.GOOS != "linux" {
		return stage
	}
	c := Catalogue()
	if c.Kinds[stage.Kind.Name()] == nil {
		return stage
	}
	switch stage.Name {
	case Metadata:
		if s.index != nil {
			return stage
		}
	case Train, Evaluate:
		if s.environment.Backend != "" {
			return stage
		}
	}
	stage.Within = Image
	stage.Kind = worker.Kind{Kind: stage.Kind, Catalogue: c, Start: s.startWorker}
	return stage
}

// startWorker runs this program in the image that a task runs within. It has no network, and sees
// nothing of this machine.
func (s *session) startWorker(ctx context.Context, t *stages.Task, streams worker.Streams) (err error) {
	r, _, err := s.runner(ctx, sandbox.Need{Image: true})
	if err != nil {
		return err
	}
	found, err := image.Open(ctx, t.Within(), image.Host())
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	dir, remove, err := workdir.Make(s.runningFolder())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	files, tmp := filepath.Join(dir, "program"), filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(files, 0o777), os.Mkdir(tmp, 0o777)); err != nil {
		return err
	}
	carried, err := sandbox.Carry(program, files, command.Place("sandwich"))
	if err != nil {
		return err
	}
	return r.Run(ctx, sandbox.Process{
		Image: unpacked(s.options.Store).System(t.Store(), found),
		Args:  append(carried.Args, WorkerVerb), Dir: command.Folder,
		Env:    s.workerVariables(),
		Mounts: append(carried.Mounts, sandbox.Mount{From: tmp, To: command.Temporary, Writable: true}),
		Stdin:  streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr,
	})
}

// workerVariables are the variables of a worker: those by which the Go runtime and the kernels of
// training are told how to run, of this process, and its temporary folder.
func (s *session) workerVariables() []string {
	env := []string{"HOME=" + command.Temporary, "TMPDIR=" + command.Temporary}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GO") || name == neural.KernelsVariable {
			env = append(env, v)
		}
	}
	return env
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
)

// inImage runs programs in an image. What they print beside the process's own outputs goes where
// pip.Run says.
func (s *session) inImage(in sandbox.Process) pip.Run {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		runner, _, err := s.runner(ctx, false)
		if err != nil {
			return err
		}
		p := in
		p.Args, p.Stdout, p.Stderr = args, stdout, stderr
		return runner.Run(ctx, p)
	}
}

// imagePython finds the interpreter of an image that a process is to run in.
func (s *session) imagePython(ctx context.Context, in sandbox.Process) (python, error) {
	p := python{run: s.inImage(in)}
	var first error
	for _, p.program = range pythonNames {
		found, err := pip.Probe(ctx, p.run, p.program)
		if err == nil {
			p.Interpreter = found
			return p, nil
		}
		if first == nil {
			first = err
		}
	}
	return p, &NoPythonError{fmt.Errorf("in the image %s: %w", s.lock.Image.Name, first)}
}

// inSandbox is where the files of requirements are in an image, and inTmp what may be written to.
const (
	inSandbox = "/sandwich"
	inTmp     = "/tmp"
)

// ofIndex are the variables by which pip finds an index. Those that name files of this machine are
// not among them.
var ofIndex = []string{
	"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_RETRIES", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_PROXY",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
}

// withImagePython fetches and unpacks the image, and lets use have its interpreter, with the files
// of requirements and a network.
func (s *session) withImagePython(ctx context.Context, use func(python) error) (err error) {
	stage, err := s.imageStage()
	if err != nil {
		return err
	}
	tree, err := s.buildStage(ctx, stage)
	if err != nil {
		return err
	}
	setting, err := s.imageSetting(ctx, s.store, tree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, setting.Release()) }()
	dir, err := os.MkdirTemp(s.scratch, "pip-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, tmp := filepath.Join(dir, "files"), filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o777), s.layOutRequirements(ctx, files)); err != nil {
		return err
	}
	in := sandbox.Process{
		Root: setting.Root, Dir: inSandbox, Network: true, Env: append(setting.Env, "HOME="+inTmp, "TMPDIR="+inTmp),
		Mounts: []sandbox.Mount{{From: files, To: inSandbox}, {From: tmp, To: inTmp, Writable: true}},
	}
	for _, name := range ofIndex {
		if value := s.getenv(name); value != "" {
			in.Env = append(in.Env, name+"="+value)
		}
	}
	p, err := s.imagePython(ctx, in)
	if err != nil {
		return err
	}
	p.folder = inSandbox
	return use(p)
}

// layOutRequirements copies the files of requirements into a new folder.
func (s *session) layOutRequirements(ctx context.Context, dir string) error {
	tree, err := stages.RunPinner(ctx, s.store, declared{s, s.required}, cas.Tree{}, 1, stages.Discard)
	if err != nil {
		return err
	}
	_, err = worktree.Write(ctx, s.store, tree.ID(), dir)
	return err
}

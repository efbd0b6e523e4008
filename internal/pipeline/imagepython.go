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
)

// imagePython finds the interpreter of the image that a process is to run in.
func (s *session) imagePython(ctx context.Context, in sandbox.Process) (pip.Python, error) {
	found, err := pip.In(ctx, func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		runner, _, err := s.runner(ctx, sandbox.Need{Image: true})
		if err != nil {
			return err
		}
		p := in
		p.Args, p.Stdout, p.Stderr = args, stdout, stderr
		return runner.Run(ctx, p)
	}, s.lock.Image.Name)
	if err != nil {
		return found, fmt.Errorf("environment.pip: %w", err)
	}
	return found, nil
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

// withImagePython fetches the image, and lets use have its interpreter, with the files
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
	dir, err := os.MkdirTemp(s.scratch, "pip-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, tmp := filepath.Join(dir, "files"), filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o777), s.layOutRequirements(files)); err != nil {
		return err
	}
	in := sandbox.Process{
		Image: setting.Image, Dir: inSandbox, Network: true, Env: append(setting.Env, "HOME="+inTmp, "TMPDIR="+inTmp),
		Mounts: []sandbox.Mount{{From: files, To: inSandbox}, {From: tmp, To: inTmp, Writable: true}},
	}
	for _, name := range ofIndex {
		if value := s.getenv(name); value != "" {
			in.Env = append(in.Env, name+"="+value)
		}
	}
	found, err := s.imagePython(ctx, in)
	if err != nil {
		return err
	}
	return use(python{found, inSandbox})
}

// layOutRequirements copies the files of requirements into a new folder.
func (s *session) layOutRequirements(dir string) error {
	for _, name := range s.required {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(s.inputsFolder(), filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

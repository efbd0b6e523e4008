package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
)

// venvPrograms is where programs of the virtual environment are, in the folder that a program starts in.
const venvPrograms = manifest.VenvFolder + "/bin/"

// VenvProgram is the path of a program of the virtual environment, in the folder that a program starts in.
func VenvProgram(name string) string { return venvPrograms + name }

// VenvPythons are the names under which the virtual environment has its interpreter, which is the
// program python.
func VenvPythons(python string) []string {
	names := []string{"python", "python3", filepath.Base(python)}
	slices.Sort(names)
	return slices.Compact(names)
}

// layOutVenv makes a virtual environment of the wheels and an interpreter, as the module venv does it:
// a file that says where the interpreter is at home, and links to it. So the interpreter finds the
// wheels; and what is installed beside it only in an image, which is pinned with that.
func layOutVenv(ctx context.Context, t *stages.Task, s Setting, dir string) error {
	prefix, err := t.Input(WheelsInput).Sub(ctx, wheel.Prefix)
	switch {
	case err == nil:
		if _, err := worktree.Write(ctx, t.Store(), prefix.ID(), dir); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist): // there is no wheel
		return err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o777); err != nil {
		return err
	}
	if err := executable(bin); err != nil {
		return err
	}
	for _, name := range VenvPythons(s.Python) {
		if err := os.Symlink(s.Python, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("home = %s\ninclude-system-site-packages = %t\n", filepath.Dir(s.Python), s.Image != nil)
	return os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte(text), 0o666)
}

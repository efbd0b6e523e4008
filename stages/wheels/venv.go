package wheels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
)

// Venv is a virtual environment of the wheels of an output and an interpreter, as the module venv makes it: a file
// that says where the interpreter is at home, and links to it.
type Venv struct {
	files  cas.Tree // the zero Tree when there are no wheels
	python string
	system bool
}

// NewVenv returns the environment of an output. python is the absolute path of the interpreter, as programs see it.
// With system they find what is installed beside it too.
func NewVenv(ctx context.Context, tree cas.Tree, python string, system bool) (*Venv, error) {
	files, err := tree.Sub(ctx, wheel.Prefix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &Venv{files, python, system}, nil
}

// ID names all that Write writes.
func (v *Venv) ID() string {
	return digest.FromString(fmt.Sprintf("%s %s %t", v.files.ID(), v.python, v.system)).Encoded()
}

func (v *Venv) config() string {
	return fmt.Sprintf("home = %s\ninclude-system-site-packages = %t\n", filepath.Dir(v.python), v.system)
}

// Has says whether there is a program of a name in bin/.
func (v *Venv) Has(ctx context.Context, name string) (bool, error) {
	if slices.Contains(Pythons(v.python), name) {
		return true, nil
	}
	if v.files.ID().IsZero() {
		return false, nil
	}
	_, err := v.files.Lookup(ctx, "bin/"+name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Pythons are the names under which an environment has its interpreter, which is the program python.
func Pythons(python string) []string {
	names := []string{"python", "python3", filepath.Base(python)}
	slices.Sort(names)
	return slices.Compact(names)
}

// Write writes the environment out into a folder, which is empty or is not there.
func (v *Venv) Write(ctx context.Context, store cas.Store, dir string) error {
	if !v.files.ID().IsZero() {
		if _, err := worktree.Write(ctx, store, v.files.ID(), dir); err != nil {
			return err
		}
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o777); err != nil {
		return err
	}
	scripts, err := os.ReadDir(bin)
	if err != nil {
		return err
	}
	for _, e := range scripts {
		if err := os.Chmod(filepath.Join(bin, e.Name()), 0o755); err != nil { // a tree does not know which can be run
			return err
		}
	}
	for _, name := range Pythons(v.python) {
		if err := os.Symlink(v.python, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte(v.config()), 0o666)
}

package gitcode

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// repository makes a git repository with a folder "app" of two files.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "README", "outside\n")
	write(t, root, "app/main.py", "print()\n")
	write(t, root, "app/lib/a b.py", "")
	write(t, root, "app/manifest.lock", "lock\n")
	run(t, root, "init", "-q")
	run(t, root, "add", ".")
	run(t, root, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "one")
	return root
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func TestReadTakesTheFolderAtTheCommit(t *testing.T) {
	app := filepath.Join(repository(t), "app")
	c, dirty, err := Read(t.Context(), cas.NewMemory(), app, []string{"manifest.lock"}, false)
	if err != nil || dirty {
		t.Fatalf("Read: dirty %v, %v", dirty, err)
	}
	var got []string
	for f, err := range c.Tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Path)
	}
	if want := []string{"lib/a b.py", "main.py"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
	if len(c.ID) < 40 {
		t.Errorf("commit is %q", c.ID)
	}
}

func TestReadRefusesChanges(t *testing.T) {
	root := repository(t)
	app := filepath.Join(root, "app")
	write(t, root, "README", "changed, but not below app\n")
	write(t, root, "app/manifest.lock", "written by the tool\n")
	if _, dirty, err := Read(t.Context(), cas.NewMemory(), app, []string{"manifest.lock"}, false); err != nil || dirty {
		t.Fatalf("changes elsewhere count: dirty %v, %v", dirty, err)
	}

	before, _, err := Read(t.Context(), cas.NewMemory(), app, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "app/main.py", "changed\n")
	write(t, root, "app/new.py", "new\n")
	_, _, err = Read(t.Context(), cas.NewMemory(), app, []string{"manifest.lock"}, false)
	var refused *DirtyError
	if !errors.As(err, &refused) || len(refused.Paths) != 2 {
		t.Fatalf("want two changed paths, got %v", err)
	}
	after, dirty, err := Read(t.Context(), cas.NewMemory(), app, nil, true)
	if err != nil || !dirty {
		t.Fatalf("allowed: dirty %v, %v", dirty, err)
	}
	if after.Tree.ID() != before.Tree.ID() {
		t.Error("uncommitted content was read")
	}
}

func TestReadOutsideARepository(t *testing.T) {
	t.Setenv("GIT_CEILING_DIRECTORIES", "/")
	if _, _, err := Read(t.Context(), cas.NewMemory(), t.TempDir(), nil, false); !errors.Is(err, ErrNoRepository) {
		t.Errorf("want ErrNoRepository, got %v", err)
	}
}

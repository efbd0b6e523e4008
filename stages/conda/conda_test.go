package conda_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/conda/archive"
	"github.com/sandwich-build/sandwich/internal/conda/condatest"
	"github.com/sandwich-build/sandwich/stages/archives/archivestest"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/conda"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

const (
	folder      = "/sandwich/.conda"
	placeholder = "/opt/placehold_placehold_placehold"
)

// kind is the stage with these packages, none of which is in the store yet.
func kind(t *testing.T, store cas.Store, all ...condatest.Package) conda.Kind {
	t.Helper()
	files := make(map[string][]byte)
	for _, a := range all {
		files[a.File()] = a.Bytes(t)
	}
	return conda.New(folder, archivestest.Set(t, store, files))
}

var (
	python = condatest.Package{Name: "python", Version: "3.12.1", Subdir: "linux-64", Files: map[string]condatest.File{
		"bin/python3.12":            {Text: "#!" + placeholder + "/sh\n", Executable: true, Placeholder: placeholder},
		"bin/python":                {Link: "python3.12"},
		"lib/libpython.so":          {Text: "\x7f\x00" + placeholder + "/lib\x00end", Placeholder: placeholder, Binary: true},
		"bin/.python-post-link.sh":  {Text: "exit 1\n", Executable: true},
		"etc/conda/activate.d/x.sh": {Text: "exit 1\n"},
	}}
	bread = condatest.Package{
		Name: "bread", Version: "1.0", Python: true, EntryPoints: []string{"bread = bread:main"},
		Files: map[string]condatest.File{"site-packages/bread.py": {Text: "x = 1\n"}, "etc/both": {Text: "bread"}},
	}
	salt = condatest.Package{Name: "salt", Version: "1", Files: map[string]condatest.File{"etc/both": {Text: "salt"}}}
)

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	stagetest.Suite(t, store, kind(t, store, python, bread), nil, stagetest.Golden{Version: 1}) // see TestOutput: how the packages are packed is Go's to decide
}

// TestOutput lays the files out as an environment has them, whatever order the packages are named in.
func TestOutput(t *testing.T) {
	store := cas.NewMemory()
	tree, result := stagetest.Run(t, store, kind(t, store, python, bread, salt), nil)
	again, _ := stagetest.Run(t, store, kind(t, store, salt, bread, python), nil)
	if tree.ID() != again.ID() {
		t.Errorf("another order of the packages is another tree: %v, %v", tree.ID(), again.ID())
	}
	var log []string
	for _, line := range result.Log {
		log = append(log, line.Text)
	}
	if want := []string{
		"bin/.python-post-link.sh is not run, which conda does when it installs python-3.12.1-0.conda",
		"etc/conda/activate.d/x.sh is not run, which conda does when the environment of python-3.12.1-0.conda is activated",
		"1 files of bread-1.0-0.conda are other ones in salt-1-0.conda, which are taken",
	}; !slices.Equal(log, want) || result.Counters["packages"] != 3 || result.Counters["files"] != 11 {
		t.Errorf("got %q, %v", log, result.Counters)
	}
	for name, want := range map[string]string{
		"prefix/bin/python3.12":                        "#!/sandwich/.conda/sh\n",
		"prefix/lib/libpython.so":                      "\x7f\x00/sandwich/.conda/lib\x00" + strings.Repeat("\x00", len(placeholder)-len(folder)) + "end",
		"prefix/lib/python3.12/site-packages/bread.py": "x = 1\n",
		"prefix/bin/bread":                             "#!/sandwich/.conda/bin/python\nimport sys\n\nfrom bread import main\n\nif __name__ == \"__main__\":\n    sys.exit(main())\n",
		"prefix/etc/both":                              "salt",
	} {
		if got := stagetest.Read(t, tree, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := stagetest.Read(t, tree, "prefix/conda-meta/bread-1.0-0.json"); !strings.Contains(got, `"fn": "bread-1.0-0.conda"`) || !strings.Contains(got, `"lib/python3.12/site-packages/bread.py"`) {
		t.Errorf("got %s", got)
	}
	const golden = "sha256:7529dae3eb2c60179dd101dde0754f96c947427cab4349aec7bb556f26c41125"
	if prefix, err := tree.Sub(t.Context(), "prefix"); err != nil || prefix.ID().String() != golden {
		t.Errorf("the prefix is %v, %v; want %s, or another version of the stage", prefix.ID(), err, golden)
	}
}

// TestWrite writes an environment out with its links and its programs.
func TestWrite(t *testing.T) {
	store := cas.NewMemory()
	tree, _ := stagetest.Run(t, store, kind(t, store, python, bread), nil)
	e, err := conda.Open(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Has("python") || !e.Has("bread") || e.Has("libpython.so") || len(e.ID) != 64 {
		t.Errorf("got %+v", e)
	}
	dir := t.TempDir()
	if err := e.Write(t.Context(), store, dir); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "bin", "python")); err != nil || to != "python3.12" {
		t.Errorf("got %q, %v", to, err)
	}
	for name, want := range map[string]bool{"bin/python": true, "bin/bread": true, "lib/libpython.so": false} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode()&0o111 != 0 != want {
			t.Errorf("%s: got %v, %v", name, info, err)
		}
	}
	less, _ := stagetest.Run(t, store, kind(t, store, python), nil)
	if other, err := conda.Open(t.Context(), less); err != nil || other.ID == e.ID {
		t.Errorf("got %v, %v", other, err)
	}
}

// TestFails tells of a package that cannot be had, and of those that cannot be laid out.
func TestFails(t *testing.T) {
	store := cas.NewMemory()
	gone := conda.New(folder, archivestest.Gone(store, "a-1-0.conda"))
	if err := stagetest.Fails(t, store, gone, nil); !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
	err := stagetest.Fails(t, store, kind(t, store, bread), nil)
	if _, ok := errors.AsType[*conda.NoPythonError](err); !ok || !strings.HasPrefix(err.Error(), "unpack bread-1.0-0.conda: ") {
		t.Errorf("got %v", err)
	}
	for name, files := range map[string]map[string]condatest.File{
		`"../../x": no path within a package`:                   {"../../x": {Text: "x"}},
		"and not to a file of the environment":                  {"x": {Link: "/etc/passwd"}},
		`"bin/python/x": bin/python is no folder in python-`:    {"bin/python/x": {Text: "x"}}, // through a link of another package
		`"etc/both/x": etc/both is no folder in salt-1-0.conda`: {"etc/both/x": {Text: "x"}},
		"it has no room for /sandwich/.conda":                   {"x": {Text: "/p\x00", Placeholder: "/p", Binary: true}},
	} {
		err := stagetest.Fails(t, store, kind(t, store, python, salt, condatest.Package{Name: "evil", Version: "1", Files: files}), nil)
		if _, ok := errors.AsType[*archive.Error](err); !ok || !strings.HasPrefix(err.Error(), "unpack evil-1-0.conda: ") || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

package wheels_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/internal/wheel/wheeltest"
	"github.com/sandwich-build/sandwich/stages/archives/archivestest"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/stagetest"
	"github.com/sandwich-build/sandwich/stages/wheels"
)

const site = "lib/python3.12/site-packages"

// kind is the stage with these wheels, none of which is in the store yet.
func kind(t *testing.T, store cas.Store, all ...wheeltest.Wheel) wheels.Kind {
	t.Helper()
	files := make(map[string][]byte)
	for _, a := range all {
		files[a.File()] = a.Bytes(t)
	}
	return wheels.New(site, archivestest.Set(t, store, files))
}

var (
	one = wheeltest.Wheel{
		Name: "one", Version: "1.0", EntryPoints: "[console_scripts]\ntool = one:main\n",
		Files: map[string]string{"one/__init__.py": "x = 1\n", "one-1.0.data/data/share/one": "d", "one-1.0.data/headers/one.h": "h", "one-1.0.data/platlib/one/c.so": "c"},
	}
	two = wheeltest.Wheel{Name: "two", Version: "2.0", Files: map[string]string{"two.py": "y = 2\n"}}
)

func TestSuite(t *testing.T) {
	store := cas.NewMemory()
	stagetest.Suite(t, store, kind(t, store, one, two), nil, stagetest.Golden{Version: 1}) // see TestOutput: how the wheels are packed is Go's to decide
}

// TestOutput lays the files out as an environment has them, whatever order the wheels are named in.
func TestOutput(t *testing.T) {
	store := cas.NewMemory()
	tree, result := stagetest.Run(t, store, kind(t, store, two, one), nil)
	again, _ := stagetest.Run(t, store, kind(t, store, one, two), nil)
	if tree.ID() != again.ID() {
		t.Errorf("another order of the wheels is another tree: %v, %v", tree.ID(), again.ID())
	}
	if len(result.Log) > 0 || result.Counters["wheels"] != 2 || result.Counters["files"] != 13 {
		t.Errorf("got %v, %v", result.Log, result.Counters)
	}
	var names []string
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Path)
	}
	want := []string{
		"prefix/bin/tool", "prefix/include/one/one.h",
		"prefix/lib/python3.12/site-packages/one/__init__.py", "prefix/lib/python3.12/site-packages/one/c.so",
		"prefix/lib/python3.12/site-packages/one-1.0.dist-info/METADATA", "prefix/lib/python3.12/site-packages/one-1.0.dist-info/RECORD",
		"prefix/lib/python3.12/site-packages/one-1.0.dist-info/WHEEL", "prefix/lib/python3.12/site-packages/one-1.0.dist-info/entry_points.txt",
		"prefix/lib/python3.12/site-packages/two-2.0.dist-info/METADATA", "prefix/lib/python3.12/site-packages/two-2.0.dist-info/RECORD",
		"prefix/lib/python3.12/site-packages/two-2.0.dist-info/WHEEL", "prefix/lib/python3.12/site-packages/two.py",
		"prefix/share/one", "wheels/one-1.0-py3-none-any.whl", "wheels/two-2.0-py3-none-any.whl",
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	const golden = "sha256:e578022103fd07ad6b060f5708a9bd5d17f30b03d40f95913067ecdc21f844a1"
	if prefix, err := tree.Sub(t.Context(), wheel.Prefix); err != nil || prefix.ID().String() != golden {
		t.Errorf("the prefix is %v, %v; want %s, or another version of the stage", prefix.ID(), err, golden)
	}
	record := stagetest.Read(t, tree, "prefix/lib/python3.12/site-packages/one-1.0.dist-info/RECORD")
	for _, line := range []string{
		"one/__init__.py,sha256=nia_NpkRxFwkPGhBR7I_yeHc_PJX0pmhxjIBam_NM_Q,6\n", "one-1.0.dist-info/RECORD,,\n", "\n../../../bin/tool,sha256=", "\n../../../share/one,sha256=",
	} {
		if !strings.Contains(record, line) {
			t.Errorf("the record lacks %q:\n%s", line, record)
		}
	}
}

// TestShared takes the file of the last wheel where several have one, and says so.
func TestShared(t *testing.T) {
	store := cas.NewMemory()
	other := wheeltest.Wheel{Name: "zwei", Version: "1", Files: map[string]string{"two.py": "y = 3\n"}}
	tree, result := stagetest.Run(t, store, kind(t, store, other, two), nil)
	if got := stagetest.Read(t, tree, "prefix/"+site+"/two.py"); got != "y = 3\n" {
		t.Errorf("got %q", got)
	}
	if len(result.Log) != 1 || result.Log[0].Text != "1 files of two-2.0-py3-none-any.whl are other ones in zwei-1-py3-none-any.whl, which are taken" {
		t.Errorf("got %v", result.Log)
	}
}

// TestFails tells of a wheel that cannot be had, and of one that is none.
func TestFails(t *testing.T) {
	store := cas.NewMemory()
	gone := wheels.New(site, archivestest.Gone(store, "a-1-py3-none-any.whl"))
	if err := stagetest.Fails(t, store, gone, nil); !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
	hostile := wheeltest.Wheel{Name: "evil", Version: "1", Files: map[string]string{"../../x": ""}}
	err := stagetest.Fails(t, store, kind(t, store, hostile), nil)
	if e, ok := errors.AsType[*wheel.Error](err); !ok || !strings.HasPrefix(err.Error(), "unpack evil-1-py3-none-any.whl: ") {
		t.Errorf("got %v, %v", e, err)
	}
	clash := wheeltest.Wheel{Name: "clash", Version: "1", Files: map[string]string{"two.py/x": ""}}
	if err := stagetest.Fails(t, store, kind(t, store, two, clash), nil); !strings.HasPrefix(err.Error(), "unpack ") {
		t.Errorf("got %v", err)
	}
}

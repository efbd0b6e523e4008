package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/manifest"
)

// programs makes a folder of shell scripts, by their names.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const refuses = "echo 'no permissions' >&2\necho 'to do it' >&2; exit 1"

// withStages is a manifest with a stage of the user's own.
func withStages(e manifest.Environment, r manifest.Resources, run ...string) *manifest.Manifest {
	return &manifest.Manifest{Environment: e, Stages: []manifest.Command{{Name: "own", Run: run, Resources: r}}}
}

func TestSandboxes(t *testing.T) {
	native := withStages(manifest.Environment{Native: true}, manifest.Resources{}, "sh")
	inImage := withStages(manifest.Environment{Image: "python:3"}, manifest.Resources{}, "sh")
	t.Run("one works", func(t *testing.T) {
		if found := sandbox.Survey(t.Context()); !anyWorks(found, sandbox.Need{Image: true}) {
			t.Skip("none works here")
		}
		want(t, ask(t, Sandboxes(inImage, "")), "sandbox", OK, "runs the stages in the image", "")
	})
	t.Run("none works", func(t *testing.T) {
		t.Setenv("PATH", programs(t, map[string]string{"bwrap": refuses, "runc": refuses, "crun": refuses}))
		findings := ask(t, Sandboxes(nil, ""))
		want(t, findings, "sandbox", Warning, "none works", "see below")
		want(t, findings, "bubblewrap", Warning, "does not work: exit code 1: no permissions to do it", "as root")
		want(t, findings, "runc", Warning, "does not work", "as root")
		want(t, findings, "limits", OK, "none asks for it", "")
		want(t, ask(t, Sandboxes(native, "")), "sandbox", Warning, "whatever you may", "")
		want(t, ask(t, Sandboxes(inImage, "")), "sandbox", Fault, "nothing can run an image", "")
		want(t, ask(t, Sandboxes(native, "runc")), "sandbox", Fault, "runc: exit code 1", "leave --runner")
		want(t, ask(t, Sandboxes(nil, "runc")), "sandbox", Warning, "runc: exit code 1", "leave --runner")
		limited := withStages(manifest.Environment{Native: true}, manifest.Resources{Memory: 1 << 30}, "sh")
		want(t, ask(t, Sandboxes(limited, "")), "limits", Warning, "nothing that works here bounds", "root")
	})
	want(t, ask(t, Sandboxes(native, "none")), "sandbox", Warning, "it is turned off", "unset SANDWICH_RUNNER")
	want(t, ask(t, Sandboxes(inImage, "none")), "sandbox", Fault, "it is turned off", "unset SANDWICH_RUNNER")
	want(t, ask(t, Sandboxes(native, "nonsense")), "sandbox", Fault, "unknown runner", "")
}

// runner is a way to run programs that ends as it is told.
type runner struct{ err error }

func (runner) Name() string                                 { return "made up" }
func (runner) Enforced() sandbox.Enforced                   { return sandbox.Enforced{Reads: true, Memory: true} }
func (r runner) Run(context.Context, sandbox.Process) error { return r.err }

// TestPurposes names what runs what.
func TestPurposes(t *testing.T) {
	found := func(names ...string) (all []sandbox.Found) {
		for _, name := range names {
			all = append(all, sandbox.Found{Name: name, Runner: named(name)})
		}
		return all
	}
	image, limited := sandbox.Need{Image: true}, sandbox.Need{Limits: true}
	for _, c := range []struct {
		wanted string
		need   sandbox.Need
		found  []sandbox.Found
		want   string
	}{
		{"", sandbox.Need{}, found("docker", "podman", "bubblewrap", "runc"), "bubblewrap runs stages of your own, runc those with resources, docker stages in an image"},
		{"", limited, found("docker", "bubblewrap"), "bubblewrap runs stages of your own, docker stages in an image"},
		{"", image, found("docker", "bubblewrap", "runc"), "docker runs the stages in the image"},
		{"", image, found("bubblewrap", "runc"), "bubblewrap runs the stages in the image, runc those with resources"},
		{"", sandbox.Need{}, found("runc"), "runc runs stages of your own"},
		{"runc", image, found("docker", "runc"), "runc runs the stages in the image"},
	} {
		want(t, []Finding{chosen("sandbox", c.wanted, c.need, true, c.found)}, "sandbox", OK, "", "")
		if got := purposes(c.wanted, c.need, c.found); got != c.want {
			t.Errorf("%+v of %+v: %q, want %q", c.need, c.found, got, c.want)
		}
	}
	engine := append(found("podman"), sandbox.Found{Name: "bubblewrap", Err: &sandbox.NotFoundError{Program: "bwrap"}})
	want(t, []Finding{chosen("sandbox", "", sandbox.Need{}, true, engine)}, "sandbox", Warning, "none works but podman, and that for stages in an image", "install bubblewrap")
	want(t, []Finding{limits(t.Context(), engine, limited)}, "limits", Warning, "nothing that works here bounds", "root")
	want(t, []Finding{limits(t.Context(), engine, sandbox.Need{Image: true, Limits: true})}, "limits", OK, "podman bounds", "")
}

// named is a way to run programs under the name of a real one, which bounds them unless it is bubblewrap.
type named string

func (n named) Name() string { return string(n) }
func (n named) Enforced() sandbox.Enforced {
	return sandbox.Enforced{CPU: n != "bubblewrap", Memory: n != "bubblewrap"}
}
func (named) Run(context.Context, sandbox.Process) error { return nil }

func TestRunners(t *testing.T) {
	absent := sandbox.Found{Name: "crun", Err: &sandbox.NotFoundError{Program: "crun"}}
	works := sandbox.Found{Name: "runc", Runner: runner{}}
	want(t, []Finding{ofRunner(absent, true)}, "crun", OK, "not needed", "")
	want(t, []Finding{ofRunner(absent, false)}, "crun", Warning, "not installed", "install crun")
	silent := sandbox.Found{Name: "docker", Err: errors.New("no\ndaemon")}
	want(t, []Finding{ofRunner(silent, true)}, "docker", OK, "not needed: no daemon", "")
	want(t, []Finding{ofRunner(silent, false)}, "docker", Warning, "does not work: no daemon", "systemctl start docker")
	want(t, []Finding{ofRunner(works, true)}, "runc", OK, "keeps a program to its reads, memory", "")
	want(t, []Finding{limits(t.Context(), []sandbox.Found{absent, works}, sandbox.Need{Limits: true})}, "limits", OK, "runc bounds", "")
	broken := sandbox.Found{Name: "runc", Runner: runner{err: errors.New("no\ncgroups")}}
	want(t, []Finding{limits(t.Context(), []sandbox.Found{broken}, sandbox.Need{})}, "limits", Warning, "runc bounds nothing: no cgroups", "mount")
}

func TestNamespaces(t *testing.T) {
	refused := []sandbox.Refusal{{Setting: "user.max_user_namespaces=0", Allow: "sysctl -w user.max_user_namespaces=15000"}}
	want(t, []Finding{namespaces(false, nil)}, "namespaces", OK, "to users", "")
	want(t, []Finding{namespaces(true, refused)}, "namespaces", OK, "which you are", "")
	want(t, []Finding{namespaces(false, refused)}, "namespaces", Warning, "user.max_user_namespaces=0", "sudo sysctl -w user.max_user_namespaces=15000")
}

func TestPrograms(t *testing.T) {
	path := programs(t, map[string]string{"python": ""})
	m := withStages(manifest.Environment{Native: true}, manifest.Resources{}, "python", "train.py")
	want(t, ask(t, Programs(m, path, "")), "python", OK, filepath.Join(path, "python"), "")
	want(t, ask(t, Programs(m, t.TempDir(), "")), "python", Fault, "the stage own runs it: there is no program python", "install python")
	script := withStages(manifest.Environment{Native: true, Pip: "r.txt"}, manifest.Resources{}, "bread")
	want(t, ask(t, Programs(script, path, "")), "bread", Warning, "it may be a script of a wheel", "install bread")
	beside := withStages(manifest.Environment{Native: true}, manifest.Resources{}, "./train.sh")
	if f := ask(t, Programs(beside, path, "")); len(f) > 0 {
		t.Errorf("a file beside the manifest is looked for: %+v", f)
	}
}

func TestPython(t *testing.T) {
	in := pip.Interpreter{Executable: "/usr/bin/python3.11", Version: "cpython 3.11.2", Pip: "24.0"}
	find := func(in pip.Interpreter, err error) func(context.Context) (pip.Interpreter, error) {
		return func(context.Context) (pip.Interpreter, error) { return in, err }
	}
	want(t, ask(t, Python(find(in, nil), false)), "python", OK, "/usr/bin/python3.11, cpython 3.11.2, with pip 24.0", "")
	in.Pip = "20.1"
	want(t, ask(t, Python(find(in, nil), false)), "python", Fault, "has pip 20.1", "/usr/bin/python3.11 -m pip install --upgrade pip")
	want(t, ask(t, Python(find(in, nil), true)), "python", Warning, "has pip 20.1", "-m pip install")
	want(t, ask(t, Python(find(in, errors.New("there\nis none")), true)), "python", Fault, "there is none", "install python3")
}

func TestImagePython(t *testing.T) {
	find := func(in pip.Interpreter, known bool, err error) func(context.Context) (pip.Interpreter, bool, error) {
		return func(context.Context) (pip.Interpreter, bool, error) { return in, known, err }
	}
	in := pip.Interpreter{Executable: "/usr/bin/python3.11", Version: "cpython 3.11.2", Pip: "24.0"}
	want(t, ask(t, ImagePython(find(in, true, nil), false)), "python", OK, "/usr/bin/python3.11, cpython 3.11.2, with pip 24.0", "")
	want(t, ask(t, ImagePython(find(pip.Interpreter{}, false, nil), true)), "python", OK, "asked when a build", "")
	want(t, ask(t, ImagePython(find(pip.Interpreter{}, false, errors.New("there\nis none")), true)), "python", Fault, "there is none", "take an image")
	in.Pip = ""
	want(t, ask(t, ImagePython(find(in, true, nil), true)), "python", Warning, "has no pip", "take an image")
}

func TestBuilders(t *testing.T) {
	t.Setenv("PATH", programs(t, map[string]string{"podman": "echo 4.3.1", "docker": refuses}))
	findings := ask(t, Builders(true))
	want(t, findings, "podman build", OK, "version 4.3.1", "")
	want(t, findings, "buildah build", OK, "not installed", "")
	want(t, findings, "docker build", Warning, "docker does not answer: to do it", "systemctl start docker")
	if slices.ContainsFunc(findings, func(f Finding) bool { return f.Status == Fault }) {
		t.Errorf("one answers, and yet: %+v", findings)
	}
	t.Setenv("PATH", t.TempDir())
	want(t, ask(t, Builders(true)), "image builder", Fault, "nothing here builds", "install podman")
	want(t, ask(t, Builders(false)), "podman build", OK, "not installed", "")
}

// TestConda asks for a tool of conda's.
func TestConda(t *testing.T) {
	path := t.TempDir()
	want(t, ask(t, Conda(path, "", false)), "conda", Fault, "there is none of micromamba, mamba, conda, py-rattler", "python3 -m pip install py-rattler")
	want(t, ask(t, Conda(path, "", true)), "conda", Warning, "there is none of", "python3 -m pip install py-rattler")
	if err := os.WriteFile(filepath.Join(path, "mamba"), []byte("#!/bin/sh\necho 2.0.5\n"), 0o777); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	want(t, ask(t, Conda(path, "", false)), "conda", OK, "mamba 2.0.5 answers, "+path, "")
	script := withStages(manifest.Environment{Native: true, Conda: "e.yml"}, manifest.Resources{}, "bread")
	want(t, ask(t, Programs(script, path, "")), "bread", Warning, "it may be a program of a package", "install bread")
}

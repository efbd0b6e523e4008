package command_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/command"
	"github.com/sandwich-build/sandwich/stages/stagetest"
)

// shell is a kind that runs a script over the input crop and the declared files.
func shell(t *testing.T, script string, change func(*command.Params, *command.Means)) (cas.Store, *command.Kind, map[string]cas.Tree) {
	t.Helper()
	store := cas.NewMemory()
	inputs := map[string]cas.Tree{
		"crop":             stagetest.Tree(t, store, map[string]string{"a/1": "one", "a/2": "two"}),
		command.FilesInput: stagetest.Tree(t, store, map[string]string{"run.sh": "#!/bin/sh\n" + script, "lib/words": "words"}),
	}
	p := command.Params{Run: []string{"./run.sh"}, Seed: 7}
	m := command.Means{
		Runner: func(ctx context.Context, need sandbox.Need) (sandbox.Runner, string, error) {
			return sandbox.For(ctx, "", need)
		},
		Setting: func(context.Context, *stages.Task) (command.Setting, error) {
			return command.Setting{Env: []string{"PATH=/usr/bin:/bin"}}, nil
		},
		Scratch: t.TempDir(), Log: filepath.Join(t.TempDir(), "logs", "log"),
	}
	if change != nil {
		change(&p, &m)
	}
	return store, command.New(p, []string{"crop"}, true, m), inputs
}

func TestSuite(t *testing.T) {
	store, kind, inputs := shell(t, `cat crop/a/* lib/words > out/all && mkdir out/deep && echo "$SANDWICH_SEED" > out/deep/seed && echo said`, nil)
	stagetest.Suite(t, store, kind, inputs, stagetest.Golden{
		Version: 1, Tree: "sha256:a3993a28932b2159d9708f487e0bc3ddd540a3148c0a3217179d69fe1762dffc",
	})
}

// TestEnvironment prints all variables of a program: each that it has may decide what it leaves.
func TestEnvironment(t *testing.T) {
	store, kind, inputs := shell(t, `env | sort | grep -v ^_= > out/env; pwd >> out/env; echo $0 >> out/env`, func(p *command.Params, m *command.Means) {
		p.Env = map[string]string{"OMP_NUM_THREADS": "4", "MINE": "two words"}
		m.Runner = func(ctx context.Context, need sandbox.Need) (sandbox.Runner, string, error) {
			r, why, err := sandbox.For(ctx, "", need)
			if !r.Enforced().Reads {
				t.Skip(why)
			}
			return r, why, err
		}
	})
	result, err := stages.RunKind(t.Context(), store, kind, inputs, 3, stages.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := `HOME=/tmp
LANG=C.UTF-8
MINE=two words
OMP_NUM_THREADS=4
PATH=/usr/bin:/bin
PWD=/sandwich
PYTHONDONTWRITEBYTECODE=1
PYTHONHASHSEED=0
PYTHONUNBUFFERED=1
SANDWICH_OUT=/sandwich/out
SANDWICH_SEED=7
SANDWICH_WORKERS=3
SOURCE_DATE_EPOCH=315532800
TMPDIR=/tmp
TZ=UTC
/sandwich
./run.sh
`
	if got := stagetest.Read(t, cas.NewTree(store, result.Tree), "env"); got != want {
		t.Errorf("a program has\n%s\nwant\n%s", got, want)
	}
}

// TestPrinted keeps what a program prints, and shows it as it comes.
func TestPrinted(t *testing.T) {
	store, kind, inputs := shell(t, `echo x > out/x; printf 'a\n1%%\r2%%\r\n\033[1mb\377'; echo err >&2; head -c 9000 /dev/zero | tr '\0' y`, nil)
	var shown []string
	result, err := stages.RunKind(t.Context(), store, kind, inputs, 1, observer(func(e stages.Event) {
		if m, ok := e.(stages.Message); ok && !m.Line.Warning {
			shown = append(shown, m.Line.Text)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) != 5 || len(shown[4]) != 4096 || shown[0] != "a" || shown[1] != "1%" || shown[2] != "2%" || !strings.HasPrefix(shown[3], "\033[1mb\uFFFDerr") {
		t.Errorf("it showed %q", shown)
	}
	for _, line := range result.Log {
		if !line.Warning {
			t.Errorf("%q is part of the result", line.Text)
		}
	}
	printed, err := cas.NewTree(store, result.Printed).ReadFile(t.Context(), stages.PrintedFile)
	if err != nil || !bytes.HasPrefix(printed, []byte("a\n1%\r2%\r\n\033[1mb\377err\n")) && !bytes.HasPrefix(printed, []byte("a\n")) || len(printed) < 9000 {
		t.Errorf("it kept %q, %v", printed[:min(len(printed), 40)], err)
	}
}

type observer func(stages.Event)

func (o observer) Observe(e stages.Event) { o(e) }

// TestFailed says how a program ended, and keeps what it printed.
func TestFailed(t *testing.T) {
	var log string
	store, kind, inputs := shell(t, `for i in $(seq 100); do echo line $i; done; exit 7`, func(_ *command.Params, m *command.Means) { log = m.Log })
	err := stagetest.Fails(t, store, kind, inputs)
	failed, ok := errors.AsType[*command.FailedError](err)
	if !ok || len(failed.Tail) != 20 || failed.Tail[19] != "line 100" || failed.Log != log {
		t.Fatalf("got %#v", err)
	}
	if exit, ok := errors.AsType[*sandbox.ExitError](err); !ok || exit.Code != 7 {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(text), "line 1\nline 2\n") {
		t.Errorf("it kept %q, %v", text, err)
	}
}

// TestOutput holds what a program leaves to what it declares.
func TestOutput(t *testing.T) {
	for _, test := range []struct {
		script  string
		outputs []string
		want    string // the error
	}{
		{"echo > out/a; mkdir out/b; echo > out/b/c", []string{"a", "b/"}, ""},
		{"echo > out/a", nil, ""},
		{":", nil, "it has left nothing in the folder out"},
		{"mkdir out/a", nil, "it has left nothing in the folder out"},
		{"echo > out/a", []string{"a", "b"}, "it has not left b, which is declared"},
		{"echo > out/a; echo > out/ab", []string{"a"}, "it has left ab, which is not declared"},
		{"ln -s x out/a", nil, "take in out: out/a: neither a file nor a folder: an output is made of files; copy what a link points at"},
		{"mkdir out/a; echo > out/a/b; chmod 0 out/a", nil, ""},
	} {
		store, kind, inputs := shell(t, test.script, func(p *command.Params, _ *command.Means) { p.Outputs = test.outputs })
		_, err := stages.RunKind(t.Context(), store, kind, inputs, 1, stages.Discard)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if os.Geteuid() != 0 && strings.Contains(test.script, "chmod") {
			continue // nobody but root can read it
		}
		if strings.TrimPrefix(got, "take in out: ") != strings.TrimPrefix(test.want, "take in out: ") {
			t.Errorf("%s: got %q, want %q", test.script, got, test.want)
		}
	}
}

// TestWithoutSandbox runs a program where nothing keeps it to what it declares: what it
// changes of its inputs is found, and what is not enforced is told.
func TestWithoutSandbox(t *testing.T) {
	bare := func(_ *command.Params, m *command.Means) {
		m.Runner = func(context.Context, sandbox.Need) (sandbox.Runner, string, error) {
			return sandbox.Native(), "for a test", nil
		}
		m.Resources = manifest.Resources{CPU: 1}
	}
	store, kind, inputs := shell(t, `cat lib/words crop/a/1 > "$SANDWICH_OUT/x"; cat lib/words > out/y; echo > "$HOME/z"`, bare)
	result, err := stages.RunKind(t.Context(), store, kind, inputs, 1, stages.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := stagetest.Read(t, cas.NewTree(store, result.Tree), "x"); got != "wordsone" {
		t.Errorf("it has left %q", got)
	}
	want := "not refused here: undeclared reads, undeclared writes, the network, its limit of cores (for a test); bubblewrap or runc would"
	if len(result.Log) != 1 || result.Log[0].Text != want || !result.Log[0].Warning {
		t.Errorf("it told %+v", result.Log)
	}
	for _, script := range []string{"echo > lib/words", "rm crop/a/1", "echo > more", "mkdir folder"} {
		store, kind, inputs := shell(t, script+"; echo > out/x", bare)
		if err := stagetest.Fails(t, store, kind, inputs); !strings.HasPrefix(err.Error(), "it has changed ") {
			t.Errorf("%s: got %v", script, err)
		}
	}
}

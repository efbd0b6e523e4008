package conda

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/conda/condatest"
	"github.com/sandwich-build/sandwich/manifest"
)

func TestParse(t *testing.T) {
	e, err := Parse("environment.yml", []byte(`
name: any
channels: [conda-forge, nodefaults, ./channel]
dependencies:
  - python =3.12
  - conda-forge::numpy >=2
variables: {A: b, N: 1}
prefix: /home/me/env
`))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(e.Channels, []string{"conda-forge", "./channel"}) || !slices.Equal(e.Specs, []string{"python =3.12", "conda-forge::numpy >=2"}) ||
		len(e.Variables) != 2 || e.Variables["A"] != "b" || e.Variables["N"] != "1" {
		t.Errorf("got %+v", e)
	}
	if got := absolute(e.Channels, "/my dir"); !slices.Equal(got, []string{"conda-forge", "file:///my%20dir/channel"}) {
		t.Errorf("got %q", got)
	}
	for text, want := range map[string]string{
		"":                                "x.yml:1:1: want channels and dependencies, got nothing",
		"- a":                             "x.yml:1:1: want a mapping",
		"channels: [c":                    "x.yml:1:1: no YAML: line 1: did not find expected ',' or ']'",
		"channels: [c]":                   "x.yml:1:1: dependencies: missing",
		"channels: [c]\ndependencies: []": "x.yml:2:15: dependencies: want a list, with one item or more",
		"channels: c\ndependencies: [a]":  "x.yml:1:11: channels: want a list, with one item or more",
		"channels: [nodefaults]\ndependencies: [a]":                   "x.yml:1:11: channels: want a channel to find packages in",
		"channels: [c]\ndependencies: [a, -p]":                        "x.yml:2:19: dependencies[1]: want a package, as in numpy >=2",
		"channels: ['--x']\ndependencies: [a]":                        "x.yml:1:12: channels[0]: want a channel",
		"channels: [c]\ndependencies:\n- a\n- pip:\n  - b":            "x.yml:4:3: dependencies[1]: packages of pip's are not installed",
		"channels: [c]\ndependencies: [a]\nplatforms: [b]":            "x.yml:3:1: platforms: unknown key",
		"channels: [c]\nchannels: [c]\ndependencies: [a]":             "x.yml:2:1: channels: given twice",
		"channels: [c]\ndependencies: [a]\nvariables: {A: [b], C: ~}": "x.yml:3:16: variables.A: want a text",
		"channels: [c]\ndependencies: [a]\nvariables: {A=: b}":        "x.yml:3:13: variables.A=: no name of a variable",
		"channels: [c]\ndependencies: [a, [b]]":                       "x.yml:2:19: dependencies[1]: want a package",
		"channels: [c]\ndependencies: [\"a\\nb\"]":                    "x.yml:2:16: dependencies[0]: want a package",
	} {
		_, err := Parse("x.yml", []byte(text))
		if faults, ok := errors.AsType[*manifest.Faults](err); !ok || !strings.HasPrefix(faults.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// TestAnswers reads what conda, of its commit 0f64223fb and with its classic solver, has answered.
func TestAnswers(t *testing.T) {
	text, err := os.ReadFile("testdata/conda.json")
	if err != nil {
		t.Fatal(err)
	}
	found, err := parse("conda", text)
	if err != nil || len(found) != 1 || found[0].URL != "file:///tmp/condawork/chan/linux-64/zlib-1.2-h_0.tar.bz2" || len(found[0].SHA256) != 32 ||
		len(found[0].MD5) != 16 || found[0].Size != 123 {
		t.Errorf("got %+v, %v", found, err)
	}
	if text, err = os.ReadFile("testdata/conda-missing.json"); err != nil {
		t.Fatal(err)
	}
	_, err = parse("conda", text)
	failed, ok := errors.AsType[*SolveError](err)
	if !ok || err.Error() != "conda: The following packages are not available from current channels:" || !slices.Contains(failed.Details(), "  - nothere") {
		t.Errorf("got %v", err)
	}
	for text, want := range map[string]string{
		`{"success": true, "actions": {"LINK": [{"name": "a", "dist_name": "a-1-0"}]}}`:                            "conda's answer: a: ",
		`{"success": true, "actions": {"FETCH": [{"name": "a", "url": "https://x/a.zip"}]}}`:                       "want the name of a package",
		`{"success": true, "actions": {"FETCH": [{"name": "a", "url": "https://x/a-1-0.conda", "sha256": "xx"}]}}`: "want a sum of 32 bytes",
		`{"success": false, "solver_problems": ["nothing provides x", "nor y"]}`:                                   "conda: nothing provides x",
		`{}`: "conda: it says nothing of why",
		`-`:  "conda's answer: ",
	} {
		if _, err := parse("conda", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	const secret = `{"success": true, "actions": {"LINK": [{"name": "a", "url": "https://me:secret@conda.anaconda.org/t/tk-1/c/noarch/a-1-0.conda", "size": 3}]}}`
	if found, err = parse("mamba", []byte(secret)); err != nil || found[0].URL != "https://conda.anaconda.org/c/noarch/a-1-0.conda" {
		t.Errorf("got %+v, %v", found, err)
	}
}

// TestSolve has the real rattler choose among the packages of a channel.
func TestSolve(t *testing.T) {
	path := condatest.Rattler(t)
	channel := new(condatest.Channel)
	for _, p := range []condatest.Package{
		{Name: "python", Version: "3.12.1", Subdir: "linux-64"},
		{Name: "bread", Version: "1.0", Python: true, Depends: []string{"python >=3.8"}},
		{Name: "bread", Version: "1.1", Python: true, Depends: []string{"python >=3.8", "__glibc >=2", "flour"}},
		{Name: "bread", Version: "2.0", Python: true, Depends: []string{"__glibc >=99"}},
		{Name: "flour", Version: "1.0"},
	} {
		channel.Put(t, p)
	}
	server := httptest.NewServer(http.StripPrefix("/c", channel))
	t.Cleanup(server.Close)
	tool, err := Find(t.Context(), path, "")
	if err != nil || tool.Name != pyRattler || tool.Version != "0.28.0" {
		t.Fatalf("got %+v, %v", tool, err)
	}
	solve := func(specs ...string) ([]string, error) {
		found, err := tool.Solve(t.Context(), &Environment{Channels: []string{server.URL + "/c"}, Specs: specs}, "linux-64", "", t.TempDir())
		var urls []string
		for _, p := range found {
			if len(p.SHA256) != 32 || len(p.MD5) != 16 || p.Size == 0 {
				t.Errorf("got %+v", p)
			}
			urls = append(urls, strings.TrimPrefix(p.URL, server.URL+"/c/"))
		}
		return urls, err
	}
	if got, err := solve("bread"); err != nil || !slices.Equal(got, []string{"linux-64/python-3.12.1-0.conda", "noarch/bread-1.1-0.conda", "noarch/flour-1.0-0.conda"}) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := solve("bread <1.1"); err != nil || !slices.Equal(got, []string{"linux-64/python-3.12.1-0.conda", "noarch/bread-1.0-0.conda"}) {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = solve("bread >=2")
	if failed, ok := errors.AsType[*SolveError](err); !ok || !strings.HasPrefix(err.Error(), "py-rattler: ") || !strings.Contains(failed.Message, "__glibc") {
		t.Errorf("got %v", err)
	}
	_, err = solve("bread >>2")
	if _, ok := errors.AsType[*SolveError](err); !ok {
		t.Errorf("got %v", err)
	}
	channel.Close(true)
	if _, err = solve("bread"); err == nil {
		t.Error("what was kept of the channel was taken for it")
	}
	_, err = Find(t.Context(), t.TempDir(), "")
	if none, ok := errors.AsType[*NoToolError](err); !ok || none.Error() != "there is none of micromamba, mamba, conda, py-rattler" {
		t.Errorf("got %v", err)
	}
}

// TestTools runs programs in the place of those that CI cannot install, which say how they were asked.
func TestTools(t *testing.T) {
	for _, name := range []string{"micromamba", "mamba", "conda"} {
		dir := t.TempDir()
		script := "#!/bin/sh\nif [ \"$1\" = --version ]; then echo \"" + name + " 2.0.5\"; exit; fi\necho \"$CONDA_SUBDIR $CONDA_PKGS_DIRS $@\" > " + dir + "/asked\ncat " + dir + "/answer\n"
		for file, text := range map[string]string{name: script, "answer": `{"success": true, "actions": {"FETCH": [{"name": "a", "url": "https://x/noarch/a-1-0.conda"}]}}`} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o777); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
		}
		tool, err := Find(t.Context(), dir+":/usr/bin:/bin", "")
		if err != nil || tool != (Tool{name, filepath.Join(dir, name), "2.0.5"}) {
			t.Fatalf("got %+v, %v", tool, err)
		}
		found, err := tool.Solve(t.Context(), &Environment{Channels: []string{"c", "./d"}, Specs: []string{"a >=1", "b"}}, "linux-64", "/m", "/cache")
		asked, readErr := os.ReadFile(filepath.Join(dir, "asked"))
		const want = "linux-64 /cache create --dry-run --json --yes --override-channels --prefix /cache/none --channel c --channel file:///m/d a >=1 b\n"
		if err != nil || readErr != nil || len(found) != 1 || string(asked) != want {
			t.Errorf("%s: got %v, %v, asked %s", name, found, err, asked)
		}
		if all := Survey(t.Context(), dir, ""); len(all) != 4 || all[slices.Index(names, name)].Err != nil || all[3].Err == nil {
			t.Errorf("got %v", all)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("channels: [c]\ndependencies:\n- a >=1\n- pip: [b]\nvariables: {A: b}"))
	f.Add([]byte("channels: &c [*c]\ndependencies: *c\n? [a]\n: b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := Parse("x.yml", text)
		if err != nil {
			if faults, ok := errors.AsType[*manifest.Faults](err); !ok || len(*faults) == 0 {
				t.Errorf("got %v", err)
			}
			return
		}
		if len(e.Channels) == 0 || len(e.Specs) == 0 || slices.ContainsFunc(slices.Concat(e.Channels, e.Specs), func(s string) bool { return strings.HasPrefix(s, "-") }) {
			t.Errorf("got %+v", e)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, file := range []string{"conda.json", "conda-missing.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := parse("conda", text)
		if err == nil && !json.Valid(bytes.TrimSpace(text)) {
			t.Error("what is no JSON was read")
		}
		for _, p := range found {
			if _, err := FileName(p.URL); err != nil || strings.Contains(p.URL, "@") && !strings.Contains(string(text), "@") {
				t.Errorf("got %+v, %v", p, err)
			}
		}
	})
}

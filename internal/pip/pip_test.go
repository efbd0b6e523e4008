package pip_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/wheel/wheeltest"
)

// python runs python3 of this machine, whose pip asks an index.
func python(t *testing.T, index string) pip.Run {
	t.Helper()
	if exec.CommandContext(t.Context(), "python3", "-m", "pip", "--version").Run() != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no python3 with pip")
		}
		t.Skip("there is no python3 with pip")
	}
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "PIP_") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, "PIP_CONFIG_FILE=/dev/null", "PIP_RETRIES=0", "PIP_INDEX_URL="+index)
		cmd.Stdout, cmd.Stderr = stdout, stderr
		return cmd.Run()
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "requirements.txt")
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestResolve has the real pip choose among the wheels of an index.
func TestResolve(t *testing.T) {
	index := new(wheeltest.Index)
	for _, w := range []wheeltest.Wheel{
		{Name: "bread", Version: "1.0"}, {Name: "bread", Version: "1.1", Requires: []string{"flour>=2", `yeast; python_version < "3"`}},
		{Name: "bread", Version: "2.0", Tags: "cp27-cp27m-win32"}, {Name: "flour", Version: "2.0"}, {Name: "flour", Version: "3.0"},
		{Name: "pan", Version: "1.0", Tags: "cp27-cp27m-win32"},
	} {
		index.Put(t, w)
	}
	server := httptest.NewServer(index)
	t.Cleanup(server.Close)
	run := python(t, server.URL+"/simple")

	in, err := pip.Probe(t.Context(), run, "python3")
	if err != nil {
		t.Fatal(err)
	}
	if err := in.CheckPip(); err != nil || !strings.Contains(in.Version, " 3.") || !strings.HasPrefix(in.Site, "lib") {
		t.Errorf("got %+v, %v", in, err)
	}
	found, err := pip.Resolve(t.Context(), run, "python3", write(t, "bread # any\n\n-c "+write(t, "flour<3")+"\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, w := range found {
		urls = append(urls, w.URL)
		if len(w.SHA256) != 32 {
			t.Errorf("%s has no sum", w.URL)
		}
	}
	if want := []string{server.URL + "/files/bread-1.1-py3-none-any.whl", server.URL + "/files/flour-2.0-py3-none-any.whl"}; !slices.Equal(urls, want) {
		t.Errorf("got %q, want %q", urls, want)
	}

	if found, err := pip.Resolve(t.Context(), run, "python3", write(t, "pip"), true); err != nil || len(found) != 0 {
		t.Errorf("pip is installed: got %v, %v", found, err)
	}

	for text, want := range map[string]string{
		"bread==9": "No matching distribution|Could not find a version that satisfies the requirement bread==9",
		"pan":      "Skipping link: none of the wheel's tags (cp27-cp27m-win32) are compatible",
		"bread @":  "Invalid requirement",
	} {
		_, err := pip.Resolve(t.Context(), run, "python3", write(t, text), false)
		failed, ok := errors.AsType[*pip.ResolveError](err)
		if !ok {
			t.Errorf("%s: got %v", text, err)
			continue
		}
		told := strings.Join(append(failed.Errors, failed.Details...), "\n")
		if !slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(told, w) }) || !strings.HasPrefix(err.Error(), "pip: ") {
			t.Errorf("%s: got %v:\n%s", text, err, told)
		}
	}

	server.Close()
	_, err = pip.Resolve(t.Context(), run, "python3", write(t, "bread"), false)
	failed, ok := errors.AsType[*pip.ResolveError](err)
	if !ok || !slices.ContainsFunc(failed.Details, func(s string) bool { return strings.HasPrefix(s, "Could not fetch URL ") }) {
		t.Errorf("the index is gone: got %+v", failed)
	}
}

// TestProbeFails tells what a program that is no Python says.
func TestProbeFails(t *testing.T) {
	for name, run := range map[string]pip.Run{
		"exit": func(_ context.Context, _ []string, _, stderr io.Writer) error {
			_, _ = io.WriteString(stderr, "warning\nno such thing\n")
			return errors.New("exit status 1")
		},
		"text":    func(_ context.Context, _ []string, stdout, _ io.Writer) error { return put(stdout, "Python 2.7") },
		"nothing": func(_ context.Context, _ []string, stdout, _ io.Writer) error { return put(stdout, "{}") },
		"relative": func(_ context.Context, _ []string, stdout, _ io.Writer) error {
			return put(stdout, `{"executable":"python","version":"x","abi":"y","site":"z"}`)
		},
		"climbs": func(_ context.Context, _ []string, stdout, _ io.Writer) error {
			return put(stdout, `{"executable":"/python","version":"x","abi":"y","site":"../z"}`)
		},
	} {
		_, err := pip.Probe(t.Context(), run, "python3")
		e, ok := errors.AsType[*pip.ProbeError](err)
		if !ok || !strings.HasPrefix(err.Error(), "ask python3 for its version: ") || name == "exit" && e.Said != "no such thing" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func put(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

func TestCheckPip(t *testing.T) {
	for version, want := range map[string]string{
		"": "cpython 3 has no pip", "21.3.1": "cpython 3 has pip 21.3.1, and resolving needs 22.2 or later", "22.1": "22.2 or later", "x": "22.2 or later",
		"22.2": "", "22.2.1": "", "23": "", "26.0rc1": "",
	} {
		err := pip.Interpreter{Version: "cpython 3", Pip: version}.CheckPip()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", version, err, want)
		}
	}
}

// reporting is a pip that prints a report.
func reporting(text string) pip.Run {
	return func(_ context.Context, _ []string, stdout, _ io.Writer) error { return put(stdout, text) }
}

func TestReport(t *testing.T) {
	const sum = "0000000000000000000000000000000000000000000000000000000000000001"
	item := func(info string) string {
		return `{"version":"1","install":[{"download_info":` + info + `,"metadata":{"name":"a"}}]}`
	}
	for text, want := range map[string]string{
		item(`{"url":"https://x/a-1-py3-none-any.whl","archive_info":{"hashes":{"sha256":"` + sum + `"}}}`): "",
		item(`{"url":"https://x/a-1-py3-none-any.whl","archive_info":{"hash":"sha256=` + sum + `"}}`):       "",
		item(`{"url":"https://x/a-1-py3-none-any.whl","archive_info":{}}`):                                  "",
		item(`{"url":"https://x/a-1.tar.gz","archive_info":{}}`):                                            "a is at https://x/a-1.tar.gz, which is no wheel",
		item(`{"url":"file:///x/a-1-py3-none-any.whl","dir_info":{}}`):                                      "which is no wheel",
		item(`{"url":"https://x/a-1-py3-none-any.whl","archive_info":{"hashes":{"sha256":"12"}}}`):          "want a SHA-256",
		`{"version":"2"}`: "want 1",
		"Collecting":      "pip's report",
	} {
		found, err := pip.Resolve(t.Context(), reporting(text), "python3", "r.txt", false)
		if want == "" && (err != nil || len(found) != 1) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, %v, want %q", text, found, err, want)
		}
	}
}

// FuzzReport reads whatever a pip prints: all that is found is a wheel by its name.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"version":"1","install":[{"download_info":{"url":"https://x/a%2b-1-py3-none-any.whl","archive_info":{"hashes":{"sha256":"00"}}},"metadata":{"name":"a"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := pip.Resolve(t.Context(), reporting(string(text)), "python3", "r.txt", false)
		for _, w := range found {
			file, nameErr := w.File()
			if err != nil || nameErr != nil || file != filepath.Base(file) || !fs.ValidPath(file) || w.SHA256 != nil && len(w.SHA256) != 32 {
				t.Errorf("got %+v, %v, %v", w, err, nameErr)
			}
		}
	})
}

func TestIncludes(t *testing.T) {
	text := "# comment -r no\n-r a.txt # why\n  --requirement=b/c.txt\n--constraint d.txt\r\n-ce.txt\n-r \\\n  f g.txt\nnumpy -r x\n--requirements y\n" +
		"-r https://example.org/r.txt\n-r\n-r 'q.txt'\n#\\\n-r after.txt\n-r cut.txt\\\n#\\\n-r end.txt\\"
	want := []string{"a.txt", "b/c.txt", "d.txt", "e.txt", "f g.txt", "q.txt", "after.txt", "cut.txt", "end.txt"}
	if got := pip.Includes(text); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzIncludes finds names that are in the text, whatever that is.
func FuzzIncludes(f *testing.F) {
	f.Add("-r a.txt\n-c \\\n b.txt # x")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range pip.Includes(text) {
			if name == "" || strings.Contains(name, "\n") || !bytes.Contains([]byte(strings.ReplaceAll(strings.ReplaceAll(text, "\\\r\n", ""), "\\\n", "")), []byte(name)) {
				t.Errorf("%q is not in %q", name, text)
			}
		}
	})
}

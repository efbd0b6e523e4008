package build

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/image"
)

// sumOf is the content of a file itself.
func sumOf(_ context.Context, name string) (string, error) {
	text, err := os.ReadFile(name)
	return string(text), err
}

// TestContext changes one thing of a context after the other.
func TestContext(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]string{}
	look := func(what string, other bool) {
		t.Helper()
		d, err := Context(t.Context(), dir, sumOf)
		must(err)
		if before, known := seen[d.String()]; known == other {
			t.Errorf("%s: the digest is that of %q before: %v", what, before, known)
		}
		seen[d.String()] = what
	}
	must(os.WriteFile(at("Dockerfile"), []byte("FROM scratch"), 0o644))
	look("one file", true)
	must(os.Chtimes(at("Dockerfile"), time.Unix(1, 0), time.Unix(1, 0)))
	look("another time", false)
	must(os.WriteFile(at("Dockerfile"), []byte("FROM other"), 0o644))
	look("another content", true)
	must(os.Chmod(at("Dockerfile"), 0o755))
	look("a program", true)
	must(os.Mkdir(at("a"), 0o755))
	look("an empty folder", true)
	must(os.WriteFile(at("a/b"), []byte("FROM other"), 0o644))
	look("a file in it", true)
	must(os.Rename(at("a/b"), at("a/c")))
	look("another name", true)
	must(os.Symlink("c", at("a/d")))
	look("a link", true)
	must(os.Remove(at("a/d")))
	must(os.Symlink("../Dockerfile", at("a/d")))
	look("another link", true)
	must(os.Remove(at("a/d")))
	must(os.WriteFile(at("a/d"), []byte("../Dockerfile"), 0o644))
	look("a file that says what the link said", true)
	must(syscall.Mkfifo(at("pipe"), 0o644))
	if d, err := Context(t.Context(), dir, sumOf); !errors.Is(err, errSpecial) {
		t.Errorf("a pipe is taken: %s, %v", d, err)
	}
	if _, err := Context(t.Context(), at("nowhere"), sumOf); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestRun builds with tools that only say what they are asked for.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	r := Request{Dockerfile: filepath.Join(dir, "env", "Dockerfile"), Platform: image.Platform{OS: "linux", Arch: "arm64"}}
	out := filepath.Join(dir, "image.tar")
	const records = `case $1 in
info|version|--version) echo 1.0; exit;;
build) echo sha256:1d > "$3";;
esac
echo "$0 $*"`
	for _, test := range []struct {
		tool  string
		fresh bool
		want  string
	}{
		{"podman", false, "podman build --iidfile OUT.id --platform linux/arm64 --file DIR/env/Dockerfile --timestamp 0 DIR/env\npodman save --quiet --format oci-archive --output OUT sha256:1d\n"},
		{"buildah", true, "buildah build --iidfile OUT.id --platform linux/arm64 --file DIR/env/Dockerfile --no-cache --pull --timestamp 0 DIR/env\nbuildah push --quiet sha256:1d oci-archive:OUT\n"},
		{"docker", false, "docker build --iidfile OUT.id --platform linux/arm64 --file DIR/env/Dockerfile DIR/env\ndocker save --output OUT sha256:1d\n"},
	} {
		onPath(t, map[string]string{test.tool: records})
		var log bytes.Buffer
		r.Fresh, r.Log = test.fresh, &log
		if err := Run(t.Context(), r, out); err != nil {
			t.Fatal(err)
		}
		got := strings.NewReplacer(os.Getenv("PATH")+"/", "", out, "OUT", dir, "DIR").Replace(log.String())
		if got != test.want {
			t.Errorf("%s was asked for\n%s, want\n%s", test.tool, got, test.want)
		}
	}
	onPath(t, map[string]string{"podman": "test $1 = info"})
	r.Log = io.Discard
	if err := Run(t.Context(), r, out); err == nil || !strings.Contains(err.Error(), "with podman: exit status 1") {
		t.Errorf("got %v", err)
	}
	onPath(t, nil)
	err := Run(t.Context(), r, out)
	if none, ok := errors.AsType[*NoBuilderError](err); !ok || len(none.Problems) != 3 {
		t.Errorf("got %v", err)
	}
	onPath(t, map[string]string{"podman": "case $1 in info) exit;; esac; exec /bin/sleep 60"})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begin := time.Now()
	if err := Run(ctx, r, out); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

// onPath makes shell scripts the only programs of the path.
func onPath(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestSurvey(t *testing.T) {
	onPath(t, map[string]string{"podman": "echo 4.3.1", "docker": "echo cannot connect >&2; echo is it running? >&2; exit 1"})
	found := Survey(t.Context())
	if len(found) != 3 {
		t.Fatalf("found %+v", found)
	}
	if f := found[0]; f.Name != "podman" || f.Version != "4.3.1" || f.Err != nil || f.Path == "" {
		t.Errorf("found %+v", f)
	}
	if f := found[1]; f.Name != "buildah" || f.Path != "" || f.Err == nil || f.Err.Error() != "buildah is not installed" {
		t.Errorf("found %+v", f)
	}
	if f := found[2]; f.Path == "" || f.Err == nil || f.Err.Error() != "docker does not answer: is it running?" {
		t.Errorf("found %+v", f)
	}
}

// TestSurveyEnds asks a program that does not answer.
func TestSurveyEnds(t *testing.T) {
	onPath(t, map[string]string{"docker": "exec /bin/sleep 60"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if f := Survey(ctx)[2]; f.Err == nil || errors.Is(f.Err, context.Canceled) {
		t.Errorf("found %+v", f)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

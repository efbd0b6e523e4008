package registry_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// quilt3 is the real client: a process of Python, whose start takes longer than all that
// it is told to do.
type quilt3 struct {
	input   io.Writer
	answers *bufio.Reader
	stderr  *bytes.Buffer // to be read once the process has ended
	end     func()
}

// startQuilt3 starts the client that .ci/run installs. Where it is missing the test is
// skipped, but fails in CI.
func startQuilt3(t *testing.T) *quilt3 {
	t.Helper()
	python := os.Getenv("SANDWICH_QUILT3")
	if cache, err := os.UserCacheDir(); python == "" && err == nil {
		python = filepath.Join(cache, "sandwich-ci", "quilt3-8.0.0", "bin", "python")
	}
	if _, err := os.Stat(python); err != nil {
		const hint = "quilt3 is not installed; set SANDWICH_QUILT3 to the python of a virtual environment with quilt3==8.0.0"
		if os.Getenv("CI") != "" {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	q, home := &quilt3{stderr: new(bytes.Buffer)}, t.TempDir()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, "testdata/quilt3_client.py")
	cmd.Stderr = q.stderr
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CACHE_HOME="+home,
		"QUILT_DISABLE_USAGE_METRICS=true", "QUILT_MINIMIZE_STDOUT=true")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	q.input, q.answers = input, bufio.NewReader(output)
	q.end = sync.OnceFunc(func() {
		_ = input.Close()
		_ = cmd.Wait() // it has answered, or run says what went wrong
	})
	t.Cleanup(q.end)
	return q
}

// answer is what the client tells of a package.
type answer struct {
	Top      string           `json:"top"`
	Meta     map[string]any   `json:"meta"`
	Files    map[string]int64 `json:"files"`
	Verified bool             `json:"verified"`
	Packages []string         `json:"packages"`
	Versions [][2]string      `json:"versions"`
}

func (q *quilt3) run(t *testing.T, command map[string]any) answer {
	t.Helper()
	if err := json.NewEncoder(q.input).Encode(command); err != nil {
		q.end()
		t.Fatalf("quilt3 %v: %v\n%s", command["do"], err, q.stderr.String())
	}
	line, err := q.answers.ReadBytes('\n')
	if err != nil {
		q.end()
		t.Fatalf("quilt3 %v: %v\n%s", command["do"], err, q.stderr.String())
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("quilt3 %v said %s: %v", command["do"], line, err)
	}
	return a
}

func sizes(files map[string]string) map[string]int64 {
	n := map[string]int64{}
	for key, data := range files {
		n[key] = int64(len(data))
	}
	return n
}

// What sandwich pushes quilt3 browses, installs and verifies, and the other way round.
func TestQuilt3(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Python, which takes seconds")
	}
	server := s3test.Start(t) // which sets the environment that the client gets
	client := startQuilt3(t)
	const mib = 1 << 20
	data := noise(17*mib + 3)
	files := map[string]string{
		"README.md": "# hello", "deep/er/and/er": "x", "ünï/cödé 日本.txt": "ü", "a+b & c=d@e:f(1)%20.txt": "quoted", "empty": "",
		"8 MiB - 1": data[:8*mib-1], "8 MiB": data[:8*mib], "8 MiB + 1": data[:8*mib+1], "16 MiB": data[:16*mib], "more": data,
	}
	older := maps.Clone(files)
	older["README.md"], older["gone"] = "# before", "gone"
	for label, versioned := range map[string]bool{"with versions": true, "without versions": false} {
		t.Run(label, func(t *testing.T) {
			bucket := server.NewBucket(t, versioned)
			r := openBucket(t, bucket, s3.Options{})
			ours := testQuilt3Reads(t, client, r, older, files)
			testQuilt3Writes(t, client, r, bucket, files, ours)
		})
	}
}

// testQuilt3Reads pushes two revisions, which quilt3 must read. It returns the top hash of
// the second.
func testQuilt3Reads(t *testing.T, client *quilt3, r *registry.Registry, older, files map[string]string) quilt.TopHash {
	meta, err := quilt.ValueOf(map[string]any{"labels": []string{"Hamburger", "Sändwich"}, "n": 1.5})
	if err != nil {
		t.Fatal(err)
	}
	var tops []quilt.TopHash
	revisions := []map[string]string{older, files}
	for i, content := range revisions {
		rev := revision(fmt.Sprint("revision ", i), content)
		rev.Meta = meta
		top, created, err := r.Push(t.Context(), name, rev, registry.PushOptions{})
		if err != nil || !created {
			t.Fatal(created, err)
		}
		tops = append(tops, top)
	}
	for i, top := range tops {
		dest := filepath.Join(t.TempDir(), "dest")
		a := client.run(t, map[string]any{"do": "read", "registry": r.String(), "name": name, "top": top.String(), "dest": dest})
		if a.Top != top.String() || !a.Verified {
			t.Errorf("revision %d: quilt3 has top hash %s, verified %v; want %s", i, a.Top, a.Verified, top)
		}
		if diff := cmp.Diff(sizes(revisions[i]), a.Files); diff != "" {
			t.Errorf("revision %d (-pushed +quilt3):\n%s", i, diff)
		}
		if diff := cmp.Diff(map[string]any{"labels": []any{"Hamburger", "Sändwich"}, "n": 1.5}, a.Meta); diff != "" {
			t.Errorf("revision %d: metadata (-pushed +quilt3):\n%s", i, diff)
		}
		for _, folder := range []string{dest, dest + "-installed"} {
			if got := tree(t, folder); !maps.Equal(got, revisions[i]) {
				t.Errorf("revision %d: quilt3 has got other files: %v", i, sizes(got))
			}
		}
		if len(a.Versions) != 3 || !cmp.Equal(a.Packages, []string{name}) { // two pushes, and latest
			t.Errorf("quilt3 lists %v, %v", a.Packages, a.Versions)
		}
	}
	return tops[1]
}

// testQuilt3Writes lets quilt3 push, and reads that.
func testQuilt3Writes(t *testing.T, client *quilt3, r *registry.Registry, bucket string, files map[string]string, ours quilt.TopHash) {
	source := t.TempDir()
	for key, data := range files {
		path := filepath.Join(source, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const theirs = "quilt/theirs"
	a := client.run(t, map[string]any{"do": "push", "registry": r.String(), "name": theirs, "dir": source, "meta": map[string]any{"k": "v"}})
	testReads(t, r, theirs, a.Top, files)

	// A revision of ours on top of theirs has nothing to send.
	rev := revision("from quilt3", files)
	rev.Meta, _ = quilt.ValueOf(map[string]string{"k": "v"})
	top, created, err := r.Push(t.Context(), theirs, rev, registry.PushOptions{})
	if err != nil || created || top.String() != a.Top {
		t.Errorf("the same pushed by us is %v, %v, %v; quilt3 has made %s", top, created, err, a.Top)
	}

	data := files["README.md"]
	p := load(t, r, registry.Ref{Name: name, Hash: ours.String()})
	e, _ := p.Content.Entry("README.md")
	a = client.run(t, map[string]any{
		"do": "old", "registry": "s3://" + bucket, "name": "quilt/t4", "key": "data/README.md", "uri": e.PhysicalKey,
		"size": len(data), "sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(data))),
	})
	testReads(t, r, "quilt/t4", a.Top, map[string]string{"data/README.md": data})
}

// testReads installs and verifies the latest revision of a package.
func testReads(t *testing.T, r *registry.Registry, name, top string, want map[string]string) {
	t.Helper()
	p := load(t, r, registry.Ref{Name: name})
	if p.TopHash.String() != top {
		t.Errorf("%s has top hash %s, quilt3 made %s", name, p.TopHash, top)
	}
	dest := filepath.Join(t.TempDir(), "dest")
	install(t, r, p, dest)
	if got := tree(t, dest); !maps.Equal(got, want) {
		t.Errorf("%s was installed as %v", name, sizes(got))
	}
	if report, err := r.VerifyObjects(t.Context(), p, nil); err != nil || !report.OK(false) {
		t.Errorf("VerifyObjects = %+v, %v", report, err)
	}
	if report, err := folder.Verify(t.Context(), p.Content, dest, nil); err != nil || !report.OK(false) {
		t.Errorf("VerifyFolder = %+v, %v", report, err)
	}
}

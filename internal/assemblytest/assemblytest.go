// Package assemblytest holds assembly to the generator that writes it.
package assemblytest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Generated fails the test unless assembly_amd64.s and assembly_amd64.go of the tested package, kernels, are
// what its ./generate writes.
func Generated(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	assembly, stubs := filepath.Join(dir, "assembly_amd64.s"), filepath.Join(dir, "assembly_amd64.go")
	cmd := exec.CommandContext(t.Context(), "go",
		"run", "./generate", "-out", assembly, "-stubs", stubs, "-pkg", "kernels")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go run ./generate: %v\n%s", err, out)
	}
	for _, path := range []string{assembly, stubs} {
		got, want := withoutHeader(t, path), withoutHeader(t, filepath.Base(path))
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what ./generate writes: run go generate", filepath.Base(path))
		}
	}
}

// withoutHeader returns a file without its first line, which names the files' paths.
func withoutHeader(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(data, []byte("\n"))
	return rest
}

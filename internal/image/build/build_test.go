package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

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

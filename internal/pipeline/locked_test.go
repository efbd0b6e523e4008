package pipeline_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// TestLockedNoticesEditedFiles holds that a metadata file of the user's own, which may
// change under an unchanged name, cannot change under a lock unnoticed.
func TestLockedNoticesEditedFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/quickstart")); err != nil {
		t.Fatal(err)
	}
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plan := func() error {
		p, err := pipeline.Open(filepath.Join(dir, "manifest.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = pipeline.Plan(t.Context(), p, pipeline.Options{Store: store, Locked: true})
		return err
	}
	if err := plan(); err != nil {
		t.Fatalf("with the lock as committed: %v", err)
	}

	const edited = "mirror/openimages/2018_04/class-descriptions-boxable.csv"
	f, err := os.OpenFile(filepath.Join(dir, edited), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("/m/0zzzz,Napkin\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	err = plan()
	var drift *pipeline.DriftError
	if !errors.As(err, &drift) || len(drift.Changes) != 1 || !strings.HasPrefix(drift.Changes[0], "source changed: "+edited) {
		t.Errorf("with an edited file: %v", err)
	}
}

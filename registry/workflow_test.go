package registry_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/s3test"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/dir"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

const workflows = "version: \"1\"\nworkflows:\n  beta: {name: B}\n  alpha: {name: A, is_message_required: true}\n"

// A registry that requires a workflow gets no package that has passed none, and says which
// there are. One that only offers them gets what quilt3 writes without one.
func TestWorkflows(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.NewBucket(t, true)
	store, err := s3.New(t.Context(), bucket, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for label, where := range map[string]struct {
		store blob.Store
		r     *registry.Registry
		place string
	}{
		"bucket": {store, openBucket(t, bucket, s3.Options{}), "s3://" + bucket + "/.quilt/workflows/config.yml?versionId="},
		"folder": {dir.New(root), openFolder(t, root), "/.quilt/workflows/config.yml"},
	} {
		t.Run(label, func(t *testing.T) {
			ctx := t.Context()
			one := push(t, where.r, "one", first)
			for _, config := range []string{workflows, workflows + "default_workflow: alpha\n", workflows + "is_workflow_required: true\n"} {
				write(t, where.store, ".quilt/workflows/config.yml", config)
				_, _, err := where.r.Push(ctx, name, revision("two", next), registry.PushOptions{})
				var required *registry.WorkflowError
				if !errors.As(err, &required) || strings.Join(required.Workflows, " ") != "alpha beta" {
					t.Errorf("Push = %v", err)
				}
			}
			if top := load(t, where.r, registry.Ref{Name: name}).TopHash; top != one {
				t.Errorf("the latest revision is %v", top)
			}
			write(t, where.store, ".quilt/workflows/config.yml", "}")
			if _, _, err := where.r.Push(ctx, name, revision("two", next), registry.PushOptions{}); !errors.As(err, new(*registry.DamageError)) {
				t.Errorf("Push = %v", err)
			}
			write(t, where.store, ".quilt/workflows/config.yml", workflows+"is_workflow_required: false\n")
			push(t, where.r, "two", next)
			p := load(t, where.r, registry.Ref{Name: name})
			chosen := p.Content.Header.Get("workflow")
			if chosen.Get("id").Kind() != quilt.Null || !strings.Contains(chosen.Get("config").Text(), where.place) {
				t.Errorf("the header says %s", chosen.AppendCanonical(nil))
			}
			if _, created, err := where.r.Push(ctx, name, revision("two", next), registry.PushOptions{}); err != nil || created {
				t.Errorf("pushing again = %v, %v", created, err)
			}
			dest := filepath.Join(t.TempDir(), "dest")
			install(t, where.r, p, dest)
			wantTree(t, dest, next)
		})
	}
}

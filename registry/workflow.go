package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

const (
	// workflowsKey is where a registry says what its packages must be like.
	workflowsKey = ".quilt/workflows/config.yml"
	// maxWorkflows is far more than a person writes there.
	maxWorkflows = 1 << 20
)

// WorkflowError says that a registry takes only packages that one of its workflows has
// checked, which only Quilt's own client does.
type WorkflowError struct {
	Registry  string
	Workflows []string // their ids, sorted
}

func (e *WorkflowError) Error() string {
	return fmt.Sprintf("%s takes only packages that passed one of its workflows (%s), which quilt3 checks and sandwich does not",
		e.Registry, strings.Join(e.Workflows, ", "))
}

// workflow returns what the header of a new revision says of workflows: nothing where the
// registry has none and, where it has some but requires none, that none was chosen. A
// registry that requires one is a *WorkflowError.
func (r *Registry) workflow(ctx context.Context) (quilt.Value, error) {
	text, err := blob.ReadAll(ctx, r.store, workflowsKey, maxWorkflows)
	if errors.Is(err, fs.ErrNotExist) {
		return quilt.Value{}, nil
	}
	if err != nil {
		return quilt.Value{}, err
	}
	var config struct {
		Required  *bool          `yaml:"is_workflow_required"`
		Workflows map[string]any `yaml:"workflows"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return quilt.Value{}, &DamageError{Object: workflowsKey, Err: err}
	}
	if config.Required == nil || *config.Required {
		return quilt.Value{}, &WorkflowError{Registry: r.String(), Workflows: slices.Sorted(maps.Keys(config.Workflows))}
	}
	place, err := r.objects.Place(ctx, workflowsKey)
	if err != nil {
		return quilt.Value{}, err
	}
	return quilt.ObjectValue(quilt.Member{Key: "id", Value: quilt.NullValue()}, quilt.Member{Key: "config", Value: quilt.StringValue(place)}), nil
}

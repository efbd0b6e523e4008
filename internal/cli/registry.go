package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages"
)

// registryFlag adds --registry to a verb.
func registryFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("registry", "", "registry of the package: a folder, file:///path or s3://bucket (default $SANDWICH_REGISTRY)")
}

// registryAt opens the registry of a flag, or of the environment.
func (a *app) registryAt(ctx context.Context, location string) (*registry.Registry, error) {
	if location == "" {
		location = a.Getenv("SANDWICH_REGISTRY")
	}
	if location == "" {
		return nil, usagef("--registry DIR names it; SANDWICH_REGISTRY in the environment does too", "no registry is named")
	}
	r, err := registry.Open(ctx, location, registry.Options{})
	if err != nil {
		return nil, &registryError{err}
	}
	return r, nil
}

// load reads the revision of a package that an argument names.
func (a *app) load(ctx context.Context, location, arg string) (*registry.Registry, *registry.Package, error) {
	ref, err := parseRef(arg)
	if err != nil {
		return nil, nil, err
	}
	r, err := a.registryAt(ctx, location)
	if err != nil {
		return nil, nil, err
	}
	pkg, err := r.Load(ctx, ref)
	if err != nil {
		return nil, nil, &registryError{err}
	}
	return r, pkg, nil
}

func parseRef(arg string) (registry.Ref, error) {
	ref, err := registry.ParseRef(arg)
	if err != nil {
		return registry.Ref{}, usagef("packages are named like quilt/open_images, or quilt/open_images@4d1f02", "%v", err)
	}
	return ref, nil
}

// transferred makes a function that shows how many bytes a verb has moved.
func (a *app) transferred(verb string) func(done, total int64) {
	return func(done, total int64) {
		a.view.Observe(stages.Progress{Stage: verb, Done: done, Total: total, Unit: ui.UnitBytes})
	}
}

package cli

import (
	"cmp"
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/transfer"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// exampleRegistry is where packages are looked for that nobody names a registry of: the
// public bucket of Quilt's own examples.
const exampleRegistry = "s3://quilt-example"

// registryFlags are the flags of a verb that say which registry it is about.
type registryFlags struct {
	location string
	s3       s3.Options
}

// registryFlag adds the flags to a verb.
func registryFlag(cmd *cobra.Command) *registryFlags {
	f := &registryFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.location, "registry", "", "registry of the package: s3://bucket, a folder, file:///path or, to read only, https://host/path")
	flags.StringVar(&f.s3.Endpoint, "endpoint", "", "URL of an S3 server that is not Amazon's")
	flags.StringVar(&f.s3.Region, "region", "", "region of the bucket")
	flags.BoolVar(&f.s3.RequesterPays, "requester-pays", false, "pay for the requests to a bucket that wants that")
	return f
}

// registryAt opens the registry that a verb may write to: of the flags, of the
// environment or of the config file, in this order.
func (a *app) registryAt(ctx context.Context, f registryFlags) (*registry.Registry, error) {
	location := cmp.Or(f.location, a.Getenv("SANDWICH_REGISTRY"))
	if location == "" {
		c, err := a.configuration()
		if err != nil {
			return nil, err
		}
		location = c.Registry
		f.s3.Endpoint, f.s3.Region = cmp.Or(f.s3.Endpoint, c.Endpoint), cmp.Or(f.s3.Region, c.Region)
	}
	if location == "" {
		return nil, usagef("--registry names it; SANDWICH_REGISTRY in the environment and `registry` in the config file do too", "no registry is named")
	}
	warn := func(message string) {
		a.view.Observe(stages.Message{Stage: "registry", Line: cas.Line{Warning: true, Text: message}})
	}
	r, err := registry.Open(ctx, location, registry.Options{S3: f.s3, Warn: warn})
	if err != nil {
		return nil, &registryError{err}
	}
	return r, nil
}

// readable is registryAt for a verb that only reads, which finds the public examples when
// no registry is named.
func (a *app) readable(ctx context.Context, f registryFlags) (*registry.Registry, error) {
	c, err := a.configuration()
	if err != nil {
		return nil, err
	}
	if cmp.Or(f.location, a.Getenv("SANDWICH_REGISTRY"), c.Registry) == "" {
		f.location = exampleRegistry
		f.s3.Region = cmp.Or(f.s3.Region, "us-east-1")
	}
	return a.registryAt(ctx, f)
}

// target is what an argument names.
type target struct {
	ref  registry.Ref
	path string // of a part of the package; "" for the whole
}

// parseTarget parses the name of a package, or a link of Quilt's catalog, which says the
// registry as well.
func parseTarget(arg string, f *registryFlags) (target, error) {
	if !registry.IsURI(arg) {
		ref, err := parseRef(arg)
		return target{ref: ref}, err
	}
	u, err := registry.ParseURI(arg)
	if err != nil {
		return target{}, usagef("a link looks like quilt+s3://bucket#package=quilt/open_images@4d1f02", "%v", err)
	}
	if f.location != "" && f.location != u.Registry {
		return target{}, usagef("leave one of them out", "--registry is %s, and the link is of %s", f.location, u.Registry)
	}
	f.location = u.Registry
	return target{ref: u.Ref, path: u.Path}, nil
}

// load reads the revision of a package that an argument names, or the part of it that a
// link names.
func (a *app) load(ctx context.Context, f registryFlags, arg string) (*registry.Registry, *registry.Package, error) {
	at, err := parseTarget(arg, &f)
	if err != nil {
		return nil, nil, err
	}
	r, err := a.readable(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	pkg, err := r.Load(ctx, at.ref)
	if err == nil && at.path != "" {
		pkg, err = pkg.Part(at.path)
	}
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

// parseName parses the name of a package alone.
func parseName(verb, arg string, f *registryFlags) (string, error) {
	at, err := parseTarget(arg, f)
	if err != nil {
		return "", err
	}
	if at.ref.String() != at.ref.Name || at.path != "" {
		return "", usagef("give the name only, such as "+at.ref.Name, "%s: %s names a revision, want a package", verb, arg)
	}
	return at.ref.Name, nil
}

// isFolder reports whether an argument is a folder rather than the name of a package.
func isFolder(arg string) bool {
	info, err := os.Stat(arg)
	return err == nil && info.IsDir()
}

// moved makes a function that shows how far a verb is that moves files.
func (a *app) moved(verb string) func(transfer.State) {
	return func(at transfer.State) {
		a.view.Observe(stages.Progress{
			Stage: verb, Done: at.Bytes, Total: at.AllBytes, Unit: ui.UnitBytes, Files: at.Files, AllFiles: at.AllFiles, There: at.There,
		})
	}
}

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

func (a *app) push() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push NAME [DIR|BUILD|LINK]",
		Short: "Put a folder or a build into a registry, as a package",
		Long: `Push makes the files of a folder (the working directory, unless another one is
named) the latest revision of a package: all of them, hidden ones too, but for those
that a .quiltignore in the folder leaves out. What the registry has already is not
sent again, so a push that was cut off goes on; and what has not changed since it was
pushed last is not read again (the cache knows). When somebody else pushes at the
same moment, one of the two ends with exit code 5 and nothing is lost; with --parent
it does whenever another revision is the latest.

With a build of the history in its place, by number (@1 is the latest) or id, it pushes
the package that the build made, message and metadata included.

With a link of Quilt's catalog in place of the folder it promotes: the package, or the
part of it, that the link names is pushed as it is, message and metadata included, and
keeps its hash. Between buckets of one server the files do not pass through here.`,
		Example: `  sandwich push me/lunch burgers --registry s3://my-bucket --message "more ham"
  sandwich push me/lunch --meta '{"photos": 120}'
  sandwich push me/lunch @1 --registry s3://live    # what was built last
  sandwich push me/lunch 'quilt+s3://staging#package=me/lunch' --registry s3://live`,
		Args: between(1, 2),
	}
	flags := registryFlag(cmd)
	message := cmd.Flags().StringP("message", "m", "", "what this revision is about")
	meta := cmd.Flags().String("meta", "", "metadata of the package, a JSON object")
	parent := cmd.Flags().String("parent", "", "push only if the latest revision has this hash; \"none\" for no package yet")
	cmd.Flags().StringVar(&flags.s3.Encryption, "sse", "", "encryption of the objects in S3: AES256 or aws:kms (default the bucket's)")
	cmd.Flags().StringVar(&flags.s3.KMSKey, "sse-kms-key", "", "key of --sse aws:kms (default the account's)")
	var past pastFlags
	past.add(cmd)
	var by signFlags
	by.add(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		signer, err := a.signer(ctx, "--sign", by)
		if err != nil {
			return nil, err
		}
		dir := "."
		if len(args) > 1 {
			dir = args[1]
		}
		at := *flags
		name, err := parseName("push", args[0], &at)
		if err != nil {
			return nil, err
		}
		rev := registry.Revision{Message: *message}
		if rev.Meta, err = parseMeta(*meta); err != nil {
			return nil, err
		}
		switch {
		case registry.IsURI(dir):
			return a.promote(ctx, at, name, dir, rev, *parent, signer)
		case isBuild(dir):
			return a.pushBuild(ctx, at, past, name, dir, rev, *parent, signer)
		}
		return a.pushFolder(ctx, at, name, dir, rev, *parent, signer)
	})
	return cmd
}

func (a *app) pushFolder(ctx context.Context, at registryFlags, name, dir string, rev registry.Revision, parent string, by signer) (_ ui.Answer, err error) {
	r, err := a.registryAt(ctx, at)
	if err != nil {
		return nil, err
	}
	files, err := folder.Open(ctx, dir)
	if err != nil {
		return nil, usagef("push NAME DIR takes a folder of files", "push %s: %v", name, err)
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	rev.Files = files.Files()
	if err := a.knowSums(ctx, dir, rev.Files); err != nil {
		return nil, fmt.Errorf("push %s: %w", name, err)
	}
	return a.pushRevision(ctx, r, name, rev, parent, by)
}

// promote pushes the package that a link names. A message or metadata in rev take the place
// of its own.
func (a *app) promote(ctx context.Context, at registryFlags, name, link string, rev registry.Revision, parent string, by signer) (ui.Answer, error) {
	r, err := a.registryAt(ctx, at)
	if err != nil {
		return nil, err
	}
	from, pkg, err := a.load(ctx, registryFlags{storeFlags: at.storeFlags}, link)
	if err != nil {
		return nil, err
	}
	return a.pushRevision(ctx, r, name, retold(from.Revision(pkg), rev), parent, by)
}

// pushBuild pushes the package that a build of the past has made. A message or metadata in
// rev take the place of its own.
func (a *app) pushBuild(
	ctx context.Context, at registryFlags, past pastFlags, name, build string, rev registry.Revision, parent string, by signer,
) (ui.Answer, error) {
	r, err := a.registryAt(ctx, at)
	if err != nil {
		return nil, err
	}
	store, builds, err := a.past(ctx, past, build)
	if err != nil {
		return nil, err
	}
	whole, err := pipeline.Past(ctx, store, builds[0])
	if err != nil {
		return nil, err
	}
	return a.pushRevision(ctx, r, name, retold(whole, rev), parent, by)
}

// retold is a revision with the message and metadata of another one, where it has them.
func retold(rev, by registry.Revision) registry.Revision {
	rev.Message = cmp.Or(by.Message, rev.Message)
	if by.Meta.Kind() != quilt.Absent {
		rev.Meta = by.Meta
	}
	return rev
}

func (a *app) pushRevision(
	ctx context.Context, r *registry.Registry, name string, rev registry.Revision, parent string, by signer,
) (_ ui.Answer, err error) {
	opts := registry.PushOptions{Hashing: a.moved("hash"), Progress: a.moved("push")}
	if opts.Expect, err = expected(ctx, r, name, parent); err != nil {
		return nil, err
	}
	top, created, err := r.Push(ctx, name, rev, opts)
	if err != nil {
		return nil, &registryError{err}
	}
	if err := signPushed(ctx, r, registry.Ref{Name: name, Hash: top.String()}, by); err != nil {
		return nil, err
	}
	a.summary = fmt.Sprintf("%s in %s", ui.Plural(len(rev.Files), "file"), r)
	if !created {
		a.summary = r.String() + " has this revision already"
	}
	return pushAnswer{Package: registry.Ref{Name: name, Hash: top.String()}.String(), Registry: r.String(), Created: created}, nil
}

// expected returns the revision that --parent names; nil when it is not given.
func expected(ctx context.Context, r *registry.Registry, name, parent string) (*quilt.TopHash, error) {
	switch parent {
	case "":
		return nil, nil
	case "none":
		return &quilt.TopHash{}, nil
	}
	ref, err := parseRef(name + "@" + parent)
	if err != nil {
		return nil, err
	}
	top, err := r.Resolve(ctx, ref)
	if err != nil {
		return nil, &registryError{err}
	}
	return &top, nil
}

func parseMeta(text string) (quilt.Value, error) {
	if text == "" {
		return quilt.Value{}, nil
	}
	v, err := quilt.ParseValue([]byte(text))
	if err == nil && v.Kind() != quilt.Object {
		err = errors.New("it is not an object")
	}
	if err != nil {
		return quilt.Value{}, usagef(`it looks like {"photos": 120}`, "--meta: %v", err)
	}
	return v, nil
}

type pushAnswer struct {
	Package  string `json:"package"`
	Registry string `json:"registry"`
	Created  bool   `json:"created"`
}

func (p pushAnswer) Text(w io.Writer) { fmt.Fprintln(w, p.Package) }

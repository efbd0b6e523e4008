package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// The verbs that change what names revisions, and move no file: tag, rollback and rm.

// repoint is what such a verb does in a registry with what its first argument names.
type repoint func(ctx context.Context, r *registry.Registry, ref registry.Ref, more []string) (ui.Answer, error)

// repointing makes cmd such a verb.
func (a *app) repointing(cmd *cobra.Command, do repoint) *cobra.Command {
	flags := registryFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		f := *flags
		at, err := parseTarget(args[0], &f)
		if err != nil {
			return nil, err
		}
		if at.path != "" {
			return nil, usagef("leave path out of the link", "%s: files have no names of their own, only whole revisions", cmd.Name())
		}
		r, err := a.registryAt(ctx, f)
		if err != nil {
			return nil, err
		}
		answer, err := do(ctx, r, at.ref, args[1:])
		if err != nil {
			return nil, &registryError{err}
		}
		return answer, nil
	})
	return cmd
}

// exactly is the reference that names a revision by all of its hash.
func exactly(ctx context.Context, r *registry.Registry, ref registry.Ref) (registry.Ref, quilt.TopHash, error) {
	top, err := r.Resolve(ctx, ref)
	return registry.Ref{Name: ref.Name, Hash: top.String()}, top, err
}

func (a *app) tag() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tag NAME[@HASH] TAG",
		Short: "Give a revision of a package a name",
		Long: `Tag makes NAME:TAG mean one revision of a package: the latest, unless the first
digits of another one's hash are given. A tag that means another revision is moved
only with --move.`,
		Example: `  sandwich tag me/lunch@4d1f02 stable --registry s3://my-bucket
  sandwich install me/lunch:stable --registry s3://my-bucket`,
		Args: between(2, 2),
	}
	move := cmd.Flags().Bool("move", false, "let the tag mean another revision than before")
	return a.repointing(cmd, func(ctx context.Context, r *registry.Registry, ref registry.Ref, more []string) (ui.Answer, error) {
		tagged, err := parseRef(ref.Name + ":" + more[0])
		if err != nil {
			return nil, err
		}
		ref, top, err := exactly(ctx, r, ref)
		if err != nil {
			return nil, err
		}
		if err := r.Tag(ctx, ref.Name, tagged.Tag, top, *move); err != nil {
			return nil, err
		}
		a.summary = tagged.String() + " means this revision"
		return tagAnswer{Package: ref.String(), Tag: tagged.Tag}, nil
	})
}

type tagAnswer struct {
	Package string `json:"package"`
	Tag     string `json:"tag"`
}

func (t tagAnswer) Text(w io.Writer) { fmt.Fprintln(w, t.Package) }

func (a *app) rollback() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback NAME@HASH",
		Short: "Make an older revision the latest again",
		Long: `Rollback makes an older revision of a package, named by the first digits of its
hash or by a tag, the latest again. No revision is removed.`,
		Example: `  sandwich log me/lunch --registry s3://my-bucket
  sandwich rollback me/lunch@4d1f02 --registry s3://my-bucket`,
		Args: between(1, 1),
	}
	return a.repointing(cmd, func(ctx context.Context, r *registry.Registry, ref registry.Ref, _ []string) (ui.Answer, error) {
		ref, top, err := exactly(ctx, r, ref)
		if err != nil {
			return nil, err
		}
		was, err := r.Rollback(ctx, ref.Name, top)
		if err != nil {
			return nil, err
		}
		a.summary = "the latest was " + was.String()[:shortHash]
		if was == top {
			a.summary = "it is the latest already"
		}
		return rollbackAnswer{Package: ref.String(), Was: was.String()}, nil
	})
}

type rollbackAnswer struct {
	Package string `json:"package"`
	Was     string `json:"was"`
}

func (r rollbackAnswer) Text(w io.Writer) { fmt.Fprintln(w, r.Package) }

func (a *app) remove() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME[@HASH|:TAG]",
		Short: "Remove a package, a revision or a tag from the lists",
		Long: `Rm removes what leads to a package, to one revision of it or to a tag. The files
and the package file stay, as Quilt has it: who knows the hash can still install
it. When the latest revision is removed, the one that was pushed before it is the
latest again.`,
		Example: `  sandwich rm me/lunch@4d1f02 --registry s3://my-bucket
  sandwich rm me/lunch:stable --registry s3://my-bucket`,
		Args: between(1, 1),
	}
	return a.repointing(cmd, func(ctx context.Context, r *registry.Registry, ref registry.Ref, _ []string) (ui.Answer, error) {
		n, err := r.Remove(ctx, ref)
		if err != nil {
			return nil, err
		}
		a.summary = ui.Plural(n, "pointer") + " removed; the files stay"
		return removeAnswer{Removed: ref.String(), Pointers: n}, nil
	})
}

type removeAnswer struct {
	Removed  string `json:"removed"`
	Pointers int    `json:"pointers"`
}

func (r removeAnswer) Text(w io.Writer) { fmt.Fprintln(w, r.Removed) }

package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// revisionOf resolves an argument in a registry that is written to.
func (a *app) revisionOf(ctx context.Context, f registryFlags, arg string) (*registry.Registry, registry.Ref, quilt.TopHash, error) {
	at, err := parseTarget(arg, &f)
	if err != nil {
		return nil, registry.Ref{}, quilt.TopHash{}, err
	}
	r, err := a.registryAt(ctx, f)
	if err != nil {
		return nil, registry.Ref{}, quilt.TopHash{}, err
	}
	top, err := r.Resolve(ctx, at.ref)
	if err != nil {
		return nil, registry.Ref{}, quilt.TopHash{}, &registryError{err}
	}
	return r, registry.Ref{Name: at.ref.Name, Hash: top.String()}, top, nil
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
	flags := registryFlag(cmd)
	move := cmd.Flags().Bool("move", false, "let the tag mean another revision than before")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		r, ref, top, err := a.revisionOf(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		tagged, err := parseRef(ref.Name + ":" + args[1])
		if err != nil {
			return nil, err
		}
		if err := r.Tag(ctx, ref.Name, tagged.Tag, top, *move); err != nil {
			return nil, &registryError{err}
		}
		return tagAnswer{Package: ref.String(), Tag: tagged.Tag}, nil
	})
	return cmd
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
	flags := registryFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		r, ref, top, err := a.revisionOf(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		was, err := r.Rollback(ctx, ref.Name, top)
		if err != nil {
			return nil, &registryError{err}
		}
		a.summary = "the latest was " + was.String()[:shortHash]
		if was == top {
			a.summary = "it is the latest already"
		}
		return rollbackAnswer{Package: ref.String(), Was: was.String()}, nil
	})
	return cmd
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
	flags := registryFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		f := *flags
		at, err := parseTarget(args[0], &f)
		if err != nil {
			return nil, err
		}
		r, err := a.registryAt(ctx, f)
		if err != nil {
			return nil, err
		}
		n, err := r.Remove(ctx, at.ref)
		if err != nil {
			return nil, &registryError{err}
		}
		return removeAnswer{Removed: at.ref.String(), Pointers: n}, nil
	})
	return cmd
}

type removeAnswer struct {
	Removed  string `json:"removed"`
	Pointers int    `json:"pointers"`
}

func (r removeAnswer) Text(w io.Writer) { fmt.Fprintln(w, r.Removed) }

func (a *app) list() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the packages of a registry",
		Long: `Ls lists the packages of a registry by name: how often each was pushed, when the
last time, and its tags.`,
		Example: `  sandwich ls --registry s3://my-bucket
  sandwich ls --json | jq -r '.answer.packages[].name'`,
		Args: between(0, 0),
	}
	flags := registryFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, _ []string) (ui.Answer, error) {
		r, err := a.readable(ctx, *flags)
		if err != nil {
			return nil, err
		}
		all, err := r.List(ctx)
		if err != nil {
			return nil, &registryError{err}
		}
		return newListAnswer(r.String(), all), nil
	})
	return cmd
}

type listAnswer struct {
	Registry string        `json:"registry"`
	Packages []listPackage `json:"packages"`
}

type listPackage struct {
	Name      string     `json:"name"`
	Revisions int        `json:"revisions"`
	Pushed    *time.Time `json:"pushed,omitempty"` // absent when the registry does not tell
	Tags      []string   `json:"tags"`
}

func newListAnswer(location string, all []registry.Listing) listAnswer {
	l := listAnswer{Registry: location, Packages: []listPackage{}}
	for _, p := range all {
		row := listPackage{Name: p.Name, Revisions: p.Revisions, Tags: listed(p.Tags)}
		if !p.Pushed.IsZero() {
			row.Pushed = &p.Pushed
		}
		l.Packages = append(l.Packages, row)
	}
	return l
}

func (l listAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range l.Packages {
		at := "-"
		if p.Pushed != nil {
			at = p.Pushed.Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s revisions\t%s", ui.Printable(p.Name), ui.Count(int64(p.Revisions)), at)
		for _, tag := range p.Tags {
			fmt.Fprintf(table, "\t:%s", ui.Printable(tag))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
}

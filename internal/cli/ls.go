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
)

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
		if len(all) == 0 {
			a.summary = r.String() + " has no packages"
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
		fmt.Fprintf(table, "%s\t%s\t%s", ui.Printable(p.Name), ui.Plural(p.Revisions, "revision"), at)
		for _, tag := range p.Tags {
			fmt.Fprintf(table, "\t:%s", ui.Printable(tag))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
}

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
)

func (a *app) log() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log NAME",
		Short: "List the revisions of a package",
		Long: `Log lists the revisions of a package that were pushed to a registry, the newest
first: hash, time of the push, number and size of the files, message.`,
		Example: `  sandwich log quilt/open_images --registry ./registry
  sandwich log quilt/open_images --json | jq -r '.answer.revisions[].hash'`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		at := *flags
		name, err := parseName("log", args[0], &at)
		if err != nil {
			return nil, err
		}
		r, err := a.readable(ctx, at)
		if err != nil {
			return nil, err
		}
		entries, err := r.Log(ctx, name)
		if err != nil {
			return nil, &registryError{err}
		}
		return newLogAnswer(name, entries), nil
	})
	return cmd
}

type logAnswer struct {
	Name      string     `json:"name"`
	Revisions []revision `json:"revisions"`
}

// revision is one push of a package.
type revision struct {
	Hash    string     `json:"hash"`
	Time    *time.Time `json:"time,omitempty"` // absent when the registry does not tell
	Latest  bool       `json:"latest"`
	Message string     `json:"message"`
	Files   int        `json:"files"`
	Bytes   int64      `json:"bytes"`
	Error   string     `json:"error,omitempty"` // why message, files and bytes are not known
}

func newLogAnswer(name string, entries []registry.LogEntry) logAnswer {
	l := logAnswer{Name: name, Revisions: []revision{}}
	for _, e := range entries {
		r := revision{Hash: e.TopHash.String(), Latest: e.Latest, Message: e.Message, Files: e.Files, Bytes: e.Size}
		if !e.Time.IsZero() {
			r.Time = &e.Time
		}
		if e.Err != nil {
			r.Error = e.Err.Error()
		}
		l.Revisions = append(l.Revisions, r)
	}
	return l
}

// shortHash is how many digits of a hash people are shown.
const shortHash = 12

func (l logAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range l.Revisions {
		at, what := "-", r.Message
		if r.Time != nil {
			at = r.Time.Format(time.DateTime)
		}
		if r.Error != "" {
			what = r.Error
		}
		if r.Latest {
			what = strings.TrimSpace(what + " (latest)")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.Hash[:shortHash], at, ui.Plural(r.Files, "file"), ui.Bytes(r.Bytes), ui.Printable(what))
	}
	_ = table.Flush()
}

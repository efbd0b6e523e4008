package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/stages"
)

func (a *app) history() *cobra.Command {
	var flags buildFlags
	cmd := &cobra.Command{
		Use:   "history [MANIFEST]",
		Short: "List the builds of a manifest",
		Long: `History lists the builds of a manifest's package that were made with this cache, the
latest first: its number and id, when it ended (UTC), how many stages ran, the package,
its accuracy, what --set replaced, and why there is no package.

Diff compares two of them. Log lists what is in a registry, whoever built it.`,
		Example: `  sandwich history
  sandwich history --json | jq '.answer.builds[0].accuracy'`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openProject(args, flags)
			if err != nil {
				return nil, err
			}
			records, err := pipeline.History(ctx, options.Store, project.Manifest.Name)
			if err != nil {
				return nil, err
			}
			return newHistoryAnswer(project.Manifest.Name, records), nil
		}),
	}
	flags.addCache(cmd)
	return cmd
}

type historyAnswer struct {
	Name   string      `json:"name"`
	Builds []pastBuild `json:"builds"`
}

// pastBuild is a build as the history tells of it.
type pastBuild struct {
	Build    string      `json:"build"`
	Time     time.Time   `json:"time"` // when it ended
	Seconds  float64     `json:"seconds"`
	Manifest string      `json:"manifest"`
	Set      []string    `json:"set"`
	Package  string      `json:"package,omitempty"`
	Accuracy *float64    `json:"accuracy,omitempty"`
	Error    string      `json:"error,omitempty"`
	Stages   []pastStage `json:"stages"`
}

// pastStage is what became of a stage.
type pastStage struct {
	Stage    string           `json:"stage"`
	Action   string           `json:"action"`
	Tree     string           `json:"tree"`
	Cached   bool             `json:"cached"`
	Why      []string         `json:"why,omitempty"` // why it ran
	Counters map[string]int64 `json:"counters,omitempty"`
	Work     []stages.Work    `json:"work,omitempty"` // what it did when it ran
	Seconds  float64          `json:"seconds"`
}

func newHistoryAnswer(name string, records []pipeline.Record) historyAnswer {
	h := historyAnswer{Name: name, Builds: []pastBuild{}}
	for _, r := range records {
		b := pastBuild{
			Build: r.ID, Time: r.Time, Seconds: r.Seconds, Manifest: r.Manifest, Set: []string{},
			Package: r.Package, Accuracy: r.Accuracy, Error: r.Error, Stages: []pastStage{},
		}
		for _, s := range r.Set {
			b.Set = append(b.Set, string(s))
		}
		for _, s := range r.Stages {
			b.Stages = append(b.Stages, pastStage{
				Stage: s.Stage, Action: s.Action.String(), Tree: s.Tree.String(), Cached: s.Cached, Why: s.Why,
				Counters: s.Counters, Work: s.Work, Seconds: s.Seconds,
			})
		}
		h.Builds = append(h.Builds, b)
	}
	return h
}

func (b pastBuild) ran() int {
	n := 0
	for _, s := range b.Stages {
		if !s.Cached {
			n++
		}
	}
	return n
}

// shortPackage is a package's name with as much of the hash as people are shown.
func shortPackage(name string) string {
	at := strings.LastIndexByte(name, '@')
	if at < 0 || len(name) < at+1+shortHash {
		return name
	}
	return name[:at+1+shortHash]
}

func (h historyAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, b := range h.Builds {
		what := []string{}
		if b.Accuracy != nil {
			what = append(what, fmt.Sprintf("accuracy %.4f", *b.Accuracy))
		}
		for _, s := range b.Set {
			what = append(what, "-S "+s)
		}
		if b.Error != "" {
			what = append(what, "failed: "+b.Error)
		}
		fmt.Fprintf(table, "@%d\t%s\t%s\t%d of %d ran\t%s\t%s\n", i+1, b.Build, b.Time.Format(time.DateTime),
			b.ran(), len(b.Stages), shortPackage(b.Package), ui.Printable(strings.Join(what, ", ")))
	}
	_ = table.Flush()
}

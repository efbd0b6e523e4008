package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

func (a *app) explain() *cobra.Command {
	var (
		flags buildFlags
		path  string
		log   bool
	)
	cmd := &cobra.Command{
		Use:   "explain [STAGE]",
		Short: "Say why stages run, or ran",
		Long: `Explain says of each stage, or of one, why a build would run it, or why the build ran
that made the result in the cache.

The reason is what differs from the nearest earlier run of the stage, which is the one
with the fewest differences: a parameter with its value then and now, the files of an
input, the version of what the stage does, or the environment.

With --log it tells again what the stage told when it ran, and what a program of your own
printed. Of a manifest with a matrix,
it explains each variant.`,
		Example: `  sandwich explain
  sandwich explain train -S model.epochs=2
  sandwich explain select --log`,
		Args:              between(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openProject([]string{path}, flags)
			if err != nil {
				return nil, err
			}
			return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
				return explained(ctx, project, options, args, log)
			})
		}),
	}
	cmd.Flags().StringVar(&path, "manifest", "manifest.yaml", "the manifest")
	cmd.Flags().BoolVar(&log, "log", false, "tell again what cached stages told")
	flags.add(cmd)
	return cmd
}

// explained is the answer of explain, for all stages or for one.
func explained(ctx context.Context, project *pipeline.Project, options pipeline.Options, stage []string, log bool) (ui.Answer, error) {
	return ofEach(project, func(p *pipeline.Project) (explainAnswer, error) {
		explanations, err := pipeline.Explain(ctx, p, options)
		if err == nil && len(stage) == 1 {
			explanations, err = only(explanations, stage[0])
		}
		if err != nil {
			return explainAnswer{}, err
		}
		answer := newExplainAnswer(explanations, log)
		if !log {
			return answer, nil
		}
		for i, e := range explanations {
			if answer.Stages[i].Printed, err = printed(ctx, options, e.Result); err != nil {
				return explainAnswer{}, err
			}
		}
		return answer, nil
	})
}

// printed returns the lines that a program of a stage printed. What the cache has lost is as
// good as nothing.
func printed(ctx context.Context, o pipeline.Options, r cas.Result) ([]string, error) {
	if r.Printed.IsZero() {
		return nil, nil
	}
	var store cas.Store = o.Store
	if o.Shared != nil {
		store = o.Shared
	}
	text, err := cas.NewTree(store, r.Printed).ReadFile(ctx, stages.PrintedFile)
	if _, lost := errors.AsType[*cas.BlobError](err); lost {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// only returns the explanation of one stage.
func only(all []pipeline.Explanation, stage string) ([]pipeline.Explanation, error) {
	i := slices.IndexFunc(all, func(e pipeline.Explanation) bool { return e.Stage == stage })
	if i < 0 {
		unknown := &stages.NoStageError{Name: stage}
		for _, e := range all {
			unknown.Stages = append(unknown.Stages, e.Stage)
		}
		return nil, unknown
	}
	return all[i : i+1], nil
}

type explainAnswer struct {
	Stages []explainedStage `json:"stages"`
}

// explainedStage is why a stage would run or, if it is cached, why it ran.
type explainedStage struct {
	Stage       string        `json:"stage"`
	Action      string        `json:"action,omitempty"` // absent when stages before it run first
	Cached      bool          `json:"cached"`
	From        string        `json:"from,omitempty"`  // the shared cache that has its result
	Build       string        `json:"build,omitempty"` // that ran it; absent when it is not known
	Time        *time.Time    `json:"time,omitempty"`  // when that build ended
	Why         []string      `json:"why"`
	Differences []difference  `json:"differences"`    // of a stage that would run
	Work        []stages.Work `json:"work,omitempty"` // what it did when it ran
	Log         []cas.Line    `json:"log,omitempty"`
	Printed     []string      `json:"printed,omitempty"` // what a program of the stage printed, by lines
}

// difference is a field in which an action differs from an earlier one.
type difference struct {
	Field string        `json:"field"`
	Old   string        `json:"old,omitempty"` // absent when it was not set
	New   string        `json:"new,omitempty"` // absent when it is not set
	Files *changedFiles `json:"files,omitempty"`
}

// changedFiles are the files in which two trees differ.
type changedFiles struct {
	Added   int      `json:"added"`
	Removed int      `json:"removed"`
	Changed int      `json:"changed"`
	First   []string `json:"first"`
}

func newChangedFiles(c *cas.Changes) *changedFiles {
	if c == nil {
		return nil
	}
	f := &changedFiles{Added: c.Added, Removed: c.Removed, Changed: c.Changed, First: []string{}}
	for _, change := range c.First {
		f.First = append(f.First, change.Path)
	}
	return f
}

func newDifferences(all []stages.Difference) []difference {
	listed := make([]difference, len(all))
	for i, d := range all {
		listed[i] = difference{Field: d.Field, Old: d.Old, New: d.New, Files: newChangedFiles(d.Files)}
	}
	return listed
}

func newExplainAnswer(all []pipeline.Explanation, log bool) explainAnswer {
	answer := explainAnswer{Stages: []explainedStage{}}
	for _, e := range all {
		s := explainedStage{
			Stage: e.Stage, Cached: e.Cached, From: e.From, Why: listed(e.Why), Differences: newDifferences(e.Differences),
		}
		if !e.Action.IsZero() {
			s.Action = e.Action.String()
		}
		if e.Build != nil {
			s.Build, s.Time, s.Work = e.Build.ID, &e.Build.Time, e.Work
		}
		if log {
			s.Log = e.Result.Log
		}
		answer.Stages = append(answer.Stages, s)
	}
	return answer
}

func (a explainAnswer) Text(w io.Writer) {
	for _, s := range a.Stages {
		switch {
		case !s.Cached:
			fmt.Fprintf(w, "%s: would run\n", s.Stage)
		case s.From != "":
			fmt.Fprintf(w, "%s: %s\n", s.Stage, ui.Cached(s.From))
		case s.Time != nil:
			fmt.Fprintf(w, "%s: cached; it ran in build %s (%s)\n", s.Stage, s.Build, s.Time.Format(time.DateTime))
		default:
			fmt.Fprintf(w, "%s: cached; the build that ran it is not in the history\n", s.Stage)
		}
		for _, reason := range s.Why {
			fmt.Fprintf(w, "  %s\n", ui.Printable(reason))
		}
		if work := ui.Work(s.Work); work != "" {
			fmt.Fprintf(w, "  %s\n", work)
		}
		for _, line := range s.Log {
			mark := "|"
			if line.Warning {
				mark = "!"
			}
			fmt.Fprintf(w, "  %s %s\n", mark, ui.Printable(line.Text))
		}
		for _, line := range s.Printed {
			fmt.Fprintf(w, "  > %s\n", ui.Printable(line))
		}
	}
}

package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
)

func (a *app) plan() *cobra.Command {
	var flags buildFlags
	cmd := &cobra.Command{
		Use:   "plan [MANIFEST]",
		Short: "Say what a build would do",
		Long: `Plan says, without building: which stages would run and why, how many boxes and
photos the manifest selects, what each rule drops, and how much is left to download.

To know that, it fetches the metadata of the data set and selects, which the build
does not do again. It downloads no photo, trains nothing and leaves the lock alone.
Of a manifest with a matrix, it plans each variant.`,
		Example: `  sandwich plan
  sandwich plan --json | jq .answer.boxes`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openProject(args, flags)
			if err != nil {
				return nil, err
			}
			return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
				return planned(ctx, project, options)
			})
		}),
	}
	flags.add(cmd)
	return cmd
}

// planned is the answer of plan, and of build --dry-run.
func planned(ctx context.Context, project *pipeline.Project, options pipeline.Options) (ui.Answer, error) {
	return ofEach(project, func(p *pipeline.Project) (planAnswer, error) {
		forecast, err := pipeline.Plan(ctx, p, options)
		if err != nil {
			return planAnswer{}, err
		}
		return newPlanAnswer(forecast), nil
	})
}

type planAnswer struct {
	Stages   []plannedStage `json:"stages"`
	Boxes    int64          `json:"boxes"`
	Images   int64          `json:"images"`
	Moved    int64          `json:"moved"`
	Moves    []plannedMove  `json:"moves"`
	Rules    []plannedRule  `json:"rules"`
	Unpinned int64          `json:"unpinned"`
	Bytes    int64          `json:"bytes"`
	Drift    []string       `json:"drift"`
}

// plannedStage is what a build would do with a stage.
type plannedStage struct {
	Stage  string   `json:"stage"`
	Action string   `json:"action,omitempty"` // absent when stages before it run first
	Cached bool     `json:"cached"`
	From   string   `json:"from,omitempty"` // the shared cache that has its result
	Why    []string `json:"why,omitempty"`
}

// plannedMove is how many boxes two labels asked for, and that the more specific one
// gets.
type plannedMove struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Boxes int64  `json:"boxes"`
}

// plannedRule is what a rule of the selection drops.
type plannedRule struct {
	Rule          string `json:"rule"`
	Boxes         int64  `json:"boxes"` // that are left
	Images        int64  `json:"images"`
	DroppedBoxes  int64  `json:"dropped_boxes"`
	DroppedImages int64  `json:"dropped_images"`
}

func newPlanAnswer(f *pipeline.Forecast) planAnswer {
	p := planAnswer{
		Stages: []plannedStage{}, Moves: []plannedMove{}, Rules: []plannedRule{}, Boxes: f.Boxes, Images: f.Images, Moved: f.Moved,
		Unpinned: f.Unpinned, Bytes: f.Bytes, Drift: listed(f.Drift),
	}
	for _, s := range f.Stages {
		one := plannedStage{Stage: s.Stage, Cached: s.Cached, From: s.From, Why: s.Why}
		if !s.Action.IsZero() {
			one.Action = s.Action.String()
		}
		p.Stages = append(p.Stages, one)
	}
	for _, m := range f.Funnel.Moved {
		p.Moves = append(p.Moves, plannedMove(m))
	}
	for _, r := range f.Funnel.Rules {
		p.Rules = append(p.Rules, plannedRule{r.Rule, r.Boxes, r.Images, r.DroppedBoxes, r.DroppedImages})
	}
	return p
}

func (p planAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range p.Stages {
		what := ui.Cached(s.From)
		if !s.Cached {
			what = "runs: " + ui.Reasons(s.Why)
		}
		fmt.Fprintf(table, "%s\t%s\n", s.Stage, what)
	}
	_ = table.Flush()
	fmt.Fprintf(w, "\n%s on %s\n", ui.Plural(p.Boxes, "box"), ui.Plural(p.Images, "photo"))
	for _, m := range p.Moves {
		fmt.Fprintf(w, "  %s boxes are of %s, not of %s, which is less specific\n", ui.Count(m.Boxes), ui.Printable(m.To), ui.Printable(m.From))
	}
	for _, r := range p.Rules {
		if r.DroppedBoxes > 0 {
			fmt.Fprintf(table, "  %s\tdrops %s,\t%s\n", r.Rule, ui.Plural(r.DroppedBoxes, "box"), ui.Plural(r.DroppedImages, "photo"))
		}
	}
	_ = table.Flush()
	if p.Unpinned > 0 {
		fmt.Fprintf(w, "%s to download, about %s\n", ui.Plural(p.Unpinned, "photo"), ui.Bytes(p.Bytes))
	}
	if len(p.Drift) > 0 {
		fmt.Fprintf(w, "the lock would change: %s\n", ui.Reasons(p.Drift))
	}
}

package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/history"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

func (a *app) diff() *cobra.Command {
	var (
		past     pastFlags
		packages packageDiffFlags
	)
	cmd := &cobra.Command{
		Use:   "diff A [B]",
		Short: "Compare two builds, packages or folders",
		Long: `Diff says in what a build differs from an older one, stage by stage: the parameters and
inputs that decide a stage, the files that came out of it, and what it counted.

A build is named by the first digits of its id, or by its number in the history: @1 is
the latest, @2 the one before. With one, the other is the latest. The older one
comes first.

Of two revisions of packages, or folders that exist, diff says which files B has more
or less than A, which changed, and what that means: fields of the manifest, labels,
boxes of each label, crops, dead photos, the environment, and metrics. Either can be a
build; of two builds, --stat and --markdown compare the packages.`,
		Example: `  sandwich diff @2 @1
  sandwich diff 4f2a91c0
  sandwich diff me/lunch@4d1f02 me/lunch --registry s3://my-bucket
  sandwich diff me/lunch ./burgers
  sandwich diff me/lunch @1 --markdown           # for a pull request`,
		Args:              between(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			if len(args) == 1 && isBuild(args[0]) {
				args = append(args, "@1")
			}
			if packages.stat || packages.markdown || !isBuild(args[0]) || !isBuild(args[len(args)-1]) {
				return a.diffPackages(ctx, packages, past, args)
			}
			store, builds, err := a.past(ctx, past, args...)
			if err != nil {
				return nil, err
			}
			old, now := builds[0], builds[1]
			changes, err := history.Compare(ctx, store, old, now)
			if err != nil {
				return nil, err
			}
			return newDiffAnswer(old, now, changes), nil
		}),
	}
	past.add(cmd)
	packages.add(cmd)
	return cmd
}

// pastFlags say of which manifest, and in which cache, the builds of the past are meant.
type pastFlags struct {
	manifest string
	build    buildFlags
}

func (f *pastFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.manifest, "manifest", "manifest.yaml", "the manifest of the builds")
	f.build.addCache(cmd)
}

// past finds builds in the history, and returns the cache that has what they made.
func (a *app) past(ctx context.Context, f pastFlags, names ...string) (*disk.Store, []history.Record, error) {
	project, options, err := a.openProject([]string{f.manifest}, f.build)
	if err != nil {
		return nil, nil, err
	}
	records, err := history.Read(ctx, options.Store, project.Manifest.Name)
	if err != nil {
		return nil, nil, err
	}
	found := make([]history.Record, len(names))
	for i, name := range names {
		if found[i], err = history.Find(records, name); err != nil {
			return nil, nil, err
		}
	}
	return options.Store, found, nil
}

// isBuild reports whether an argument names a build of the history rather than a folder.
func isBuild(arg string) bool {
	return strings.HasPrefix(arg, "@") || quilt.IsHex(arg) && !isFolder(arg)
}

type diffAnswer struct {
	Old    comparedBuild   `json:"old"`
	New    comparedBuild   `json:"new"`
	Stages []comparedStage `json:"stages"` // those that differ
}

// comparedBuild is one of the two builds.
type comparedBuild struct {
	Build    string    `json:"build"`
	Time     time.Time `json:"time"`
	Package  string    `json:"package,omitempty"`
	Accuracy *float64  `json:"accuracy,omitempty"`
}

// comparedStage is in what a stage differs.
type comparedStage struct {
	Stage       string            `json:"stage"`
	Only        string            `json:"only,omitempty"` // old or new: the build that has the stage
	Differences []difference      `json:"differences"`
	Output      *changedFiles     `json:"output,omitempty"`
	Lost        bool              `json:"lost"` // what there was to compare is not in the cache any more
	Counters    []comparedCounter `json:"counters"`
	Metrics     []comparedMetric  `json:"metrics,omitempty"` // of a stage of your own

	lines  []string // the differences as a person reads them
	output string
}

// comparedCounter is a counter that differs.
type comparedCounter struct {
	Name string `json:"name"`
	Old  int64  `json:"old"`
	New  int64  `json:"new"`
}

// comparedMetric is a number of a stage of the user's own that differs.
type comparedMetric struct {
	Name string   `json:"name"`
	Old  *float64 `json:"old,omitempty"` // absent where it was not measured
	New  *float64 `json:"new,omitempty"`
}

func newComparedMetrics(old, now map[string]float64) []comparedMetric {
	all := map[string]comparedMetric{}
	for name, value := range old {
		all[name] = comparedMetric{Name: name, Old: &value}
	}
	for name, value := range now {
		c := all[name]
		c.Name, c.New = name, &value
		all[name] = c
	}
	var changed []comparedMetric
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if c := all[name]; c.Old == nil || c.New == nil || *c.Old != *c.New {
			changed = append(changed, c)
		}
	}
	return changed
}

// String is the number in one line.
func (c comparedMetric) String() string {
	word := func(x *float64, none string) string {
		if x == nil {
			return none
		}
		return strconv.FormatFloat(*x, 'g', 6, 64)
	}
	return fmt.Sprintf("%s: %s, was %s", c.Name, word(c.New, "not measured"), word(c.Old, "not measured"))
}

func newDiffAnswer(old, now history.Record, changes []history.StageChange) diffAnswer {
	build := func(r history.Record) comparedBuild {
		return comparedBuild{Build: r.ID, Time: r.Time, Package: r.Package, Accuracy: r.Accuracy}
	}
	d := diffAnswer{Old: build(old), New: build(now), Stages: []comparedStage{}}
	for _, c := range changes {
		s := comparedStage{
			Stage: c.Stage, Only: c.Only, Differences: newDifferences(c.Differences), Output: newChangedFiles(c.Output), Lost: c.Lost,
			Counters: newComparedCounters(c.Old, c.New), Metrics: newComparedMetrics(c.Was, c.Is),
		}
		for _, one := range c.Differences {
			s.lines = append(s.lines, one.String())
		}
		if c.Output != nil {
			s.output = c.Output.String()
		}
		d.Stages = append(d.Stages, s)
	}
	return d
}

func newComparedCounters(old, now map[string]int64) []comparedCounter {
	names := maps.Clone(old)
	if names == nil {
		names = map[string]int64{}
	}
	maps.Copy(names, now)
	changed := []comparedCounter{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if old[name] != now[name] {
			changed = append(changed, comparedCounter{Name: name, Old: old[name], New: now[name]})
		}
	}
	return changed
}

func (d diffAnswer) Text(w io.Writer) {
	if d.Old.Accuracy != nil && d.New.Accuracy != nil && *d.Old.Accuracy != *d.New.Accuracy {
		fmt.Fprintf(w, "accuracy: %.4f, was %.4f\n", *d.New.Accuracy, *d.Old.Accuracy)
	}
	for _, s := range d.Stages {
		fmt.Fprintln(w, s.Stage)
		if s.Only != "" {
			fmt.Fprintf(w, "  only the %s build has it\n", s.Only)
			continue
		}
		for _, line := range s.lines {
			fmt.Fprintf(w, "  %s\n", ui.Printable(line))
		}
		if s.output != "" {
			fmt.Fprintf(w, "  output: %s\n", ui.Printable(s.output))
		}
		if s.Lost {
			fmt.Fprintln(w, "  what there was to compare is not in the cache any more")
		}
		for _, c := range s.Counters {
			fmt.Fprintf(w, "  counted %s: %s, was %s\n", ui.Printable(c.Name), ui.Count(c.New), ui.Count(c.Old))
		}
		for _, c := range s.Metrics {
			fmt.Fprintf(w, "  measured %s\n", ui.Printable(c.String()))
		}
	}
}

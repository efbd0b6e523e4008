package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
)

func (a *app) lock() *cobra.Command {
	var (
		flags      buildFlags
		allowDirty bool
		retry      bool
		upgrade    bool
		failures   failuresFlag
	)
	cmd := &cobra.Command{
		Use:   "lock [MANIFEST]",
		Short: "Pin everything that a build reads from the world",
		Long: `Lock writes the lock beside the manifest: the digest of every metadata file and photo,
the commit of your sources, and a tombstone for each photo that no place has any
more. Pins that hold are kept as they are, and tombstones too unless --retry asks
again. What is downloaded for it stays in the cache for the build. The variants of a
matrix share the lock.

--upgrade pins the metadata files as they are published now, and the image, the wheels
and conda's packages of the environment as they are now. It tells which boxes of your
labels, which wheels and which packages are other ones by that, and whether the image
is; outdated tells it without touching the lock.

Keep the lock beside the manifest in version control.`,
		Example: `  sandwich lock
  sandwich lock --retry      # are the dead photos back?
  sandwich lock --upgrade    # take what upstream has changed`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openProject(args, flags)
			if err != nil {
				return nil, err
			}
			options.AllowDirty, options.Retry, options.Upgrade = allowDirty, retry, upgrade
			return failures.during(&options, func() (ui.Answer, error) {
				return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
					return a.lockAnswer(ctx, project, options)
				})
			})
		}),
	}
	cmd.Flags().BoolVar(&retry, "retry", false, "ask again for photos that were dead")
	cmd.Flags().BoolVar(&upgrade, "upgrade", false, "pin metadata files, image and libraries as they are now")
	cmd.Flags().BoolVar(&allowDirty, "allow-dirty", false, "pin your sources although they have uncommitted changes")
	failures.add(cmd)
	flags.add(cmd)
	return cmd
}

// retry is lock for the photos that are dead, and shows those that still are.
func (a *app) retry() *cobra.Command {
	var (
		flags    buildFlags
		failures failuresFlag
	)
	cmd := &cobra.Command{
		Use:   "retry [MANIFEST]",
		Short: "Ask again for the photos that were dead",
		Long: `Retry asks again for those photos that the lock says are dead, and for no others, and
writes the lock if some are back. It shows which still are dead and why: the reason
of each place where a photo could be.

Photos that a place could not be asked for are not dead: build and lock go on with
these by themselves. With --failures each of the three writes a table of both.`,
		Example: `  sandwich retry
  sandwich retry --failures failures.csv
  sandwich retry --json | jq -r '.answer.failures[] | .reason' | sort | uniq -c`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openProject(args, flags)
			if err != nil {
				return nil, err
			}
			options.AllowDirty, options.Retry = true, true // the sources are no concern of it
			return failures.during(&options, func() (ui.Answer, error) {
				return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
					return a.retryAnswer(ctx, project, options)
				})
			})
		}),
	}
	failures.add(cmd)
	flags.add(cmd)
	return cmd
}

// pinned writes the lock.
func (a *app) pinned(ctx context.Context, project *pipeline.Project, options pipeline.Options) (*pipeline.LockReport, error) {
	// The variants of a matrix need the same photos.
	report, err := pipeline.Lock(ctx, project.Variants()[0].Project, options)
	if err != nil {
		return nil, err
	}
	a.summary = fmt.Sprintf("%s pinned, %s dead", ui.Plural(report.Photos, "photo"), ui.Count(int64(report.Dead)))
	if !report.Changed {
		a.summary += "; the lock was up to date"
	}
	return report, nil
}

func (a *app) lockAnswer(ctx context.Context, project *pipeline.Project, options pipeline.Options) (ui.Answer, error) {
	report, err := a.pinned(ctx, project, options)
	if err != nil {
		return nil, err
	}
	answer := lockAnswer{Lock: report.Path, Changed: report.Changed, Photos: report.Photos, Dead: report.Dead, Reasons: reasons(report)}
	if report.Upgraded != nil {
		upgraded := newOutdatedAnswer(report.Path, report.Upgraded)
		answer.Upgraded = &upgraded
	}
	return answer, nil
}

func (a *app) retryAnswer(ctx context.Context, project *pipeline.Project, options pipeline.Options) (ui.Answer, error) {
	report, err := a.pinned(ctx, project, options)
	if err != nil {
		return nil, err
	}
	answer := retryAnswer{
		Lock: report.Path, Changed: report.Changed, Photos: report.Photos, Dead: report.Dead, Reasons: reasons(report), Failures: []failure{},
	}
	for _, photo := range report.Failures {
		f := failure{Photo: photo.ID, Reason: photo.Dead}
		for _, p := range photo.Places {
			f.Places = append(f.Places, failedPlace{Place: string(p.Place), URL: p.URL, Reason: p.Reason, Attempts: p.Attempts})
		}
		answer.Failures = append(answer.Failures, f)
	}
	return answer, nil
}

// reasons are those of the dead photos, the most frequent first.
func reasons(report *pipeline.LockReport) []reason {
	var all []reason
	for text, photos := range report.Reasons {
		all = append(all, reason{Reason: text, Photos: photos})
	}
	slices.SortFunc(all, func(a, b reason) int { return cmp.Or(b.Photos-a.Photos, strings.Compare(a.Reason, b.Reason)) })
	return all
}

// reason says of how many photos a place has none, and why.
type reason struct {
	Reason string `json:"reason"`
	Photos int    `json:"photos"`
}

type lockAnswer struct {
	Lock    string   `json:"lock"`
	Changed bool     `json:"changed"`
	Photos  int      `json:"photos"`
	Dead    int      `json:"dead"`
	Reasons []reason `json:"reasons,omitempty"`

	Upgraded *outdatedAnswer `json:"upgraded,omitempty"` // with --upgrade
}

func (l lockAnswer) Text(w io.Writer) {
	fmt.Fprintln(w, ui.Printable(l.Lock))
	if l.Upgraded != nil {
		l.Upgraded.Text(w)
	}
}

type retryAnswer struct {
	Lock     string    `json:"lock"`
	Changed  bool      `json:"changed"`
	Photos   int       `json:"photos"`
	Dead     int       `json:"dead"`
	Reasons  []reason  `json:"reasons,omitempty"`
	Failures []failure `json:"failures"`
}

type failure struct {
	Photo  string        `json:"photo"`
	Reason string        `json:"reason"`
	Places []failedPlace `json:"places,omitempty"` // that were asked
}

type failedPlace struct {
	Place    string `json:"place"`
	URL      string `json:"url"`
	Reason   string `json:"reason"`
	Attempts int    `json:"attempts"`
}

// Text is a table of the photos that still are dead.
func (r retryAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Failures {
		fmt.Fprintf(table, "%s\t%s\n", ui.Printable(f.Photo), ui.Printable(f.Reason))
	}
	_ = table.Flush() // w keeps its first error
}

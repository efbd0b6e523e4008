package cli

import (
	"context"
	"fmt"
	"io"

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
	)
	cmd := &cobra.Command{
		Use:   "lock [MANIFEST]",
		Short: "Pin everything that a build reads from the world",
		Long: `Lock writes the lock beside the manifest: the digest of every metadata file and photo,
the commit of your sources, and a tombstone for each photo that no place has any
more. Pins that hold are kept as they are, and tombstones too unless --retry asks
again. What is downloaded for it stays in the cache for the build. The variants of a
matrix share the lock.

--upgrade pins the metadata files as they are published now, and tells which boxes of
your labels were added, removed or changed by that; outdated tells it without touching
the lock.

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
			return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
				return a.pinned(ctx, project, options)
			})
		}),
	}
	cmd.Flags().BoolVar(&retry, "retry", false, "ask again for photos that were dead")
	cmd.Flags().BoolVar(&upgrade, "upgrade", false, "pin the metadata files as they are published now")
	cmd.Flags().BoolVar(&allowDirty, "allow-dirty", false, "pin your sources although they have uncommitted changes")
	flags.add(cmd)
	return cmd
}

// pinned is the answer of lock.
func (a *app) pinned(ctx context.Context, project *pipeline.Project, options pipeline.Options) (ui.Answer, error) {
	// The variants of a matrix need the same photos.
	report, err := pipeline.Lock(ctx, project.Variants()[0].Project, options)
	if err != nil {
		return nil, err
	}
	a.summary = fmt.Sprintf("%s photos pinned, %s dead", ui.Count(int64(report.Photos)), ui.Count(int64(report.Dead)))
	if !report.Changed {
		a.summary += "; the lock was up to date"
	}
	answer := lockAnswer{Lock: report.Path, Changed: report.Changed, Photos: report.Photos, Dead: report.Dead}
	if report.Upgraded != nil {
		upgraded := newOutdatedAnswer(report.Path, report.Upgraded)
		answer.Upgraded = &upgraded
	}
	return answer, nil
}

type lockAnswer struct {
	Lock    string `json:"lock"`
	Changed bool   `json:"changed"`
	Photos  int    `json:"photos"`
	Dead    int    `json:"dead"`

	Upgraded *outdatedAnswer `json:"upgraded,omitempty"` // with --upgrade
}

func (l lockAnswer) Text(w io.Writer) {
	fmt.Fprintln(w, ui.Printable(l.Lock))
	if l.Upgraded != nil {
		l.Upgraded.Text(w)
	}
}

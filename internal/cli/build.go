package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/stages/evaluate"
)

func (a *app) build() *cobra.Command {
	var (
		flags      buildFlags
		locked     bool
		allowDirty bool
		strict     bool
		registry   string
	)
	cmd := &cobra.Command{
		Use:   "build [MANIFEST]",
		Short: "Build a manifest and push the package",
		Long: `Build runs the stages of a manifest (manifest.yaml, unless another file is named)
and pushes the package to the manifest's registry. What was built before is not
built again: a changed hyperparameter runs training and what follows, a changed
crop rule downloads nothing.

Every URL of the manifest is pinned to a digest in the lock beside it. Build writes
it when it is absent and adds what is missing; with --locked it changes nothing,
and ends with exit code 4 if it would have to.

The answer is the package's name and hash. Photos that are gone from the web do not
stop a build; with --strict it ends with exit code 7 when one is.`,
		Example: `  sandwich build
  sandwich build burgers.yaml --locked --strict    # as continuous integration does
  sandwich build -q | xargs sandwich show --registry ./registry`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			project, options, err := a.openProject(args, flags)
			if err != nil {
				return nil, err
			}
			options.Locked, options.AllowDirty = locked, allowDirty
			if registry != "" {
				if project.Manifest.Registry, err = fromHere(registry); err != nil {
					return nil, err
				}
			}
			outcome, err := pipeline.Build(ctx, project, options)
			if err != nil {
				return nil, err
			}
			a.summary = buildSummary(outcome)
			if strict && outcome.Dead+outcome.Quarantined > 0 {
				err = &incompleteError{dead: outcome.Dead, quarantined: outcome.Quarantined}
			}
			return newBuildAnswer(outcome), err
		}),
	}
	cmd.Flags().BoolVar(&locked, "locked", false, "never change the lock")
	cmd.Flags().BoolVar(&allowDirty, "allow-dirty", false, "build although your sources have uncommitted changes")
	cmd.Flags().BoolVar(&strict, "strict", false, "end with exit code 7 if photos are missing")
	cmd.Flags().StringVar(&registry, "registry", "", "push to this registry instead of the manifest's")
	flags.add(cmd)
	return cmd
}

// fromHere makes a registry that is a folder relative to the working directory one that
// the pipeline, which starts from the manifest's folder, finds.
func fromHere(registry string) (string, error) {
	if strings.Contains(registry, "://") {
		return registry, nil
	}
	return filepath.Abs(registry)
}

// buildSummary says how much there was to do.
func buildSummary(o *pipeline.Outcome) string {
	summary := fmt.Sprintf("%d of %d stages ran", o.Ran, o.Stages)
	if o.Ran == 0 {
		summary = "no stage ran: all of it was built before"
	}
	if !o.Created {
		summary += "; the registry has this revision already"
	}
	return summary
}

type buildAnswer struct {
	Package     string            `json:"package"`
	Created     bool              `json:"created"`
	Ran         int               `json:"ran"`
	Stages      int               `json:"stages"`
	Dead        int64             `json:"dead"`
	Quarantined int64             `json:"quarantined"`
	LockChanged bool              `json:"lock_changed"`
	Metrics     *evaluate.Metrics `json:"metrics,omitempty"` // report/metrics.json of the package
}

func newBuildAnswer(o *pipeline.Outcome) buildAnswer {
	return buildAnswer{
		Package: o.Package, Created: o.Created, Ran: o.Ran, Stages: o.Stages,
		Dead: o.Dead, Quarantined: o.Quarantined, LockChanged: o.LockChanged, Metrics: o.Metrics,
	}
}

func (b buildAnswer) Text(w io.Writer) { fmt.Fprintln(w, b.Package) }

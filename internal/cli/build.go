package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/evaluate"
	"github.com/sandwich-build/sandwich/stages/train"
)

// howFlags are the flags that say how a build goes about it.
type howFlags struct {
	until, from string
	force       []string
	keepGoing   bool
	verify      bool
	explain     bool
}

func (f *howFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.until, "until", "", "end with this stage, without a package")
	flags.StringVar(&f.from, "from", "", "run this stage and all that need it again")
	flags.StringArrayVar(&f.force, "force", nil, "run this stage again; repeatable")
	flags.BoolVarP(&f.keepGoing, "keep-going", "k", false, "after a failure, run what does not need the stage that failed, and other variants")
	flags.BoolVar(&f.verify, "verify", false, "run each stage once more and compare; fail if it does not do the same")
	flags.BoolVar(&f.explain, "explain", false, "tell every reason why a stage runs")
}

// apply sets the options. A program has the reasons in its events.
func (f *howFlags) apply(o *pipeline.Options, json bool) {
	o.Until, o.From, o.Force, o.KeepGoing, o.Verify = f.until, f.from, f.force, f.keepGoing, f.verify
	if f.explain && !json {
		o.Observer = explaining{o.Observer}
	}
}

// explaining is an observer that is told each reason why a stage runs in a line of its
// own.
type explaining struct{ next stages.Observer }

func (e explaining) Observe(event stages.Event) {
	started, ok := event.(stages.Started)
	if !ok {
		e.next.Observe(event)
		return
	}
	e.next.Observe(stages.Started{Stage: started.Stage, Action: started.Action})
	for _, reason := range started.Why {
		e.next.Observe(stages.Message{Stage: started.Stage, Line: cas.Line{Text: "because " + reason}})
	}
}

func (a *app) build() *cobra.Command {
	var (
		flags      buildFlags
		how        howFlags
		locked     bool
		allowDirty bool
		strict     bool
		dryRun     bool
		location   string
		push       bool
		failures   failuresFlag
		by         signFlags
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

With --push=false the package is only built and named. ` + "`sandwich push NAME @1`" + ` pushes it
later, under any name.

With --set (-S) a value replaces the one of the manifest. It is checked as that would
be, the package's manifest holds it, and the history of builds tells of it.

A manifest with a matrix is built once for each combination of its values. The
variants share every stage that they can, and are revisions of one package; the one
that did best on the validation pictures becomes the latest. A table compares them.
With --keep-going the others are built when one fails.

The answer is the package's name and hash, on a line for each variant. Photos that are
gone from the web do not stop a build; with --strict it ends with exit code 7 when one
is.`,
		Example: `  sandwich build
  sandwich build burgers.yaml --locked --strict    # as continuous integration does
  sandwich build -S model.epochs=2 -S seed=7       # try something
  sandwich build -S 'matrix={seed: [1, 2, 3]}' -k  # how much is luck?
  sandwich build --from train --verify             # does training do the same again?
  sandwich build -q | xargs sandwich show --registry ./registry`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			if by.given() && !push {
				return nil, usagef("sign it when it is pushed", "build: a signature is beside what is in a registry, and --push=false leaves it out of one")
			}
			signer, err := a.signer(ctx, "--sign", by)
			if err != nil {
				return nil, err
			}
			project, options, err := a.openProject(args, flags)
			if err != nil {
				return nil, err
			}
			how.apply(&options, a.mode == ui.JSON)
			options.Locked, options.AllowDirty, options.NoPush = locked, allowDirty, !push
			if err := a.pushTo(project, &options, location, flags.shared.storeFlags); err != nil {
				return nil, err
			}
			if dryRun {
				return a.consulting(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
					return planned(ctx, project, options)
				})
			}
			return failures.during(&options, func() (ui.Answer, error) {
				return a.sharing(ctx, project, flags.shared, options, func(options pipeline.Options) (ui.Answer, error) {
					var answer builtAnswer
					if len(project.Manifest.Matrix) > 0 {
						answer, err = a.buildMatrix(ctx, project, options, strict)
					} else {
						answer, err = a.buildOne(ctx, project, options, strict)
					}
					if answer == nil {
						return nil, err
					}
					if signer != nil {
						err = errors.Join(err, signBuilt(ctx, project, options, answer.packages(), signer))
					}
					return answer, err
				})
			})
		}),
	}
	cmd.Flags().BoolVar(&locked, "locked", false, "never change the lock")
	cmd.Flags().BoolVar(&allowDirty, "allow-dirty", false, "build although your sources have uncommitted changes")
	cmd.Flags().BoolVar(&strict, "strict", false, "end with exit code 7 if photos are missing")
	cmd.Flags().BoolVar(&push, "push", true, "push the package; --push=false only builds it")
	cmd.Flags().StringVar(&location, "registry", "", "push to this registry instead of the manifest's")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only say what would be done, as plan does")
	failures.add(cmd)
	how.add(cmd)
	flags.add(cmd)
	by.add(cmd)
	return cmd
}

// builtAnswer is the answer of a build.
type builtAnswer interface {
	ui.Answer
	packages() []string // the revisions that were pushed
}

// signBuilt signs the revisions that a build has pushed.
func signBuilt(ctx context.Context, project *pipeline.Project, o pipeline.Options, packages []string, by signer) error {
	at := o.Registry
	at.Base = project.Dir
	r, err := registry.Open(ctx, project.Manifest.Registry, at)
	if err != nil {
		return &registryError{err}
	}
	for _, name := range packages {
		ref, err := registry.ParseRef(name)
		if err != nil {
			return &registryError{err}
		}
		if err := signPushed(ctx, r, ref, by); err != nil {
			return err
		}
	}
	return nil
}

// buildOne builds a manifest without a matrix.
func (a *app) buildOne(ctx context.Context, project *pipeline.Project, options pipeline.Options, strict bool) (builtAnswer, error) {
	outcome, err := pipeline.Build(ctx, project, options)
	if err != nil {
		return nil, err
	}
	a.summary = buildSummary(outcome, !options.NoPush)
	if strict && outcome.Dead+outcome.Quarantined > 0 {
		err = &incompleteError{dead: outcome.Dead, quarantined: outcome.Quarantined}
	}
	answer := newBuildAnswer(outcome)
	return &answer, err
}

// pushTo says to which registry a build pushes, and how that is reached: to the one of the flag,
// or to that of the manifest. Where neither names one, the environment or the config file may.
func (a *app) pushTo(project *pipeline.Project, o *pipeline.Options, flag string, store storeFlags) error {
	c, err := a.configuration()
	if err != nil {
		return err
	}
	o.Registry.S3 = store.s3
	location := flag
	if location == "" {
		o.Registry.S3 = store.configured(c)
		if !manifest.Says(project.Source, "registry") {
			location = cmp.Or(a.Getenv("SANDWICH_REGISTRY"), c.Registry)
		}
	}
	if location != "" {
		project.Manifest.Registry, err = fromHere(location)
	}
	return err
}

// fromHere makes a registry that is a folder relative to the working directory one that
// the pipeline, which starts from the manifest's folder, finds.
func fromHere(location string) (string, error) {
	if strings.Contains(location, "://") {
		return location, nil
	}
	return filepath.Abs(location)
}

// buildSummary says how much there was to do.
func buildSummary(o *pipeline.Outcome, pushed bool) string {
	summary := fmt.Sprintf("%d of %d stages ran", o.Ran, o.Stages)
	if o.Ran == 0 {
		summary = "no stage ran: all of it was built before"
	}
	if pushed && o.Package != "" && !o.Created {
		summary += "; the registry has this revision already"
	}
	return summary
}

type buildAnswer struct {
	Package     string                        `json:"package"`
	Created     bool                          `json:"created"`
	Ran         int                           `json:"ran"`
	Stages      int                           `json:"stages"`
	Dead        int64                         `json:"dead"`
	Quarantined int64                         `json:"quarantined"`
	LockChanged bool                          `json:"lock_changed"`
	Metrics     *evaluate.Metrics             `json:"metrics,omitempty"`       // report/metrics.json of the package
	Validation  *train.Validation             `json:"validation,omitempty"`    // of the epoch that the weights are of
	Own         map[string]map[string]float64 `json:"stage_metrics,omitempty"` // metrics.json of your own stages, by stage and name
	Cache       *sharedTraffic                `json:"cache,omitempty"`         // absent when no cache is shared
}

func (b *buildAnswer) packages() []string {
	if b.Package == "" {
		return nil
	}
	return []string{b.Package}
}

func (b *buildAnswer) share(t sharedTraffic) { b.Cache = &t }

func newBuildAnswer(o *pipeline.Outcome) buildAnswer {
	return buildAnswer{
		Package: o.Package, Created: o.Created, Ran: o.Ran, Stages: o.Stages,
		Dead: o.Dead, Quarantined: o.Quarantined, LockChanged: o.LockChanged, Metrics: o.Metrics, Validation: o.Validation, Own: o.Own,
	}
}

// Text writes the package, which there is none of when the build was to end earlier.
func (b *buildAnswer) Text(w io.Writer) {
	if b.Package != "" {
		fmt.Fprintln(w, b.Package)
	}
}

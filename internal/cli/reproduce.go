package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/reproduce"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

func (a *app) reproduce() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reproduce NAME[@HASH|:TAG]",
		Short: "Build a package again and compare every byte",
		Long: `Reproduce installs a package, builds it again with an empty cache from the manifest,
the lock, the sources and the environment that it holds, and compares: each stage
with what the package says of it, and in the end every byte. It ends with exit code 0
only if all is the same, and with 6 at the first stage that differs; the files that
differ are kept then, those of the package beside those that were built.

Nothing is fetched but the bytes that the lock names. Photos come from the package
where it carries them. Where it does not, and a link has died, the build starts from
the crops of the package, and says so. A data set of folders, COCO, VOC, YOLO or a
table of URLs is read again where it still is (in the sources, a bucket, on a server);
where it is gone, the build starts from the package's selection.

A stage is "identical", "differs", is "taken" from the package because it could not or
was not to run, or "unreached" because one before it differs.

An environment that is not the package's is refused, with what differs: Go, a module,
the processor's architecture, this program itself. With --any-environment the package
is built all the same, which tells how much depends on that.`,
		Example: `  sandwich reproduce quilt/open_images --registry ./registry
  sandwich reproduce quilt/open_images@4d1f02 --stage train    # from the package's crops
  sandwich reproduce quilt/open_images --keep-going --any-environment`,
		Args:              between(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := registryFlag(cmd)
	var o reproduce.Options
	cmd.Flags().StringVar(&o.Stage, "stage", "", "build only this stage, from what the package holds of those before it")
	cmd.Flags().BoolVarP(&o.KeepGoing, "keep-going", "k", false, "go on after a stage that differs, to the end")
	cmd.Flags().BoolVar(&o.AnyEnvironment, "any-environment", false, "build although the environment is not the package's")
	work := cmd.Flags().String("work", "", "folder to work in, where an interrupted run goes on (default a temporary one)")
	jobs := cmd.Flags().IntP("jobs", "j", 0, "cores to keep busy (default all); the result does not depend on it")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
		o.Build = pipeline.Options{Workers: cmp.Or(*jobs, runtime.GOMAXPROCS(0)), Backend: neural.DefaultBackend, Observer: a.view}
		if o.Build.Workers < 1 {
			return nil, usagef("leave it out to use every core", "--jobs %d: want 1 or more", *jobs)
		}
		r, pkg, err := a.load(ctx, *flags, args[0])
		if err != nil {
			return nil, err
		}
		place, err := openWorkplace(*work)
		if err != nil {
			return nil, err
		}
		report, err := a.rebuild(ctx, r, pkg, place, o)
		if err := errors.Join(err, place.close(ctx, report)); err != nil {
			return nil, err
		}
		answer := newReproduceAnswer(pkg, report)
		if !answer.Identical {
			return answer, &notReproducedError{answer}
		}
		return answer, nil
	})
	return cmd
}

// rebuild installs a package in a workplace and builds it again.
func (a *app) rebuild(ctx context.Context, r *registry.Registry, pkg *registry.Package, at workplace, o reproduce.Options) (report *reproduce.Report, err error) {
	if _, err := r.Install(ctx, pkg, at.installed(), registry.InstallOptions{Progress: a.moved("install")}); err != nil {
		return nil, &registryError{err}
	}
	if o.Build.Store, err = disk.Open(at.cache()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Build.Store.Close()) }()
	return reproduce.Run(ctx, pkg.Content, at.installed(), at.differing(), o)
}

// workplace is the folder in which a package is built again.
type workplace struct {
	dir   string
	named bool // by the person
}

func openWorkplace(dir string) (workplace, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "sandwich-reproduce-*")
		return workplace{dir: dir}, err
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o777)
	}
	return workplace{dir: dir, named: true}, err
}

func (w workplace) installed() string { return filepath.Join(w.dir, "package") }
func (w workplace) cache() string     { return filepath.Join(w.dir, "cache") }
func (w workplace) differing() string { return filepath.Join(w.dir, "differs") }

// close removes what is of no use any more. There is a report unless the work has failed.
func (w workplace) close(ctx context.Context, report *reproduce.Report) error {
	switch {
	case w.named && report == nil && ctx.Err() != nil:
		return nil // the next run goes on from there
	case !w.named && (report == nil || report.Kept == ""):
		return os.RemoveAll(w.dir)
	}
	return errors.Join(os.RemoveAll(w.installed()), os.RemoveAll(w.cache()))
}

// notReproducedError says that a package does not come out of what it was built from. How
// is the answer.
type notReproducedError struct{ answer reproduceAnswer }

func (e *notReproducedError) Error() string {
	for _, s := range e.answer.Stages {
		if s.Verdict == reproduce.Differs {
			return fmt.Sprintf("%s is not reproducible: %s differs", e.answer.Package, s.Stage)
		}
	}
	return fmt.Sprintf("%s is not reproducible: the package differs", e.answer.Package)
}

type reproduceAnswer struct {
	Package   string            `json:"package"`
	Identical bool              `json:"identical"`
	Rebuilt   string            `json:"rebuilt,omitempty"` // its top hash
	Stages    []reproducedStage `json:"stages"`
	Files     []reproducedFile  `json:"files"`          // of the package, the first that differ
	Kept      string            `json:"kept,omitempty"` // folder with what differs
}

type reproducedStage struct {
	Stage   string            `json:"stage"`
	Verdict reproduce.Verdict `json:"verdict"`
	Why     []string          `json:"why,omitempty"`
	Was     string            `json:"was"`
	Is      string            `json:"is,omitempty"`
	Files   []reproducedFile  `json:"files,omitempty"`
}

type reproducedFile struct {
	Path string `json:"path"`
	Was  string `json:"was,omitempty"`
	Is   string `json:"is,omitempty"`
}

func reproducedFiles(c cas.Changes) []reproducedFile {
	files := []reproducedFile{}
	for _, f := range c.First {
		changed := reproducedFile{Path: f.Path}
		if !f.Old.IsZero() {
			changed.Was = f.Old.String()
		}
		if !f.New.IsZero() {
			changed.Is = f.New.String()
		}
		files = append(files, changed)
	}
	return files
}

func newReproduceAnswer(pkg *registry.Package, r *reproduce.Report) reproduceAnswer {
	top := pkg.TopHash.String()
	answer := reproduceAnswer{
		Package: pkg.Ref().String(), Identical: r.Identical(top), Rebuilt: r.Rebuilt, Files: reproducedFiles(r.Files), Kept: r.Kept,
	}
	for _, s := range r.Stages {
		stage := reproducedStage{Stage: s.Stage, Verdict: s.Verdict, Why: s.Why, Was: s.Was.String()}
		if !s.Is.IsZero() {
			stage.Is = s.Is.String()
		}
		if len(s.Changes.First) > 0 {
			stage.Files = reproducedFiles(s.Changes)
			stage.Why = append(slices.Clone(s.Why), s.Changes.String())
		}
		answer.Stages = append(answer.Stages, stage)
	}
	return answer
}

func (r reproduceAnswer) Text(w io.Writer) {
	var taken []string
	for _, s := range r.Stages {
		fmt.Fprintf(w, "%-10s %s\n", s.Stage, s.Verdict)
		for _, why := range s.Why {
			fmt.Fprintf(w, "           %s\n", ui.Printable(why))
		}
		if s.Verdict == reproduce.Taken {
			taken = append(taken, s.Stage)
		}
	}
	for _, f := range r.Files {
		fmt.Fprintf(w, "differs: %s\n", ui.Printable(f.Path))
	}
	switch {
	case !r.Identical && r.Rebuilt != "":
		fmt.Fprintf(w, "rebuilt as @%s\n", r.Rebuilt)
	case !r.Identical:
	case r.Rebuilt == "":
		fmt.Fprintf(w, "%s: what was built again is the same\n", r.Package)
	case len(taken) > 0:
		fmt.Fprintf(w, "%s: rebuilt, every byte is the same; the output of %s is the package's own\n", r.Package, strings.Join(taken, ", "))
	default:
		fmt.Fprintf(w, "%s: rebuilt, every byte is the same\n", r.Package)
	}
}

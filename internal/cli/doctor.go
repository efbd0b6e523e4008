package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/cosign"
	"github.com/sandwich-build/sandwich/internal/doctor"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/sharedcache"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
)

func (a *app) doctor() *cobra.Command {
	var flags buildFlags
	cmd := &cobra.Command{
		Use:   "doctor [MANIFEST]",
		Short: "Say what a build lacks here, and how to mend it",
		Long: `Doctor looks at what builds need of this machine, and at what a manifest names: what
decides the bits of a result, the sandboxes for your own stages (each is tried), Docker
and Podman, programs, pip, conda, the image, the folder of the cache and its file
system, the shared cache and the registry. It writes a line for each, ok, warning or
fault, and below what is not ok how to mend it. It changes nothing, and no question takes
longer than 15 seconds. Into the registry of a manifest it puts something small and
removes it, to find out whether a build could push. Credentials are named by where they
come from, and never shown.

Without a manifest, and where there is no manifest.yaml, it looks at the machine alone.
The exit code is 0 when nothing that the manifest needs is broken; otherwise 5 where that
is the registry alone, and else 1.`,
		Example: `  sandwich doctor
  sandwich doctor --json | jq -r '.answer.checks[] | select(.status != "ok") | .mend[]?'`,
		Args:              between(0, 1),
		ValidArgsFunction: completeManifest,
		RunE: a.verb(func(ctx context.Context, args []string) (ui.Answer, error) {
			checks, err := a.checks(args, flags)
			if err != nil {
				return nil, err
			}
			findings, err := doctor.Examine(ctx, checks, doctor.AnswerWithin)
			if err != nil {
				return nil, err
			}
			answer := newDoctorAnswer(findings)
			if !answer.Well {
				return answer, &unwellError{findings}
			}
			return answer, nil
		}),
	}
	flags.addCache(cmd)
	flags.shared.add(cmd)
	cmd.Flags().StringArrayVarP(&flags.set, "set", "S", nil, "replace a value of the manifest, as in model.epochs=2; repeatable")
	flags.addMachine(cmd)
	return cmd
}

// checks are the questions about this machine and about the manifest that the arguments name.
func (a *app) checks(args []string, f buildFlags) ([]doctor.Check, error) {
	if err := f.checkBackend(); err != nil {
		return nil, err
	}
	project, err := ailing(args, f)
	if err != nil {
		return nil, err
	}
	dir, err := a.cacheDir(f.cache)
	if err != nil {
		return nil, err
	}
	checks := []doctor.Check{
		doctor.Program(f.backend), doctor.Kernels(f.backend, neural.KernelsVariable, a.Getenv(neural.KernelsVariable)), doctor.Clock(time.Now), doctor.OpenFiles(),
		doctor.Cosign(cosign.Find), doctor.Store(dir),
	}
	runner := a.wantedRunner(f)
	if project == nil {
		checks = append(checks, doctor.Sandboxes(nil, runner), doctor.Builders(false))
	} else if checks, err = a.checksOf(project, checks, dir, runner); err != nil {
		return nil, err
	}
	at, err := a.sharedPlace(f.shared, project)
	if err != nil {
		return nil, err
	}
	if at.location != "" {
		checks = append(checks, doctor.SharedCache(at.location, sharedAt(at)))
	}
	return a.checkRegistry(checks, project, f.shared.storeFlags)
}

// ailing opens the project that the arguments name; nil when they name none and there is none here.
func ailing(args []string, f buildFlags) (*pipeline.Project, error) {
	if _, err := os.Stat(defaultManifest); len(args) == 0 && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f.openManifest(args)
}

// checksOf adds the questions about what a manifest has of its own.
func (a *app) checksOf(project *pipeline.Project, checks []doctor.Check, cache, runner string) ([]doctor.Check, error) {
	m := project.Manifest
	pinned, err := pins(project.LockPath)
	if err != nil {
		return nil, err
	}
	checks = append(checks, doctor.Sandboxes(m, runner), doctor.Builders(m.Environment.Dockerfile != "" && pinned.Image == nil))
	if m.Environment.Image != "" {
		checks = append(checks, doctor.Image(m.Environment.Image, project.OpenImage, pinned.Image))
	}
	if m.Environment.Conda != "" {
		checks = append(checks, doctor.Conda(a.Getenv("PATH"), a.Getenv("HOME"), pinned.Platform != ""))
	}
	if m.Environment.InImage() {
		if m.Environment.Pip != "" && pinned.Image != nil {
			find := func(ctx context.Context) (pip.Interpreter, bool, error) {
				return pipeline.ImagePython(ctx, cache, *pinned.Image, runner)
			}
			checks = append(checks, doctor.ImagePython(find, pinned.Python != nil))
		}
		return checks, nil
	}
	if m.Environment.Pip != "" {
		find := func(ctx context.Context) (pip.Interpreter, error) {
			p, err := pip.Here(ctx, a.Getenv("PATH"), a.Getenv("HOME"), "")
			return p.Interpreter, err
		}
		checks = append(checks, doctor.Python(find, pinned.Python != nil))
	}
	return append(checks, doctor.Programs(m, a.Getenv("PATH"), a.Getenv("HOME"))), nil
}

// pins is what a lock has of the environment; the zero Lock when there is none.
func pins(path string) (lock.Lock, error) {
	l, err := lock.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lock.Lock{}, nil
	}
	if err != nil {
		return lock.Lock{}, err
	}
	return lock.Lock{Image: l.Image, Python: l.Python, Platform: l.Platform}, l.Close()
}

// attempts is how often a question is asked of a server: a doctor who waits for long is none.
const attempts = 2

// checkRegistry adds the question about the registry that a build would push to, if there is one.
func (a *app) checkRegistry(checks []doctor.Check, project *pipeline.Project, store storeFlags) ([]doctor.Check, error) {
	c, err := a.configuration()
	if err != nil {
		return nil, err
	}
	location, name, base := cmp.Or(a.Getenv("SANDWICH_REGISTRY"), c.Registry), "examples/none", ""
	o := registry.Options{S3: store.configured(c)}
	if project != nil {
		var options pipeline.Options
		if err := a.pushTo(project, &options, "", store); err != nil {
			return nil, err
		}
		o, location, name, base = options.Registry, project.Manifest.Registry, project.Manifest.Name, project.Dir
	}
	if location == "" {
		return checks, nil
	}
	o.Base, o.S3.Attempts = base, attempts
	open := func(ctx context.Context) (doctor.Target, error) {
		r, err := registry.Open(ctx, location, o)
		return registryPlace{r, name}, err
	}
	return append(checks, doctor.Registry(location, open, project != nil)), nil
}

// registryPlace is a registry, asked for a package that it need not have.
type registryPlace struct {
	*registry.Registry
	name string
}

// Reach implements doctor.Place.
func (r registryPlace) Reach(ctx context.Context) error { return r.Registry.Reach(ctx, r.name) }

// cachePlace is a shared cache.
type cachePlace struct {
	store  blob.Store
	prefix string
}

// sharedAt opens the shared cache at a place.
func sharedAt(at sharedPlace) func(context.Context) (doctor.Place, error) {
	return func(ctx context.Context) (doctor.Place, error) {
		store, prefix, err := sharedcache.OpenStore(ctx, at.location, at.store.s3)
		return cachePlace{store, prefix}, err
	}
}

// Reach implements doctor.Place.
func (c cachePlace) Reach(ctx context.Context) error {
	for _, err := range c.store.List(ctx, c.prefix) {
		return err
	}
	return context.Cause(ctx)
}

// Access implements doctor.Place.
func (c cachePlace) Access(ctx context.Context) (s3.Access, bool) {
	bucket, ok := c.store.(*s3.Store)
	if !ok {
		return s3.Access{}, false
	}
	return bucket.Access(ctx), true
}

// unwellError says that something that a manifest needs is broken.
type unwellError struct{ findings []doctor.Finding }

func (e *unwellError) Error() string {
	return "a build cannot work here: " + strings.Join(e.broken(), ", ")
}

// broken are the names of what is.
func (e *unwellError) broken() []string {
	var names []string
	for _, f := range e.findings {
		if f.Status == doctor.Fault {
			names = append(names, f.Name)
		}
	}
	return names
}

type doctorAnswer struct {
	Well   bool         `json:"well"`
	Checks []checkedOne `json:"checks"`
}

type checkedOne struct {
	Name   string        `json:"name"`
	Status doctor.Status `json:"status"`
	Found  string        `json:"found"`
	Mend   []string      `json:"mend,omitempty"`
}

func newDoctorAnswer(findings []doctor.Finding) doctorAnswer {
	d := doctorAnswer{Well: doctor.Well(findings), Checks: []checkedOne{}}
	for _, f := range findings {
		d.Checks = append(d.Checks, checkedOne(f))
	}
	return d
}

// Text writes a line for each check, and below what is not ok how to mend it.
func (d doctorAnswer) Text(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range d.Checks {
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.Status, ui.Printable(c.Name), ui.Printable(c.Found))
		for _, line := range c.Mend {
			fmt.Fprintf(table, "\t\t  mend: %s\n", ui.Printable(line))
		}
	}
	_ = table.Flush()
}

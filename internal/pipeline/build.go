package pipeline

import (
	"context"
	"io"
	"maps"
	"time"

	"github.com/sandwich-build/sandwich/internal/history"
	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/evaluate"
	"github.com/sandwich-build/sandwich/stages/train"
)

// Outcome is what a build came to.
type Outcome struct {
	Package     string                        // namespace/name@tophash; empty when the build was to end earlier
	Created     bool                          // whether the registry did not have this revision as its latest
	Ran         int                           // stages that had to run
	Stages      int                           // all stages
	Dead        int64                         // photos that no place has
	Quarantined int64                         // photos that cannot be cropped
	LockChanged bool                          // whether the lock file was written
	Metrics     *evaluate.Metrics             // nil where a stage of the user's own evaluates
	Accuracy    *float64                      // on the test pictures; nil when it is not known
	Validation  *train.Validation             // nil without validation pictures
	Own         map[string]map[string]float64 // what the user's own stages have measured, by stage and name
	Build       *stages.Build
}

// RegistryError is what went wrong with the registry that a build pushes to.
type RegistryError struct{ Err error }

func (e *RegistryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RegistryError) Unwrap() error { return e.Err }

// Build runs the stages of a project that have no result yet and puts the package into
// the registry. It writes the lock as soon as every photo is pinned.
func Build(ctx context.Context, p *Project, o Options) (*Outcome, error) {
	var outcome *Outcome
	err := withSession(p, o, func(s *session) (err error) {
		var began time.Time
		if o.Now != nil {
			began = o.Now()
		}
		outcome, err = s.build(ctx)
		s.record(ctx, began, outcome, err)
		return err
	})
	if err != nil {
		return nil, err
	}
	return outcome, nil
}

func (s *session) build(ctx context.Context) (*Outcome, error) {
	// The registry is opened first: that it cannot be used should not be learned after
	// an hour of training.
	var reg *registry.Registry
	if s.options.rebuild == nil && !s.options.NoPush {
		var err error
		if reg, err = s.openRegistry(ctx); err != nil {
			return nil, &RegistryError{err}
		}
	}
	plan, err := s.prepare(ctx, s.photoPinner)
	if err != nil {
		return nil, err
	}
	if plan, err = s.narrow(plan); err != nil {
		return nil, err
	}
	// The engine brings back what its stages miss. A blob of the finished package is
	// missed by nobody but the push, so its stages are run again here.
	var losses stages.Losses
	for {
		outcome, err := s.run(ctx, plan, reg)
		if outcome == nil || ctx.Err() != nil || !losses.New(err) {
			return outcome, s.asDrift(err)
		}
		if err := s.engine.Forget(ctx, outcome.Build); err != nil {
			return nil, err
		}
	}
}

// narrow returns the part of the plan that the options ask for, and makes the engine run
// what they force.
func (s *session) narrow(plan *stages.Plan) (*stages.Plan, error) {
	s.engine.Force = make(map[string]bool)
	if s.options.From != "" {
		downstream, err := plan.Downstream(s.options.From)
		if err != nil {
			return nil, err
		}
		maps.Copy(s.engine.Force, downstream)
	}
	for _, name := range s.options.Force {
		if _, err := plan.Downstream(name); err != nil {
			return nil, err
		}
		s.engine.Force[name] = true
	}
	if s.options.Until == "" {
		return plan, nil
	}
	return plan.Until(s.options.Until)
}

// run runs the plan and, if it ends with a package, publishes that.
func (s *session) run(ctx context.Context, plan *stages.Plan, reg *registry.Registry) (*Outcome, error) {
	build, err := s.engine.Build(ctx, plan)
	s.built = build
	if err != nil {
		return nil, err
	}
	o := &Outcome{Ran: build.Ran(), Stages: len(build.Steps), LockChanged: s.lock.changed, Build: build}
	if step, ok := build.Step(Download); ok {
		o.Dead = step.Result.Counters["dead"]
	}
	if step, ok := build.Step(Crop); ok {
		o.Quarantined = step.Result.Counters["quarantined"]
	}
	if err := s.measured(ctx, o); err != nil {
		return o, err
	}
	if _, ok := build.Step(Pack); !ok || s.options.hold {
		return o, nil
	}
	return o, s.publish(ctx, o, reg)
}

// pushStage is the name under which events tell of the push.
const pushStage = "push"

func (s *session) openRegistry(ctx context.Context) (*registry.Registry, error) {
	o := s.options.Registry
	o.Base, o.Warn = s.Dir, func(message string) {
		s.options.Observer.Observe(stages.Message{Stage: pushStage, Line: cas.Line{Warning: true, Text: message}})
	}
	reg, err := registry.Open(ctx, s.Manifest.Registry, o)
	if err != nil {
		return nil, err
	}
	return reg, reg.Reach(ctx, s.Manifest.Name)
}

// publish makes the package the latest revision in the registry. What was pushed before
// and still is the latest is known by its hash alone: no file of it is looked at.
func (s *session) publish(ctx context.Context, o *Outcome, reg *registry.Registry) error {
	meta, err := s.meta(o)
	if err != nil {
		return err
	}
	if s.options.NoPush {
		return s.name(ctx, o, meta)
	}
	pushed := memo.Fact{"pushed", reg.String(), s.Manifest.Name, s.Manifest.Message, string(meta), o.Build.Tree(Pack).ID().String()}
	if known, ok := s.memory.Recall(ctx, pushed); ok {
		ref := registry.Ref{Name: s.Manifest.Name}
		if s.options.beside {
			ref.Hash = known.Hex()
		}
		found, err := reg.Resolve(ctx, ref)
		if err == nil && found.String() == known.Hex() {
			o.Package = s.Manifest.Name + "@" + found.String()
			return nil
		}
	}
	rev, err := s.revision(ctx, o, meta)
	if err != nil {
		return err
	}
	top, created, err := reg.Push(ctx, s.Manifest.Name, rev, registry.PushOptions{
		Beside: s.options.beside,
		Progress: func(at transfer.State) {
			s.options.Observer.Observe(stages.Progress{
				Stage: pushStage, Done: at.Bytes, Total: at.AllBytes, Unit: "bytes", Files: at.Files, AllFiles: at.AllFiles, There: at.There,
			})
		},
	})
	if err != nil {
		return &RegistryError{err}
	}
	o.Package, o.Created = s.Manifest.Name+"@"+top.String(), created
	hash, err := cas.NewDigest(top.String(), 0)
	if err != nil {
		return err
	}
	s.memory.Keep(ctx, pushed, hash)
	return nil
}

// name works out what the package is called that a push would make the latest revision.
func (s *session) name(ctx context.Context, o *Outcome, meta []byte) error {
	named := memo.Fact{"named", s.Manifest.Message, string(meta), o.Build.Tree(Pack).ID().String()}
	if known, ok := s.memory.Recall(ctx, named); ok {
		o.Package = s.Manifest.Name + "@" + known.Hex()
		return nil
	}
	rev, err := s.revision(ctx, o, meta)
	if err != nil {
		return err
	}
	content, err := rev.Package(ctx)
	if err != nil {
		return err
	}
	top, err := content.TopHash()
	if err != nil {
		return err
	}
	o.Package = s.Manifest.Name + "@" + top.String()
	hash, err := cas.NewDigest(top.String(), 0)
	if err != nil {
		return err
	}
	s.memory.Keep(ctx, named, hash)
	return nil
}

func (s *session) revision(ctx context.Context, o *Outcome, meta []byte) (registry.Revision, error) {
	return revision(ctx, s.store, o.Build.Tree(Pack), s.Manifest.Message, meta)
}

// revision describes a package to the registry. Nothing is read or hashed: the store knows
// the digest of every file.
func revision(ctx context.Context, store cas.Store, tree cas.Tree, message string, meta []byte) (registry.Revision, error) {
	value, err := quilt.ParseValue(meta)
	if err != nil {
		return registry.Revision{}, err
	}
	rev := registry.Revision{Message: message, Meta: value}
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return registry.Revision{}, err
		}
		rev.Files = append(rev.Files, objects.File{
			Key: f.Path, Size: f.Digest.Size(), SHA256: f.Digest.SHA256(),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return store.Open(ctx, f.Digest) },
		})
	}
	return rev, nil
}

// Past returns the package of a build of the history as the build has pushed it, or would
// have. Its files are in the store, or reading them fails.
func Past(ctx context.Context, store cas.Store, r history.Record) (registry.Revision, error) {
	packed, ok := r.Stage(Pack)
	if !ok || r.Meta == nil {
		return registry.Revision{}, &NoPackageError{Build: r.ID}
	}
	return revision(ctx, store, cas.NewTree(store, cas.NewTreeID(packed.Tree.Digest)), r.Message, r.Meta)
}

// NoPackageError says that a build of the history has come to no package, or that the
// history, written by an older version, does not tell enough of it.
type NoPackageError struct{ Build string }

func (e *NoPackageError) Error() string { return "build " + e.Build + " has no package" }

package stages

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Cache remembers which result an action produced, and which action a stage ran last.
type Cache interface {
	// Result returns what an action produced, or fs.ErrNotExist.
	Result(ctx context.Context, action cas.Digest) (cas.Result, error)
	// Record remembers what an action produced. Its blobs are in the store.
	Record(ctx context.Context, action cas.Digest, r cas.Result) error
	// Forget makes the action run again.
	Forget(ctx context.Context, action cas.Digest) error
	// Latest returns the action that was last noted under a name, or fs.ErrNotExist.
	Latest(ctx context.Context, name string) (cas.Digest, error)
	// Note makes action the latest of a name.
	Note(ctx context.Context, name string, action cas.Digest) error
}

// Locker is the ability of a cache that several processes share to let only one of them
// run an action. Lock calls waiting once if it cannot have the lock at once.
type Locker interface {
	Lock(ctx context.Context, action cas.Digest, waiting func()) (unlock func(), err error)
}

// Engine runs plans.
type Engine struct {
	Store       cas.Store
	Cache       Cache
	Environment string   // digest of what the stages run in; part of every action
	Workers     int      // goroutines that a stage may keep busy
	Observer    Observer // nil observes nothing
}

// Step is a stage of a build that has its result.
type Step struct {
	Stage  string
	Action cas.Digest
	Cached bool
	Result cas.Result
}

// Build is a plan that was run.
type Build struct {
	Steps []Step // in the order of the plan
	store cas.Store
}

// Tree returns the output of a stage; the zero Tree if the build has no such stage.
func (b *Build) Tree(stage string) cas.Tree {
	if s, ok := b.Step(stage); ok {
		return cas.NewTree(b.store, s.Result.Tree)
	}
	return cas.Tree{}
}

// Step returns what became of a stage.
func (b *Build) Step(stage string) (Step, bool) {
	for _, s := range b.Steps {
		if s.Stage == stage {
			return s, true
		}
	}
	return Step{}, false
}

// Ran returns the number of stages that had to run.
func (b *Build) Ran() int {
	n := 0
	for _, s := range b.Steps {
		if !s.Cached {
			n++
		}
	}
	return n
}

// StageError says which stage ended a build.
type StageError struct {
	Stage string
	Err   error
}

func (e *StageError) Error() string { return e.Stage + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }

// Build runs the plan: a stage whose action has a result is not run. The first stage
// that fails ends the build with a *StageError; what ran before it is kept.
//
// A blob that turns out to be missing or damaged costs time only: the stages that lead
// to the one that needed it are run again.
func (e *Engine) Build(ctx context.Context, p *Plan) (*Build, error) {
	var losses Losses
	for {
		b, err := e.attempt(ctx, p)
		if ctx.Err() != nil || !losses.New(err) {
			return b, err
		}
		if err := e.Forget(ctx, b); err != nil {
			return b, err
		}
	}
}

// Losses are the blobs that a build had to make again.
type Losses struct{ seen map[cas.Digest]bool }

// New reports whether err is about a blob that is missing or damaged, and was not lost
// before. One that is lost again after it was made again will not stay the next time
// either: the disk loses blobs faster than they are written.
func (l *Losses) New(err error) bool {
	lost, ok := errors.AsType[*cas.BlobError](err)
	if !ok || l.seen[lost.Digest] {
		return false
	}
	if l.seen == nil {
		l.seen = make(map[cas.Digest]bool)
	}
	l.seen[lost.Digest] = true
	return true
}

// Forget drops the results of a build's stages, so that they run again. It is the
// answer to a blob that is missing or damaged. A disk that damaged one blob damaged
// others, and a stage that only points at blobs does not write them again: so all are
// read, upon which the store sets those aside that are damaged.
func (e *Engine) Forget(ctx context.Context, b *Build) error {
	read := make(map[cas.Digest]bool)
	for _, s := range b.Steps {
		if err := e.Cache.Forget(ctx, s.Action); err != nil {
			return err
		}
		if err := inspect(ctx, e.Store, s.Result.Tree, read); err != nil {
			return err
		}
	}
	return nil
}

// inspect reads the blobs of a tree that are not in read yet. What is below a damaged
// directory is not found: a later attempt does that, when the directory is there again.
func inspect(ctx context.Context, store cas.Store, id cas.TreeID, read map[cas.Digest]bool) error {
	for f, err := range cas.NewTree(store, id).Files(ctx) {
		if err == nil && !read[f.Digest] {
			read[f.Digest] = true
			err = readThrough(ctx, store, f.Digest)
		}
		if _, lost := errors.AsType[*cas.BlobError](err); err != nil && !lost {
			return err
		}
	}
	return nil
}

func readThrough(ctx context.Context, store cas.Store, d cas.Digest) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r, err := store.Open(ctx, d)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func (e *Engine) attempt(ctx context.Context, p *Plan) (*Build, error) {
	run := e.newRun(p)
	for _, s := range p.stages {
		if err := context.Cause(ctx); err != nil {
			return run.build, err
		}
		if err := run.stage(ctx, s); err != nil {
			return run.build, &StageError{Stage: s.Name, Err: err}
		}
	}
	return run.build, nil
}

// run is one walk through a plan.
type run struct {
	*Engine
	plan     *Plan
	observer Observer
	build    *Build
}

func (e *Engine) newRun(p *Plan) *run {
	next := e.Observer
	if next == nil {
		next = Discard
	}
	return &run{Engine: e, plan: p, observer: &serial{next: next}, build: &Build{store: e.Store}}
}

// stage brings one stage to its result and adds the step to the build.
func (r *run) stage(ctx context.Context, s Stage) error {
	act, inputs, err := r.action(ctx, s)
	if err != nil {
		return err
	}
	id, err := act.put(ctx, r.Store)
	if err != nil {
		return err
	}
	step := Step{Stage: s.Name, Action: id, Cached: true}
	start := time.Now()
	step.Result, err = r.lookup(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		step.Cached, step.Result, err = r.execute(ctx, s, act, id, inputs)
	}
	r.observer.Observe(Finished{
		Stage: s.Name, Action: id, Cached: step.Cached && err == nil,
		Result: step.Result, Elapsed: time.Since(start), Err: err,
	})
	if err != nil {
		return err
	}
	r.build.Steps = append(r.build.Steps, step)
	return r.Cache.Note(ctx, r.noteName(s.Name), id)
}

// action computes the action of a stage, for which all its inputs must have results.
func (r *run) action(ctx context.Context, s Stage) (action, map[string]cas.Tree, error) {
	inputs := make(map[string]cas.Tree, len(s.Inputs))
	for _, in := range s.Inputs {
		tree := r.build.Tree(in.From)
		if in.Pin != nil {
			var err error
			t := newTask(s.Name, r.Store, nil, r.Workers, r.observer)
			if tree, err = in.Pin.Pin(ctx, t, tree); err != nil {
				return action{}, nil, err
			}
		}
		inputs[in.Name] = tree
	}
	act, err := newAction(s.Kind, inputs, r.Environment)
	return act, inputs, err
}

// lookup returns the cached result of an action. A result without its tree is none.
func (r *run) lookup(ctx context.Context, id cas.Digest) (cas.Result, error) {
	result, err := r.Cache.Result(ctx, id)
	if err != nil {
		return cas.Result{}, err
	}
	missing, err := r.Store.Missing(ctx, []cas.Digest{result.Tree.Digest()})
	if err != nil {
		return cas.Result{}, err
	}
	if len(missing) > 0 {
		return cas.Result{}, &cas.BlobError{Digest: missing[0], Err: fs.ErrNotExist}
	}
	return result, nil
}

// execute runs a stage and records its result. It reports cached if another process
// did that while this one waited for the lock.
func (r *run) execute(ctx context.Context, s Stage, act action, id cas.Digest, inputs map[string]cas.Tree) (cached bool, _ cas.Result, err error) {
	if l, ok := r.Cache.(Locker); ok {
		waited := false
		unlock, err := l.Lock(ctx, id, func() {
			waited = true
			r.observer.Observe(Waiting{Stage: s.Name, Action: id})
		})
		if err != nil {
			return false, cas.Result{}, err
		}
		defer unlock()
		if waited {
			if result, err := r.lookup(ctx, id); err == nil {
				return true, result, nil
			}
		}
	}
	r.observer.Observe(Started{Stage: s.Name, Action: id, Why: r.why(ctx, s, act)})
	t := newTask(s.Name, r.Store, inputs, r.Workers, r.observer)
	if err := s.Kind.Run(ctx, t); err != nil {
		return false, cas.Result{}, err
	}
	result, err := t.result(ctx)
	if err != nil {
		return false, cas.Result{}, err
	}
	return false, result, r.Cache.Record(ctx, id, result)
}

// noteName is the name under which the last action of a stage is noted.
func (r *run) noteName(stage string) string { return r.plan.name + "\x00" + stage }

// why says what differs from the stage's last action. It serves the person only, so
// whatever cannot be read is as good as nothing.
func (r *run) why(ctx context.Context, s Stage, act action) []string {
	id, err := r.Cache.Latest(ctx, r.noteName(s.Name))
	if err != nil {
		return []string{"it has not run before"}
	}
	old, err := loadAction(ctx, r.Store, id)
	if err != nil {
		return []string{"its last run is not known any more"}
	}
	if lines := act.differences(old); len(lines) > 0 {
		return lines
	}
	return []string{"its result was removed from the cache"}
}

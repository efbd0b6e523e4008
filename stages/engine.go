package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
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
// run an action. If it cannot have the lock at once, Lock calls waiting, once, with the
// process that has it.
type Locker interface {
	Lock(ctx context.Context, action cas.Digest, waiting func(cas.Holder)) (unlock func(), err error)
}

// Healer is the ability of a cache that has a part of its blobs elsewhere to say which
// results a loss has made useless. Needing is told results by their actions, and returns those
// that need a blob which could not be had since it was asked before; if there are none, the
// loss is one of this machine's own.
type Healer interface {
	Needing(ctx context.Context, results map[cas.Digest]cas.Result) ([]cas.Digest, error)
}

// Origin is the ability of a cache to tell where the result of an action came from: "" says
// that it is of this machine.
type Origin interface {
	From(action cas.Digest) string
}

// Engine runs plans.
type Engine struct {
	Store       cas.Store
	Cache       Cache
	Environment string   // digest of what the stages run in, but those that say so; part of every action
	Workers     int      // goroutines that the stages at work may keep busy together
	Memory      int64    // bytes that their limits may add up to; 0 when it is not known
	Observer    Observer // nil observes nothing

	KeepGoing bool            // after a failure, run what does not need the stage that failed
	Force     map[string]bool // stages that run although their result is known
	Verify    bool            // run every stage once more, and fail if it differs

	// Done are actions that Force and Verify leave alone: another plan of the same build
	// has them too, and did with them what was to be done.
	Done map[cas.Digest]bool

	// Earlier returns actions that a stage had in earlier builds, the latest first. It
	// serves explanations and may be nil; the latest action is known without it.
	Earlier func(ctx context.Context, stage string) []cas.Digest
}

// Step is a stage of a build that has its result.
type Step struct {
	Stage   string
	Action  cas.Digest
	Cached  bool
	From    string   // where a cached result came from; "" for this machine
	Why     []string // why it ran; empty when it did not
	Work    []Work   // what it did when it ran
	Result  cas.Result
	Elapsed time.Duration
}

// Build is a plan that was run.
type Build struct {
	Steps []Step // in the order of the plan
	store cas.Store
	index map[string]int // of Steps, by stage
}

// newBuild puts steps into the order of a plan.
func newBuild(p *Plan, store cas.Store, steps map[string]Step) *Build {
	b := &Build{store: store, index: make(map[string]int, len(steps))}
	for _, s := range p.stages {
		if step, ok := steps[s.Name]; ok {
			b.index[s.Name] = len(b.Steps)
			b.Steps = append(b.Steps, step)
		}
	}
	return b
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
	i, ok := b.index[stage]
	if !ok {
		return Step{}, false
	}
	return b.Steps[i], true
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

// FailedError says which stages ended a build, when several did.
type FailedError struct{ Failed []*StageError }

func (e *FailedError) Error() string {
	var others []string
	for _, f := range e.Failed[1:] {
		others = append(others, f.Stage)
	}
	return fmt.Sprintf("%v (failed too: %s)", e.Failed[0], strings.Join(others, ", "))
}

// Unwrap returns the errors of the stages.
func (e *FailedError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f
	}
	return errs
}

// Build runs the plan: a stage whose action has a result is not run. A stage that fails
// ends the build with a *StageError, or a *FailedError when several do; what has begun is
// finished first, and what ran is kept.
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
// read, upon which the store sets those aside that are damaged. Items that lost nothing
// are not done again.
func (e *Engine) Forget(ctx context.Context, b *Build) error {
	if healed, err := e.heal(ctx, b); healed || err != nil {
		return err
	}
	read := make(map[cas.Digest]bool)
	for _, s := range b.Steps {
		if err := e.forget(ctx, s); err != nil {
			return err
		}
		for _, tree := range s.Result.Trees() {
			if err := inspect(ctx, cas.Near(e.Store), tree, read); err != nil {
				return err
			}
		}
	}
	return nil
}

// heal forgets what needs a blob that was lost elsewhere. It reports whether there was such
// a result; what is at hand then is as sound as before.
func (e *Engine) heal(ctx context.Context, b *Build) (bool, error) {
	h, ok := e.Cache.(Healer)
	if !ok {
		return false, nil
	}
	results := make(map[cas.Digest]cas.Result, len(b.Steps))
	for _, s := range b.Steps {
		results[s.Action] = s.Result
	}
	useless, err := h.Needing(ctx, results)
	if err != nil {
		return false, err
	}
	for _, s := range b.Steps {
		if !slices.Contains(useless, s.Action) {
			continue
		}
		if err := e.forget(ctx, s); err != nil {
			return false, err
		}
	}
	return len(useless) > 0, nil
}

func (e *Engine) forget(ctx context.Context, s Step) error {
	if s.Result.Items.IsZero() {
		return e.Cache.Forget(ctx, s.Action)
	}
	return e.Cache.Record(ctx, s.Action, cas.Result{Items: s.Result.Items})
}

// inspect reads the blobs of a tree that are not in read yet. What is below a damaged
// directory is not found: a later attempt does that, when the directory is there again.
func inspect(ctx context.Context, store cas.Store, id cas.TreeID, read map[cas.Digest]bool) error {
	if id.IsZero() {
		return nil
	}
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
	r := e.newRun(p)
	if err := e.room().check(p.stages); err != nil {
		return newBuild(p, e.Store, nil), err
	}
	failed, err := schedule(ctx, p.stages, e.room(), e.KeepGoing, r.stage)
	b := newBuild(p, e.Store, r.steps)
	switch {
	case err != nil:
		return b, err
	case len(failed) == 1:
		return b, failed[0]
	case len(failed) > 1:
		return b, &FailedError{failed}
	}
	return b, nil
}

// run is one walk through a plan.
type run struct {
	*Engine
	plan     *Plan
	observer Observer

	mu    sync.Mutex // guards steps
	steps map[string]Step
}

func (e *Engine) newRun(p *Plan) *run {
	next := e.Observer
	if next == nil {
		next = Discard
	}
	return &run{Engine: e, plan: p, observer: &serial{next: next}, steps: make(map[string]Step, len(p.stages))}
}

// step returns what became of a stage.
func (r *run) step(stage string) (Step, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.steps[stage]
	return s, ok
}

func (r *run) add(s Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps[s.Stage] = s
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
	step.Result, err = r.known(ctx, s.Name, id)
	if errors.Is(err, fs.ErrNotExist) {
		err = r.execute(ctx, s, act, inputs, &step)
	}
	if err == nil && r.Verify && !r.Done[id] {
		err = r.verify(ctx, s, inputs, step)
	}
	step.Elapsed = time.Since(start)
	step.From = r.from(step.Cached, id)
	r.observer.Observe(Finished{
		Stage: s.Name, Action: id, Cached: step.Cached && err == nil, From: step.From,
		Result: step.Result, Work: step.Work, Elapsed: step.Elapsed, Err: err,
	})
	if err != nil {
		return err
	}
	r.add(step)
	return r.Cache.Note(ctx, r.noteName(s.Name), id)
}

// from returns where a cached result came from, if that is not this machine.
func (r *run) from(cached bool, action cas.Digest) string {
	if o, ok := r.Cache.(Origin); ok && cached {
		return o.From(action)
	}
	return ""
}

// action computes the action of a stage, for which all its inputs must have results.
func (r *run) action(ctx context.Context, s Stage) (action, map[string]cas.Tree, error) {
	inputs := make(map[string]cas.Tree, len(s.Inputs))
	for _, in := range s.Inputs {
		var tree cas.Tree
		if from, ok := r.step(in.From); ok {
			tree = cas.NewTree(r.Store, from.Result.Tree)
		}
		if in.Pin != nil {
			var err error
			t := newTask(s.Name, r.Store, nil, Limit{CPU: r.Workers}, r.observer)
			t.before = r.step
			if tree, err = in.Pin.Pin(ctx, t, tree); err != nil {
				return action{}, nil, err
			}
		}
		inputs[in.Name] = tree
	}
	act, err := newAction(s.Kind, inputs, r.environment(s))
	return act, inputs, err
}

// environment is the digest of what a stage runs in.
func (e *Engine) environment(s Stage) string { return cmp.Or(s.Environment, e.Environment) }

// known returns the result of an action that need not run.
func (r *run) known(ctx context.Context, stage string, id cas.Digest) (cas.Result, error) {
	if r.Force[stage] && !r.Done[id] {
		return cas.Result{}, fs.ErrNotExist
	}
	return r.lookup(ctx, id)
}

// lookup returns the cached result of an action. A result without its tree is none.
func (r *run) lookup(ctx context.Context, id cas.Digest) (cas.Result, error) {
	result, err := r.Cache.Result(ctx, id)
	if err != nil {
		return cas.Result{}, err
	}
	if result.Tree.IsZero() { // a run that was interrupted
		return cas.Result{}, fs.ErrNotExist
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

// execute runs a stage and records its result. The step stays cached if another process
// did that while this one waited for the lock.
func (r *run) execute(ctx context.Context, s Stage, act action, inputs map[string]cas.Tree, step *Step) error {
	if l, ok := r.Cache.(Locker); ok {
		waited := false
		unlock, err := l.Lock(ctx, step.Action, func(by cas.Holder) {
			waited = true
			r.observer.Observe(Waiting{Stage: s.Name, Action: step.Action, Holder: by})
		})
		if err != nil {
			return err
		}
		defer unlock()
		if waited {
			if result, err := r.lookup(ctx, step.Action); err == nil {
				step.Result = result
				return nil
			}
		}
	}
	step.Cached = false
	step.Why, _ = r.why(ctx, s.Name, act)
	r.observer.Observe(Started{Stage: s.Name, Action: step.Action, Why: step.Why})
	t := r.task(s, inputs, r.room().need(s.Limit), r.observer)
	ended, forget := func(error) {}, func(context.Context) {}
	if !r.Force[s.Name] { // what is forced is done anew, item by item
		t.earlier = func(ctx context.Context) []cas.Tree { return r.books(ctx, s, step.Action) }
		ended = t.keeping(ctx, r.keepKnown(s.Name, step.Action))
		kept := r.checkpoints(step.Action)
		t.keeper, forget = kept, kept.forget
	}
	result, err := runTask(ctx, s.Kind, t, r.environment(s))
	ended(err)
	if err != nil {
		return err
	}
	step.Result, step.Work = result, t.work
	if err := r.Cache.Record(ctx, step.Action, result); err != nil {
		return err
	}
	forget(ctx)
	if result.Items.IsZero() {
		return nil
	}
	return r.Cache.Note(ctx, kindName(s.Kind), step.Action)
}

// task makes the task of a stage whose inputs have results.
func (r *run) task(s Stage, inputs map[string]cas.Tree, limit Limit, o Observer) *Task {
	t := newTask(s.Name, r.Store, inputs, limit, o)
	if system, ok := r.step(s.Within); ok {
		t.within = cas.NewTree(r.Store, system.Result.Tree)
	}
	return t
}

// runTask runs a kind and commits its output.
func runTask(ctx context.Context, k Kind, t *Task, environment string) (cas.Result, error) {
	t.scope = items.Scope{Kind: k.Name(), Version: k.Version(), Environment: environment}
	if err := k.Run(ctx, t); err != nil {
		return cas.Result{}, err
	}
	return t.result(ctx)
}

// noteName is the name under which the last action of a stage is noted.
func (r *run) noteName(stage string) string { return NoteName(r.plan.name, stage) }

// NoteName is the name under which a cache notes the last action of a stage of a plan.
func NoteName(plan, stage string) string { return plan + "\x00" + stage }

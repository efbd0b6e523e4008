// Package stages is the engine: it plans a build as a graph of actions, names each
// action by a digest of everything that decides its output, and runs only those whose
// result is not known yet.
//
// The engine knows no data set and no storage. The kinds of work are packages below
// this one; where trees are kept is the business of package cas.
package stages

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
)

// Kind is a sort of work: a pure function of its Params and the content of its inputs.
//
// What must not decide the output (how bytes are fetched, how many workers there are)
// is not part of Params: it stands in other fields of the implementation, or comes
// with the Task.
type Kind interface {
	// Name is the kind's name, such as "crop".
	Name() string
	// Version is the behaviour version. It is raised by hand when equal parameters and
	// inputs would give other bytes than before.
	Version() int
	// Params returns everything but the inputs that decides the output. It is
	// marshalled to JSON with sorted keys and becomes part of the action.
	Params() any
	// Run reads the task's inputs and writes its output. It returns soon after the
	// context ends.
	Run(ctx context.Context, t *Task) error
}

// Stage is a node of a build.
type Stage struct {
	Name   string
	Kind   Kind
	Inputs []Input
	Limit  Limit // what it may take of the machine

	// Environment is the digest of what the stage runs in, where that is not what the
	// others run in; empty for the engine's.
	Environment string

	// Within is the stage whose output the kind runs within, if it does, as Task.Within has it.
	// It is no part of the key: a kind that it could make a difference to reads it as an input.
	Within string
}

// needs are the stages that must have their results before this one can run.
func (s Stage) needs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, in := range s.Inputs {
			if in.From != "" && !yield(in.From) {
				return
			}
		}
		if s.Within != "" {
			yield(s.Within)
		}
	}
}

// Input says where one input of a stage comes from: the output of stage From, or, with
// Pin, what Pin makes of that output. From is empty for an input that needs no stage.
type Input struct {
	Name string
	From string
	Pin  Pinner
}

// Pinner turns something of the outside world into a tree, which enters the key by its
// content like any other. It is the only way by which the world enters a build: a
// Pinner consults the lock first, and asks the network, the clock or a git work tree
// only for what the lock does not hold.
//
// upstream is the zero Tree when the input names no stage. The task has no inputs and
// no output; it serves for its store, its progress, its messages and what came before.
type Pinner interface {
	Pin(ctx context.Context, t *Task, upstream cas.Tree) (cas.Tree, error)
}

// Task is what a running stage sees of the world. Its methods are safe for concurrent
// use.
type Task struct {
	stage    string
	inputs   map[string]cas.Tree
	out      *cas.Builder
	store    cas.Store
	limit    Limit
	observer Observer

	within cas.Tree                  // see Stage.Within
	keeper keeper                    // nil outside of a build
	before func(string) (Step, bool) // nil but for a pinner in a build

	scope   items.Scope
	earlier func(context.Context) []cas.Tree // the items of earlier runs; nil for none

	mu       sync.Mutex // guards the fields below
	counters map[string]int64
	log      []cas.Line
	work     []Work
	printed  cas.TreeID
	book     *items.Book // nil until a set of items is begun
	told     cas.TreeID  // what is known of the items that another process does, as it has told; see Order
}

func newTask(stage string, store cas.Store, inputs map[string]cas.Tree, limit Limit, o Observer) *Task {
	return &Task{
		stage:    stage,
		inputs:   inputs,
		out:      cas.NewBuilder(store),
		store:    store,
		limit:    limit,
		observer: o,
		counters: make(map[string]int64),
	}
}

// Input returns the input of that name. Asking for one that the stage does not declare
// is a mistake of the kind; every read of the tree returned fails.
func (t *Task) Input(name string) cas.Tree { return t.inputs[name] }

// Within is the output of the stage that this one runs within; the zero Tree when there is none.
func (t *Task) Within() cas.Tree { return t.within }

// Out is the stage's output.
func (t *Task) Out() *cas.Builder { return t.out }

// Store is where blobs are kept while the stage runs.
func (t *Task) Store() cas.Store { return t.store }

// Workers is how many goroutines the stage may keep busy; at least 1. The output must
// not depend on it.
func (t *Task) Workers() int { return max(t.limit.CPU, 1) }

// Memory is how many bytes the stage may use for what it works with (photos, pictures),
// or 0 when nobody says: then it decides by itself. The output must not depend on it.
func (t *Task) Memory() int64 { return t.limit.Memory }

// Before returns what became of a stage that a pinner's stage needs. A kind is told
// nothing: what it reads enters by its inputs.
func (t *Task) Before(stage string) (Step, bool) {
	if t.before == nil {
		return Step{}, false
	}
	return t.before(stage)
}

// Progress tells how far the stage is. A total of 0 means that it is not known. It is
// cheap enough to be called for every item.
func (t *Task) Progress(done, total int64, unit string) {
	t.observer.Observe(Progress{Stage: t.stage, Done: done, Total: total, Unit: unit})
}

// Describe is Progress with a few words on how good it is going.
func (t *Task) Describe(done, total int64, unit, detail string) {
	t.observer.Observe(Progress{Stage: t.stage, Done: done, Total: total, Unit: unit, Detail: detail})
}

// Infof tells the person something. The line is kept with the result, so it must be
// the same for equal inputs.
func (t *Task) Infof(format string, args ...any) { t.say(false, format, args) }

// Warnf is Infof for what the person should look into.
func (t *Task) Warnf(format string, args ...any) { t.say(true, format, args) }

func (t *Task) say(warning bool, format string, args []any) {
	line := cas.Line{Warning: warning, Text: fmt.Sprintf(format, args...)}
	t.mu.Lock()
	t.log = append(t.log, line)
	t.mu.Unlock()
	t.observer.Observe(Message{Stage: t.stage, Line: line})
}

// Show tells the person a line that a program printed. It is not kept with the result, so
// that equal runs may show other lines.
func (t *Task) Show(text string) {
	t.observer.Observe(Message{Stage: t.stage, Line: cas.Line{Text: text}})
}

// PrintedFile is the name of what a program printed in the tree that its result keeps.
const PrintedFile = "log"

// KeepPrinted keeps what a program of the stage printed with the result, for people: it is
// not part of the output, and equal runs may print other things.
func (t *Task) KeepPrinted(ctx context.Context, printed io.Reader) error {
	b := cas.NewBuilder(t.store)
	if err := b.Put(ctx, PrintedFile, printed); err != nil {
		return err
	}
	tree, err := b.Commit(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.printed = tree.ID()
	return err
}

// Count adds n to a counter that is kept with the result.
func (t *Task) Count(name string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counters[name] += n
}

// result commits the output and the items.
func (t *Task) result(ctx context.Context) (cas.Result, error) {
	tree, err := t.out.Commit(ctx)
	if err != nil {
		return cas.Result{}, err
	}
	known, err := t.known(ctx, (*items.Book).Commit)
	if err != nil {
		return cas.Result{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return cas.Result{Tree: tree.ID(), Items: known, Printed: t.printed, Counters: t.counters, Log: t.log}, nil
}

// RunKind runs a kind once on the given inputs, outside of any build and any cache.
func RunKind(ctx context.Context, store cas.Store, kind Kind, inputs map[string]cas.Tree, workers int, o Observer) (cas.Result, error) {
	return runTask(ctx, kind, newTask(kind.Name(), store, inputs, Limit{CPU: workers}, o), "")
}

// RunPinner runs a pinner once, outside of any build.
func RunPinner(ctx context.Context, store cas.Store, p Pinner, upstream cas.Tree, workers int, o Observer) (cas.Tree, error) {
	return p.Pin(ctx, newTask("pin", store, nil, Limit{CPU: workers}, o), upstream)
}

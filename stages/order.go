package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Order is a task in words that another process of this program understands, which has the same
// blobs and makes the kind of its parameters: see Do. It is what the key of the stage is made of, and
// how far earlier runs have come.
type Order struct {
	Stage       string
	Kind        string
	Version     int
	Params      []byte // canonical JSON
	Inputs      map[string]cas.TreeID
	Environment string
	Limit       Limit
	Earlier     []cas.TreeID // items of earlier runs, as Task.Items finds them
	Keeps       bool         // whether what an interrupted run has done is kept for the next one; see Task.Keeps
	Kept        cas.TreeID   // see Task.Kept; zero for nothing
}

// Done is what became of an Order. It goes back as what it is, but for what was told meanwhile.
type Done struct {
	Result cas.Result
	Work   []Work
}

// Order puts the task of a kind into words.
func (t *Task) Order(ctx context.Context, k Kind) (Order, error) {
	act, err := newAction(k, t.inputs, t.scope.Environment)
	if err != nil {
		return Order{}, err
	}
	o := Order{
		Stage: t.stage, Kind: act.kind, Version: act.version, Params: act.params, Inputs: act.inputs,
		Environment: act.environment, Limit: t.limit, Keeps: t.Keeps(),
	}
	if kept, ok := t.Kept(ctx); ok {
		o.Kept = kept.ID()
	}
	if t.earlier != nil {
		for _, book := range t.earlier(ctx) {
			o.Earlier = append(o.Earlier, book.ID())
		}
	}
	return o, nil
}

// Tell passes on what the other process tells: its Progress and its Messages.
func (t *Task) Tell(e Event) { t.observer.Observe(e) }

// Know keeps what the other process knows of its items until now.
func (t *Task) Know(known cas.TreeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = known
}

// Take adds what the other process has done to what this task has, which may have counted and told before.
func (t *Task) Take(ctx context.Context, d Done) error {
	if err := t.out.AddTree(ctx, "", cas.NewTree(t.store, d.Result.Tree)); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, n := range d.Result.Counters {
		t.counters[name] += n
	}
	t.told, t.log, t.work = d.Result.Items, append(t.log, d.Result.Log...), append(t.work, d.Work...)
	return nil
}

// Desk is where the process that does an order tells the one that gave it.
type Desk interface {
	Observer
	// Keep is Task.Keep.
	Keep(ctx context.Context, tree cas.TreeID) error
	// Know is Task.Know.
	Know(ctx context.Context, known cas.TreeID)
}

// Do does an order. The kind is made of the order's parameters and nothing else, so that nothing
// that is missing in the key can reach it; one that comes to other parameters is refused.
func Do(ctx context.Context, store cas.Store, k Kind, o Order, d Desk) (Done, error) {
	params, err := canonicalJSON(k.Params())
	if err != nil {
		return Done{}, err
	}
	if k.Name() != o.Kind || k.Version() != o.Version || !bytes.Equal(params, o.Params) {
		return Done{}, fmt.Errorf("%s: the other process is another version of sandwich: it understands %s %d %s as %s %d %s",
			o.Stage, o.Kind, o.Version, o.Params, k.Name(), k.Version(), params)
	}
	inputs := make(map[string]cas.Tree, len(o.Inputs))
	for name, id := range o.Inputs {
		inputs[name] = cas.NewTree(store, id)
	}
	t := newTask(o.Stage, store, inputs, o.Limit, d)
	t.earlier = func(context.Context) []cas.Tree {
		books := make([]cas.Tree, len(o.Earlier))
		for i, id := range o.Earlier {
			books[i] = cas.NewTree(store, id)
		}
		return books
	}
	ended := func(error) {}
	if o.Keeps {
		t.keeper = deskKeeper{desk: d, last: o.Kept}
		ended = t.keeping(ctx, d.Know)
	}
	result, err := runTask(ctx, k, t, o.Environment)
	ended(err)
	return Done{Result: result, Work: t.work}, err
}

// deskKeeper keeps trees with the process that gave an order.
type deskKeeper struct {
	desk Desk
	last cas.TreeID // of an earlier run
}

func (k deskKeeper) keep(ctx context.Context, tree cas.TreeID) error { return k.desk.Keep(ctx, tree) }

func (k deskKeeper) kept(context.Context) (cas.TreeID, bool) { return k.last, !k.last.IsZero() }

// ParseParams reads what Kind.Params came to, as it is in an action. A field that is not known is an
// error.
func ParseParams[P any](text []byte) (P, error) {
	var p P
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	return p, err
}

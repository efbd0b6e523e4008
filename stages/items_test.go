package stages_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/items"
)

// files is a pinner of files, path to content.
type files map[string]string

func (f files) Pin(ctx context.Context, t *stages.Task, _ cas.Tree) (cas.Tree, error) {
	b := cas.NewBuilder(t.Store())
	for name, content := range f {
		if err := b.PutBytes(ctx, name, []byte(content)); err != nil {
			return cas.Tree{}, err
		}
	}
	return b.Commit(ctx)
}

// hundred returns a hundred files, 000 to 099.
func hundred() files {
	f := files{}
	for i := range 100 {
		f[fmt.Sprintf("%03d", i)] = fmt.Sprint(i)
	}
	return f
}

// louder is a kind that writes its input in capital letters, file by file. It calls
// before for each file that it really does.
type louder struct {
	version int
	suffix  string
	before  func(name string) error
}

func (louder) Name() string { return "louder" }

func (l louder) Version() int { return max(l.version, 1) }

func (l louder) Params() any { return struct{ Suffix string }{l.suffix} }

func (l louder) Run(ctx context.Context, t *stages.Task) error {
	set, err := t.Items(ctx, "files", l.Params())
	if err != nil {
		return err
	}
	var done, all int64
	for f, err := range t.Input("in").Files(ctx) {
		if err != nil {
			return err
		}
		all++
		item, err := set.Begin(ctx, f.Path, f.Digest.Hex())
		if err != nil {
			return err
		}
		o, known := item.Known()
		if !known {
			done++
			if o, err = l.do(ctx, t, f); err == nil {
				err = item.Done(ctx, o)
			}
			if err != nil {
				return err
			}
		}
		if err := t.Out().Add(f.Path, o.Blobs[0]); err != nil {
			return err
		}
	}
	t.Did("files", "read", done, all-done)
	return nil
}

func (l louder) do(ctx context.Context, t *stages.Task, f cas.File) (items.Outcome, error) {
	if err := l.before(f.Path); err != nil {
		return items.Outcome{}, err
	}
	text, err := t.Input("in").ReadFile(ctx, f.Path)
	if err != nil {
		return items.Outcome{}, err
	}
	d, err := cas.PutBytes(ctx, t.Store(), []byte(strings.ToUpper(string(text))+l.suffix))
	return items.Outcome{Blobs: []cas.Digest{d}}, err
}

// loud is a plan of one stage.
func loud(t *testing.T, plan string, k louder, in files) *stages.Plan {
	t.Helper()
	p, err := stages.NewPlan(plan, []stages.Stage{{Name: "loud", Kind: k, Inputs: []stages.Input{{Name: "in", Pin: in}}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// counter counts the files that are done.
type counter struct{ n atomic.Int64 }

func (c *counter) count(string) error { c.n.Add(1); return nil }

func (c *counter) take() int { return int(c.n.Swap(0)) }

func TestItemsAreDoneOnce(t *testing.T) {
	var did counter
	k := louder{before: did.count}
	in := hundred()
	changed := maps.Clone(in)
	changed["050"], changed["new"] = "other", "new"
	delete(changed, "070")
	tests := []struct {
		name   string
		plan   string
		kind   louder
		in     files
		engine func(e *stages.Engine)
		want   int
	}{
		{"one changed, one new, one gone", "p", k, changed, nil, 2},
		{"another manifest", "other", k, changed, nil, 2},
		{"another parameter", "p", louder{suffix: "!", before: did.count}, in, nil, 100},
		{"another version", "p", louder{version: 2, before: did.count}, in, nil, 100},
		{"another environment", "p", k, in, func(e *stages.Engine) { e.Environment = "other" }, 100},
		{"forced", "p", k, changed, func(e *stages.Engine) { e.Force = map[string]bool{"loud": true} }, 100},
		{"verified", "p", k, changed, func(e *stages.Engine) { e.Verify = true }, 102},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEngine()
			build(t, e, loud(t, "p", k, in))
			if n := did.take(); n != 100 {
				t.Fatalf("the first build did %d", n)
			}
			if test.engine != nil {
				test.engine(e)
			}
			b := build(t, e, loud(t, test.plan, test.kind, test.in))
			if n := did.take(); n != test.want {
				t.Errorf("did %d, want %d", n, test.want)
			}
			alone := build(t, &stages.Engine{Store: cas.NewMemory(), Cache: cas.NewMemory(), Environment: e.Environment}, loud(t, "p", test.kind, test.in))
			if a, b := alone.Steps[0].Result, b.Steps[0].Result; a.Tree != b.Tree || a.Items != b.Items {
				t.Errorf("the result is %v, alone it is %v", b, a)
			}
			did.take()
		})
	}
}

// errStopped ends a stage in its midst.
var errStopped = errors.New("stopped")

// stopAfter ends a stage when it has done n files.
func (c *counter) stopAfter(n int64) func(string) error {
	return func(string) error {
		if c.n.Load() == n {
			return errStopped
		}
		c.n.Add(1)
		return nil
	}
}

// TestInterruptedItemsGoOn ends a stage in its midst: what it has done by then is not
// done again, also when the input changes before it is gone on with.
func TestInterruptedItemsGoOn(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(in files)
		want   int
	}{
		{"nothing changes", func(files) {}, 60},
		{"a file changes", func(in files) { in["003"] = "other" }, 61},
	} {
		t.Run(test.name, func(t *testing.T) {
			var did counter
			e, in := newEngine(), hundred()
			if _, err := e.Build(t.Context(), loud(t, "p", louder{before: did.stopAfter(40)}, in)); !errors.Is(err, errStopped) {
				t.Fatalf("the error is %v", err)
			}
			if forecasts, _, err := e.Preview(t.Context(), loud(t, "p", louder{}, in)); err != nil || forecasts[0].Cached {
				t.Errorf("an interrupted stage counts as cached, %v", err)
			}
			test.change(in)
			did.take()
			b := build(t, e, loud(t, "p", louder{before: did.count}, in))
			if n := did.take(); n != test.want {
				t.Errorf("did %d, want %d", n, test.want)
			}
			if w := b.Steps[0].Work; !slices.Equal(w, []stages.Work{{Unit: "files", Verb: "read", Done: int64(test.want), Reused: int64(100 - test.want)}}) {
				t.Errorf("the story is %v", w)
			}
			if b := build(t, e, loud(t, "p", louder{before: did.count}, in)); !b.Steps[0].Cached {
				t.Error("the result is not kept")
			}
		})
	}
}

// TestForcedAndInterrupted ends a stage that is forced to run: the result that it had
// stays.
func TestForcedAndInterrupted(t *testing.T) {
	var did counter
	e, in := newEngine(), hundred()
	build(t, e, loud(t, "p", louder{before: did.count}, in))
	did.take()
	e.Force = map[string]bool{"loud": true}
	if _, err := e.Build(t.Context(), loud(t, "p", louder{before: did.stopAfter(40)}, in)); !errors.Is(err, errStopped) {
		t.Fatalf("the error is %v", err)
	}
	e.Force = nil
	if b := build(t, e, loud(t, "p", louder{before: did.count}, in)); !b.Steps[0].Cached {
		t.Error("the result is lost")
	}
}

// dead is a cache of a process that dies: nothing is recorded after that.
type dead struct {
	*cas.Memory
	died *atomic.Bool
}

func (d dead) Record(ctx context.Context, action cas.Digest, r cas.Result) error {
	if d.died.Load() {
		return errStopped
	}
	return d.Memory.Record(ctx, action, r)
}

func (d dead) Note(ctx context.Context, name string, action cas.Digest) error {
	if d.died.Load() {
		return errStopped
	}
	return d.Memory.Note(ctx, name, action)
}

// TestKilledItemsGoOn has a process die without a word, after half a minute in which it did a
// file a second: it loses what it did since it last kept it, ten seconds at most.
func TestKilledItemsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var did counter
		var died atomic.Bool
		memory := cas.NewMemory()
		in := hundred()
		e := newEngine()
		e.Store, e.Cache = memory, dead{memory, &died}
		_, err := e.Build(t.Context(), loud(t, "p", louder{before: func(name string) error {
			time.Sleep(time.Second)
			if name == "035" {
				died.Store(true)
				return errStopped
			}
			return nil
		}}, in))
		if !errors.Is(err, errStopped) {
			t.Fatalf("the error is %v", err)
		}
		e.Cache = memory
		build(t, e, loud(t, "p", louder{before: did.count}, in))
		if n := did.take(); n < 65 || n > 75 {
			t.Errorf("did %d after 35 of 100 were done", n)
		}
	})
}

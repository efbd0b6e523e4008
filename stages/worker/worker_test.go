package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk/disktest"
	"github.com/sandwich-build/sandwich/stages/items"
	"github.com/sandwich-build/sandwich/stages/stagetest"
	"github.com/sandwich-build/sandwich/stages/worker"
)

// params are those of the kind louder.
type params struct {
	Suffix string
	Fail   string // how to fail, if so
}

// oddError is an error with a field.
type oddError struct{ Name string }

func (e *oddError) Error() string { return "odd: " + e.Name }

// louder is a kind that writes its input in capital letters, file by file, each of which is an item.
type louder struct {
	params params
	fetch  func(t *stages.Task) // nil does nothing
	did    func(ctx context.Context, name string)
}

func parse(text []byte) (stages.Kind, error) {
	p, err := stages.ParseParams[params](text)
	return louder{params: p}, err
}

func (louder) Name() string { return "louder" }

func (louder) Version() int { return 1 }

func (l louder) Params() any { return l.params }

func (l louder) Fetch(_ context.Context, t *stages.Task) error {
	if l.fetch != nil {
		l.fetch(t)
	}
	return nil
}

func (l louder) Run(ctx context.Context, t *stages.Task) error {
	switch l.params.Fail {
	case "odd":
		return fmt.Errorf("louder: %w", &oddError{"name"})
	case "lost":
		_, err := t.Store().Open(ctx, cas.Sum([]byte("nowhere")))
		return err
	}
	set, err := t.Items(ctx, "files", l.params)
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
			text, err := t.Input("in").ReadFile(ctx, f.Path)
			if err != nil {
				return err
			}
			d, err := cas.PutBytes(ctx, t.Store(), append(bytes.ToUpper(text), l.params.Suffix...))
			if err != nil {
				return err
			}
			o = items.Outcome{Blobs: []cas.Digest{d}}
			if err := item.Done(ctx, o); err != nil {
				return err
			}
			done++
		}
		if l.did != nil {
			l.did(ctx, f.Path)
		}
		if err := t.Out().Add(f.Path, o.Blobs[0]); err != nil {
			return err
		}
		t.Progress(all, 0, "files")
	}
	t.Count("files", all)
	t.Infof("%d files", all)
	t.Warnf("they are loud")
	t.Did("files", "read", done, all-done)
	return nil
}

// catalogue has louder, whose work calls did.
func catalogue(did func(ctx context.Context, name string)) worker.Catalogue {
	return worker.Catalogue{
		Kinds: map[string]func([]byte) (stages.Kind, error){"louder": func(text []byte) (stages.Kind, error) {
			k, err := parse(text)
			if err == nil {
				l := k.(louder)
				l.did = did
				k = l
			}
			return k, err
		}},
		Errors: []error{new(oddError)},
	}
}

// here starts the other process in this one.
func here(c worker.Catalogue) func(context.Context, *stages.Task, worker.Streams) error {
	return func(ctx context.Context, _ *stages.Task, s worker.Streams) error {
		return worker.Main(ctx, s.Stdin, s.Stdout, c)
	}
}

// remote is a louder whose work is done elsewhere.
func remote(p params) worker.Kind {
	c := catalogue(nil)
	return worker.Kind{Kind: louder{params: p}, Catalogue: c, Start: here(c)}
}

// input is a tree of files, one of which has several chunks.
func input(t *testing.T, store cas.Store) map[string]cas.Tree {
	t.Helper()
	files := map[string]string{"large": strings.Repeat("sandwich", 400_000)}
	for i := range 100 {
		files[fmt.Sprintf("%03d", i)] = fmt.Sprint("file ", i)
	}
	return map[string]cas.Tree{"in": stagetest.Tree(t, store, files)}
}

// TestSuite holds a kind whose work is done elsewhere to what the engine takes for granted of every kind.
func TestSuite(t *testing.T) {
	store := disktest.Open(t, t.TempDir())
	in := input(t, store)
	_, want := stagetest.Run(t, store, louder{}, in)
	stagetest.Suite(t, store, remote(params{}), in, stagetest.Golden{Version: 1, Tree: want.Tree.String()})
}

// events are what an observer has heard.
type events struct {
	mu  sync.Mutex
	all []stages.Event
}

func (e *events) Observe(event stages.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// TestSame runs a kind here and elsewhere: everything is the same, and what is told is told at once.
func TestSame(t *testing.T) {
	store := cas.NewMemory()
	in := input(t, store)
	var heard events
	fetched := 0
	k := remote(params{Suffix: "!"})
	k.Kind = louder{params: params{Suffix: "!"}, fetch: func(t *stages.Task) {
		fetched++
		t.Count("files", 1)
		t.Count("fetched", 1)
		t.Infof("fetched")
	}}
	want, err := stages.RunKind(t.Context(), store, louder{params: params{Suffix: "!"}}, in, 2, stages.Discard)
	if err != nil {
		t.Fatal(err)
	}
	got, err := stages.RunKind(t.Context(), store, k, in, 2, &heard)
	if err != nil {
		t.Fatal(err)
	}
	// What was told and counted here is there too.
	want.Counters["files"]++
	want.Counters["fetched"]++
	want.Log = append([]cas.Line{{Text: "fetched"}}, want.Log...)
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b cas.TreeID) bool { return a == b })); diff != "" {
		t.Errorf("elsewhere the result differs (-want +got)\n%s", diff)
	}
	if fetched != 1 {
		t.Errorf("it was fetched for %d times, want 1", fetched)
	}
	var last stages.Progress
	var lines []cas.Line
	for _, e := range heard.all {
		switch e := e.(type) {
		case stages.Progress:
			last = e
		case stages.Message:
			lines = append(lines, e.Line)
		}
	}
	if last.Done != 101 || last.Stage != "louder" || last.Unit != "files" {
		t.Errorf("the last progress is %+v", last)
	}
	if diff := cmp.Diff(want.Log, lines); diff != "" {
		t.Errorf("told (-want +got)\n%s", diff)
	}
}

// refusing is a store that opens nothing.
type refusing struct {
	cas.Store
	why error
}

func (r refusing) Open(context.Context, cas.Digest) (io.ReadCloser, error) { return nil, r.why }

func TestErrors(t *testing.T) {
	store := cas.NewMemory()
	fails := func(k worker.Kind) error {
		t.Helper()
		return stagetest.Fails(t, store, k, input(t, store))
	}
	if err := fails(remote(params{Fail: "odd"})); err.Error() != "louder: odd: name" {
		t.Errorf("the error is %q", err)
	} else if odd, ok := errors.AsType[*oddError](err); !ok || odd.Name != "name" {
		t.Errorf("the error is %#v", err)
	}
	far := &oddError{"of the store"}
	k := remote(params{Fail: "lost"})
	if _, err := stages.RunKind(t.Context(), refusing{store, far}, k, input(t, store), 1, stages.Discard); !errors.Is(err, far) {
		t.Errorf("an error of the store has come back as %#v", err)
	}
	var lost *cas.BlobError
	if err := fails(remote(params{Fail: "lost"})); !errors.As(err, &lost) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %#v", err)
	}
	for name, test := range map[string]struct {
		start func(context.Context, *stages.Task, worker.Streams) error
		want  string
	}{
		"an exit code": {
			func(_ context.Context, _ *stages.Task, s worker.Streams) error {
				_, _ = io.WriteString(s.Stderr, "panic: at the disco\n")
				return errors.New("exit code 2")
			},
			"the process that does its work has ended before that: exit code 2: panic: at the disco",
		},
		"no process":     {func(context.Context, *stages.Task, worker.Streams) error { return errors.New("nothing here runs it") }, "nothing here runs it"},
		"no word":        {func(context.Context, *stages.Task, worker.Streams) error { return nil }, "the process that does its work has ended before that"},
		"no such kind":   {here(worker.Catalogue{}), `the other process is another version of sandwich: it has no kind "louder"`},
		"other settings": {here(worker.Catalogue{Kinds: map[string]func([]byte) (stages.Kind, error){"louder": func([]byte) (stages.Kind, error) { return louder{}, nil }}}), `louder: the other process is another version of sandwich: it understands louder 1 {"Fail":"","Suffix":"?"} as louder 1 {"Fail":"","Suffix":""}`},
		"a broken kind": {here(worker.Catalogue{Kinds: map[string]func([]byte) (stages.Kind, error){"louder": func([]byte) (stages.Kind, error) {
			return nil, errors.New("broken")
		}}}), "the other process is another version of sandwich: parameters of louder: broken"},
		"nonsense": {func(_ context.Context, _ *stages.Task, s worker.Streams) error {
			_, err := io.WriteString(s.Stdout, "Illegal instruction\n")
			return err
		}, "the process that does its work has ended before that"},
	} {
		t.Run(name, func(t *testing.T) {
			k := remote(params{Suffix: "?"})
			k.Start = test.start
			if err := fails(k); err.Error() != test.want {
				t.Errorf("the error is %q, want %q", err, test.want)
			}
		})
	}
}

// plan is a build of one stage.
func plan(t *testing.T, k stages.Kind, in cas.Tree) *stages.Plan {
	t.Helper()
	p, err := stages.NewPlan("plan", []stages.Stage{{Name: "loud", Kind: k, Inputs: []stages.Input{{Name: "in", Pin: fixed{in}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fixed is a pinner of a tree.
type fixed struct{ tree cas.Tree }

func (f fixed) Pin(context.Context, *stages.Task, cas.Tree) (cas.Tree, error) { return f.tree, nil }

// TestInterrupted ends a build whose work is done elsewhere in the middle. What it had done of its items is
// kept, and the next run does not do it again.
func TestInterrupted(t *testing.T) {
	store := disktest.Open(t, t.TempDir())
	in := input(t, store)["in"]
	ctx, cancel := context.WithCancel(t.Context())
	c := catalogue(func(working context.Context, name string) {
		if name == "049" {
			cancel()
			<-working.Done() // which arrives there
		}
	})
	var returned atomic.Bool
	k := worker.Kind{Kind: louder{}, Catalogue: c, Start: func(ctx context.Context, t *stages.Task, s worker.Streams) error {
		defer returned.Store(true)
		return here(c)(ctx, t, s)
	}}
	engine := stages.Engine{Store: store, Cache: store, Workers: 2}
	if _, err := engine.Build(ctx, plan(t, k, in)); !errors.Is(err, context.Canceled) {
		t.Fatalf("the build ended with %v", err)
	}
	if !returned.Load() {
		t.Error("the process outlives the stage")
	}
	build, err := engine.Build(t.Context(), plan(t, remote(params{}), in))
	if err != nil {
		t.Fatal(err)
	}
	step, _ := build.Step("loud")
	if want := []stages.Work{{Unit: "files", Verb: "read", Done: 51, Reused: 50}}; !cmp.Equal(want, step.Work) {
		t.Errorf("the second run did %+v, want %+v", step.Work, want)
	}
}

// TestDeaf ends a build while the other process does not listen: it is killed.
func TestDeaf(t *testing.T) {
	store := cas.NewMemory()
	ctx, cancel := context.WithCancel(t.Context())
	k := remote(params{})
	k.Start = func(ctx context.Context, _ *stages.Task, _ worker.Streams) error {
		cancel()
		<-ctx.Done()
		return context.Cause(ctx)
	}
	began := time.Now()
	_, err := stages.RunKind(ctx, store, k, input(t, store), 1, stages.Discard)
	if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 5*time.Second {
		t.Errorf("it ended with %v, after %v", err, took)
	}
}

// keeping is a kind that keeps a tree and is interrupted, and then finds what it kept.
type keeping struct{ stop func() }

func (keeping) Name() string { return "keeping" }

func (keeping) Version() int { return 1 }

func (keeping) Params() any { return struct{}{} }

func (k keeping) Run(ctx context.Context, t *stages.Task) error {
	if kept, ok := t.Kept(ctx); ok {
		return t.Out().AddTree(ctx, "kept", kept)
	}
	b := cas.NewBuilder(t.Store())
	if err := b.PutBytes(ctx, "half", []byte("way")); err != nil {
		return err
	}
	tree, err := b.Commit(ctx)
	if err != nil {
		return err
	}
	k.stop()
	<-ctx.Done()
	// As training does: what it has come to is kept when it is interrupted.
	return errors.Join(t.Keep(context.WithoutCancel(ctx), tree), context.Cause(ctx))
}

func TestKept(t *testing.T) {
	store := disktest.Open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	c := worker.Catalogue{Kinds: map[string]func([]byte) (stages.Kind, error){"keeping": func([]byte) (stages.Kind, error) { return keeping{cancel}, nil }}}
	k := worker.Kind{Kind: keeping{}, Catalogue: c, Start: here(c)}
	engine := stages.Engine{Store: store, Cache: store, Workers: 1}
	if _, err := engine.Build(ctx, plan(t, k, stagetest.Tree(t, store, nil))); !errors.Is(err, context.Canceled) {
		t.Fatalf("the build ended with %v", err)
	}
	build, err := engine.Build(t.Context(), plan(t, k, stagetest.Tree(t, store, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got := stagetest.Read(t, build.Tree("loud"), "kept/half"); got != "way" {
		t.Errorf("it has kept %q", got)
	}
}

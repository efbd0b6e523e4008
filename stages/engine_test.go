package stages_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// concat is a kind that writes one file: its text, then the files of the inputs that
// it reads, in order. It counts its runs.
type concat struct {
	Text    string
	reads   []string
	version int
	fail    error
	runs    *int
}

func (c concat) Name() string { return "concat" }
func (c concat) Version() int { return max(c.version, 1) }
func (c concat) Params() any  { return struct{ Text string }{c.Text} }

func (c concat) Run(ctx context.Context, t *stages.Task) error {
	*c.runs++
	if c.fail != nil {
		return c.fail
	}
	out := c.Text
	for _, name := range c.reads {
		data, err := t.Input(name).ReadFile(ctx, "out")
		if err != nil {
			return err
		}
		out += "(" + string(data) + ")"
	}
	t.Count("bytes", int64(len(out)))
	t.Infof("wrote %d bytes", len(out))
	return t.Out().PutBytes(ctx, "out", []byte(out))
}

// upper is a pinner that stands for the world: its content changes between builds.
type upper struct{ word *string }

func (u upper) Pin(ctx context.Context, t *stages.Task, _ cas.Tree) (cas.Tree, error) {
	if *u.word == "" {
		return cas.Tree{}, &stages.NotPinnedError{What: []string{"the word"}}
	}
	b := cas.NewBuilder(t.Store())
	if err := b.PutBytes(ctx, "out", []byte(*u.word)); err != nil {
		return cas.Tree{}, err
	}
	return b.Commit(ctx)
}

// fixture is a build of three stages: left and right, and both of them joined. left
// reads the world.
type fixture struct {
	word, left, right, both string
	version                 int
	runs                    map[string]*int
}

func newFixture() *fixture {
	return &fixture{
		word: "w", left: "l", right: "r", both: "b", version: 1,
		runs: map[string]*int{"left": new(int), "right": new(int), "both": new(int)},
	}
}

func (f *fixture) plan(t *testing.T) *stages.Plan {
	t.Helper()
	p, err := stages.NewPlan("fixture", []stages.Stage{
		{
			Name: "both", Kind: concat{Text: f.both, reads: []string{"first", "second"}, version: f.version, runs: f.runs["both"]},
			Inputs: []stages.Input{{Name: "first", From: "left"}, {Name: "second", From: "right"}},
		},
		{
			Name: "left", Kind: concat{Text: f.left, reads: []string{"first"}, runs: f.runs["left"]},
			Inputs: []stages.Input{{Name: "first", Pin: upper{&f.word}}},
		},
		{Name: "right", Kind: concat{Text: f.right, runs: f.runs["right"]}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// counts returns how often each stage has run since the last call.
func (f *fixture) counts() string {
	s := fmt.Sprintf("left %d, right %d, both %d", *f.runs["left"], *f.runs["right"], *f.runs["both"])
	for _, n := range f.runs {
		*n = 0
	}
	return s
}

func output(t *testing.T, b *stages.Build, stage string) string {
	t.Helper()
	data, err := b.Tree(stage).ReadFile(t.Context(), "out")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func build(t *testing.T, e *stages.Engine, p *stages.Plan) *stages.Build {
	t.Helper()
	b, err := e.Build(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newEngine() *stages.Engine {
	m := cas.NewMemory()
	return &stages.Engine{Store: m, Cache: m, Environment: "sha256:e"}
}

func TestBuildRunsOnlyWhatChanged(t *testing.T) {
	f, e := newFixture(), newEngine()
	steps := []struct {
		change func()
		runs   string
		output string
	}{
		{func() {}, "left 1, right 1, both 1", "b(l(w))(r)"},
		{func() {}, "left 0, right 0, both 0", "b(l(w))(r)"},
		{func() { f.right = "R" }, "left 0, right 1, both 1", "b(l(w))(R)"},
		{func() { f.right = "r" }, "left 0, right 0, both 0", "b(l(w))(r)"},
		{func() { f.word = "W" }, "left 1, right 0, both 1", "b(l(W))(r)"},
		{func() { f.version = 2 }, "left 0, right 0, both 1", "b(l(W))(r)"},
		{func() { e.Environment = "sha256:f" }, "left 1, right 1, both 1", "b(l(W))(r)"},
	}
	for i, s := range steps {
		s.change()
		b := build(t, e, f.plan(t))
		if got := f.counts(); got != s.runs {
			t.Errorf("step %d ran %s; want %s", i, got, s.runs)
		}
		if got := output(t, b, "both"); got != s.output {
			t.Errorf("step %d: output %q, want %q", i, got, s.output)
		}
	}
}

// TestEarlyCutOff changes a stage without changing what it writes: nothing after it
// runs.
func TestEarlyCutOff(t *testing.T) {
	f, e := newFixture(), newEngine()
	build(t, e, f.plan(t))
	f.counts()
	f.left, f.word = "l(w)", "" // another stage, the same bytes but for the input
	p, err := stages.NewPlan("fixture", []stages.Stage{
		{Name: "left", Kind: concat{Text: "l(w)", runs: f.runs["left"]}},
		{Name: "right", Kind: concat{Text: "r", runs: f.runs["right"]}},
		{
			Name: "both", Kind: concat{Text: "b", reads: []string{"first", "second"}, runs: f.runs["both"]},
			Inputs: []stages.Input{{Name: "first", From: "left"}, {Name: "second", From: "right"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	build(t, e, p)
	if got, want := f.counts(), "left 1, right 0, both 0"; got != want {
		t.Errorf("ran %s; want %s", got, want)
	}
}

func TestWhy(t *testing.T) {
	f, e := newFixture(), newEngine()
	build(t, e, f.plan(t))
	f.right, f.version = "R", 2
	rec := &recorder{}
	e.Observer = rec
	build(t, e, f.plan(t))
	want := []string{
		`right: Text: "R", was "r"`,
		"both: behaviour version: 2, was 1",
		"both: input second: 1 changed (out)",
	}
	if diff := cmp.Diff(want, rec.why); diff != "" {
		t.Errorf("why (-want +got)\n%s", diff)
	}
}

// recorder keeps the reasons why stages ran, and the order of events.
type recorder struct {
	why    []string
	events []string
}

func (r *recorder) Observe(e stages.Event) {
	switch e := e.(type) {
	case stages.Started:
		for _, line := range e.Why {
			r.why = append(r.why, e.Stage+": "+line)
		}
		r.events = append(r.events, "start "+e.Stage)
	case stages.Message:
		r.events = append(r.events, e.Stage+" says "+e.Line.Text)
	case stages.Finished:
		r.events = append(r.events, fmt.Sprintf("finish %s cached=%v err=%v", e.Stage, e.Cached, e.Err))
	}
}

func TestEvents(t *testing.T) {
	f, e := newFixture(), newEngine()
	build(t, e, f.plan(t))
	rec := &recorder{}
	e.Observer = rec
	f.both = "B"
	build(t, e, f.plan(t))
	want := []string{
		"finish left cached=true err=<nil>",
		"finish right cached=true err=<nil>",
		"start both",
		"both says wrote 10 bytes",
		"finish both cached=false err=<nil>",
	}
	if diff := cmp.Diff(want, rec.events); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
}

func TestPreviewRunsNothing(t *testing.T) {
	f, e := newFixture(), newEngine()
	describe := func() []string {
		forecasts, _, err := e.Preview(t.Context(), f.plan(t))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, s := range forecasts {
			lines = append(lines, fmt.Sprintf("%s cached=%v %s", s.Stage, s.Cached, strings.Join(s.Why, "; ")))
		}
		return lines
	}
	first := []string{
		"left cached=false no earlier run is known",
		"right cached=false no earlier run is known",
		"both cached=false stage left runs first; stage right runs first",
	}
	if diff := cmp.Diff(first, describe()); diff != "" {
		t.Errorf("before the first build (-want +got)\n%s", diff)
	}
	build(t, e, f.plan(t))
	f.counts()
	f.right, f.word = "R", ""
	second := []string{
		"left cached=false not in the lock: the word",
		`right cached=false Text: "R", was "r"`,
		"both cached=false stage left runs first; stage right runs first",
	}
	if diff := cmp.Diff(second, describe()); diff != "" {
		t.Errorf("after a change (-want +got)\n%s", diff)
	}
	if got := f.counts(); got != "left 0, right 0, both 0" {
		t.Errorf("ran %s", got)
	}
}

// TestBuildHealsLostBlobs loses and damages every blob of a store in turn. Each build
// must end with the right output, whatever it has to run again.
func TestBuildHealsLostBlobs(t *testing.T) {
	harm := map[string]func([]byte){
		"zeroed":  func(b []byte) { clear(b) }, // as a power cut leaves it
		"damaged": func(b []byte) { b[0] ^= 1 },
	}
	for how, harmBlob := range harm {
		t.Run(how, func(t *testing.T) {
			store, err := disk.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			e := &stages.Engine{Store: store, Cache: store, Environment: "sha256:e"}
			f := newFixture()
			want := output(t, build(t, e, f.plan(t)), "both")
			places := blobPlaces(t, store)
			if len(places) == 0 {
				t.Fatal("no blobs")
			}
			for d := range places {
				overwrite(t, blobPlaces(t, store)[d], harmBlob)
				// What follows both must be read to be found damaged.
				f.both += "."
				want = "b" + strings.TrimPrefix(f.both, "b") + want[strings.Index(want, "("):]
				if got := output(t, build(t, e, f.plan(t)), "both"); got != want {
					t.Fatalf("without %s: output %q, want %q", d, got, want)
				}
			}
		})
	}
}

// blobPlaces returns where each blob of a store is, but not of those without bytes.
func blobPlaces(t *testing.T, store *disk.Store) map[cas.Digest]disk.Location {
	t.Helper()
	places := make(map[cas.Digest]disk.Location)
	for l, err := range store.Blobs(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Digest.Size() > 0 {
			places[l.Digest] = l
		}
	}
	return places
}

// overwrite changes the bytes of a blob where they are.
func overwrite(t *testing.T, l disk.Location, change func([]byte)) {
	t.Helper()
	f, err := os.OpenFile(l.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, l.Digest.Size())
	_, err = f.ReadAt(data, l.Offset)
	change(data)
	_, writeErr := f.WriteAt(data, l.Offset)
	if err := errors.Join(err, writeErr, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestBuildStopsAtTheFirstFailure(t *testing.T) {
	e := newEngine()
	var left, right int
	broken := errors.New("broken")
	p, err := stages.NewPlan("p", []stages.Stage{
		{Name: "left", Kind: concat{fail: broken, runs: &left}},
		{Name: "right", Kind: concat{runs: &right}, Inputs: []stages.Input{{Name: "first", From: "left"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Build(t.Context(), p)
	var stage *stages.StageError
	if !errors.As(err, &stage) || stage.Stage != "left" || !errors.Is(err, broken) || right != 0 {
		t.Errorf("Build = %v; right ran %d times", err, right)
	}
}

func TestBuildStopsWhenCancelled(t *testing.T) {
	e, f := newEngine(), newFixture()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := e.Build(ctx, f.plan(t)); !errors.Is(err, cause) {
		t.Errorf("Build = %v", err)
	}
	if got := f.counts(); got != "left 0, right 0, both 0" {
		t.Errorf("ran %s", got)
	}
}

func TestPlanRefuses(t *testing.T) {
	kind := concat{runs: new(int)}
	in := func(from string) []stages.Input { return []stages.Input{{Name: "first", From: from}} }
	bad := map[string][]stages.Stage{
		"two stages are named": {{Name: "a", Kind: kind}, {Name: "a", Kind: kind}},
		"which is not a stage": {{Name: "a", Kind: kind, Inputs: in("b")}},
		"comes from nowhere":   {{Name: "a", Kind: kind, Inputs: in("")}},
		"runs within \"b\"":    {{Name: "a", Kind: kind, Within: "b"}},
		"b needs a needs b":    {{Name: "b", Kind: kind, Inputs: in("a")}, {Name: "a", Kind: kind, Within: "b"}},
		"two inputs named":     {{Name: "a", Kind: kind}, {Name: "b", Kind: kind, Inputs: append(in("a"), in("a")...)}},
		"a needs b needs a":    {{Name: "a", Kind: kind, Inputs: in("b")}, {Name: "b", Kind: kind, Inputs: in("a")}},
	}
	for want, list := range bad {
		if _, err := stages.NewPlan("p", list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// inside is a kind that writes what it runs within.
type inside struct{}

func (inside) Name() string { return "inside" }

func (inside) Version() int { return 1 }

func (inside) Params() any { return struct{}{} }

func (inside) Run(ctx context.Context, t *stages.Task) error {
	system, err := t.Within().ReadFile(ctx, "out")
	if err != nil {
		return err
	}
	return t.Out().PutBytes(ctx, "out", system)
}

// TestWithin builds a stage that runs within the output of another one, which is no part of its key.
func TestWithin(t *testing.T) {
	plan := func(system string) *stages.Plan {
		t.Helper()
		p, err := stages.NewPlan("p", []stages.Stage{
			{Name: "inside", Kind: inside{}, Within: "system"},
			{Name: "system", Kind: concat{Text: system, runs: new(int)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	e := newEngine()
	e.Verify = true // which runs it within the same
	if got := output(t, build(t, e, plan("one")), "inside"); got != "one" {
		t.Errorf("it runs within %q", got)
	}
	e.Verify = false
	if b := build(t, e, plan("two")); output(t, b, "inside") != "one" || b.Ran() != 1 {
		t.Errorf("within another system it is made again: %d stages ran", b.Ran())
	}
	e.Verify = true
	var unstable *stages.UnstableError
	if _, err := e.Build(t.Context(), plan("two")); !errors.As(err, &unstable) {
		t.Errorf("that it depends on what it runs within is not seen: %v", err)
	}
	until, err := plan("one").Until("inside")
	if err != nil || len(until.Stages()) != 2 {
		t.Errorf("it needs the stages %v, %v", until.Stages(), err)
	}
	if readers, err := plan("one").Downstream("system"); err != nil || readers["inside"] {
		t.Errorf("it reads from what it runs within: %v, %v", readers, err)
	}
}

func TestUntil(t *testing.T) {
	f := newFixture()
	p, err := f.plan(t).Until("right")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range p.Stages() {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"right"}) {
		t.Errorf("stages are %q", names)
	}
	if _, err := p.Until("left"); err == nil {
		t.Error("a stage outside the plan was found")
	}
}

func TestProcessesShareWork(t *testing.T) {
	dir := t.TempDir()
	store, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture()
	gate := &gated{Kind: concat{Text: "g", runs: f.runs["left"]}, entered: make(chan struct{}), leave: make(chan struct{})}
	plan, err := stages.NewPlan("p", []stages.Stage{{Name: "left", Kind: gate}})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := (&stages.Engine{Store: store, Cache: store}).Build(t.Context(), plan)
		first <- err
	}()
	<-gate.entered
	waited := make(chan cas.Holder, 1)
	second := &stages.Engine{Store: store, Cache: store, Observer: observe(func(e stages.Event) {
		if w, ok := e.(stages.Waiting); ok {
			waited <- w.Holder
		}
	})}
	done := make(chan *stages.Build, 1)
	go func() {
		b, err := second.Build(t.Context(), plan)
		if err != nil {
			t.Error(err)
		}
		done <- b
	}()
	if by := <-waited; by.PID != os.Getpid() {
		t.Errorf("waited for %s", by)
	}
	close(gate.leave)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if b := <-done; b.Ran() != 0 || *f.runs["left"] != 1 {
		t.Errorf("the second build ran %d stages; the kind ran %d times", b.Ran(), *f.runs["left"])
	}
}

type observe func(stages.Event)

func (o observe) Observe(e stages.Event) { o(e) }

// gated is a kind that waits inside Run.
type gated struct {
	stages.Kind
	entered, leave chan struct{}
}

func (g *gated) Run(ctx context.Context, t *stages.Task) error {
	close(g.entered)
	<-g.leave
	return g.Kind.Run(ctx, t)
}

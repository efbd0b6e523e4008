package stages_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// one is the limit of a stage that others may run beside.
var one = stages.Limit{CPU: 1}

// node is a kind that joins the names of everything below it. Some nodes fail.
type node struct {
	name  string
	reads []string
	fails bool
	limit stages.Limit
	count *counts
}

// counts is what a build of nodes did.
type counts struct {
	mu        sync.Mutex // guards the rest
	now, most stages.Limit
	ran       map[string]int
}

func (c *counts) begin(name string, t *stages.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ran[name]++
	c.now.CPU += t.Workers()
	c.now.Memory += t.Memory()
	c.most.CPU, c.most.Memory = max(c.most.CPU, c.now.CPU), max(c.most.Memory, c.now.Memory)
}

func (c *counts) end(t *stages.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.CPU -= t.Workers()
	c.now.Memory -= t.Memory()
}

func (n node) Name() string { return "node" }
func (n node) Version() int { return 1 }
func (n node) Params() any  { return map[string]string{"name": n.name} }

var errNode = errors.New("node fails")

func (n node) Run(ctx context.Context, t *stages.Task) error {
	n.count.begin(n.name, t)
	defer n.count.end(t)
	if n.fails {
		return errNode
	}
	var parts []string
	for _, from := range n.reads {
		data, err := t.Input(from).ReadFile(ctx, "out")
		if err != nil {
			return err
		}
		parts = append(parts, string(data))
	}
	d := cas.Sum([]byte(n.name + strings.Join(parts, ",")))
	return t.Out().PutBytes(ctx, "out", []byte(d.Hex()))
}

// randomGraph draws stages in a random order, each reading from some that were drawn
// before it.
func randomGraph(r *rand.Rand, size int, failing float64) []node {
	nodes := make([]node, size)
	for i := range nodes {
		nodes[i] = node{name: fmt.Sprintf("n%d", i), fails: r.Float64() < failing}
		for _, j := range r.Perm(i)[:min(i, r.IntN(4))] {
			nodes[i].reads = append(nodes[i].reads, nodes[j].name)
		}
	}
	r.Shuffle(size, func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

func planOf(tb testing.TB, nodes []node, c *counts) *stages.Plan {
	tb.Helper()
	var list []stages.Stage
	for _, n := range nodes {
		n.count = c
		s := stages.Stage{Name: n.name, Kind: n, Limit: n.limit}
		for _, from := range n.reads {
			s.Inputs = append(s.Inputs, stages.Input{Name: from, From: from})
		}
		list = append(list, s)
	}
	p, err := stages.NewPlan("random", list)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// naive runs nodes recursively, one after another: what it writes of each, and which
// cannot be had.
func naive(nodes []node) map[string]string {
	byName := map[string]node{}
	for _, n := range nodes {
		byName[n.name] = n
	}
	outputs := map[string]string{}
	var visit func(name string) string
	visit = func(name string) string {
		if out, ok := outputs[name]; ok {
			return out
		}
		n := byName[name]
		var parts []string
		lost := n.fails
		for _, from := range n.reads {
			out := visit(from)
			lost = lost || out == ""
			parts = append(parts, out)
		}
		outputs[name] = ""
		if !lost {
			d := cas.Sum([]byte(name + strings.Join(parts, ",")))
			outputs[name] = d.Hex()
		}
		return outputs[name]
	}
	for _, n := range nodes {
		visit(n.name)
	}
	return outputs
}

// TestSchedulerAgainstNaive builds random graphs with stages that fail, and compares with
// a runner that knows no concurrency.
func TestSchedulerAgainstNaive(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		nodes := randomGraph(r, 1+r.IntN(40), []float64{0, 0.1}[r.IntN(2)])
		c := &counts{ran: map[string]int{}}
		e := newEngine()
		e.Workers, e.Memory, e.KeepGoing = 1+r.IntN(6), 10+r.Int64N(10), true
		for i := range nodes { // some want more cores than there are, some all, some say nothing
			nodes[i].limit = stages.Limit{CPU: r.IntN(8), Memory: r.Int64N(11)}
		}
		b, err := e.Build(t.Context(), planOf(t, nodes, c))
		got := map[string]string{}
		for _, s := range b.Steps {
			got[s.Stage] = output(t, b, s.Stage)
		}
		want := naive(nodes)
		failed := false
		for _, n := range nodes {
			failed = failed || n.fails
			runs := 1
			if want[n.name] == "" {
				delete(want, n.name)
				if runs = 0; n.fails {
					runs = c.ran[n.name] // once, unless what it needs failed
				}
			}
			if c.ran[n.name] != runs || runs > 1 {
				t.Errorf("seed %d: %s ran %d times, want %d", seed, n.name, c.ran[n.name], runs)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d: outputs (-naive +got)\n%s", seed, diff)
		}
		if failed != errors.Is(err, errNode) {
			t.Errorf("seed %d: the error is %v", seed, err)
		}
		if c.most.CPU > e.Workers || c.most.Memory > e.Memory {
			t.Errorf("seed %d: stages took %v at once, of %d cores and %d bytes", seed, c.most, e.Workers, e.Memory)
		}
	}
}

// TestIndependentStagesRunAtOnce has two stages that each wait for the other to begin.
func TestIndependentStagesRunAtOnce(t *testing.T) {
	meet := make(chan struct{})
	handshake := func(ctx context.Context) error {
		select {
		case meet <- struct{}{}:
		case <-meet:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	p, err := stages.NewPlan("p", []stages.Stage{{Name: "a", Kind: step{"a", handshake}, Limit: one}, {Name: "b", Kind: step{"b", handshake}, Limit: one}})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine()
	e.Workers = 2
	if b, err := e.Build(t.Context(), p); err != nil || b.Ran() != 2 {
		t.Errorf("ran %d stages, %v", b.Ran(), err)
	}
}

// step is a kind that does something and writes nothing.
type step struct {
	name string
	do   func(ctx context.Context) error
}

func (s step) Name() string                                  { return s.name }
func (step) Version() int                                    { return 1 }
func (step) Params() any                                     { return struct{}{} }
func (s step) Run(ctx context.Context, _ *stages.Task) error { return s.do(ctx) }

// TestFailureWaitsForWhatHasBegun has a stage fail while another runs: its result is
// kept, and no third one begins.
func TestFailureWaitsForWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := stages.NewPlan("p", []stages.Stage{
			{Name: "bad", Kind: step{"bad", func(context.Context) error { return errNode }}, Limit: one},
			{Name: "slow", Kind: step{"slow", func(context.Context) error { synctest.Wait(); return nil }}, Limit: one}, // until nothing else moves
			{Name: "never", Kind: step{"never", func(context.Context) error { t.Error("a stage began after a failure"); return nil }},
				Inputs: []stages.Input{{Name: "slow", From: "slow"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		e := newEngine()
		e.Workers = 2
		b, err := e.Build(t.Context(), p)
		var stage *stages.StageError
		if !errors.As(err, &stage) || stage.Stage != "bad" || !errors.Is(err, errNode) {
			t.Errorf("the error is %v", err)
		}
		if _, ok := b.Step("slow"); !ok {
			t.Error("what had begun is lost")
		}
	})
}

func TestKeepGoingTellsOfEveryFailure(t *testing.T) {
	fails := func(context.Context) error { return errNode }
	p, err := stages.NewPlan("p", []stages.Stage{
		{Name: "a", Kind: step{"a", fails}}, {Name: "b", Kind: step{"b", fails}}, {Name: "c", Kind: step{"c", func(context.Context) error { return nil }}},
		{Name: "d", Kind: step{"d", fails}, Inputs: []stages.Input{{Name: "a", From: "a"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine()
	e.KeepGoing = true
	b, err := e.Build(t.Context(), p)
	if want := "a: node fails (failed too: b)"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	var names []string
	for _, s := range b.Steps {
		names = append(names, s.Stage)
	}
	if !slices.Equal(names, []string{"c"}) {
		t.Errorf("steps are %q", names)
	}
}

func TestForce(t *testing.T) {
	f, e := newFixture(), newEngine()
	build(t, e, f.plan(t))
	f.counts()
	e.Force = map[string]bool{"left": true}
	rec := &recorder{}
	e.Observer = rec
	build(t, e, f.plan(t))
	if got, want := f.counts(), "left 1, right 0, both 0"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	if diff := cmp.Diff([]string{"left: it is forced to"}, rec.why); diff != "" {
		t.Error(diff)
	}
	down, err := f.plan(t).Downstream("left")
	if err != nil {
		t.Fatal(err)
	}
	e.Force = down
	build(t, e, f.plan(t))
	if got, want := f.counts(), "left 1, right 0, both 1"; got != want {
		t.Errorf("from left on, ran %s, want %s", got, want)
	}
	var none *stages.NoStageError
	if _, err := f.plan(t).Downstream("lift"); !errors.As(err, &none) || none.Name != "lift" || len(none.Stages) != 3 {
		t.Errorf("of a stage that there is not: %v", err)
	}
}

func TestVerifyRunsEachStageTwice(t *testing.T) {
	f, e := newFixture(), newEngine()
	e.Verify = true
	build(t, e, f.plan(t))
	if got, want := f.counts(), "left 2, right 2, both 2"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	build(t, e, f.plan(t)) // what is known needs one run to compare with
	if got, want := f.counts(), "left 1, right 1, both 1"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
}

// TestDoneIsLeftAlone: what another plan of the same build forced and verified is not
// forced or verified again.
func TestDoneIsLeftAlone(t *testing.T) {
	f, e := newFixture(), newEngine()
	first := build(t, e, f.plan(t))
	f.counts()
	left, _ := first.Step("left")
	e.Done = map[cas.Digest]bool{left.Action: true}
	e.Force = map[string]bool{"left": true, "right": true}
	build(t, e, f.plan(t))
	if got, want := f.counts(), "left 0, right 1, both 0"; got != want {
		t.Errorf("forced: ran %s, want %s", got, want)
	}
	e.Force, e.Verify = nil, true
	build(t, e, f.plan(t))
	if got, want := f.counts(), "left 0, right 1, both 1"; got != want {
		t.Errorf("verified: ran %s, want %s", got, want)
	}
}

// fickle is a kind whose runs differ.
type fickle struct {
	runs *atomic.Int64
	how  func(ctx context.Context, t *stages.Task, run int64) error
}

func (fickle) Name() string { return "fickle" }
func (fickle) Version() int { return 1 }
func (fickle) Params() any  { return struct{}{} }
func (f fickle) Run(ctx context.Context, t *stages.Task) error {
	return f.how(ctx, t, f.runs.Add(1))
}

func TestVerifyFindsWhatDiffers(t *testing.T) {
	tests := map[string]func(ctx context.Context, t *stages.Task, run int64) error{
		"1 changed (b)": func(ctx context.Context, t *stages.Task, run int64) error {
			return errors.Join(t.Out().PutBytes(ctx, "a", nil), t.Out().PutBytes(ctx, "b", []byte{byte(run)}))
		},
		"counter n is 1, then 2": func(_ context.Context, t *stages.Task, run int64) error {
			t.Count("n", run)
			return nil
		},
		"line 2 of what it tells": func(_ context.Context, t *stages.Task, run int64) error {
			t.Infof("first")
			t.Infof("run %d", run)
			return nil
		},
	}
	for want, how := range tests {
		t.Run(want, func(t *testing.T) {
			p, err := stages.NewPlan("p", []stages.Stage{{Name: "one", Kind: fickle{new(atomic.Int64), how}}})
			if err != nil {
				t.Fatal(err)
			}
			e := newEngine()
			e.Verify = true
			_, err = e.Build(t.Context(), p)
			var unstable *stages.UnstableError
			if !errors.As(err, &unstable) || unstable.What != want || !strings.HasPrefix(err.Error(), "one: two runs differ: ") {
				t.Errorf("the error is %v, want %s", err, want)
			}
		})
	}
}

// TestWhyComparesWithTheNearest has a stage whose latest action is not the most alike.
func TestWhyComparesWithTheNearest(t *testing.T) {
	f, e := newFixture(), newEngine()
	var actions []cas.Digest
	e.Earlier = func(_ context.Context, stage string) []cas.Digest {
		if stage != "both" {
			return nil
		}
		return actions
	}
	remember := func() {
		s, _ := build(t, e, f.plan(t)).Step("both")
		actions = append([]cas.Digest{s.Action}, actions...)
	}
	remember()
	f.both, f.version, f.right = "B", 2, "R"
	remember()
	f.both, f.version, f.right = "b", 1, "other"
	forecasts, _, err := e.Preview(t.Context(), f.plan(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`Text: "other", was "R"`}, forecasts[1].Why); diff != "" {
		t.Errorf("right (-want +got)\n%s", diff)
	}
	// What a stage reads is not known before it runs; what it does is.
	f.version = 3
	if forecasts, _, err = e.Preview(t.Context(), f.plan(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"behaviour version: 3, was 1", "stage right runs first"}, forecasts[2].Why); diff != "" {
		t.Errorf("both, before right has run (-want +got)\n%s", diff)
	}
	f.version = 1
	s, _ := build(t, e, f.plan(t)).Step("both")
	if diff := cmp.Diff([]string{"input second: 1 changed (out)"}, s.Why); diff != "" {
		t.Errorf("both (-want +got)\n%s", diff)
	}
}

// tally is a store that counts what is asked of it.
type tally struct {
	cas.Store
	calls atomic.Int64
}

func (s *tally) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	s.calls.Add(1)
	return s.Store.Missing(ctx, ds)
}

// TestTenThousandStagesPlan counts work rather than time: a preview and a build of what
// is known ask the store a few things for each stage, however many there are.
func TestTenThousandStagesPlan(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const size, perStage = 10_000, 6
	p := planOf(t, randomGraph(r, size, 0), &counts{ran: map[string]int{}})
	m := cas.NewMemory()
	store := &tally{Store: m}
	e := &stages.Engine{Store: store, Cache: m}
	if _, err := e.Build(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"preview": func() error { _, _, err := e.Preview(t.Context(), p); return err },
		"build":   func() error { _, err := e.Build(t.Context(), p); return err },
	} {
		store.calls.Store(0)
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if got := store.calls.Load(); got > size*perStage {
			t.Errorf("%s: %d calls of the store for %d stages", name, got, size)
		}
	}
}

func BenchmarkPlanTenThousandStages(b *testing.B) {
	nodes := randomGraph(rand.New(rand.NewPCG(1, 1)), 10_000, 0)
	m := cas.NewMemory()
	e := &stages.Engine{Store: m, Cache: m}
	if _, err := e.Build(b.Context(), planOf(b, nodes, &counts{ran: map[string]int{}})); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := e.Preview(b.Context(), planOf(b, nodes, nil)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTooMuchMemory has a stage that would wait for ever.
func TestTooMuchMemory(t *testing.T) {
	p := planOf(t, []node{{name: "huge", limit: stages.Limit{Memory: 2 << 30}}}, &counts{ran: map[string]int{}})
	e := newEngine()
	e.Memory = 1 << 30
	_, err := e.Build(t.Context(), p)
	if want := "stage huge is to have 2048 MiB of memory, and 1024 MiB are free"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	e.Memory = 0 // not known
	if _, err := e.Build(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func TestNearestStage(t *testing.T) {
	names := []string{"metadata", "select", "download", "crop", "quality", "split", "train", "evaluate", "report", "pack"}
	for written, want := range map[string]string{
		"trian": "train", "Train": "train", "crops": "crop", "eval": "evaluate", "slit": "split", "pakc": "pack",
		"downloads": "download", "model": "", "": "", "x": "",
	} {
		if got := (&stages.NoStageError{Name: written, Stages: names}).Nearest(); got != want {
			t.Errorf("%q: got %q, want %q", written, got, want)
		}
	}
}

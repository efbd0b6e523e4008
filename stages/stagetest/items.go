package stagetest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Case is a kind with inputs.
type Case struct {
	Name   string
	Kind   stages.Kind
	Inputs map[string]cas.Tree
}

// Items holds a kind that has items to what decides them. Each of the cases, run after the
// first, must come to what it comes to on its own, and so must the first after each: so
// a parameter, or a part of an input, that reaches an item and is not in its key is
// found. The cases are to differ from the first in one thing each.
func Items(t *testing.T, store cas.Store, cases ...Case) {
	t.Helper()
	problems, err := misled(t.Context(), store, cases)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// misled returns which cases come to something else after which.
func misled(ctx context.Context, store cas.Store, cases []Case) (problems []string, _ error) {
	alone := make([]cas.Result, len(cases))
	for i, c := range cases {
		var err error
		if alone[i], err = stages.RunKind(ctx, store, c.Kind, c.Inputs, watchedWorkers, stages.Discard); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	for i := range cases {
		for _, order := range [][2]int{{0, i}, {i, 0}} {
			builds := NewBuilds(store)
			before, now := cases[order[0]], cases[order[1]]
			if _, err := builds.build(ctx, before); err != nil {
				return nil, fmt.Errorf("%s: %w", before.Name, err)
			}
			build, err := builds.build(ctx, now)
			if err != nil {
				return nil, fmt.Errorf("%s after %s: %w", now.Name, before.Name, err)
			}
			if diff := sameResult(alone[order[1]], build.Steps[0].Result); diff != "" {
				problems = append(problems, fmt.Sprintf("%s after %s: %s", now.Name, before.Name, diff))
			}
		}
	}
	return problems, nil
}

// Builds builds one stage again and again, with one cache.
type Builds struct{ engine stages.Engine }

// NewBuilds returns builds with an empty cache.
func NewBuilds(store cas.Store) *Builds {
	return &Builds{stages.Engine{Store: store, Cache: cas.NewMemory(), Workers: watchedWorkers}}
}

// given is a Pinner of a tree.
type given struct{ tree cas.Tree }

func (g given) Pin(context.Context, *stages.Task, cas.Tree) (cas.Tree, error) { return g.tree, nil }

// Build runs the stage unless its action has a result, and returns what became of it.
func (b *Builds) Build(t *testing.T, c Case) stages.Step {
	t.Helper()
	build, err := b.build(t.Context(), c)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return build.Steps[0]
}

func (b *Builds) build(ctx context.Context, c Case) (*stages.Build, error) {
	stage := stages.Stage{Name: c.Kind.Name(), Kind: c.Kind}
	for name, tree := range c.Inputs {
		stage.Inputs = append(stage.Inputs, stages.Input{Name: name, Pin: given{tree}})
	}
	plan, err := stages.NewPlan("stagetest", []stages.Stage{stage})
	if err != nil {
		return nil, err
	}
	return b.engine.Build(ctx, plan)
}

// sameResult tells how a result differs from the one that it should be.
func sameResult(want, got cas.Result) string {
	type plain struct {
		Tree, Items string
		Counters    map[string]int64
		Log         []cas.Line
	}
	of := func(r cas.Result) plain { return plain{r.Tree.String(), r.Items.String(), r.Counters, r.Log} }
	if diff := cmp.Diff(of(want), of(got)); diff != "" {
		return "the result differs (-alone +after)\n" + diff
	}
	return ""
}

// lostBlobs is how many blobs are lost, one at a time.
const lostBlobs = 8

// items runs the kind with the items of an earlier run.
func (s suite) items(ctx context.Context) (problems []string, _ error) {
	hiding := &hiding{Store: s.store}
	builds := NewBuilds(hiding)
	again := func() (stages.Step, error) {
		build, err := builds.build(ctx, Case{s.kind.Name(), s.kind, s.inputs})
		if err != nil {
			return stages.Step{}, err
		}
		return build.Steps[0], builds.engine.Forget(ctx, build) // but for its items
	}
	first, err := again()
	if err != nil || first.Result.Items.IsZero() {
		return nil, err
	}
	second, err := again()
	if err != nil {
		return nil, err
	}
	if diff := sameResult(first.Result, second.Result); diff != "" {
		problems = append(problems, diff)
	}
	for _, w := range second.Work {
		if w.Done > 0 {
			problems = append(problems, fmt.Sprintf("%d %s are %s once more", w.Done, w.Unit, w.Verb))
		}
	}
	lose, err := s.ownBlobs(ctx, first.Result)
	if err != nil {
		return nil, err
	}
	for i := range min(lostBlobs, len(lose)) {
		lost := lose[i*len(lose)/min(lostBlobs, len(lose))]
		hiding.hide(lost)
		step, err := again()
		if err != nil {
			return nil, fmt.Errorf("without %s: %w", lost, err)
		}
		if diff := sameResult(first.Result, step.Result); diff != "" {
			problems = append(problems, fmt.Sprintf("when %s was lost, %s", lost, diff))
		}
	}
	return problems, nil
}

// ownBlobs returns the blobs of a result's items that are not the inputs'.
func (s suite) ownBlobs(ctx context.Context, r cas.Result) (own []cas.Digest, _ error) {
	inputs := make(map[cas.Digest]bool)
	for _, tree := range s.inputs {
		if err := cas.NewTree(s.store, tree.ID()).Reach(ctx, func(d cas.Digest) bool { inputs[d] = true; return true }); err != nil {
			return nil, err
		}
	}
	err := cas.NewTree(s.store, r.Items).Reach(ctx, func(d cas.Digest) bool {
		if !inputs[d] {
			own = append(own, d)
		}
		return true
	})
	return own, err
}

// hiding is a store that has lost a blob, until it is stored again.
type hiding struct {
	cas.Store

	mu     sync.Mutex // guards hidden
	hidden cas.Digest
}

func (h *hiding) hides(d cas.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return d == h.hidden
}

func (h *hiding) hide(d cas.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hidden = d
}

// Open implements cas.Store.
func (h *hiding) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	if h.hides(d) {
		return nil, &cas.BlobError{Digest: d, Err: fs.ErrNotExist}
	}
	return h.Store.Open(ctx, d)
}

// Missing implements cas.Store.
func (h *hiding) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	var known, missing []cas.Digest
	for _, d := range ds {
		if h.hides(d) {
			missing = append(missing, d)
		} else {
			known = append(known, d)
		}
	}
	more, err := h.Store.Missing(ctx, known)
	return append(missing, more...), err
}

// Put implements cas.Store.
func (h *hiding) Put(ctx context.Context, r io.Reader) (cas.Digest, error) {
	d, err := h.Store.Put(ctx, r)
	if err == nil && h.hides(d) {
		h.hide(cas.Digest{})
	}
	return d, err
}

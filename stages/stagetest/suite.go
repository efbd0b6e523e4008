package stagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Golden is what a kind writes at one behaviour version.
type Golden struct {
	Version int
	Tree    string // the digest of the output; empty where it depends on the processor
}

// Suite holds a kind to what the engine takes for granted. On the given inputs, which
// must give an output, it tests that
//
//   - equal inputs give equal bytes, counters and log, however many workers there are;
//   - the output is the golden one, so that nobody changes it without raising the
//     behaviour version;
//   - the parameters are a JSON object that running does not change;
//   - whenever the context ends, the kind ends within a second, with that as the error,
//     and nothing of it works on;
//   - it reads nothing of the store but its inputs, and the blobs that its parameters name
//     (which a method Reads returns, if it has one), and writes nothing to the store, to
//     the working directory, to the home or to the temporary folder but its output and
//     what its items came to;
//   - with the items of an earlier run it does nothing again, and the result is the same,
//     also after the store has lost some of it. See Items for what decides an item.
//
// That every setting of a manifest reaches the key of a stage is tested where the two
// meet, in internal/pipeline.
func Suite(t *testing.T, store cas.Store, kind stages.Kind, inputs map[string]cas.Tree, golden Golden) {
	t.Helper()
	s := suite{store: store, kind: kind, inputs: inputs}
	for _, check := range []struct {
		name     string
		problems func(ctx context.Context) ([]string, error)
	}{
		{"same bytes", s.sameBytes},
		{"golden", func(ctx context.Context) ([]string, error) { return s.golden(ctx, golden) }},
		{"parameters", s.parameters},
		{"cancel", s.cancel},
		{"only its output", s.onlyItsOutput},
		{"items", s.items},
	} {
		t.Run(check.name, func(t *testing.T) {
			folder := t.TempDir()
			t.Chdir(folder)
			for _, name := range []string{"HOME", "TMPDIR", "XDG_CACHE_HOME"} {
				t.Setenv(name, folder)
			}
			problems, err := check.problems(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range append(problems, leftBehind(t, folder)...) {
				t.Errorf("%s: %s", kind.Name(), problem)
			}
		})
	}
}

// leftBehind tells of files in a folder.
func leftBehind(t *testing.T, folder string) (problems []string) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		problems = append(problems, "the file "+f.Name()+" is left behind")
	}
	return problems
}

// suite is a kind under test. Its methods return what is wrong with the kind.
type suite struct {
	store  cas.Store
	kind   stages.Kind
	inputs map[string]cas.Tree
}

func (s suite) run(ctx context.Context, workers int) (cas.Result, error) {
	return stages.RunKind(ctx, s.store, s.kind, s.inputs, workers, stages.Discard)
}

func (s suite) sameBytes(ctx context.Context) (problems []string, _ error) {
	want, err := s.run(ctx, 1)
	if err != nil {
		return nil, err
	}
	for _, workers := range []int{1, 2, 8} {
		got, err := s.run(ctx, workers)
		if err != nil {
			return nil, err
		}
		if got.Tree != want.Tree {
			problems = append(problems, fmt.Sprintf("with %d workers the output is %s, with one it was %s", workers, got.Tree, want.Tree))
		}
		if diff := cmp.Diff(want.Counters, got.Counters); diff != "" {
			problems = append(problems, fmt.Sprintf("counters with %d workers (-one +%d)\n%s", workers, workers, diff))
		}
		if diff := cmp.Diff(want.Log, got.Log); diff != "" {
			problems = append(problems, fmt.Sprintf("log with %d workers (-one +%d)\n%s", workers, workers, diff))
		}
	}
	return problems, nil
}

func (s suite) golden(ctx context.Context, golden Golden) ([]string, error) {
	if got := s.kind.Version(); got != golden.Version {
		return []string{fmt.Sprintf("the version is %d, and the golden output is of version %d: give it the new one", got, golden.Version)}, nil
	}
	if golden.Tree == "" {
		return nil, nil
	}
	got, err := s.run(ctx, watchedWorkers)
	if err != nil || got.Tree.String() == golden.Tree {
		return nil, err
	}
	return []string{fmt.Sprintf("version %d writes\n     %s\nwant %s\nIf that is meant, raise the version and give the golden output both.",
		golden.Version, got.Tree, golden.Tree)}, nil
}

func (s suite) parameters(ctx context.Context) (problems []string, _ error) {
	before, err := json.Marshal(s.kind.Params())
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(before, &object); err != nil || object == nil {
		problems = append(problems, fmt.Sprintf("the parameters are no object with names that an explanation could use: %s", before))
	}
	if _, err := s.run(ctx, watchedWorkers); err != nil {
		return nil, err
	}
	after, err := json.Marshal(s.kind.Params())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(before, after) {
		problems = append(problems, fmt.Sprintf("running changes the parameters: %s becomes %s", before, after))
	}
	return problems, nil
}

// errStop is why the suite ends a run.
var errStop = errors.New("stopped by the suite")

const (
	// watchedWorkers is how many workers a run has that is watched.
	watchedWorkers = 2
	// cancelPoints is how many moments of a run are tried for its end.
	cancelPoints = 12
	// graceTime is how soon a kind must have ended.
	graceTime = time.Second
	// graceMoments is how many calls of the store and events may follow the end: each
	// worker may be on its way to one or two.
	graceMoments = 4 * watchedWorkers
)

func (s suite) cancel(ctx context.Context) (problems []string, _ error) {
	// A run that is not ended tells how many moments there are to choose from.
	whole := newWatch(s.store)
	if _, err := whole.run(ctx, s); err != nil {
		return nil, err
	}
	for i := range cancelPoints {
		problems = append(problems, s.cancelAt(ctx, 1+i*whole.moments/cancelPoints)...)
	}
	return problems, nil
}

// cancelAt ends a run at one of its calls of the store and events.
func (s suite) cancelAt(ctx context.Context, moment int) (problems []string) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatch(s.store)
	ended := time.Now() // a run may have fewer moments than the one that was counted
	w.at, w.end = moment, func() {
		ended = time.Now()
		cancel(errStop)
	}
	_, err := w.run(ctx, s)
	took := time.Since(ended)
	w.mu.Lock()
	defer w.mu.Unlock()
	say := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf("ended at moment %d, ", moment)+fmt.Sprintf(format, args...))
	}
	if w.moments >= moment && !errors.Is(err, errStop) && !errors.Is(err, context.Canceled) {
		say("the error is %v", err)
	}
	if took > graceTime {
		say("it took %v more", took)
	}
	if more := w.moments - moment; more > graceMoments {
		say("it did %d more things", more)
	}
	if w.deaf {
		say("it used the store under a context that goes on")
	}
	w.closed = true
	return problems
}

func (s suite) onlyItsOutput(ctx context.Context) (problems []string, _ error) {
	w := newWatch(s.store)
	result, err := w.run(ctx, s)
	if err != nil {
		return nil, err
	}
	known := make(map[cas.Digest]bool)
	for _, id := range result.Trees() {
		kept, err := blobs(ctx, cas.NewTree(s.store, id))
		if err != nil {
			return nil, err
		}
		maps.Copy(known, kept)
	}
	for d := range w.put {
		if !known[d] {
			problems = append(problems, fmt.Sprintf("it stores %s, which is not part of its output", d))
		}
	}
	for _, tree := range s.inputs {
		input, err := blobs(ctx, tree)
		if err != nil {
			return nil, err
		}
		maps.Copy(known, input)
	}
	if named, ok := s.kind.(interface{ Reads() []cas.Digest }); ok {
		for _, d := range named.Reads() {
			known[d] = true
		}
	}
	for d := range w.opened {
		if !known[d] {
			problems = append(problems, fmt.Sprintf("it reads %s, which is not part of its inputs", d))
		}
	}
	return problems, nil
}

// blobs returns every file and every directory of a tree.
func blobs(ctx context.Context, tree cas.Tree) (map[cas.Digest]bool, error) {
	all := map[cas.Digest]bool{tree.ID().Digest(): true}
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return nil, err
		}
		all[f.Digest] = true
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			sub, err := tree.Sub(ctx, dir)
			if err != nil {
				return nil, err
			}
			if all[sub.ID().Digest()] {
				break // and all above it
			}
			all[sub.ID().Digest()] = true
		}
	}
	return all, nil
}

// watch is a store and an observer that count what a kind does with them, and can end
// its run in the midst of it.
type watch struct {
	store cas.Store

	mu      sync.Mutex // guards the rest
	moments int        // calls and events so far
	at      int        // the moment at which end is called; 0 for never
	end     func()
	closed  bool // the kind has returned
	deaf    bool // the kind called after the end with a context that goes on
	put     map[cas.Digest]bool
	opened  map[cas.Digest]bool
}

func newWatch(store cas.Store) *watch {
	return &watch{store: store, put: map[cas.Digest]bool{}, opened: map[cas.Digest]bool{}}
}

// run runs the kind with everything that it reads and writes in view.
func (w *watch) run(ctx context.Context, s suite) (cas.Result, error) {
	inputs := make(map[string]cas.Tree, len(s.inputs))
	for name, tree := range s.inputs {
		inputs[name] = cas.NewTree(w, tree.ID())
	}
	return stages.RunKind(ctx, w, s.kind, inputs, watchedWorkers, w)
}

// moment counts a call or an event, and reports whether the run has been ended.
func (w *watch) moment() (ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		panic("the kind has returned and works on")
	}
	w.moments++
	if w.at > 0 && w.moments == w.at {
		w.end()
	}
	return w.at > 0 && w.moments >= w.at
}

// call is the moment of a call of the store. Its error ends the call.
func (w *watch) call(ctx context.Context) error {
	if !w.moment() {
		return nil
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf = true
	return nil
}

// Open implements cas.Store.
func (w *watch) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	if err := w.call(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.opened[d] = true
	w.mu.Unlock()
	return w.store.Open(ctx, d)
}

// Put implements cas.Store.
func (w *watch) Put(ctx context.Context, r io.Reader) (cas.Digest, error) {
	if err := w.call(ctx); err != nil {
		return cas.Digest{}, err
	}
	d, err := w.store.Put(ctx, r)
	if err == nil {
		w.mu.Lock()
		w.put[d] = true
		w.mu.Unlock()
	}
	return d, err
}

// Missing implements cas.Store.
func (w *watch) Missing(ctx context.Context, ds []cas.Digest) ([]cas.Digest, error) {
	if err := w.call(ctx); err != nil {
		return nil, err
	}
	return w.store.Missing(ctx, slices.Clone(ds))
}

// Observe implements stages.Observer.
func (w *watch) Observe(stages.Event) { w.moment() }

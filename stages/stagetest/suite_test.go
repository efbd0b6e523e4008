package stagetest

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// fake is a kind made of functions.
type fake struct {
	params any
	run    func(ctx context.Context, t *stages.Task) error
}

func (fake) Name() string                                    { return "fake" }
func (fake) Version() int                                    { return 1 }
func (f fake) Params() any                                   { return f.params }
func (f fake) Run(ctx context.Context, t *stages.Task) error { return f.run(ctx, t) }

// copies is what a good kind does: it copies its input file by file.
func copies(ctx context.Context, t *stages.Task) error {
	for f, err := range t.Input("in").Files(ctx) {
		if err != nil {
			return err
		}
		data, err := t.Input("in").ReadFile(ctx, f.Path)
		if err != nil {
			return err
		}
		if err := t.Out().PutBytes(ctx, f.Path, data); err != nil {
			return err
		}
	}
	return nil
}

// itemwise is what a good kind with items does: it copies its input, and each file is an
// item. key returns what decides a file.
func itemwise(key func(f cas.File) any) func(ctx context.Context, t *stages.Task) error {
	return func(ctx context.Context, t *stages.Task) error {
		set, err := t.Items(ctx, "files", nil)
		if err != nil {
			return err
		}
		var done, reused int64
		for f, err := range t.Input("in").Files(ctx) {
			if err != nil {
				return err
			}
			item, err := set.Begin(ctx, f.Path, key(f))
			if err != nil {
				return err
			}
			o, known := item.Known()
			if known {
				reused++
			} else {
				done++
				o.Blobs = []cas.Digest{f.Digest}
				if err := item.Done(ctx, o); err != nil {
					return err
				}
			}
			if err := t.Out().Add(f.Path, o.Blobs[0]); err != nil {
				return err
			}
		}
		t.Did("files", "copied", done, reused)
		return nil
	}
}

func byDigest(f cas.File) any { return f.Digest.Hex() }

func newSuite(t *testing.T, params any, run func(ctx context.Context, t *stages.Task) error) suite {
	t.Helper()
	store := cas.NewMemory()
	files := map[string]string{}
	for i := range 26 {
		files["f/"+string(rune('a'+i))] = strings.Repeat("x", i)
	}
	return suite{store: store, kind: fake{params, run}, inputs: map[string]cas.Tree{"in": Tree(t, store, files)}}
}

func TestSuitePassesAGoodKind(t *testing.T) {
	for _, run := range []func(context.Context, *stages.Task) error{copies, itemwise(byDigest)} {
		s := newSuite(t, struct{}{}, run)
		Suite(t, s.store, s.kind, s.inputs, Golden{1, s.inputs["in"].ID().String()})
	}
}

// TestItemsSeesAForgottenKey has two inputs that differ in the content of a file.
func TestItemsSeesAForgottenKey(t *testing.T) {
	for _, test := range []struct {
		key      func(cas.File) any
		problems int
	}{
		{byDigest, 0},
		{func(f cas.File) any { return f.Path }, 2}, // either is misled by the other
	} {
		store := cas.NewMemory()
		var cases []Case
		for _, content := range []string{"x", "y"} {
			in := map[string]cas.Tree{"in": Tree(t, store, map[string]string{"f": content, "g": "z"})}
			cases = append(cases, Case{content, fake{struct{}{}, itemwise(test.key)}, in})
		}
		problems, err := misled(t.Context(), store, cases)
		if err != nil || len(problems) != test.problems {
			t.Errorf("problems are %q, %v", problems, err)
		}
	}
}

// TestSuiteSeesEachMistake runs kinds that each make one mistake.
func TestSuiteSeesEachMistake(t *testing.T) {
	var runs atomic.Int64
	growing := map[string]int{}
	tests := []struct {
		name   string
		params any
		run    func(ctx context.Context, t *stages.Task) error
		check  func(suite, context.Context) ([]string, error)
		want   string
	}{
		{"depends on the number of workers", nil, func(ctx context.Context, t *stages.Task) error {
			return t.Out().PutBytes(ctx, "out", []byte{byte(t.Workers())})
		}, suite.sameBytes, "with 2 workers the output is"},
		{"differs each time", nil, func(ctx context.Context, t *stages.Task) error {
			return t.Out().PutBytes(ctx, "out", []byte{byte(runs.Add(1))})
		}, suite.sameBytes, "with 1 workers the output is"},
		{"counts the workers", nil, func(_ context.Context, t *stages.Task) error {
			t.Count("workers", int64(t.Workers()))
			return nil
		}, suite.sameBytes, "counters with 2 workers"},
		{"tells of the workers", nil, func(_ context.Context, t *stages.Task) error {
			t.Infof("%d workers", t.Workers())
			return nil
		}, suite.sameBytes, "log with 2 workers"},
		{"has another output", nil, copies, func(s suite, ctx context.Context) ([]string, error) {
			return s.golden(ctx, Golden{1, "sha256:00"})
		}, "raise the version"},
		{"has another version", nil, copies, func(s suite, ctx context.Context) ([]string, error) {
			return s.golden(ctx, Golden{2, "sha256:00"})
		}, "the version is 1"},
		{"has parameters without names", []int{1}, copies,
			suite.parameters, "no object with names"},
		{"changes its parameters", growing, func(context.Context, *stages.Task) error {
			growing["n"]++
			return nil
		}, suite.parameters, "running changes the parameters"},
		{"works on under another context", nil, func(ctx context.Context, t *stages.Task) error {
			return copies(context.WithoutCancel(ctx), t)
		}, suite.cancel, "under a context that goes on"},
		{"does all the rest first", nil, func(ctx context.Context, t *stages.Task) error {
			for i := range 26 {
				t.Progress(int64(i), 26, "letters")
			}
			return copies(ctx, t)
		}, suite.cancel, "more things"},
		{"hides that it was ended", nil, func(ctx context.Context, t *stages.Task) error {
			if copies(ctx, t) != nil {
				return os.ErrInvalid
			}
			return nil
		}, suite.cancel, "the error is invalid argument"},
		{"stores what is not of its output", nil, func(ctx context.Context, t *stages.Task) error {
			_, err := cas.PutBytes(ctx, t.Store(), []byte("scratch"))
			return err
		}, suite.onlyItsOutput, "it stores"},
		{"does its items once more", nil, itemwise(func(cas.File) any { return runs.Add(1) }), suite.items, "files are copied once more"},
		{"counts what it does", nil, func(ctx context.Context, t *stages.Task) error {
			err := itemwise(byDigest)(ctx, t)
			t.Count("runs", runs.Add(1))
			return err
		}, suite.items, "the result differs"},
		{"reads what is not of its inputs", nil, func(ctx context.Context, t *stages.Task) error {
			_, err := cas.ReadBlob(ctx, t.Store(), cas.Sum([]byte("secret")))
			return err
		}, suite.onlyItsOutput, "it reads"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSuite(t, test.params, test.run)
			if _, err := cas.PutBytes(t.Context(), s.store, []byte("secret")); err != nil {
				t.Fatal(err)
			}
			problems, err := test.check(s, t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(problems, "\n"), test.want) {
				t.Errorf("problems are %q, want one with %q", problems, test.want)
			}
		})
	}
}

func TestLeftBehind(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(folder+"/note", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := leftBehind(t, folder); len(got) != 1 || !strings.Contains(got[0], "note") {
		t.Errorf("got %q", got)
	}
}

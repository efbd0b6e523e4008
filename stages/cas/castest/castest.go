// Package castest is the suite that every store of blobs and results passes.
package castest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Store is what a build needs of a store: blobs, and which action produced what.
type Store interface {
	cas.Store
	Result(context.Context, cas.Digest) (cas.Result, error)
	Record(context.Context, cas.Digest, cas.Result) error
	Forget(context.Context, cas.Digest) error
	Latest(context.Context, string) (cas.Digest, error)
	Note(context.Context, string, cas.Digest) error
}

// Run runs the suite. Each part opens a store of its own, which is empty.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Run("blobs", func(t *testing.T) { blobs(t, open(t)) })
	t.Run("put that fails", func(t *testing.T) { putThatFails(t, open(t)) })
	t.Run("results", func(t *testing.T) { results(t, open(t)) })
	t.Run("latest", func(t *testing.T) { latest(t, open(t)) })
}

func blobs(t *testing.T, s Store) {
	for _, data := range []string{"", "a", strings.Repeat("sandwich", 100_000)} {
		for range 2 { // storing again changes nothing
			d, err := s.Put(t.Context(), strings.NewReader(data))
			if err != nil || d != cas.Sum([]byte(data)) {
				t.Errorf("Put of %d bytes returned %s, %v", len(data), d, err)
			}
			got, err := cas.ReadBlob(t.Context(), s, d)
			if err != nil || string(got) != data {
				t.Errorf("read %d bytes back, want %d: %v", len(got), len(data), err)
			}
		}
	}
	absent := cas.Sum([]byte("absent"))
	if _, err := s.Open(t.Context(), absent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of an absent blob: %v", err)
	}
	missing, err := s.Missing(t.Context(), []cas.Digest{absent, cas.Sum(nil)})
	if err != nil || !slices.Equal(missing, []cas.Digest{absent}) {
		t.Errorf("Missing = %v, %v", missing, err)
	}
}

func putThatFails(t *testing.T, s Store) {
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := s.Put(t.Context(), broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Put = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put after cancel = %v", err)
	}
	ds := []cas.Digest{cas.Sum([]byte("half")), cas.Sum([]byte("x"))}
	if missing, err := s.Missing(t.Context(), ds); err != nil || len(missing) != 2 {
		t.Errorf("of what failed, missing is %v, %v", missing, err)
	}
}

func results(t *testing.T, s Store) {
	action := cas.Sum([]byte("action"))
	want := cas.Result{
		Tree:     cas.NewTreeID(cas.Sum([]byte("tree"))),
		Counters: map[string]int64{"crops": 3},
		Log:      []cas.Line{{Text: "hello"}, {Warning: true, Text: "careful"}},
	}
	if _, err := s.Result(t.Context(), action); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Result before Record: %v", err)
	}
	if err := s.Record(t.Context(), action, want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Result(t.Context(), action)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(cas.TreeID{}, cas.Digest{})); err != nil || diff != "" {
		t.Errorf("Result: %v (-want +got)\n%s", err, diff)
	}
	for range 2 {
		if err := s.Forget(t.Context(), action); err != nil {
			t.Errorf("Forget: %v", err)
		}
	}
	if _, err := s.Result(t.Context(), action); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Result after Forget: %v", err)
	}
}

func latest(t *testing.T, s Store) {
	if _, err := s.Latest(t.Context(), "crop"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Latest before Note: %v", err)
	}
	for _, action := range []cas.Digest{cas.Sum([]byte("first")), cas.Sum([]byte("second"))} {
		if err := s.Note(t.Context(), "crop", action); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Latest(t.Context(), "crop"); err != nil || got != action {
			t.Errorf("Latest = %s, %v", got, err)
		}
	}
}

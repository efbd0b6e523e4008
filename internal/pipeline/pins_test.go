package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/internal/pinfile"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// countingPinner makes the same tree each time, and counts.
type countingPinner struct{ calls int }

func (c *countingPinner) Pin(ctx context.Context, t *stages.Task, _ cas.Tree) (cas.Tree, error) {
	c.calls++
	b := cas.NewBuilder(t.Store())
	for _, name := range []string{pinfile.PinsFile, pinfile.DeadFile} {
		if err := b.PutBytes(ctx, name, []byte(name)); err != nil {
			return cas.Tree{}, err
		}
	}
	return b.Commit(ctx)
}

// TestPinsAreRemembered holds that the photos are looked at when anything that their pins
// depend on has changed, and only then.
func TestPinsAreRemembered(t *testing.T) {
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), lock.FileName)
	dead := func(n int) lock.Photos {
		return func(yield func(lock.Photo, error) bool) {
			for i := range n {
				if !yield(lock.Photo{ID: fmt.Sprint(i), Dead: "gone"}, nil) {
					return
				}
			}
		}
	}
	selection := cas.NewTree(store, cas.NewTreeID(cas.Sum([]byte("selection"))))
	pinner := &countingPinner{}
	pin := func(change func(s *session, selection *cas.Tree)) {
		t.Helper()
		if _, err := lock.Write(path, &lock.Lock{Photos: dead(2)}); err != nil {
			t.Fatal(err)
		}
		l, err := openLock(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // nothing was written
		m := &manifest.Manifest{Dataset: manifest.Dataset{Images: []string{"original"}}}
		s := &session{Project: &Project{Manifest: m}, lock: l, memory: memo.Memory{Notes: store}, options: Options{Store: store}}
		from := selection
		change(s, &from)
		if _, err := stages.RunPinner(t.Context(), store, remembering{s, pinner, l.write}, from, 1, stages.Discard); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name   string
		change func(s *session, selection *cas.Tree)
		calls  int
	}{
		{"the first time", func(*session, *cas.Tree) {}, 1},
		{"again", func(*session, *cas.Tree) {}, 0},
		{"the dead are tried again", func(s *session, _ *cas.Tree) { s.options.Retry = true }, 1},
		{"other places", func(s *session, _ *cas.Tree) { s.Manifest.Dataset.Images = []string{"cvdf"} }, 1},
		{"another selection", func(_ *session, from *cas.Tree) { *from = cas.NewTree(store, cas.NewTreeID(cas.Sum(nil))) }, 1},
		{"another lock", func(s *session, _ *cas.Tree) { s.lock.Photos, s.lock.ahead = dead(1), true }, 1},
		{"as at first", func(*session, *cas.Tree) {}, 0},
		{"the pins are lost", func(*session, *cas.Tree) {
			lose(t, store, cas.Sum([]byte(pinfile.PinsFile)))
		}, 1},
	}
	for _, step := range steps {
		before := pinner.calls
		pin(step.change)
		if got := pinner.calls - before; got != step.calls {
			t.Errorf("%s: the photos were pinned %d times, want %d", step.name, got, step.calls)
		}
	}
}

// lose damages a blob, upon which the store sets it aside.
func lose(t *testing.T, store *disk.Store, d cas.Digest) {
	t.Helper()
	for l, err := range store.Blobs(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Digest != d {
			continue
		}
		data, err := os.ReadFile(l.File)
		if err != nil {
			t.Fatal(err)
		}
		data[l.Offset] ^= 1
		if err := os.WriteFile(l.File, data, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := store.Check(t.Context(), l); err == nil {
			t.Fatalf("blob %s is not damaged", d)
		}
	}
}

package memo_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// notes are kept in a map.
type notes map[string]cas.Digest

func (n notes) Latest(_ context.Context, name string) (cas.Digest, error) {
	d, ok := n[name]
	if !ok {
		return cas.Digest{}, fs.ErrNotExist
	}
	return d, nil
}

func (n notes) Note(_ context.Context, name string, d cas.Digest) error {
	n[name] = d
	return nil
}

func TestFacts(t *testing.T) {
	m := memo.Memory{Notes: notes{}}
	a, b := memo.Fact{"pins", "ab", "c"}, memo.Fact{"pins", "a", "bc"}
	if _, ok := m.Recall(t.Context(), a); ok {
		t.Error("something is known before it was found out")
	}
	m.Keep(t.Context(), a, cas.Sum([]byte("a")))
	if d, ok := m.Recall(t.Context(), a); !ok || d != cas.Sum([]byte("a")) {
		t.Errorf("got %v, %v", d, ok)
	}
	if _, ok := m.Recall(t.Context(), b); ok {
		t.Error("a fact is taken for another")
	}
}

// TestFilesAreReadAgain changes a file in ways that its size and modification time do not
// tell, and looks at it when a change may be too young to be told.
func TestFilesAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "boxes.csv")
	write := func(text string, modified time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, modified); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := time.Now()
	m := memo.Memory{Notes: notes{}, Now: func() time.Time { return clock }}
	reads := 0
	sum := func(name string, text string, read bool) {
		t.Helper()
		before := reads
		stat := func() (fs.FileInfo, error) { return os.Stat(path) }
		d, err := m.Sum(t.Context(), path, stat, func() (cas.Digest, error) {
			reads++
			data, err := os.ReadFile(path)
			return cas.Sum(data), err
		})
		if err != nil || d != cas.Sum([]byte(text)) {
			t.Errorf("%s: got %v, %v", name, d, err)
		}
		if (reads > before) != read {
			t.Errorf("%s: read %v, want %v", name, reads > before, read)
		}
	}
	write("one", old)
	sum("new", "one", true)
	sum("it has just changed", "one", true)
	clock = clock.Add(time.Hour)
	sum("the first time that can be remembered", "one", true)
	sum("as it was", "one", false)
	clock = clock.Add(-time.Hour)
	sum("a clock that went back forgets nothing", "one", false)
	time.Sleep(10 * time.Millisecond) // for the clock of the file system
	write("two", old)
	sum("other bytes, the same size and time", "two", true)
	clock = clock.Add(time.Hour)
	sum("later", "two", true)
	sum("as it was", "two", false)
	write("three", clock.Add(time.Minute))
	sum("from the future", "three", true)
	sum("still from the future", "three", true)
}

// TestChangedWhileRead remembers nothing of a file that changes while it is read.
func TestChangedWhileRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "boxes.csv")
	if err := os.WriteFile(path, []byte("one"), 0o666); err != nil {
		t.Fatal(err)
	}
	kept := notes{}
	m := memo.Memory{Notes: kept, Now: func() time.Time { return time.Now().Add(time.Hour) }}
	stat := func() (fs.FileInfo, error) { return os.Stat(path) }
	_, err := m.Sum(t.Context(), path, stat, func() (cas.Digest, error) {
		return cas.Sum([]byte("one")), os.WriteFile(path, []byte("other"), 0o666)
	})
	if err != nil || len(kept) != 0 {
		t.Errorf("%d facts are kept, %v", len(kept), err)
	}
	if d, err := m.File(t.Context(), path); err != nil || d != cas.Sum([]byte("other")) || len(kept) != 1 {
		t.Errorf("then: %v, %v, %d facts", d, err, len(kept))
	}
}

package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"testing"
)

func historyOf(t *testing.T, s *Store, name string) []string {
	t.Helper()
	entries, err := s.History(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, e := range entries {
		texts = append(texts, string(e))
	}
	return texts
}

func newDisk(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHistory(t *testing.T) {
	s := newDisk(t)
	if got := historyOf(t, s, "a"); got != nil {
		t.Errorf("before any entry: %q", got)
	}
	for _, entry := range []string{"one", "", "three"} {
		if err := s.Append(t.Context(), "a", []byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	if got := historyOf(t, s, "a"); fmt.Sprintf("%q", got) != `["one" "" "three"]` {
		t.Errorf("got %q", got)
	}
	if got := historyOf(t, s, "b"); got != nil {
		t.Errorf("another name has %q", got)
	}
	if err := s.Append(t.Context(), "a", []byte("two\nlines")); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("of two lines: %v", err)
	}
}

// TestHistoryIsCutAnywhere cuts and damages the file at every byte: what is left of it is
// what was appended, and it goes on.
func TestHistoryIsCutAnywhere(t *testing.T) {
	s := newDisk(t)
	for _, entry := range []string{"one", "two"} {
		if err := s.Append(t.Context(), "a", []byte(entry)); err != nil {
			t.Fatal(err)
		}
	}
	file, _ := s.historyFiles("a")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		for _, text := range [][]byte{whole[:cut], append(append(bytes.Clone(whole[:cut]), whole[cut]^1), whole[cut+1:]...)} {
			if err := os.WriteFile(file, text, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := s.Append(t.Context(), "a", []byte("next")); err != nil {
				t.Fatal(err)
			}
			got := historyOf(t, s, "a")
			if got[len(got)-1] != "next" {
				t.Fatalf("cut at %d: %q", cut, got)
			}
			for _, entry := range got[:len(got)-1] {
				if entry != "one" && entry != "two" {
					t.Fatalf("cut at %d: %q", cut, got)
				}
			}
		}
	}
}

func TestHistoryOfManyAtOnce(t *testing.T) {
	s := newDisk(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if err := s.Append(t.Context(), "a", bytes.Repeat([]byte{'x'}, 5000+i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(historyOf(t, s, "a")); got != 50 {
		t.Errorf("%d entries, want 50", got)
	}
}

func TestHistoryStaysSmall(t *testing.T) {
	s := newDisk(t)
	const size = maxHistory / 8
	for i := range 20 {
		if err := s.Append(t.Context(), "a", bytes.Repeat([]byte{byte('a' + i)}, size)); err != nil {
			t.Fatal(err)
		}
	}
	got := historyOf(t, s, "a")
	if len(got) > 10 || got[len(got)-1][0] != 'a'+19 {
		t.Errorf("%d entries, the last of %q", len(got), got[len(got)-1][0])
	}
}

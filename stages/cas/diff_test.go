package cas

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	store := NewMemory()
	tree := func(files map[string]string) Tree {
		b := NewBuilder(store)
		for name, content := range files {
			if err := b.PutBytes(t.Context(), name, []byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := b.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	old := tree(map[string]string{"a": "1", "d/b": "2", "d/c": "3", "same/x": "4", "was/file": "5", "turns": "6"})
	now := tree(map[string]string{"a": "changed", "d/b": "2", "d/n": "new", "same/x": "4", "turns/into": "7"})
	got, err := Diff(t.Context(), old, now, 100)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range got.First {
		lines = append(lines, fmt.Sprint(c.Path, " ", !c.Old.IsZero(), " ", !c.New.IsZero()))
	}
	want := []string{"a true true", "d/c true false", "d/n false true", "turns true false", "turns/into false true", "was/file true false"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("changes (-want +got)\n%s", diff)
	}
	few, err := Diff(t.Context(), old, now, 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := "1 changed (a), 2 added, 3 removed (d/c, …)"; few.String() != want {
		t.Errorf("got %q, want %q", few, want)
	}
	if same, err := Diff(t.Context(), old, old, 2); err != nil || same.String() != "no file differs" {
		t.Errorf("of equal trees: %v, %v", same, err)
	}
}

// TestDiffReadsOnlyWhatDiffers compares trees of which the equal part is not in the store.
func TestDiffReadsOnlyWhatDiffers(t *testing.T) {
	store := NewMemory()
	lost := NewTreeID(Sum([]byte("lost")))
	tree := func(content string) Tree {
		b := NewBuilder(store)
		if err := b.AddTree(t.Context(), "equal", NewTree(store, lost)); err != nil {
			t.Fatal(err)
		}
		if err := b.PutBytes(t.Context(), "d/file", []byte(content)); err != nil {
			t.Fatal(err)
		}
		tree, err := b.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	got, err := Diff(t.Context(), tree("1"), tree("2"), 1)
	if err != nil || got.String() != "1 changed (d/file)" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := Diff(t.Context(), tree("1"), NewTree(store, lost), 1); err == nil {
		t.Error("a tree that is lost was compared")
	}
}

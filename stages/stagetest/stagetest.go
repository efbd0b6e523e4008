// Package stagetest is the suite that every kind of stage passes.
package stagetest

import (
	"testing"

	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Run runs a kind twice, with one worker and with eight, fails the test unless both
// gave the same result, and returns the output and what was counted and said.
func Run(t *testing.T, store cas.Store, kind stages.Kind, inputs map[string]cas.Tree) (cas.Tree, cas.Result) {
	t.Helper()
	one, err := stages.RunKind(t.Context(), store, kind, inputs, 1, stages.Discard)
	if err != nil {
		t.Fatalf("%s: %v", kind.Name(), err)
	}
	eight, err := stages.RunKind(t.Context(), store, kind, inputs, 8, stages.Discard)
	if err != nil {
		t.Fatalf("%s with eight workers: %v", kind.Name(), err)
	}
	if one.Tree != eight.Tree {
		t.Fatalf("%s: the output depends on the number of workers: %s and %s", kind.Name(), one.Tree, eight.Tree)
	}
	return cas.NewTree(store, one.Tree), one
}

// Tree stores files (path to content) as a tree.
func Tree(t *testing.T, store cas.Store, files map[string]string) cas.Tree {
	t.Helper()
	b := cas.NewBuilder(store)
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

// Read returns the content of a file of a tree.
func Read(t *testing.T, tree cas.Tree, name string) string {
	t.Helper()
	data, err := tree.ReadFile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Fails runs a kind that must fail, and returns its error.
func Fails(t *testing.T, store cas.Store, kind stages.Kind, inputs map[string]cas.Tree) error {
	t.Helper()
	if _, err := stages.RunKind(t.Context(), store, kind, inputs, 1, stages.Discard); err != nil {
		return err
	}
	t.Fatalf("%s: want an error", kind.Name())
	return nil
}

package manifest_test

import (
	"testing"

	"github.com/sandwich-build/sandwich/manifest"
)

func TestLocate(t *testing.T) {
	src := []byte(`version: 1
dataset:
  labels:
    - Sandwich
    - {name: Food, descendants: true, except: [Fruit, Hamburger]}
`)
	tests := []struct {
		path         string
		line, column int
	}{
		{"version", 1, 10},
		{"dataset.labels[0]", 4, 7},
		{"dataset.labels[1].name", 5, 14},
		{"dataset.labels[1].except[1]", 5, 55},
		{"dataset.labels[7]", 4, 5},
		{"dataset.limit", 3, 3},
		{"", 1, 1},
	}
	for _, test := range tests {
		line, column := manifest.Locate(src, test.path)
		if line != test.line || column != test.column {
			t.Errorf("%q is at %d:%d, want %d:%d", test.path, line, column, test.line, test.column)
		}
	}
	if line, column := manifest.Locate([]byte("a: ["), "a"); line != 1 || column != 1 {
		t.Errorf("in broken text: %d:%d", line, column)
	}
}

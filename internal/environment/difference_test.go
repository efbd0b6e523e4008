package environment

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDifferences(t *testing.T) {
	was := Native{
		Go: "go1.25", OS: "linux", Arch: "amd64", Target: map[string]string{"GOAMD64": "v1"}, CPU: []string{"fma"},
		Modules: []Module{{Path: "a", Version: "v1.0.0", Sum: "h1:x"}, {Path: "b", Version: "v1.0.0"}, {Path: "c", Version: "v2.0.0"}},
	}
	now := Native{
		Go: "go1.26", OS: "linux", Arch: "arm64", Target: map[string]string{"GOARM64": "v8.0"}, Backend: "go",
		Modules: []Module{{Path: "a", Version: "v1.0.0", Sum: "h1:y"}, {Path: "fork", Version: "v1.0.0", For: "b"}, {Path: "d", Version: "v1.0.0"}},
	}
	want := []string{
		"go: go1.26, was go1.25",
		"architecture: arm64, was amd64",
		"GOAMD64: none, was v1",
		"GOARM64: v8.0, was none",
		"processor: none, was fma",
		"module a: v1.0.0 h1:y, was v1.0.0 h1:x",
		"module b: fork v1.0.0, was v1.0.0",
		"module c: none, was v2.0.0",
		"module d: v1.0.0, was none",
		"backend: go, was none",
	}
	if diff := cmp.Diff(want, now.Differences(was)); diff != "" {
		t.Errorf("differences (-want +got)\n%s", diff)
	}
	if same := was.Differences(was); len(same) > 0 {
		t.Errorf("an environment differs from itself: %v", same)
	}
}

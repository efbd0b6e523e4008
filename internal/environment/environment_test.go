package environment

import (
	"strings"
	"testing"
)

func TestCurrent(t *testing.T) {
	n, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(n.Go, "go") || n.OS == "" || n.Arch == "" {
		t.Errorf("environment is %+v", n)
	}
	for _, m := range n.Modules {
		if m.Version == "" || !strings.HasPrefix(m.Sum, "h1:") {
			t.Errorf("module %+v has no version or sum", m)
		}
	}
}

// TestDigestNamesEveryField changes each field in turn: each must make another digest.
func TestDigestNamesEveryField(t *testing.T) {
	base := Native{Go: "go1", OS: "linux", Arch: "amd64"}
	changed := map[string]Native{
		"go":      {Go: "go2", OS: "linux", Arch: "amd64"},
		"os":      {Go: "go1", OS: "darwin", Arch: "amd64"},
		"arch":    {Go: "go1", OS: "linux", Arch: "arm64"},
		"target":  {Go: "go1", OS: "linux", Arch: "amd64", Target: map[string]string{"GOAMD64": "v3"}},
		"cpu":     {Go: "go1", OS: "linux", Arch: "amd64", CPU: []string{"fma"}},
		"modules": {Go: "go1", OS: "linux", Arch: "amd64", Modules: []Module{{Path: "a", Version: "v1", Sum: "h1:x"}}},
	}
	want, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{want.String(): "nothing"}
	for name, n := range changed {
		d, err := n.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, dup := seen[d.String()]; dup {
			t.Errorf("changing %s gives the digest of changing %s", name, other)
		}
		seen[d.String()] = name
	}
}

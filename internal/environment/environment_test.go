package environment

import (
	"maps"
	"os"
	"os/exec"
	"slices"
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

// codec is a module that decides what stages write.
const codec = "golang.org/x/image"

// TestDigestNamesEveryField changes each field in turn: each must make another digest.
func TestDigestNamesEveryField(t *testing.T) {
	base := Native{Go: "go1", OS: "linux", Arch: "amd64"}
	changed := map[string]Native{
		"go":      {Go: "go2", OS: "linux", Arch: "amd64"},
		"os":      {Go: "go1", OS: "darwin", Arch: "amd64"},
		"arch":    {Go: "go1", OS: "linux", Arch: "arm64"},
		"target":  {Go: "go1", OS: "linux", Arch: "amd64", Target: map[string]string{"GOAMD64": "v3"}},
		"cpu":     {Go: "go1", OS: "linux", Arch: "amd64", CPU: []string{"fma"}},
		"modules": {Go: "go1", OS: "linux", Arch: "amd64", Modules: []Module{{Path: codec, Version: "v1", Sum: "h1:x"}}},
		"version": {Go: "go1", OS: "linux", Arch: "amd64", Modules: []Module{{Path: codec, Version: "v2", Sum: "h1:x"}}},
		"fork":    {Go: "go1", OS: "linux", Arch: "amd64", Modules: []Module{{Path: "a.com/fork", Version: "v1", Sum: "h1:x", For: codec}}},
	}
	changed["backend"] = Native{Go: "go1", OS: "linux", Arch: "amd64", Backend: "go"}
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

// TestDigestLeavesOut changes a module that no stage is made of.
func TestDigestLeavesOut(t *testing.T) {
	digest := func(m ...Module) string {
		n := Native{Go: "go1", Modules: append([]Module{{Path: codec, Version: "v1"}}, m...)}
		d, err := n.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Modules) != 1+len(m) {
			t.Errorf("the package would record %v", n.Modules)
		}
		return d.String()
	}
	const s3 = "github.com/aws/aws-sdk-go-v2/service/s3"
	if without, with := digest(), digest(Module{Path: s3, Version: "v1"}); without != with {
		t.Error("a new version of the S3 client makes every stage run again")
	}
}

// engine are the packages behind which nothing decides what a stage writes: what they come
// to, trees and parameters, is part of an action itself.
var engine = []string{"stages", "stages/cas", "manifest"}

// TestDecidingModules finds the modules of the kinds from their imports. UPDATE=1 writes
// the list.
func TestDecidingModules(t *testing.T) {
	const project = "github.com/sandwich-build/sandwich/"
	kinds := []string{"metadata", "select", "download", "crop", "quality", "split", "train", "evaluate", "report", "pack"}
	need := make(map[string]bool)
	for _, tags := range []string{"", "xla"} {
		args := []string{"list", "-tags", tags, "-deps", "-f", `{{.ImportPath}} {{with .Module}}{{.Path}}{{end}} {{join .Imports ","}}`}
		for _, kind := range kinds {
			args = append(args, project+"stages/"+kind)
		}
		out, err := exec.CommandContext(t.Context(), "go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		imports, module := make(map[string][]string), make(map[string]string)
		for line := range strings.Lines(string(out)) {
			words := strings.SplitN(strings.TrimSpace(line), " ", 3)
			if len(words) == 3 { // those of the standard library have no module
				module[words[0]], imports[words[0]] = words[1], strings.Split(words[2], ",")
			}
		}
		seen := make(map[string]bool)
		var visit func(path string)
		visit = func(path string) {
			if seen[path] || module[path] == "" || slices.Contains(engine, strings.TrimPrefix(path, project)) {
				return
			}
			seen[path] = true
			if !strings.HasPrefix(path, project) {
				need[module[path]] = true
			}
			for _, next := range imports[path] {
				visit(next)
			}
		}
		for _, kind := range kinds {
			visit(project + "stages/" + kind)
		}
	}
	want := strings.Join(slices.Sorted(maps.Keys(need)), "\n") + "\n"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("modules.txt", []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if want != deciding {
		t.Errorf("modules.txt is\n%s\nwant, by the imports of the kinds (UPDATE=1 writes it),\n%s", deciding, want)
	}
}

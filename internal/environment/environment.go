// Package environment describes what the stages of a build run in.
package environment

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/cpu"
)

// Native is the toolchain and the modules that this binary was made of. Packages record
// all of it; Digest, which is part of every action, names what can change a byte of what
// a stage writes: equal binaries give equal bytes, and another compiler or another
// version of a codec may not.
//
// The project's own version is left out on purpose. What its kinds do is named by
// their behaviour versions, so a fix of a message does not rebuild a data set.
type Native struct {
	Go      string            `json:"go"`
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	Target  map[string]string `json:"target,omitempty"` // GOAMD64 and its like: which instructions the compiler may use
	CPU     []string          `json:"cpu,omitempty"`    // the features by which Go's math functions choose their code
	Modules []Module          `json:"modules"`
	Backend string            `json:"backend,omitempty"` // what networks are computed on; empty for the default
}

// Module is a dependency, with the sum that go.sum holds for it.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"`
	For     string `json:"for,omitempty"` // the path that it replaces
}

// of returns the path by which the module is imported.
func (m Module) of() string { return cmp.Or(m.For, m.Path) }

// errNoBuildInfo says that the binary does not know what it was made of.
var errNoBuildInfo = errors.New("environment: this binary carries no build information; build it with go build, with modules")

// Current describes the running binary.
func Current() (Native, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Native{}, errNoBuildInfo
	}
	n := Native{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Target: map[string]string{}}
	for _, s := range info.Settings {
		if s.Key == targetSetting[runtime.GOARCH] {
			n.Target[s.Key] = s.Value
		}
	}
	// math.Exp, which training needs, is another function on amd64 processors that fuse
	// a multiplication and an addition: its last bit may differ.
	if runtime.GOARCH == "amd64" && cpu.X86.HasFMA {
		n.CPU = append(n.CPU, "fma")
	}
	for _, m := range info.Deps {
		module := Module{Path: m.Path, Version: m.Version, Sum: m.Sum}
		if r := m.Replace; r != nil {
			module = Module{Path: r.Path, Version: r.Version, Sum: r.Sum, For: m.Path}
		}
		n.Modules = append(n.Modules, module)
	}
	return n, nil
}

// Program returns what go install makes this binary of, such as
// "github.com/sandwich-build/sandwich/cmd/sandwich@v1.2.3", or "" when it was built from
// a work tree rather than from a released version.
func Program() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Path + "@" + info.Main.Version
}

// targetSetting names the build setting that chooses the instructions of an
// architecture. It may decide whether the compiler fuses a multiplication and an
// addition, and with that the last bit of a result.
var targetSetting = map[string]string{
	"386": "GO386", "amd64": "GOAMD64", "arm": "GOARM", "arm64": "GOARM64",
	"ppc64": "GOPPC64", "ppc64le": "GOPPC64", "riscv64": "GORISCV64", "wasm": "GOWASM",
}

// deciding lists the modules that the kinds of stage are made of, a line each. Those of the
// command line, the registries and the engine are not among them: a new version of an S3
// client must not cost a night of training. What the engine and the manifest's language
// come to, the trees and the parameters, is in an action as it is. A test finds the list
// from the imports.
//
//go:embed modules.txt
var deciding string

// Digest names what a program runs in.
func (h Host) Digest() (digest.Digest, error) { return digestOf(h) }

func digestOf(v any) (digest.Digest, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("environment: %w", err)
	}
	return digest.SHA256.FromBytes(data), nil
}

// Digest names the environment, but for the modules that no stage's output can depend on.
func (n Native) Digest() (digest.Digest, error) {
	paths := strings.Fields(deciding)
	n.Modules = slices.DeleteFunc(slices.Clone(n.Modules), func(m Module) bool { return !slices.Contains(paths, m.of()) })
	return digestOf(n)
}

package pipeline

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/memo"
)

// EnvironmentFile is where a package tells of its environment.
const EnvironmentFile = "environment/environment.json"

// Environment is what a package tells of the environment that it was built in.
type Environment struct {
	environment.Native
	Digest  string `json:"digest"`            // of what of the above can change a stage's output; part of every action
	Binary  string `json:"binary"`            // digest of the executable that built the package
	Program string `json:"program,omitempty"` // its import path and version, if it was a released one
}

// Tag is the tag of the golang image with the compiler of this environment.
func (e Environment) Tag() string { return strings.TrimPrefix(e.Go, "go") }

// Differences returns in what the environment differs from that of a package, a line each.
func (e Environment) Differences(recorded Environment) []string {
	lines := e.Native.Differences(recorded.Native)
	if e.Binary != recorded.Binary {
		lines = append(lines, fmt.Sprintf("program: %s, was %s", e.executable(), recorded.executable()))
	}
	return lines
}

func (e Environment) executable() string {
	if e.Program != "" {
		return e.Program + " (" + e.Binary + ")"
	}
	return e.Binary
}

// CurrentEnvironment describes what a build on this machine would run in.
func CurrentEnvironment(ctx context.Context, o Options) (Environment, error) {
	native, err := native(o)
	if err != nil {
		return Environment{}, err
	}
	return describe(ctx, native, memo.Memory{Notes: o.Store})
}

func describe(ctx context.Context, native environment.Native, m memo.Memory) (Environment, error) {
	name, err := native.Digest()
	if err != nil {
		return Environment{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return Environment{}, fmt.Errorf("environment: %w", err)
	}
	binary, err := m.File(ctx, program)
	if err != nil {
		return Environment{}, fmt.Errorf("environment: %w", err)
	}
	return Environment{Native: native, Digest: name.String(), Binary: binary.String(), Program: environment.Program()}, nil
}

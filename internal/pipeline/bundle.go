package pipeline

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

//go:embed environment.Dockerfile.tmpl
var dockerfileText string

// description is environment/environment.json of a package.
type description struct {
	environment.Native
	Digest  string `json:"digest"`            // of what of the above can change a stage's output; part of every action
	Binary  string `json:"binary"`            // digest of the executable that built the package
	Program string `json:"program,omitempty"` // its import path and version, if it was a released one
}

// Tag is the tag of the golang image with the compiler of this environment.
func (d description) Tag() string { return strings.TrimPrefix(d.Go, "go") }

// bundle is the pinner of what the package says about itself: the manifest, the lock,
// the user's sources and the environment. It runs after the photos are pinned, when the
// lock is complete.
type bundle struct{ *session }

// Pin stores manifest.yaml, manifest.lock, code/ and environment/.
func (b bundle) Pin(ctx context.Context, t *stages.Task, _ cas.Tree) (cas.Tree, error) {
	out := cas.NewBuilder(t.Store())
	if err := out.PutBytes(ctx, "manifest.yaml", b.Source); err != nil {
		return cas.Tree{}, err
	}
	if err := b.lock.put(ctx, b.memory, out, t.Store()); err != nil {
		return cas.Tree{}, err
	}
	if err := b.addCode(ctx, out); err != nil {
		return cas.Tree{}, err
	}
	if err := b.addEnvironment(ctx, out); err != nil {
		return cas.Tree{}, err
	}
	return out.Commit(ctx)
}

// addCode adds the user's sources or, where there are none, the list of the modules
// that this program is made of: the code that did the work.
func (b bundle) addCode(ctx context.Context, out *cas.Builder) error {
	if b.lock.Code != nil {
		return out.AddTree(ctx, "code", b.code)
	}
	var list bytes.Buffer
	for _, m := range b.environment.Modules {
		fmt.Fprintln(&list, m.Path, m.Version, m.Sum)
	}
	return out.PutBytes(ctx, "code/modules.txt", list.Bytes())
}

func (b bundle) addEnvironment(ctx context.Context, out *cas.Builder) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	binary, err := b.memory.File(ctx, program)
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	d := description{
		Native: b.environment, Digest: b.engine.Environment, Binary: binary.String(), Program: environment.Program(),
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if err := out.PutBytes(ctx, "environment/environment.json", append(text, '\n')); err != nil {
		return err
	}
	tmpl, err := template.New("Dockerfile").Parse(dockerfileText)
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	var dockerfile bytes.Buffer
	if err := tmpl.Execute(&dockerfile, d); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	return out.PutBytes(ctx, "environment/Dockerfile", dockerfile.Bytes())
}

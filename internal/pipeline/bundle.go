package pipeline

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

//go:embed environment.Dockerfile.tmpl
var dockerfileText string

// bundle is the pinner of what the package says about itself: the manifest, the lock,
// the user's sources, the environment and how its stages were built. It runs after the
// photos are pinned, when the lock is complete, and after the stages.
type bundle struct {
	*session
	stages []string // that lead to the package, in the order of the plan
}

// Pin stores manifest.yaml, manifest.lock, code/, environment/ and the stages of
// provenance/.
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
	if err := errors.Join(b.addStages(ctx, t, out), b.addInputs(ctx, t, out)); err != nil {
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

// addStages adds how the stages came to their outputs.
func (b bundle) addStages(ctx context.Context, t *stages.Task, out *cas.Builder) error {
	var all []provenance.Stage
	for _, name := range b.stages {
		step, ok := t.Before(name)
		if !ok {
			return fmt.Errorf("provenance: stage %s has no result", name)
		}
		d, err := stages.Describe(ctx, t.Store(), step.Action)
		if err != nil {
			return fmt.Errorf("provenance of %s: %w", name, err)
		}
		all = append(all, provenance.NewStage(step, d))
	}
	text, err := provenance.EncodeStages(all)
	if err != nil {
		return err
	}
	if err := out.PutBytes(ctx, provenance.StagesFile, text); err != nil {
		return err
	}
	return b.addStatement(ctx, out, all)
}

// addStatement adds the provenance in the form that other tools read, and the list of what
// the program is made of.
func (b bundle) addStatement(ctx context.Context, out *cas.Builder, all []provenance.Stage) error {
	e, err := describe(ctx, b.environment, b.memory)
	if err != nil {
		return err
	}
	s := provenance.Statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType, Subject: provenance.Outputs(all)}
	s.Predicate.BuildDefinition = provenance.BuildDefinition{
		BuildType:            provenance.BuildType,
		ExternalParameters:   provenance.Parameters{Package: b.Manifest.Name, Manifest: provenance.Resource{Name: "manifest.yaml", Digest: provenance.SHA256(cas.Sum(b.Source).Hex())}},
		ResolvedDependencies: b.materials(e),
	}
	s.Predicate.RunDetails = provenance.RunDetails{
		Builder:    provenance.Builder{ID: provenance.BuilderID, Version: map[string]string{"binary": e.Binary, "go": e.Go, "environment": e.Digest}},
		Byproducts: provenance.Outputs(all),
	}
	text, err := s.Encode()
	if err != nil {
		return err
	}
	if err := out.PutBytes(ctx, provenance.StatementFile, text); err != nil {
		return err
	}
	var modules []provenance.Component
	for _, m := range e.Modules {
		modules = append(modules, provenance.GoModule(m.Path, m.Version, m.Sum))
	}
	for _, w := range b.lock.Wheels {
		c, err := wheelComponent(w)
		if err != nil {
			return err
		}
		modules = append(modules, c)
	}
	for _, p := range b.lock.Conda {
		c, err := condaComponent(p)
		if err != nil {
			return err
		}
		modules = append(modules, c)
	}
	program := provenance.Component{Name: "sandwich", Version: e.Program, SHA256: strings.TrimPrefix(e.Binary, "sha256:")}
	toolchain := provenance.Component{Name: "go", Version: e.Tag(), PURL: "pkg:golang/stdlib@" + e.Tag()}
	if text, err = provenance.EncodeSBOM(program, append([]provenance.Component{toolchain}, modules...)); err != nil {
		return err
	}
	return out.PutBytes(ctx, provenance.SBOMFile, text)
}

// materials are what the lock pins. The photos, which may be millions, are in manifest.lock of
// the package, and the tree that they make is the output of the stage that fetched them.
func (b bundle) materials(e Environment) []provenance.Resource {
	var all []provenance.Resource
	for _, s := range b.lock.Sources {
		all = append(all, provenance.Resource{URI: s.URL, Digest: provenance.SHA256(s.Digest.Encoded())})
	}
	if i := b.lock.Image; i != nil {
		all = append(all, provenance.Resource{URI: i.Name, Digest: provenance.SHA256(i.Digest.Encoded())})
	}
	for _, a := range slices.Concat(b.lock.Wheels, b.lock.Conda) {
		all = append(all, provenance.Resource{URI: a.URL, Digest: provenance.SHA256(a.Digest.Encoded())})
	}
	if code := b.lock.Code; code != nil {
		all = append(all, provenance.Resource{
			Name: "code", Digest: map[string]string{"gitCommit": code.Commit, "sha256": code.Tree.Encoded()},
		})
	}
	return append(all, provenance.Resource{Name: "environment", Digest: provenance.SHA256(strings.TrimPrefix(e.Digest, "sha256:"))})
}

// InputsFolder has, in a package, the files that the user's own stages read, at the paths that
// they have beside the manifest.
const InputsFolder = "files"

func (b bundle) addInputs(ctx context.Context, t *stages.Task, out *cas.Builder) error {
	if len(b.lock.Inputs) == 0 {
		return nil
	}
	var paths []string
	for _, in := range b.lock.Inputs {
		paths = append(paths, in.Path)
	}
	files, err := declared{b.session, paths}.Pin(ctx, t, cas.Tree{})
	if err != nil {
		return err
	}
	return out.AddTree(ctx, InputsFolder, files)
}

func (b bundle) addEnvironment(ctx context.Context, out *cas.Builder) error {
	d, err := describe(ctx, b.environment, b.memory)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if err := out.PutBytes(ctx, EnvironmentFile, append(text, '\n')); err != nil {
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

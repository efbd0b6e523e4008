// Package pipeline turns a manifest and its lock into the stages of a build, runs them
// and puts the package into the registry. It is where the parts that do not know each
// other meet: the language, the engine, the kinds of stage and the registry.
package pipeline

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/manifest"
)

// Project is a manifest on disk, with its lock.
type Project struct {
	Path     string // of the manifest, as the person gave it
	Dir      string // absolute; relative paths of the manifest start here
	Source   []byte // the manifest's text, with the settings
	Manifest *manifest.Manifest
	LockPath string             // there may be no file yet
	Inputs   string             // absolute; where the files lie that the user's own stages read, if not in Dir
	Settings []manifest.Setting // what replaces values of the file, the matrix's last

	file     []byte             // the text of the file itself, for the places of faults
	variants []manifest.Variant // of the matrix
	own      bool               // no person's: it is in the cache, and so is its lock
}

// manifestPath is the absolute path of the manifest.
func (p *Project) manifestPath() string { return filepath.Join(p.Dir, filepath.Base(p.Path)) }

// Open reads the manifest at path, with settings that replace values of it. The error is a
// *manifest.Faults when the manifest or a setting is wrong.
func Open(path string, settings ...manifest.Setting) (*Project, error) {
	file, err := manifest.ReadText(path)
	if err != nil {
		return nil, err
	}
	m, source, err := manifest.Override(path, file, settings)
	if err != nil {
		return nil, err
	}
	var variants []manifest.Variant
	if len(m.Matrix) > 0 {
		if variants, err = manifest.Variants(path, file, settings); err != nil {
			return nil, err
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Project{
		Path: path, Dir: filepath.Dir(abs), Source: source, Manifest: m, Settings: settings, file: file, variants: variants,
		// manifest.yaml is locked by manifest.lock, so that variants beside it have
		// locks of their own.
		LockPath: strings.TrimSuffix(path, filepath.Ext(path)) + ".lock",
	}, nil
}

// Variant is a project that is one build of another.
type Variant struct {
	*Project
	Set []manifest.Setting // what the matrix sets; none where there is no matrix
}

// Title says which variant it is.
func (v Variant) Title() string { return manifest.Variant{Set: v.Set}.Title() }

// Variants returns the builds of a project: one for each combination of the values of its
// manifest's matrix, in their order, or itself where there is none. They share the lock
// and the registry.
func (p *Project) Variants() []Variant {
	if len(p.Manifest.Matrix) == 0 {
		return []Variant{{Project: p}}
	}
	variants := make([]Variant, 0, len(p.variants))
	for _, v := range p.variants {
		one, m := *p, *v.Manifest
		m.Registry = p.Manifest.Registry // which may have been replaced
		one.Manifest, one.Source, one.Settings = &m, v.Text, slices.Concat(p.Settings, v.Set)
		variants = append(variants, Variant{&one, v.Set})
	}
	return variants
}

// Package pipeline turns a manifest and its lock into the stages of a build, runs them
// and puts the package into the registry. It is where the parts that do not know each
// other meet: the language, the engine, the kinds of stage and the registry.
package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
)

// Project is a manifest on disk, with its lock.
type Project struct {
	Path     string // of the manifest, as the person gave it
	Dir      string // absolute; relative paths of the manifest start here
	Source   []byte // the manifest's text, with the settings
	Manifest *manifest.Manifest
	LockPath string
	Lock     *lock.Lock         // nil when there is none yet
	Settings []manifest.Setting // what replaces values of the file

	file     []byte // the text of the file itself, for the places of faults
	lockText []byte // the text of the lock
}

// manifestPath is the absolute path of the manifest.
func (p *Project) manifestPath() string { return filepath.Join(p.Dir, filepath.Base(p.Path)) }

// Open reads the manifest at path, with settings that replace values of it, and the lock
// beside it. The error is a *manifest.Faults when the manifest or a setting is wrong, and
// a *lock.FormatError when the lock is.
func Open(path string, settings ...manifest.Setting) (*Project, error) {
	file, err := manifest.ReadText(path)
	if err != nil {
		return nil, err
	}
	m, source, err := manifest.Override(path, file, settings)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	p := &Project{
		Path: path, Dir: filepath.Dir(abs), Source: source, Manifest: m, Settings: settings, file: file,
		// manifest.yaml is locked by manifest.lock, so that variants beside it have
		// locks of their own.
		LockPath: strings.TrimSuffix(path, filepath.Ext(path)) + ".lock",
	}
	p.Lock, p.lockText, err = lock.ReadFile(p.LockPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return p, nil
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/sandwich-build/sandwich/internal/conda"
	"github.com/sandwich-build/sandwich/internal/conda/archive"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/command"
	condastage "github.com/sandwich-build/sandwich/stages/conda"
	"github.com/sandwich-build/sandwich/stages/pack"
)

// condaFile reads the environment.yml as files that stages read are read: found gets it by its path beside the
// manifest. What is wrong with it are faults of it, as the manifest has them.
func (s *session) condaFile(ctx context.Context, found map[string]lock.Input) error {
	const at = "environment.conda"
	if s.Manifest.Environment.Conda == "" {
		return nil
	}
	name := path.Clean(s.Manifest.Environment.Conda)
	text, err := s.readRequirements(ctx, name, found)
	if errors.Is(err, fs.ErrNotExist) {
		fault := s.fault(at)
		fault.Message = fmt.Sprintf("there is no file %s beside the manifest", name)
		return &manifest.Faults{fault}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	s.required = []string{name}
	s.conda, err = conda.Parse(filepath.Join(filepath.Dir(s.Path), filepath.FromSlash(name)), text)
	return err
}

// pinConda pins the packages of conda's that the environment comes to. They are resolved where the lock has none for
// this environment and this machine.
func (s *session) pinConda(ctx context.Context) error {
	if s.conda == nil {
		return s.lockConda("", nil)
	}
	platform, err := conda.Platform()
	if err != nil {
		return err
	}
	keep := s.requirementsAsLocked() && s.lock.Platform == platform && !s.options.Upgrade
	if keep || s.options.Locked {
		return s.lockConda(platform, s.lock.Conda)
	}
	found, err := s.solve(ctx, platform)
	if err != nil {
		return err
	}
	pins, err := fetchAll(ctx, s, found, "packages", func(ctx context.Context, p conda.Package) (lock.Archive, error) {
		return s.fetchKnown(ctx, "conda", p.URL, fetch.Want{Size: p.Size, SHA256: p.SHA256, MD5: p.MD5})
	})
	if err != nil {
		return err
	}
	return s.lockConda(platform, pins)
}

// lockConda puts the pins into the lock.
func (s *session) lockConda(platform string, pins []lock.Archive) error {
	if drift := lock.DriftConda(s.lock.Platform, s.lock.Conda, platform, pins); len(drift) > 0 && s.options.Locked {
		return s.drift(drift)
	}
	s.lock.Platform, s.lock.Conda = platform, pins
	return nil
}

// condaCache is, in a cache, what conda and mamba keep of channels.
const condaCache = "conda"

// solve asks a tool of conda's for the packages. Those of a folder below that of the manifest have paths from there,
// so that they are the same on every machine.
func (s *session) solve(ctx context.Context, platform string) ([]conda.Package, error) {
	tool, err := conda.Find(ctx, s.getenv("PATH"), s.getenv("HOME"))
	if err != nil {
		return nil, fmt.Errorf("environment.conda: %w", err)
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, err
	}
	cache, err := filepath.Abs(filepath.Join(s.scratch, condaCache))
	if err != nil {
		return nil, err
	}
	name := s.Manifest.Environment.Conda
	s.say("%s %s resolves %s for %s", tool.Name, tool.Version, name, platform)
	found, err := tool.Solve(ctx, s.conda, platform, dir, cache)
	if err != nil {
		return nil, fmt.Errorf("resolve %s for %s: %w", name, platform, err)
	}
	for i := range found {
		found[i].URL = beside(found[i].URL, dir)
	}
	return found, nil
}

// beside is the path from a folder of a file in it, and any other URL as it is.
func beside(raw, dir string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "file" {
		return raw
	}
	rel, err := filepath.Rel(dir, filepath.FromSlash(u.Path))
	if err != nil || !filepath.IsLocal(rel) {
		return raw
	}
	return filepath.ToSlash(rel)
}

// condaStage is the stage that unpacks the packages.
func (s *session) condaStage() (stages.Stage, error) {
	all, err := s.archives(s.lock.Conda, conda.FileName)
	if err != nil {
		return stages.Stage{}, fmt.Errorf("lock: conda: %w", err)
	}
	return stages.Stage{Name: Conda, Kind: condastage.New(command.Place(manifest.CondaFolder), all)}, nil
}

// condaInputs are the inputs of pack from the packages.
func (s *session) condaInputs() []stages.Input {
	if s.lock.Platform == "" || !s.Manifest.Package.Conda {
		return nil
	}
	return []stages.Input{{Name: pack.Conda, From: Conda}}
}

// variables are those that a program gets: of the environment, and then of the manifest.
func (s *session) variables(c manifest.Command) map[string]string {
	if s.conda == nil || len(s.conda.Variables) == 0 {
		return c.Env
	}
	all := maps.Clone(s.conda.Variables)
	maps.Copy(all, c.Env)
	return all
}

// withConda has a program run with the packages. One of their programs is taken before one of this machine's, which
// is known by its content where it is not the program of a package of its name.
func (s *session) withConda(ctx context.Context, p *program, name string) error {
	var missing *sandbox.NotFoundError
	if err := s.onHost(ctx, p, name); err != nil && !errors.As(err, &missing) {
		return err
	}
	if s.ofPackage(name) {
		p.host.Program = ""
	}
	host := p.setting
	p.setting = func(ctx context.Context, t *stages.Task) (command.Setting, error) {
		setting, err := host(ctx, t)
		if err != nil {
			return setting, err
		}
		e, err := condastage.Open(ctx, t.Input(command.CondaInput))
		if err != nil {
			return setting, err
		}
		setting.Libraries = s.condaLibraries(e, t.Store())
		switch {
		case e.Has(name):
			setting.Program = command.Place(path.Join(manifest.CondaFolder, "bin", name))
		case missing != nil:
			return setting, &sandbox.NotFoundError{Program: name, Path: path.Join(manifest.CondaFolder, "bin") + ":" + missing.Path}
		}
		return setting, nil
	}
	return nil
}

// ofPackage says whether a package has the name of a program, as python of python3.12.
func (s *session) ofPackage(program string) bool {
	for _, p := range s.lock.Conda {
		file, err := conda.FileName(p.URL)
		if err != nil {
			continue // condaStage tells of it
		}
		if n, err := archive.ParseName(file); err == nil && n.Name == strings.TrimRight(program, "0123456789.") {
			return true
		}
	}
	return false
}

// condaLibraries is the environment for programs.
func (s *session) condaLibraries(e *condastage.Environment, store cas.Store) *command.Libraries {
	return &command.Libraries{
		Folder: manifest.CondaFolder, Variable: "CONDA_PREFIX",
		Open: func(ctx context.Context) (string, func() error, error) {
			return libraries(s.options.Store).Open(ctx, e.ID, func(dir string) error { return e.Write(ctx, store, dir) })
		},
	}
}

// compareConda compares the packages that the environment comes to now with those that the lock pins, by the digests
// that channels tell. Nothing is fetched.
func (s *session) compareConda(ctx context.Context) ([]LibraryChange, error) {
	if s.lock.Platform == "" {
		return nil, nil // the next build resolves them
	}
	if err := s.condaFile(ctx, make(map[string]lock.Input)); err != nil || s.conda == nil {
		return nil, err
	}
	found, err := s.solve(ctx, s.lock.Platform)
	if err != nil {
		return nil, err
	}
	now := make([]lock.Archive, len(found))
	for i, p := range found {
		now[i] = asTold(p.URL, p.SHA256, s.lock.Conda)
	}
	return condaChanges(s.lock.Conda, now), nil
}

// condaChanges tells how two lists of pins differ, by package.
func condaChanges(old, now []lock.Archive) []LibraryChange {
	return libraryChanges(lock.DriftConda("", old, "", now), func(url string) (name, version string, err error) {
		file, err := conda.FileName(url)
		if err != nil {
			return "", "", err
		}
		n, err := archive.ParseName(file)
		return n.Name, n.Version + " " + n.Build, err
	})
}

// condaComponent is a package in the list of what a package was built with.
func condaComponent(p lock.Archive) (provenance.Component, error) {
	file, err := conda.FileName(p.URL)
	if err != nil {
		return provenance.Component{}, fmt.Errorf("lock: conda: %w", err)
	}
	n, err := archive.ParseName(file)
	return provenance.Conda(n.Name, n.Version, n.Build, p.URL, p.Digest.Encoded()), err
}

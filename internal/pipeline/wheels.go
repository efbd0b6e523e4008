package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	keep "github.com/sandwich-build/sandwich/internal/unpacked"
	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/archives"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/command"
	"github.com/sandwich-build/sandwich/stages/pack"
	wheelstage "github.com/sandwich-build/sandwich/stages/wheels"
)

// requirements reads the file of requirements and those that it includes, as files that stages
// read are read: found gets them by their paths beside the manifest. One that is not there is a fault
// of the manifest.
func (s *session) requirements(ctx context.Context, found map[string]lock.Input) error {
	const at = "environment.pip"
	first := s.Manifest.Environment.Pip
	s.required = nil
	if first == "" {
		return nil
	}
	left := []string{path.Clean(first)}
	for len(left) > 0 {
		name := left[0]
		left = left[1:]
		if slices.Contains(s.required, name) {
			continue
		}
		fault := s.fault(at)
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			fault.Message = fmt.Sprintf("%s is included, and is outside of the folder of the manifest", name)
			return &manifest.Faults{fault}
		}
		text, err := s.readRequirements(ctx, name, found)
		if errors.Is(err, fs.ErrNotExist) {
			fault.Message = fmt.Sprintf("there is no file %s beside the manifest", name)
			return &manifest.Faults{fault}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		s.required = append(s.required, name)
		for _, include := range pip.Includes(string(text)) {
			if !path.IsAbs(include) {
				include = path.Join(path.Dir(name), include)
			}
			left = append(left, include)
		}
	}
	return nil
}

// fault is one of the manifest, at a place in it.
func (s *session) fault(at string) manifest.Fault {
	line, column := manifest.Locate(s.file, at)
	return manifest.Fault{File: s.Path, Line: line, Column: column, Path: at}
}

// maxRequirements bounds a file of requirements, in bytes: one with hashes may have a thousand lines.
const maxRequirements = 16 << 20

func (s *session) readRequirements(ctx context.Context, name string, found map[string]lock.Input) ([]byte, error) {
	if err := s.readInput(ctx, name, found); err != nil {
		return nil, err
	}
	in, ok := found[name]
	if !ok {
		return nil, fmt.Errorf("%s is no file", name)
	}
	if in.Size > maxRequirements {
		return nil, fmt.Errorf("%s has %d bytes, more than requirements have", name, in.Size)
	}
	d, err := cas.NewDigest(in.Digest.Encoded(), in.Size)
	if err != nil {
		return nil, err
	}
	return cas.ReadBlob(ctx, s.store, d)
}

// requirementsAsLocked says whether the file of the lock has the files of requirements as they are now.
func (s *session) requirementsAsLocked() bool {
	return s.lock.disk != nil && !slices.ContainsFunc(s.lock.Inputs, func(in lock.Input) bool {
		return slices.Contains(s.required, in.Path) && !slices.Contains(s.lock.disk.Inputs, in)
	})
}

// pinWheels pins the wheels that the manifest's requirements come to. They are resolved where the
// lock has none for these requirements and this interpreter.
func (s *session) pinWheels(ctx context.Context) error {
	if s.Manifest.Environment.Pip == "" {
		return s.lockWheels(nil, nil)
	}
	asked := s.requirementsAsLocked() && !s.options.Upgrade
	if s.Manifest.Environment.InImage() && s.lock.Python != nil && asked && samePin(s.lock.disk.Image, s.lock.Image) {
		return nil // the image decides the interpreter
	}
	return s.withPython(ctx, func(p python) error {
		now := &lock.Python{ABI: p.ABI, Site: p.Site}
		keep := asked && samePin(s.lock.Python, now) && !s.Manifest.Environment.InImage() // another image has other packages
		if keep || s.options.Locked {
			return s.lockWheels(now, s.lock.Wheels)
		}
		found, err := s.resolve(ctx, p)
		if err != nil {
			return err
		}
		wheels, err := s.fetchWheels(ctx, found)
		if err != nil {
			return err
		}
		return s.lockWheels(now, wheels)
	})
}

// lockWheels puts the pins into the lock.
func (s *session) lockWheels(now *lock.Python, wheels []lock.Archive) error {
	drift := append(lock.DriftPython(s.lock.Python, now), lock.DriftWheels(s.lock.Wheels, wheels)...)
	if len(drift) > 0 && s.options.Locked {
		return s.drift(drift)
	}
	s.lock.Python, s.lock.Wheels = now, wheels
	return nil
}

// python is an interpreter, and where it sees the files of requirements.
type python struct {
	pip.Python
	folder string
}

// withPython finds the interpreter of the environment and lets use have it.
func (s *session) withPython(ctx context.Context, use func(python) error) error {
	if s.Manifest.Environment.InImage() {
		return s.withImagePython(ctx, use)
	}
	p, err := s.hostPython(ctx)
	if err != nil {
		return err
	}
	return use(p)
}

// hostPython is the interpreter of this machine.
func (s *session) hostPython(ctx context.Context) (python, error) {
	if s.python.Run != nil {
		return s.python, nil
	}
	found, err := pip.Here(ctx, s.getenv("PATH"), s.getenv("HOME"), s.inputsFolder())
	if err != nil {
		return python{}, fmt.Errorf("environment.pip: %w", err)
	}
	s.python = python{found, s.inputsFolder()}
	return s.python, nil
}

// resolve asks pip for the wheels.
func (s *session) resolve(ctx context.Context, p python) ([]pip.Wheel, error) {
	if err := p.CheckPip(); err != nil {
		return nil, fmt.Errorf("environment.pip: %w", err)
	}
	name := s.Manifest.Environment.Pip
	s.say("pip resolves %s for %s", name, p.Version)
	found, err := pip.Resolve(ctx, p.Run, p.Program, path.Join(p.folder, path.Clean(name)), s.Manifest.Environment.InImage())
	if err != nil {
		return nil, fmt.Errorf("resolve %s for %s: %w", name, p.Version, err)
	}
	return found, nil
}

// fetchWheels brings the wheels into the store, which tells how large they are, and all of their
// digests.
func (s *session) fetchWheels(ctx context.Context, found []pip.Wheel) ([]lock.Archive, error) {
	return fetchAll(ctx, s, found, "wheels", func(ctx context.Context, w pip.Wheel) (lock.Archive, error) {
		return s.fetchKnown(ctx, "wheel", w.URL, fetch.Want{SHA256: w.SHA256})
	})
}

// parallelLibraries is how many archives of libraries are fetched at once, as the peers of pip and conda do it.
const parallelLibraries = 8

// fetchAll brings archives of libraries into the store, and returns their pins: nil for none, as in a lock that
// was read.
func fetchAll[F any](ctx context.Context, s *session, found []F, unit string, fetch func(context.Context, F) (lock.Archive, error)) ([]lock.Archive, error) {
	pins := make([]lock.Archive, len(found))
	var done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(s.client.Parallel(), parallelLibraries))
	for i, one := range found {
		group.Go(func() (err error) {
			if pins[i], err = fetch(ctx, one); err != nil {
				return err
			}
			s.options.Observer.Observe(stages.Progress{Stage: lockStage, Done: done.Add(1), Total: int64(len(found)), Unit: unit})
			return nil
		})
	}
	if err := group.Wait(); err != nil || len(found) == 0 {
		return nil, err
	}
	return pins, nil
}

// fetchKnown brings an archive into the store, unless it has been there, by its SHA-256, and still is.
func (s *session) fetchKnown(ctx context.Context, what, url string, want fetch.Want) (lock.Archive, error) {
	pin := func(d cas.Digest) lock.Archive {
		return lock.Archive{URL: url, Digest: digest.Digest(d.String()), Size: d.Size()}
	}
	known := memo.Fact{what, fmt.Sprintf("%x", want.SHA256)}
	if want.SHA256 != nil {
		if d, ok := s.memory.Recall(ctx, known); ok {
			return pin(d), s.resolver.FetchBlob(ctx, url, d)
		}
	}
	d, err := s.resolver.Fetch(ctx, url, want)
	if err == nil && want.SHA256 != nil {
		s.memory.Keep(ctx, known, d)
	}
	return pin(d), err
}

// wheelsStage is the stage that unpacks the wheels.
func (s *session) wheelsStage() (stages.Stage, error) {
	all, err := s.archives(s.lock.Wheels, pip.FileName)
	if err != nil {
		return stages.Stage{}, fmt.Errorf("lock: wheel: %w", err)
	}
	return stages.Stage{Name: Wheels, Kind: wheelstage.New(s.lock.Python.Site, all)}, nil
}

// archives are archives that the lock pins, and how this build gets them.
func (s *session) archives(pins []lock.Archive, nameIn func(url string) (string, error)) (archives.Set, error) {
	var all []archives.Archive
	for _, p := range pins {
		file, err := nameIn(p.URL)
		if err != nil {
			return archives.Set{}, err
		}
		d, err := cas.NewDigest(p.Digest.Encoded(), p.Size)
		if err != nil {
			return archives.Set{}, err
		}
		all = append(all, archives.Archive{File: file, URL: p.URL, Digest: d})
	}
	return archives.New(all, &elsewhere{Fetcher: s.resolver, session: s}, s.scratch), nil
}

// wheelInputs are the inputs of pack from the wheels.
func (s *session) wheelInputs() []stages.Input {
	if s.lock.Python == nil || !s.Manifest.Package.Wheels {
		return nil
	}
	return []stages.Input{{Name: pack.Wheels, From: Wheels}}
}

// withVenv makes a program of this machine one of the virtual environment: Python itself, or another
// one that finds Python there. One that the machine does not have may be a script of a wheel.
func (s *session) withVenv(ctx context.Context, p *program, name string) error {
	in, err := s.hostPython(ctx)
	if err != nil {
		return err
	}
	_, mounts, err := sandbox.Program(in.Executable, "", s.getenv("HOME"))
	if err != nil {
		return err
	}
	p.host.Python = in.Version
	if slices.Contains(wheelstage.Pythons(in.Executable), name) {
		sum, err := s.memory.File(ctx, in.Executable)
		if err != nil {
			return err
		}
		p.host.Program = sum.String()
		p.setting = found(command.Setting{Program: path.Join(manifest.VenvFolder, "bin", name)})
	} else if err := s.onHost(ctx, p, name); err != nil {
		if _, none := errors.AsType[*sandbox.NotFoundError](err); !none {
			return err
		}
		p.setting = found(command.Setting{Program: path.Join(manifest.VenvFolder, "bin", name)})
	}
	host := p.setting
	p.setting = func(ctx context.Context, t *stages.Task) (command.Setting, error) {
		setting, err := host(ctx, t)
		if err != nil {
			return setting, err
		}
		venv, err := wheelstage.NewVenv(ctx, t.Input(command.WheelsInput), in.Executable, false)
		if err != nil {
			return setting, err
		}
		if path.Dir(setting.Program) == path.Join(manifest.VenvFolder, "bin") {
			if has, err := venv.Has(ctx, name); err != nil || !has {
				return setting, errors.Join(err, &sandbox.NotFoundError{Program: name, Path: path.Dir(setting.Program)})
			}
		}
		setting.Mounts = append(slices.Clone(setting.Mounts), mounts...)
		setting.Libraries = s.venv(venv, t.Store())
		return setting, nil
	}
	return nil
}

// venv is a virtual environment for programs.
func (s *session) venv(v *wheelstage.Venv, store cas.Store) *command.Libraries {
	write := func(ctx context.Context, dir string) error { return v.Write(ctx, store, dir) }
	return &command.Libraries{
		Folder: manifest.VenvFolder, Variable: "VIRTUAL_ENV", Write: write,
		Open: func(ctx context.Context) (string, func() error, error) {
			return libraries(s.options.Store).Open(ctx, v.ID(), func(dir string) error { return write(ctx, dir) })
		},
	}
}

// libraries is the part of a cache that has unpacked libraries.
func libraries(store *disk.Store) keep.Cache {
	return keep.Cache{Dir: filepath.Join(store.Root(), "libraries")}
}

// CleanLibraries removes the unpacked libraries of a cache that nobody uses, as CleanImages does images, and what
// tools of conda's keep of channels.
func CleanLibraries(store *disk.Store, dry bool) (libs int, bytes int64, err error) {
	libs, bytes, err = libraries(store).Clean(dry)
	if err != nil || dry {
		return libs, bytes, err
	}
	return libs, bytes, os.RemoveAll(filepath.Join(store.Root(), condaCache))
}

// LibraryChange is how a wheel or a package of conda's differs from the one that is pinned.
type LibraryChange struct {
	Name     string
	Old, New string // versions; empty when there is none
}

// compareWheels compares the wheels that the requirements come to now with those that the lock pins,
// by the digests that the index tells. Nothing is fetched.
func (s *session) compareWheels(ctx context.Context) (changes []LibraryChange, err error) {
	e := s.Manifest.Environment
	if e.Pip == "" || s.lock.Python == nil || e.InImage() && s.lock.Image == nil {
		return nil, nil // the next build resolves them
	}
	if err := s.requirements(ctx, make(map[string]lock.Input)); err != nil {
		return nil, err
	}
	err = s.withPython(ctx, func(p python) error {
		found, err := s.resolve(ctx, p)
		if err != nil {
			return err
		}
		now := make([]lock.Archive, len(found))
		for i, w := range found {
			now[i] = asTold(w.URL, w.SHA256, s.lock.Wheels)
		}
		changes = wheelChanges(s.lock.Wheels, now)
		return nil
	})
	return changes, err
}

// asTold is the pin of an archive that somebody tells of, without its size. Where its sum is not told, it is the one
// that is pinned: whether it is another one, nothing tells.
func asTold(url string, sum []byte, pinned []lock.Archive) lock.Archive {
	if i := slices.IndexFunc(pinned, func(was lock.Archive) bool { return was.URL == url }); i >= 0 && sum == nil {
		return pinned[i]
	}
	return lock.Archive{URL: url, Digest: digest.NewDigestFromBytes(digest.SHA256, sum)}
}

// wheelChanges tells how two lists of pins differ, by distribution.
func wheelChanges(old, now []lock.Archive) []LibraryChange {
	return libraryChanges(lock.DriftWheels(old, now), func(url string) (name, version string, err error) {
		file, err := pip.FileName(url)
		if err != nil {
			return "", "", err
		}
		n, err := wheel.ParseName(file)
		return n.Distribution, n.Version, err
	})
}

// libraryChanges tells what changes of pins come to, by the names that URLs tell.
func libraryChanges(drift []lock.Change, parse func(url string) (name, version string, err error)) []LibraryChange {
	byName := make(map[string]*LibraryChange)
	for _, c := range drift {
		name, version, err := parse(c.Name)
		if err != nil {
			continue // it was never unpacked
		}
		change := byName[name]
		if change == nil {
			change = &LibraryChange{Name: name}
			byName[name] = change
		}
		if c.Kind != lock.Missing {
			change.Old = version
		}
		if c.Kind != lock.Unneeded {
			change.New = version
		}
	}
	var changes []LibraryChange
	for _, c := range byName {
		changes = append(changes, *c)
	}
	slices.SortFunc(changes, func(a, b LibraryChange) int { return strings.Compare(a.Name, b.Name) })
	return changes
}

// wheelComponent is a wheel in the list of what a package was built with.
func wheelComponent(w lock.Archive) (provenance.Component, error) {
	file, err := pip.FileName(w.URL)
	if err != nil {
		return provenance.Component{}, fmt.Errorf("lock: wheel: %w", err)
	}
	n, err := wheel.ParseName(file)
	return provenance.Wheel(n.Distribution, n.Version, w.Digest.Encoded()), err
}

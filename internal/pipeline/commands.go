package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/internal/workdir"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/command"
	"github.com/sandwich-build/sandwich/stages/pack"
)

// withCommands puts the user's own stages into the stages of a build: those that have the
// name of one take its place, others follow.
func (s *session) withCommands(list []stages.Stage) ([]stages.Stage, error) {
	for _, c := range s.Manifest.Stages {
		stage, err := s.command(c)
		if err != nil {
			return nil, &stages.StageError{Stage: c.Name, Err: err}
		}
		if i := slices.IndexFunc(list, func(s stages.Stage) bool { return s.Name == c.Name }); i >= 0 {
			list[i] = stage
		} else {
			list = append(list, stage)
		}
	}
	return list, nil
}

// ownInputs are the inputs of pack from the user's own stages.
func (s *session) ownInputs() []stages.Input {
	var inputs []stages.Input
	for _, name := range s.added() {
		inputs = append(inputs, stages.Input{Name: pack.OwnInput(name), From: name})
	}
	return inputs
}

// command is one of the user's own stages.
func (s *session) command(c manifest.Command) (stages.Stage, error) {
	stage := stages.Stage{Name: c.Name, Limit: stages.Limit{CPU: c.Resources.CPU, Memory: c.Resources.Memory}}
	from, files := c.Stages(s.Manifest), c.Files(s.Manifest)
	for _, name := range from {
		stage.Inputs = append(stage.Inputs, stages.Input{Name: name, From: name})
	}
	if len(files) > 0 {
		stage.Inputs = append(stage.Inputs, stages.Input{Name: command.FilesInput, Pin: declared{s, files}})
	}
	if s.lock.Image != nil {
		stage.Inputs = append(stage.Inputs, stages.Input{Name: command.ImageInput, From: Image})
	}
	if s.lock.Python != nil {
		stage.Inputs = append(stage.Inputs, stages.Input{Name: command.WheelsInput, From: Wheels})
	}
	if s.lock.Platform != "" {
		stage.Inputs = append(stage.Inputs, stages.Input{Name: command.CondaInput, From: Conda})
	}
	in := s.programs[c.Name]
	name, err := in.host.Digest()
	if err != nil {
		return stage, err
	}
	stage.Environment = name.String()
	cache := s.cacheFolder()
	stage.Kind = command.New(
		command.Params{Run: c.Run, Outputs: c.Outputs, Env: s.variables(c), Network: c.Network, Seed: s.Manifest.Seed}, from, len(files) > 0,
		command.Means{
			Runner:    s.runner,
			Setting:   in.setting,
			Scratch:   s.runningFolder(),
			Log:       filepath.Join(cache, "logs", filepath.FromSlash(s.Manifest.Name), c.Name+".log"),
			Resources: c.Resources,
		})
	return stage, nil
}

// running is where a cache has files while a program runs that needs them.
const running = "running"

func (s *session) runningFolder() string { return filepath.Join(s.cacheFolder(), running) }

// CleanRunning removes what builds that were killed have left in a cache of the programs that they ran.
func CleanRunning(store *disk.Store) error {
	return workdir.Sweep(filepath.Join(store.Root(), running))
}

// cacheFolder is the folder of this machine's cache.
func (s *session) cacheFolder() string {
	if s.options.Store == nil { // of a plan that nobody runs
		return ""
	}
	return s.options.Store.Root()
}

// standardPath is where the programs of a system lie.
const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// program is what a stage of the user's own runs in: as it is named in its key, and as it is
// found here.
type program struct {
	host    environment.Host
	setting func(context.Context, *stages.Task) (command.Setting, error)
}

// findPrograms finds what the user's own stages run in.
func (s *session) findPrograms(ctx context.Context) error {
	s.programs = make(map[string]program)
	e := s.Manifest.Environment
	find := s.onHost
	switch {
	case e.InImage():
		find = s.inImage
	case e.Pip != "":
		find = s.withVenv
	case e.Conda != "":
		find = s.withConda
	}
	for _, c := range s.Manifest.Stages {
		p := program{host: environment.CurrentHost(), setting: found(command.Setting{})}
		if err := find(ctx, &p, c.Run[0]); err != nil {
			return &stages.StageError{Stage: c.Name, Err: err}
		}
		s.programs[c.Name] = p
	}
	return nil
}

// found is what a program of this machine runs in, which is known before the stage runs.
func found(s command.Setting) func(context.Context, *stages.Task) (command.Setting, error) {
	if s.Env == nil {
		s.Env = []string{"PATH=" + standardPath}
	}
	return func(context.Context, *stages.Task) (command.Setting, error) { return s, nil }
}

// onHost finds a program of this machine. One that is a declared file is known by its
// content, another one by the digest of its file; what that loads of the system is known by the
// system's name only.
func (s *session) onHost(ctx context.Context, p *program, name string) error {
	if strings.Contains(name, "/") && !path.IsAbs(name) {
		return nil
	}
	program, mounts, err := sandbox.Program(name, s.getenv("PATH"), s.getenv("HOME"))
	if err != nil {
		return err
	}
	file, err := filepath.EvalSymlinks(program)
	if err != nil {
		return err
	}
	sum, err := s.memory.File(ctx, file)
	if err != nil {
		return err
	}
	p.host.Program = sum.String()
	setting := command.Setting{Program: program, Mounts: mounts}
	if dir := filepath.Dir(program); !slices.Contains(filepath.SplitList(standardPath), dir) {
		setting.Env = []string{"PATH=" + dir + ":" + standardPath}
	}
	p.setting = found(setting)
	return nil
}

// runners are the ways to run programs, each looked for once.
type runners struct {
	mu    sync.Mutex // guards found
	found map[sandbox.Need]chosen
}

// chosen is a Runner, and why it enforces nothing, if so.
type chosen struct {
	sandbox.Runner
	why string
}

// runner chooses what runs the user's own stages.
func (s *session) runner(ctx context.Context, need sandbox.Need) (sandbox.Runner, string, error) {
	s.runners.mu.Lock()
	defer s.runners.mu.Unlock()
	if c, ok := s.runners.found[need]; ok {
		return c.Runner, c.why, nil
	}
	r, why, err := sandbox.For(ctx, s.options.Runner, need)
	if err != nil {
		return nil, "", err
	}
	if s.runners.found == nil {
		s.runners.found = make(map[sandbox.Need]chosen)
	}
	s.runners.found[need] = chosen{r, why}
	return r, why, nil
}

// declared is the pinner of files that a stage of the user's own reads.
type declared struct {
	*session
	paths []string
}

// Pin implements stages.Pinner.
func (d declared) Pin(ctx context.Context, t *stages.Task, _ cas.Tree) (cas.Tree, error) {
	b := cas.NewBuilder(t.Store())
	for _, in := range d.lock.Inputs {
		if !slices.ContainsFunc(d.paths, func(p string) bool { return in.Path == p || strings.HasPrefix(in.Path, p+"/") }) {
			continue
		}
		sum, err := cas.NewDigest(in.Digest.Encoded(), in.Size)
		if err == nil {
			err = b.Add(in.Path, sum)
		}
		if err != nil {
			return cas.Tree{}, err
		}
	}
	return b.Commit(ctx)
}

// leftOut are folders that a declared folder is read without: what programs keep there is not
// what the user wrote.
var leftOut = []string{".git", "__pycache__", ".ipynb_checkpoints"}

// readInputs takes the declared files in, and completes the lock with them. A file that is
// not there is a fault of the manifest.
func (s *session) readInputs(ctx context.Context) error {
	found := make(map[string]lock.Input)
	if err := s.requirements(ctx, found); err != nil {
		return err
	}
	if err := s.condaFile(ctx, found); err != nil {
		return err
	}
	var faults manifest.Faults
	for _, c := range s.Manifest.Stages {
		for k, in := range c.Inputs {
			if s.Manifest.IsStage(in) {
				continue
			}
			err := s.readInput(ctx, path.Clean(in), found)
			if errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, s.noInput(fmt.Sprintf("stages.%s.inputs[%d]", c.Name, k), in))
			} else if err != nil {
				return &stages.StageError{Stage: c.Name, Err: err}
			}
		}
	}
	if len(faults) > 0 {
		return &faults
	}
	var inputs []lock.Input // nil when there are none, as in a lock that was read
	for _, in := range found {
		inputs = append(inputs, in)
	}
	slices.SortFunc(inputs, func(a, b lock.Input) int { return strings.Compare(a.Path, b.Path) })
	if drift := lock.DriftInputs(s.lock.Inputs, inputs); len(drift) > 0 && s.options.Locked {
		return s.drift(drift)
	}
	s.lock.Inputs = inputs
	return nil
}

// noInput says that a declared input is neither a stage nor a file.
func (s *session) noInput(at, name string) manifest.Fault {
	line, column := manifest.Locate(s.file, at)
	names := manifest.StageNames()
	for _, c := range s.Manifest.Stages {
		if !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	unknown := &stages.NoStageError{Name: name, Stages: names}
	f := manifest.Fault{
		File: s.Path, Line: line, Column: column, Path: at,
		Message: fmt.Sprintf("no stage and no file beside the manifest is named %q", name),
	}
	if meant := unknown.Nearest(); meant != "" {
		f.Hint = fmt.Sprintf("did you mean `%s`?", meant)
	}
	return f
}

// readInput takes a file, or all files of a folder, in.
func (s *session) readInput(ctx context.Context, name string, found map[string]lock.Input) error {
	dir := s.inputsFolder()
	return filepath.WalkDir(filepath.Join(dir, filepath.FromSlash(name)), func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if slices.Contains(leftOut, e.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		info, err := os.Stat(file) // what a link points at is read
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a folder", rel)
		}
		d, err := s.takeIn(ctx, file)
		if err != nil {
			return err
		}
		found[rel] = lock.Input{Path: rel, Digest: digest.Digest(d.String()), Size: d.Size()}
		return nil
	})
}

// inputsFolder is where the files lie that the user's own stages read.
func (s *session) inputsFolder() string { return cmp.Or(s.Inputs, s.Dir) }

// takeIn returns the digest of a file, which is in the store then.
func (s *session) takeIn(ctx context.Context, file string) (cas.Digest, error) {
	d, err := s.memory.File(ctx, file)
	if err != nil {
		return cas.Digest{}, err
	}
	missing, err := s.store.Missing(ctx, []cas.Digest{d})
	if err != nil || len(missing) == 0 {
		return d, err
	}
	f, err := os.Open(file)
	if err != nil {
		return cas.Digest{}, err
	}
	defer f.Close()
	return s.store.Put(ctx, f)
}

var (
	cropFiles  = []string{cropfile.CropsFile, cropfile.QuarantineFile, openimages.FunnelFile}
	splitFiles = []string{cropfile.SplitFile, cropfile.AuditFile}
)

// needs are the files that stages read of the output of one that may be replaced.
var needs = map[string]map[string][]string{
	Crop:  {Quality: cropFiles, Report: cropFiles, Pack: cropFiles},
	Split: {Train: {cropfile.SplitFile}, Evaluate: {cropfile.SplitFile}, Report: splitFiles, Pack: splitFiles},
	Train: {Evaluate: {model.DescriptionFile, model.WeightsFile}},
}

// readingFrom is the kind of a stage, which says so when one of the user's own does not give
// what it reads.
func (s *session) readingFrom(stage stages.Stage) stages.Kind {
	r := reading{Kind: stage.Kind}
	for _, in := range stage.Inputs {
		if files := needs[in.From][stage.Name]; len(files) > 0 && s.Manifest.Command(in.From) != nil {
			r.from = append(r.from, source{stage: in.From, input: in.Name, files: files})
		}
	}
	if len(r.from) == 0 {
		return stage.Kind
	}
	return r
}

// reading is a kind that reads outputs of the user's own stages.
type reading struct {
	stages.Kind
	from []source
}

// source is a stage of the user's own, and what its output must have.
type source struct {
	stage, input string
	files        []string
}

// UnfitError says that the output of a stage of the user's own lacks what another one reads.
type UnfitError struct {
	Stage string // of the user's own
	File  string // that its output lacks
}

func (e *UnfitError) Error() string {
	return fmt.Sprintf("your stage %s has left no %s, which is read here", e.Stage, e.File)
}

// Run implements stages.Kind.
func (r reading) Run(ctx context.Context, t *stages.Task) error {
	for _, from := range r.from {
		for _, file := range from.files {
			if _, err := t.Input(from.input).Lookup(ctx, file); errors.Is(err, fs.ErrNotExist) {
				return &UnfitError{Stage: from.stage, File: file}
			} else if err != nil {
				return err
			}
		}
	}
	return r.Kind.Run(ctx, t)
}

// added are the user's own stages that do not take the place of another, in the order of the
// manifest.
func (s *session) added() []string {
	var names []string
	for _, c := range s.Manifest.Stages {
		if !slices.Contains(manifest.StageNames(), c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

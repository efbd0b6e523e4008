// Package command is the kind of a stage of the user's own: a program that reads what the
// manifest declares and leaves files.
//
// What the program sees:
//
//	/sandwich            where it starts; read-only
//	/sandwich/<stage>    the output of a stage that it reads
//	/sandwich/<path>     a file or folder that it reads, as it lies beside the manifest
//	/sandwich/.venv      the wheels that it imports, and their Python, if the environment has some
//	/sandwich/.conda     the packages of conda's that it runs with, if the environment has some
//	/sandwich/out        where it leaves its output
//	/tmp                 its home, for what it writes besides; thrown away
//
// and, besides, the image that it runs in or the system folders of this machine. It has no
// network unless the manifest allows it, and of the variables of this process it gets none.
package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/dirindex"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/internal/workdir"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
)

// FilesInput is the name of the input that has the declared files, at their paths. No stage
// can have it.
const FilesInput = "declared files"

// ImageInput is the name of the input that has the image that the program runs in, if it is none
// of this machine's. No stage can have it.
const ImageInput = "its image"

// WheelsInput is the name of the input that has the wheels that the program imports, as package
// wheels leaves them. No stage can have it.
const WheelsInput = "its wheels"

// CondaInput is the name of the input that has the packages of conda's, as package conda leaves them. No
// stage can have it.
const CondaInput = "its packages"

// Params are everything but the inputs and the environment that decides the output.
type Params struct {
	Run     []string          `json:"run"`
	Outputs []string          `json:"outputs,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Network bool              `json:"network,omitempty"`
	Seed    uint64            `json:"seed"` // of the manifest; SANDWICH_SEED of the program
}

// Means are how the program is run here, which must not decide what it leaves.
type Means struct {
	// Runner chooses what runs the program; why says why that enforces nothing, if so. It is
	// asked when the stage runs.
	Runner func(ctx context.Context, need sandbox.Need) (r sandbox.Runner, why string, err error)
	// Setting says what the program runs in. It is asked when the stage runs.
	Setting func(ctx context.Context, t *stages.Task) (Setting, error)

	Scratch   string // folder for what lies there while it runs; on the store's disk blobs can be cloned
	Log       string // file for what it printed, when it fails
	Resources manifest.Resources
}

// Setting is what a program runs in.
type Setting struct {
	Image  sandbox.Image   // nil for this machine
	Mounts []sandbox.Mount // besides the inputs and the output
	Env    []string        // before that of the manifest, as KEY=value; PATH is among them
	// Program is the path of the program to run, where that was looked up: absolute, or in the
	// folder that it starts in. Empty leaves it to the runner.
	Program   string
	Libraries *Libraries // what it imports; nil for nothing
}

// Libraries are a folder of what a program imports, in the folder that it starts in. Their programs come first in
// its PATH.
type Libraries struct {
	Folder   string // its name
	Variable string // of the environment, which has the path of the folder
	// Open returns a folder that has them, which nobody may write to. It stays until release is called.
	Open func(ctx context.Context) (dir string, release func() error, err error)
	// Write writes them into a new folder, where nothing keeps the program from writing to them. It is nil where
	// they are made for their place, which only a sandbox gives them.
	Write func(ctx context.Context, dir string) error
}

// Place is where programs see a folder of the one that they start in.
func Place(folder string) string { return Folder + "/" + folder }

// PlaceError says that libraries cannot be where they must be.
type PlaceError struct{ Folder, Why string }

func (e *PlaceError) Error() string {
	return fmt.Sprintf("what it imports is made for %s, where no program sees it without a sandbox%s", Place(e.Folder), because(e.Why))
}

// Kind is the stage kind.
type Kind struct {
	params Params
	stages []string // the inputs that are stages
	files  bool     // whether there are declared files
	means  Means
}

// New returns the kind of a command that reads the outputs of stages and, if files says so,
// the input FilesInput.
func New(p Params, stages []string, files bool, m Means) *Kind {
	return &Kind{params: p, stages: stages, files: files, means: m}
}

// Name implements stages.Kind.
func (*Kind) Name() string { return "command" }

// Version implements stages.Kind.
func (*Kind) Version() int { return 1 }

// Params implements stages.Kind.
func (k *Kind) Params() any { return k.params }

// MountPoints are the folders that an image must have for this.
func MountPoints() []string { return []string{Folder, Temporary} }

// Places, as the program sees them.
const (
	Folder    = "/sandwich" // where it starts
	Temporary = "/tmp"      // where it may write what nobody keeps

	out = Folder + "/" + manifest.OutputFolder
)

// logEnd is how many lines of the log an error has.
const logEnd = 20

// FailedError says that a program failed.
type FailedError struct {
	Run      []string
	Err      error    // a *sandbox.ExitError
	Tail     []string // the last lines that it printed
	Log      string   // the file with all that it printed; empty when it could not be kept
	Enforced bool     // whether it was kept to what it declares
}

func (e *FailedError) Error() string {
	text := fmt.Sprintf("%s: %v", e.Run[0], e.Err)
	if len(e.Tail) > 0 {
		text += "; it printed last: " + e.Tail[len(e.Tail)-1]
	}
	return text
}

// Unwrap returns the cause.
func (e *FailedError) Unwrap() error { return e.Err }

// OutputError says that a program has not left what it declares.
type OutputError struct{ Problems []string }

func (e *OutputError) Error() string { return strings.Join(e.Problems, "; ") }

// Run implements stages.Kind: it lays out the inputs, runs the program and takes its output in.
func (k *Kind) Run(ctx context.Context, t *stages.Task) (err error) {
	setting, err := k.means.Setting(ctx, t)
	if err != nil {
		return err
	}
	need := sandbox.Need{Limits: k.means.Resources != manifest.Resources{}, Image: setting.Image != nil}
	runner, why, err := k.means.Runner(ctx, need)
	if err != nil {
		return err
	}
	dir, remove, err := workdir.Make(k.means.Scratch)
	if err != nil {
		return fmt.Errorf("run %s: %w", k.params.Run[0], err)
	}
	defer func() { err = errors.Join(err, remove()) }()
	if err := k.layOut(ctx, t, dir); err != nil {
		return err
	}
	p := k.process(t, setting, dir)
	if l := setting.Libraries; l != nil {
		mount, release, err := l.layOut(ctx, runner, why, filepath.Join(dir, "work"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release()) }()
		p.Mounts = append(p.Mounts, mount...)
	}
	lacks := runner.Enforced().Lacks(p)
	if len(lacks) > 0 && setting.Image == nil { // an image is not run then
		t.Warnf("not refused here: %s%s; bubblewrap or runc would", strings.Join(lacks, ", "), because(why))
	}
	var before map[string]string
	if !runner.Enforced().Writes {
		if before, err = listing(filepath.Join(dir, "work")); err != nil {
			return err
		}
	}
	printed, err := openTranscript(filepath.Join(dir, "log"), t.Show)
	if err != nil {
		return err
	}
	defer printed.close()
	p.Stdout, p.Stderr = printed, printed
	err = runner.Run(ctx, p)
	printed.lines.Flush()
	if failed, ok := errors.AsType[*sandbox.ExitError](err); ok {
		failed := &FailedError{Run: k.params.Run, Err: failed, Tail: printed.tail, Enforced: len(lacks) == 0}
		if printed.moveTo(k.means.Log) == nil {
			failed.Log = k.means.Log
		}
		return failed
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", k.params.Run[0], err)
	}
	if before != nil {
		if err := k.compare(before, filepath.Join(dir, "work")); err != nil {
			return err
		}
	}
	if err := k.collect(ctx, t, dir); err != nil {
		return err
	}
	return printed.keep(ctx, t)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// layOut makes the folders that the program will see: dir/work with the inputs and the empty
// folder for its output, and dir/tmp.
func (k *Kind) layOut(ctx context.Context, t *stages.Task, dir string) error {
	work := filepath.Join(dir, "work")
	if k.files {
		if _, err := worktree.Write(ctx, t.Store(), t.Input(FilesInput).ID(), work); err != nil {
			return err
		}
		if err := executable(work); err != nil {
			return err
		}
	}
	for _, name := range k.stages {
		if _, err := worktree.Write(ctx, t.Store(), t.Input(name).ID(), filepath.Join(work, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"work/" + manifest.OutputFolder, "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(name)), 0o777); err != nil {
			return fmt.Errorf("lay out the inputs: %w", err)
		}
	}
	return nil
}

// layOut puts libraries into the folder that the program starts in, or says what to mount there.
func (l *Libraries) layOut(ctx context.Context, r sandbox.Runner, why, work string) (mounts []sandbox.Mount, release func() error, err error) {
	nothing := func() error { return nil }
	here := filepath.Join(work, l.Folder)
	if !r.Enforced().Writes {
		if l.Write == nil {
			return nil, nil, &PlaceError{l.Folder, why}
		}
		if err := l.Write(ctx, here); err != nil {
			return nil, nil, fmt.Errorf("lay out what it imports: %w", err)
		}
		return nil, nothing, nil
	}
	if err := os.Mkdir(here, 0o777); err != nil { // to mount them there
		return nil, nil, fmt.Errorf("lay out what it imports: %w", err)
	}
	dir, release, err := l.Open(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("lay out what it imports: %w", err)
	}
	return []sandbox.Mount{{From: dir, To: Place(l.Folder)}}, release, nil
}

// executable lets the declared files be run: a tree does not know which can be.
func executable(dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chmod(name, 0o755)
	})
}

// process describes the program.
func (k *Kind) process(t *stages.Task, s Setting, dir string) sandbox.Process {
	args := slices.Clone(k.params.Run)
	args[0] = cmp.Or(s.Program, args[0])
	env := map[string]string{}
	for _, v := range slices.Concat(standard, s.Env) {
		key, value, _ := strings.Cut(v, "=")
		env[key] = value
	}
	maps.Copy(env, k.params.Env)
	if l := s.Libraries; l != nil {
		env["PATH"] = Place(l.Folder) + "/bin:" + env["PATH"]
		env[l.Variable] = Place(l.Folder)
	}
	env["SANDWICH_OUT"] = out
	env["SANDWICH_SEED"] = strconv.FormatUint(k.params.Seed, 10)
	env["SANDWICH_WORKERS"] = strconv.Itoa(t.Workers())
	p := sandbox.Process{
		Image: s.Image, Args: args, Dir: Folder, Network: k.params.Network,
		CPU: k.means.Resources.CPU, Memory: k.means.Resources.Memory,
		Mounts: append(slices.Clone(s.Mounts),
			sandbox.Mount{From: filepath.Join(dir, "work"), To: Folder},
			sandbox.Mount{From: outputOf(dir), To: out, Writable: true},
			sandbox.Mount{From: filepath.Join(dir, "tmp"), To: Temporary, Writable: true}),
	}
	for _, key := range slices.Sorted(maps.Keys(env)) {
		p.Env = append(p.Env, key+"="+env[key])
	}
	return p
}

// standard are the variables that every program gets. A sum of floats depends on how many
// threads share it, so libraries that do it so are asked for one; a manifest may say more.
var standard = []string{
	"HOME=" + Temporary, "TMPDIR=" + Temporary, "LANG=C.UTF-8", "TZ=UTC", "SOURCE_DATE_EPOCH=315532800", // 1980, which zip files can hold
	"OMP_NUM_THREADS=1", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1",
}

// outputOf is the folder of the output in the folder that layOut made.
func outputOf(dir string) string { return filepath.Join(dir, "work", manifest.OutputFolder) }

// listing is what there is in a folder besides the output, as far as a change of it would show.
func listing(dir string) (map[string]string, error) {
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}
		if rel == manifest.OutputFolder {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.IsDir() {
			found[rel] = "folder"
		} else {
			found[rel] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return found, err
}

// compare finds what a program has changed that was not kept from it.
func (k *Kind) compare(before map[string]string, dir string) error {
	after, err := listing(dir)
	if err != nil {
		return err
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if before[name] != after[name] {
			problems = append(problems, fmt.Sprintf("it has changed %s, which is outside of the folder %s", filepath.ToSlash(name), manifest.OutputFolder))
		}
	}
	if len(problems) > 0 {
		return &OutputError{problems[:min(len(problems), maxProblems)]}
	}
	return nil
}

// maxProblems bounds what an OutputError lists.
const maxProblems = 10

// collect takes the output in.
func (k *Kind) collect(ctx context.Context, t *stages.Task, dir string) error {
	folder := outputOf(dir)
	index, err := dirindex.Open(filepath.Join(dir, "index"), folder)
	if err != nil {
		return err
	}
	tree, taken, err := worktree.Take(ctx, t.Store(), folder, index)
	if errors.Is(err, worktree.ErrIrregular) {
		return &OutputError{[]string{strings.ReplaceAll(err.Error(), folder, manifest.OutputFolder) + ": an output is made of files; copy what a link points at"}}
	}
	if err != nil {
		return err
	}
	var names []string
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return err
		}
		names = append(names, f.Path)
	}
	if problems := k.judge(names); len(problems) > 0 {
		return &OutputError{problems[:min(len(problems), maxProblems)]}
	}
	t.Count("files", int64(taken.Files))
	return t.Out().AddTree(ctx, "", tree)
}

// judge tells how the files of the output differ from what is declared.
func (k *Kind) judge(names []string) (problems []string) {
	if len(names) == 0 {
		problems = append(problems, fmt.Sprintf("it has left nothing in the folder %s", manifest.OutputFolder))
	}
	if len(k.params.Outputs) == 0 {
		return problems
	}
	for _, want := range k.params.Outputs {
		if !slices.ContainsFunc(names, func(name string) bool { return covers(want, name) }) {
			problems = append(problems, fmt.Sprintf("it has not left %s, which is declared", path.Clean(want)))
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(k.params.Outputs, func(want string) bool { return covers(want, name) }) {
			problems = append(problems, fmt.Sprintf("it has left %s, which is not declared", name))
		}
	}
	return problems
}

// covers says whether a file is a declared one, or in a declared folder.
func covers(declared, name string) bool {
	declared = path.Clean(declared)
	return name == declared || strings.HasPrefix(name, declared+"/")
}

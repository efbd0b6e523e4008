// Package reproduce builds an installed package again, from its manifest, its lock, its
// sources and its environment, and compares what comes out with the package: stage by stage
// while it is built, and at the end every byte.
//
// Nothing of the world is asked for but the bytes that the lock names, and those that the
// package carries are not asked for either. Where such bytes are gone and the package does
// not carry them (photos that were left out and whose links have died, and crops of them that
// quality dropped), the stages that would read them cannot be run again. Their outputs are then taken from the package, as far
// as it says what they were, and the report says so: the proof begins with what follows them.
package reproduce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/cropfile"
	"github.com/sandwich-build/sandwich/internal/dirindex"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/provenance"
	"github.com/sandwich-build/sandwich/internal/table"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
	"github.com/sandwich-build/sandwich/stages/metadata"
)

// Options say what to build again, and with what.
type Options struct {
	// Build says how. Its store must hold no results but those of an earlier run that was
	// interrupted. The backend is the package's.
	Build pipeline.Options

	Stage          string // the only stage to run, on inputs from the package; empty for all
	KeepGoing      bool   // go on after the first stage that differs
	AnyEnvironment bool   // build although the environment is another one
}

// Verdict is what became of a stage.
type Verdict string

// The verdicts.
const (
	Identical Verdict = "identical" // it ran, and wrote the bytes that it wrote before
	Differs   Verdict = "differs"   // it would not run on the same, or wrote other bytes
	Taken     Verdict = "taken"     // its output is that of the package: it could not, or was not to run
	Unreached Verdict = "unreached" // an earlier stage differs, or only that one was to run
)

// Stage is what became of a stage.
type Stage struct {
	Stage   string
	Verdict Verdict
	Why     []string    // in what the action differs, or why the output is taken from the package
	Was, Is cas.TreeID  // the output; Is is zero when it was not reached
	Changes cas.Changes // of a stage that wrote other bytes
}

// Report is what a package was found to be.
type Report struct {
	Stages  []Stage
	Whole   bool        // the package was built to its end
	Rebuilt string      // top hash of what was built; empty without the package's end
	Files   cas.Changes // in what the files of the package differ from those that were built
	Kept    string      // the folder with the files that differ, of both sides; empty when there are none
}

// Identical reports whether all that was built again is the same to the byte.
func (r *Report) Identical(top string) bool {
	for _, s := range r.Stages {
		if s.Verdict == Differs {
			return false
		}
	}
	return !r.Whole || r.Rebuilt == top
}

// NoRecordError says that a package does not tell how it was built.
type NoRecordError struct{ Missing string }

func (e *NoRecordError) Error() string {
	return "the package has no " + e.Missing + ": it was not built by sandwich, or by an older version"
}

// EnvironmentError says that the package was built in another environment.
type EnvironmentError struct{ Differences []string }

func (e *EnvironmentError) Error() string { return "the package was built in another environment" }

// LostOutputError says that the package does not hold a file that one of its stages wrote.
type LostOutputError struct {
	Stage string
	File  cas.File
}

func (e *LostOutputError) Error() string {
	return fmt.Sprintf("the package does not hold %s as %s wrote it (%s)", e.File.Path, e.Stage, e.File.Digest)
}

// ErrSources says that the package's code/ is not what it was built from.
var ErrSources = errors.New("the package does not hold the sources that its lock names")

// Run builds the package that is installed in dir again. content is the package as the
// registry has it, whose files those in dir have been verified to be. What differs is kept
// below the folder kept.
//
// A package that does not tell how it was built is a *NoRecordError, one of another
// environment an *EnvironmentError.
func Run(ctx context.Context, content *quilt.Package, dir, kept string, o Options) (*Report, error) {
	store := o.Build.Store
	index, err := dirindex.Open("", dir)
	if err != nil {
		return nil, err
	}
	files, _, err := worktree.Take(ctx, store, dir, index)
	if err != nil {
		return nil, err
	}
	r := &rerun{Options: o, content: content, dir: dir, kept: kept, files: files, taken: map[string]string{}, store: partial{store, map[cas.Digest]*LostOutputError{}}}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	return r.run(ctx)
}

// rerun is one run of Run.
type rerun struct {
	Options
	content *quilt.Package
	dir     string
	kept    string
	files   cas.Tree // of the package

	recorded []provenance.Stage
	listed   map[cas.TreeID]bool // outputs whose files are known
	project  *pipeline.Project
	remains  pipeline.Remains
	taken    map[string]string // why the output of a stage is taken from the package
	store    partial           // that is built in
}

// read reads what the package says of itself.
func (r *rerun) read(ctx context.Context) error {
	if err := r.open(ctx, provenance.StagesFile, func(in io.Reader) (err error) {
		r.recorded, err = provenance.DecodeStages(in)
		return err
	}); err != nil {
		return err
	}
	if err := r.open(ctx, provenance.OutputsFile, func(in io.Reader) (err error) {
		r.listed, err = provenance.RestoreOutputs(ctx, in, r.Build.Store)
		return err
	}); err != nil {
		return err
	}
	if s, ok := r.stage(pipeline.Metadata); ok {
		var err error
		if r.remains.Metadata, err = metadata.ParseParams(s.Params); err != nil {
			return fmt.Errorf("%s: %w", provenance.StagesFile, err)
		}
	}
	var was pipeline.Environment
	if err := r.open(ctx, pipeline.EnvironmentFile, func(in io.Reader) error {
		if err := json.NewDecoder(in).Decode(&was); err != nil {
			return fmt.Errorf("%s: %w", pipeline.EnvironmentFile, err)
		}
		return nil
	}); err != nil {
		return err
	}
	if was.Backend != "" {
		r.Build.Backend = was.Backend
	}
	is, err := pipeline.CurrentEnvironment(ctx, r.Build)
	if err != nil {
		return err
	}
	if differences := is.Differences(was); len(differences) > 0 && !r.AnyEnvironment {
		return &EnvironmentError{differences}
	}
	return r.openProject(ctx)
}

// open reads a file of the package.
func (r *rerun) open(ctx context.Context, name string, read func(io.Reader) error) error {
	in, err := r.files.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return &NoRecordError{Missing: name}
	}
	if err != nil {
		return err
	}
	return errors.Join(read(in), in.Close())
}

// openProject opens the manifest and the lock of the package. Paths in the manifest are
// relative to the user's sources where the package holds the folder that the manifest was in.
func (r *rerun) openProject(ctx context.Context) error {
	const name = "manifest.yaml"
	if _, err := r.files.Lookup(ctx, name); errors.Is(err, fs.ErrNotExist) {
		return &NoRecordError{Missing: name}
	}
	p, err := pipeline.Open(filepath.Join(r.dir, name))
	if err != nil {
		return err
	}
	p.Inputs = filepath.Join(r.dir, pipeline.InputsFolder)
	r.project = p
	l, err := lock.Open(p.LockPath)
	if errors.Is(err, fs.ErrNotExist) {
		return &NoRecordError{Missing: lock.FileName}
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // it was only read
	if l.Code == nil {
		return nil
	}
	code, err := r.files.Sub(ctx, "code")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || code.ID().String() != l.Code.Tree.String() {
		return ErrSources
	}
	r.remains.Code = code
	if path.Clean(p.Manifest.Code.Git) == "." {
		p.Dir = filepath.Join(p.Dir, "code")
	}
	return nil
}

// run builds the package. What turns out to be gone from the world, or not to be in the package, is taken
// from the package's own outputs, and the build begins again where it was.
func (r *rerun) run(ctx context.Context) (*Report, error) {
	if r.Stage != "" {
		if err := r.takeAllBut(ctx, r.Stage); err != nil {
			return nil, err
		}
	}
	for {
		report, err := r.attempt(ctx)
		failed, ok := errors.AsType[*stages.StageError](err)
		if !ok || ctx.Err() != nil {
			return report, err
		}
		why := r.mayTake(failed.Stage, failed.Err)
		if why == "" {
			return report, err
		}
		if err := r.take(ctx, failed.Stage, why); err != nil {
			return nil, err
		}
	}
}

// mayTake says why the output of a stage that failed is to be taken from the package; nothing when it is not.
func (r *rerun) mayTake(stage string, err error) string {
	if r.taken[stage] != "" {
		return ""
	}
	if gone, ok := errors.AsType[*fetch.Error](err); ok {
		return isGone(gone)
	}
	lost, ok := errors.AsType[*LostOutputError](err)
	switch {
	case !ok || stage == r.Stage: // of which there would be nothing to compare
		return ""
	case lost.Stage == pipeline.Metadata || lost.Stage == pipeline.Download:
		return "it reads what " + lost.Stage + " fetched"
	}
	return fmt.Sprintf("it reads %s of %s, which the package does not hold", lost.File.Path, lost.Stage)
}

// isGone says that the world does not have what a stage needs.
func isGone(why *fetch.Error) string {
	const gone = "what it reads is gone: "
	if !strings.Contains(why.URL, "://") && errors.Is(why, fs.ErrNotExist) {
		return gone + why.URL + " lay beside the manifest, and the package does not hold it"
	}
	return gone + why.Error()
}

// stage returns what the package says of a stage.
func (r *rerun) stage(name string) (provenance.Stage, bool) {
	i := slices.IndexFunc(r.recorded, func(s provenance.Stage) bool { return s.Stage == name })
	if i < 0 {
		return provenance.Stage{}, false
	}
	return r.recorded[i], true
}

// takeOutput makes the output of a stage that of the package.
func (r *rerun) takeOutput(ctx context.Context, s provenance.Stage, why string) error {
	if !r.listed[s.Result().Tree] {
		return fmt.Errorf("%s does not list what %s wrote", provenance.OutputsFile, s.Stage)
	}
	r.taken[s.Stage] = why
	if err := r.store.lack(ctx, s); err != nil {
		return err
	}
	return r.Build.Store.Record(ctx, s.Action.Digest, s.Result())
}

// take takes the output of a stage.
func (r *rerun) take(ctx context.Context, name, why string) error {
	s, ok := r.stage(name)
	if !ok {
		return fmt.Errorf("%s does not tell what %s wrote", provenance.StagesFile, name)
	}
	return r.takeOutput(ctx, s, why)
}

// takeAllBut takes the output of every stage from the package, but that of one.
func (r *rerun) takeAllBut(ctx context.Context, name string) error {
	if _, ok := r.stage(name); !ok {
		e := &stages.NoStageError{Name: name}
		for _, s := range r.recorded {
			e.Stages = append(e.Stages, s.Stage)
		}
		return e
	}
	for _, s := range r.recorded {
		// An image that is not in the package is fetched by its digest. Wheels and packages of conda's are, and what they
		// come to is not: they are unpacked again.
		if s.Stage == name || s.Stage == pipeline.Wheels || s.Stage == pipeline.Conda || s.Stage == pipeline.Image && !r.listed[s.Result().Tree] {
			continue
		}
		if err := r.takeOutput(ctx, s, "only "+name+" was to run"); err != nil {
			return err
		}
	}
	r.Build.Until = name
	return r.checkCrops(ctx)
}

// checkCrops looks for the crops that a package holds of those that were taken: all that are in a set, whether
// the stage that is to run reads them or not.
func (r *rerun) checkCrops(ctx context.Context) error {
	crop, cropped := r.stage(pipeline.Crop)
	split, parted := r.stage(pipeline.Split)
	if !cropped || !parted || r.taken[crop.Stage] == "" || r.taken[split.Stage] == "" {
		return nil
	}
	crops := cas.NewTree(r.store, crop.Result().Tree)
	for a, err := range table.Rows(ctx, cas.NewTree(r.store, split.Result().Tree), cropfile.SplitFile, cropfile.Split) {
		if err != nil {
			return err
		}
		d, err := crops.Lookup(ctx, a.Path)
		if err != nil {
			return err
		}
		if lost := r.store.lacks[d]; lost != nil {
			return lost
		}
	}
	return nil
}

// partial is a store that lacks a part of what is taken from the package. It says so of a blob that is read: a
// package holds of an output what people need, and few stages read all of one.
type partial struct {
	*disk.Store
	lacks map[cas.Digest]*LostOutputError
}

// Open implements cas.Store. The error may be a *LostOutputError.
func (p partial) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	in, err := p.Store.Open(ctx, d)
	if lost, ok := p.lacks[d]; ok && errors.Is(err, fs.ErrNotExist) {
		return nil, lost
	}
	return in, err
}

// lack notes what the store lacks of the output of a stage.
func (p partial) lack(ctx context.Context, s provenance.Stage) error {
	files := make(map[cas.Digest]cas.File)
	var digests []cas.Digest
	for f, err := range cas.NewTree(p.Store, s.Result().Tree).Files(ctx) {
		if err != nil {
			return err
		}
		files[f.Digest], digests = f, append(digests, f.Digest)
	}
	missing, err := p.Missing(ctx, digests)
	if err != nil {
		return err
	}
	for _, d := range missing {
		p.lacks[d] = &LostOutputError{Stage: s.Stage, File: files[d]}
	}
	return nil
}

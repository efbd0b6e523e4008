package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/internal/attest"
	"github.com/sandwich-build/sandwich/internal/conda"
	"github.com/sandwich-build/sandwich/internal/cosign"
	"github.com/sandwich-build/sandwich/internal/doctor"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/gitcode"
	"github.com/sandwich-build/sandwich/internal/history"
	"github.com/sandwich-build/sandwich/internal/image/build"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/internal/pip"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/reproduce"
	"github.com/sandwich-build/sandwich/internal/sandbox"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob/s3"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/command"
	"github.com/sandwich-build/sandwich/stages/crop"
	"github.com/sandwich-build/sandwich/stages/download"
	selection "github.com/sandwich-build/sandwich/stages/select"
)

// The exit codes are an interface: scripts branch on them. exitTopic documents them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitManifest    = 3
	exitLock        = 4
	exitRegistry    = 5
	exitDiffers     = 6
	exitIncomplete  = 7
	exitInterrupted = 130
)

// diagnose says what an error means: the exit code, and what a person is told. It is
// the only place that decides either.
func diagnose(ctx context.Context, err error) (int, *ui.Problem) {
	if err == nil {
		return exitOK, nil
	}
	if ctx.Err() != nil {
		return exitInterrupted, &ui.Problem{Message: interrupted(err), Hint: "the same command goes on from there"}
	}
	p := &ui.Problem{Message: err.Error()}
	for _, rule := range []func(error, *ui.Problem) (int, bool){
		ofUsage, ofReproduction, ofHealth, ofManifest, ofSelection, ofLock, ofRegistry, ofImages, ofCache, ofStage,
	} {
		if code, ok := rule(err, p); ok {
			return code, p
		}
	}
	return exitFailed, p
}

// interrupted tells where a command was when it was interrupted.
func interrupted(err error) string {
	if stage, ok := errors.AsType[*stages.StageError](err); ok {
		return "interrupted in " + stage.Stage
	}
	return "interrupted"
}

func ofUsage(err error, p *ui.Problem) (int, bool) {
	usage, ok := errors.AsType[*usageError](err)
	if ok {
		p.Hint = usage.hint
	}
	if errors.Is(err, manifest.ErrSetting) {
		p.Hint, ok = "write it as in -S model.epochs=2", true
	}
	if unknown, none := errors.AsType[*stages.NoStageError](err); none {
		ok = true
		if meant := unknown.Nearest(); meant != "" {
			p.Hint = fmt.Sprintf("did you mean `%s`?", meant)
		}
	}
	if _, unknown := errors.AsType[*history.NoBuildError](err); unknown {
		p.Hint, ok = "`sandwich history` lists the builds", true
	}
	if _, none := errors.AsType[*pipeline.NoPackageError](err); none {
		p.Hint, ok = "`sandwich history` says why; build it again", true
	}
	return exitUsage, ok
}

// ofReproduction is about a package that cannot be built again to the byte.
func ofReproduction(err error, p *ui.Problem) (int, bool) {
	if other, ok := errors.AsType[*reproduce.EnvironmentError](err); ok {
		p.Items = other.Differences
		p.Hint = "environment/ in the package says how to make the same one; --any-environment builds it all the same"
		return exitDiffers, true
	}
	if differs, ok := errors.AsType[*notReproducedError](err); ok {
		if differs.answer.Kept != "" {
			p.Hint = "the files that differ are in " + differs.answer.Kept
		}
		return exitDiffers, true
	}
	if _, ok := errors.AsType[*reproduce.LostOutputError](err); ok {
		p.Hint = "packages leave out what few people need: leave out --stage; or this one was changed after it was built"
		return exitDiffers, true
	}
	if errors.Is(err, reproduce.ErrSources) {
		p.Hint = "the package was changed after it was built"
		return exitDiffers, true
	}
	if _, ok := errors.AsType[*challengedError](err); ok {
		return exitDiffers, true
	}
	_, ok := errors.AsType[*reproduce.NoRecordError](err)
	return exitDiffers, ok
}

// ofHealth is about what a build lacks, before there is one.
func ofHealth(err error, p *ui.Problem) (int, bool) {
	unwell, ok := errors.AsType[*unwellError](err)
	if !ok {
		return exitFailed, false
	}
	p.Hint = "the lines that begin with `mend` say how"
	if slices.Equal(unwell.broken(), []string{doctor.RegistryName}) {
		return exitRegistry, true
	}
	return exitFailed, true
}

// manifestError is a manifest that cannot be read at all.
type manifestError struct{ err error }

// unreadable tells errors about the manifest at path from those about other files.
func unreadable(path string, err error) error {
	if about, ok := errors.AsType[*fs.PathError](err); ok && about.Path == path {
		return &manifestError{err}
	}
	return err
}

func (e *manifestError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *manifestError) Unwrap() error { return e.err }

func ofManifest(err error, p *ui.Problem) (int, bool) {
	if faults, ok := errors.AsType[*manifest.Faults](err); ok {
		p.Message = "the manifest has a fault"
		if len(*faults) > 1 {
			p.Message = fmt.Sprintf("the manifest has %d faults", len(*faults))
		}
		for _, f := range *faults {
			p.Faults = append(p.Faults, ui.Fault(f))
		}
		return exitManifest, true
	}
	_, ok := errors.AsType[*manifestError](err)
	if ok && errors.Is(err, fs.ErrNotExist) {
		p.Hint = "`sandwich init` writes a manifest to start from"
	}
	return exitManifest, ok
}

// ofSelection is about a manifest whose labels exist, but not with the rules it has.
func ofSelection(err error, p *ui.Problem) (int, bool) {
	_, ok := errors.AsType[*selection.NoBoxesError](err)
	if ok {
		p.Hint = "the rules in dataset.boxes are too strict for these labels, or the subsets too small"
	}
	if unknown, none := errors.AsType[*openimages.UnknownLabelError](err); none {
		ok = true
		if len(unknown.Nearest) > 0 {
			p.Hint = "the nearest are " + strings.Join(unknown.Nearest, ", ")
		}
	}
	return exitManifest, ok
}

func ofLock(err error, p *ui.Problem) (int, bool) {
	if drift, ok := errors.AsType[*pipeline.DriftError](err); ok {
		p.Message, p.Items = drift.Path+" is out of date", drift.Changes
		p.Hint = "`sandwich lock` brings it up to date"
		return exitLock, true
	}
	if errors.Is(err, pipeline.ErrNoLock) {
		p.Hint = "`sandwich lock` writes one"
		return exitLock, true
	}
	format, ok := errors.AsType[*lock.FormatError](err)
	if ok {
		p.Message, p.Hint = fmt.Sprintf("%s:%d: %s", format.File, format.Line, format.Message), format.Hint
	}
	return exitLock, ok
}

// registryError is whatever went wrong with the registry of a verb that reads one.
type registryError struct{ err error }

func (e *registryError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *registryError) Unwrap() error { return e.err }

func ofRegistry(err error, p *ui.Problem) (int, bool) {
	_, ok := errors.AsType[*registryError](err)
	if _, pushing := errors.AsType[*pipeline.RegistryError](err); pushing {
		ok = true
	}
	if unknown, absent := errors.AsType[*registry.NotFoundError](err); absent {
		p.Hint, ok = "`sandwich ls` lists the packages", true
		if unknown.Ref.Hash+unknown.Ref.Tag != "" {
			p.Hint = fmt.Sprintf("`sandwich log %s` lists the revisions, `sandwich ls` the tags", unknown.Ref.Name)
		}
	}
	if part, absent := errors.AsType[*registry.NoPartError](err); absent {
		p.Hint, ok = fmt.Sprintf("`sandwich show %s --files` lists what it has", part.Ref), true
	}
	if _, required := errors.AsType[*registry.WorkflowError](err); required {
		p.Hint, ok = "push with quilt3, or set is_workflow_required: false in .quilt/workflows/config.yml", true
	}
	if _, tagged := errors.AsType[*registry.TagError](err); tagged {
		p.Hint, ok = "--move lets a tag mean another revision", true
	}
	if answer, refused := errors.AsType[*s3.Error](err); refused && answer.Status == http.StatusForbidden {
		p.Hint, ok = "do your AWS credentials (AWS_PROFILE, ~/.aws, …) allow this on the bucket?", true
	}
	if lost, found := errors.AsType[*registry.ConflictError](err); found {
		p.Hint, ok = afterConflict(lost), true
	}
	if differs, found := errors.AsType[*differsError](err); found {
		p.Hint, ok = "pushing the package again from where it was built repairs it", true
		if differs.dir != "" {
			p.Hint = "move what is changed or extra away, then `sandwich install` fetches what is missing"
		}
	}
	if _, foreign := errors.AsType[*folder.ForeignError](err); foreign {
		p.Hint, ok = "move them away, or install into another folder", true
	}
	if _, twins := errors.AsType[*folder.TwinsError](err); twins {
		p.Hint, ok = "install it on a file system that tells them apart, or a part of it with --path", true
	}
	if _, unsigned := errors.AsType[*attest.UnsignedError](err); unsigned {
		p.Hint, ok = "`sandwich sign` signs a package; ask for it whom you trust, or install without requiring a signature", true
		if failed, asked := errors.AsType[*cosign.FailedError](err); asked {
			p.Items = failed.Lines
			p.Hint = "is it of another sigstore, and does COSIGN_TRUSTED_ROOT name its root? the public one's is fetched anew now and then: is there a network?"
		}
	}
	if _, damaged := errors.AsType[*registry.DamageError](err); damaged {
		p.Hint, ok = "push the package again from where it was built, which repairs it", true
	}
	return exitRegistry, ok
}

// afterConflict says how to go on after a push that was not the first.
func afterConflict(lost *registry.ConflictError) string {
	found := registry.Ref{Name: lost.Name, Hash: lost.Found.String()}
	if lost.Found.IsZero() {
		return "somebody removed the package: push again, if that is meant"
	}
	look := "`sandwich show " + found.String() + "`"
	if !lost.Expected.IsZero() {
		look = fmt.Sprintf("`sandwich diff %s@%s %s`", lost.Name, lost.Expected.String()[:shortHash], found)
	}
	return "somebody else pushed: " + look + " tells what; take over what is right, and push again, which makes yours the latest"
}

// incompleteError says that a build is finished without some of its photos.
type incompleteError struct{ dead, quarantined int64 }

func (e *incompleteError) Error() string {
	return fmt.Sprintf("the package lacks %s dead and %s unusable photos", ui.Count(e.dead), ui.Count(e.quarantined))
}

func ofImages(err error, p *ui.Problem) (int, bool) {
	if _, ok := errors.AsType[*incompleteError](err); ok {
		p.Hint = "`sandwich retry` asks again for the dead; dead.csv and quarantine.csv in the package name them"
		return exitIncomplete, true
	}
	_, ok := errors.AsType[*crop.LostLabelsError](err)
	return exitIncomplete, ok
}

// ofCache gives hints for what happens to the cache; the exit code is that of any failure.
func ofCache(err error, p *ui.Problem) (int, bool) {
	if busy, ok := errors.AsType[*disk.BusyError](err); ok {
		p.Hint = "try again when the build is done; without --yes gc says what would go"
		if busy.Cleaning {
			p.Hint = "try again when that is done"
		}
		return exitFailed, true
	}
	if _, ok := errors.AsType[*damagedCacheError](err); ok {
		p.Hint = "what was damaged is set aside: the next build makes it again"
		return exitFailed, true
	}
	if _, ok := errors.AsType[*notBuiltError](err); ok {
		p.Hint = "`sandwich build` it first"
		return exitFailed, true
	}
	return exitFailed, false
}

// maxTold is how many of the last lines of a program are told.
const maxTold = 20

// ofProgram tells what a program of the user's own has printed last, and where the rest is.
func ofProgram(failed *command.FailedError, p *ui.Problem) {
	p.Items = append(p.Items, failed.Tail[max(len(failed.Tail)-maxTold, 0):]...)
	if failed.Log != "" {
		p.Hint = "all that it printed is in " + failed.Log
	}
	if failed.Enforced {
		p.Hint += "; it sees the inputs that it declares and nothing else of yours, and may write in out and /tmp"
	}
}

// ofCosign gives hints for what cosign cannot do.
func ofCosign(err error, p *ui.Problem) bool {
	if failed, ok := errors.AsType[*cosign.FailedError](err); ok {
		p.Items = failed.Lines
		p.Hint = "is there a network? COSIGN_SIGNING_CONFIG names another sigstore than the public one"
		if failed.Alone {
			p.Hint = "there is no terminal here to ask who you are: is there a token in SIGSTORE_ID_TOKEN, or does the CI service offer one? " + p.Hint
		}
		return true
	}
	_, missing := errors.AsType[*cosign.NotFoundError](err)
	_, old := errors.AsType[*cosign.OldError](err)
	if missing || old {
		p.Hint = "install cosign 3 or later (https://docs.sigstore.dev/cosign), or sign with a key"
	}
	return missing || old
}

// ofPip tells why requirements could not be resolved.
func ofPip(err error, p *ui.Problem) bool {
	if failed, ok := errors.AsType[*pip.ResolveError](err); ok {
		p.Items = append(p.Items, append(failed.Errors[min(len(failed.Errors), 1):], failed.Details...)...)
		p.Hint = "only wheels for this Python are taken; pip's own settings say which index is asked (`pip config list`)"
		return true
	}
	if _, ok := errors.AsType[*pip.NoWheelError](err); ok {
		p.Hint = "build a wheel of it (`pip wheel`), and let the requirements name that"
		return true
	}
	if _, ok := errors.AsType[*pip.NoPipError](err); ok {
		p.Hint = "install or upgrade it: `python3 -m ensurepip --upgrade`, or the package python3-pip of the system"
		return true
	}
	if failed, ok := errors.AsType[*conda.SolveError](err); ok {
		p.Items = append(p.Items, failed.Details()...)
		p.Hint = "the channels of the file are asked, for packages that this machine runs; `CONDA_OVERRIDE_GLIBC=2.31` has it solved for another one"
		return true
	}
	if _, ok := errors.AsType[*conda.NoToolError](err); ok {
		p.Hint = "install one of them: " + condaTool
		return true
	}
	if _, ok := errors.AsType[*command.PlaceError](err); ok {
		p.Hint = "`sandwich doctor` says how to get a sandbox"
		return true
	}
	if _, ok := errors.AsType[*pip.NoPythonError](err); ok {
		p.Hint = "install python3, with pip, or let environment.image name an image that has both"
		return true
	}
	return false
}

// condaTool installs the smallest of conda's tools.
const condaTool = "`python3 -m pip install py-rattler`, or micromamba"

// ofStage gives hints for what stages fail of; their exit code is that of any failure.
func ofStage(err error, p *ui.Problem) (int, bool) {
	if _, ok := errors.AsType[*gitcode.DirtyError](err); ok {
		p.Hint = "commit them, or build with --allow-dirty, which the package will say"
		return exitFailed, true
	}
	if failed, ok := errors.AsType[*download.FailedError](err); ok && failed.Gone() > 0 {
		p.Hint = "`sandwich lock` looks for them at the other places, or records that they are gone"
		return exitFailed, true
	}
	if _, ok := errors.AsType[*stages.LimitError](err); ok {
		p.Hint = "lower it, under `limits` in the manifest or with --limit STAGE.memory=SIZE, or build on another machine"
		return exitFailed, true
	}
	if failed, ok := errors.AsType[*command.FailedError](err); ok {
		ofProgram(failed, p)
		return exitFailed, true
	}
	if ofPip(err, p) || ofCosign(err, p) {
		return exitFailed, true
	}
	if missing, ok := errors.AsType[*sandbox.NotFoundError](err); ok {
		p.Hint = fmt.Sprintf("install %s, write its path, or run the stage in an image", missing.Program)
		return exitFailed, true
	}
	if _, ok := errors.AsType[*sandbox.NoRunnerError](err); ok {
		p.Hint = "start Docker, or install podman, bubblewrap, runc or crun: see `sandwich doctor`"
		return exitFailed, true
	}
	if _, ok := errors.AsType[*build.NoBuilderError](err); ok {
		p.Hint = "install podman, buildah or docker; where the image was built, the package and a shared cache have it"
		return exitFailed, true
	}
	if _, ok := errors.AsType[*pipeline.RebuiltError](err); ok {
		p.Hint = "a cache that is shared, or of the machine where it was built, has the old one; `sandwich lock --upgrade` pins a new one"
		return exitFailed, true
	}
	if unfit, ok := errors.AsType[*pipeline.UnfitError](err); ok {
		p.Hint = fmt.Sprintf("let %s write it into the folder out, or replace this stage too", unfit.Stage)
		return exitFailed, true
	}
	if unstable, ok := errors.AsType[*stages.UnstableError](err); ok {
		p.Hint = "the kind of this stage is not a function of its inputs: please report it"
		if unstable.Kind == "command" {
			p.Hint = "the program is no function of its inputs: it may look at the clock, draw without SANDWICH_SEED, or depend on which thread is first"
		}
		return exitFailed, true
	}
	if left, ok := errors.AsType[*pin.UnreachableError](err); ok {
		for _, f := range left.Some {
			p.Items = append(p.Items, fmt.Sprintf("%s: %s %s: %s (%d attempts)", f.ImageID, f.Place, f.URL, f.Reason, f.Attempts))
		}
		p.Hint = "what was found is kept: run the command again when the network is back; --failures FILE lists all"
		return exitFailed, true
	}
	if _, ok := errors.AsType[*fetch.NoAnswerError](err); ok {
		p.Hint = "is there a network? `mirrors` in the manifest reads URLs from a folder or another server"
		return exitFailed, true
	}
	return exitFailed, false
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/conda"
	"github.com/sandwich-build/sandwich/internal/dataset"
	"github.com/sandwich-build/sandwich/internal/environment"
	"github.com/sandwich-build/sandwich/internal/fetch"
	"github.com/sandwich-build/sandwich/internal/gitcode"
	"github.com/sandwich-build/sandwich/internal/machine"
	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	selection "github.com/sandwich-build/sandwich/stages/select"
)

// Options say how to build, as far as that does not change what is built.
type Options struct {
	Store      *disk.Store         // where blobs, trees and results are kept
	Shared     Shared              // what is laid over Store to share it with other machines; nil for nothing
	Workers    int                 // goroutines that the stages at work may keep busy
	Limits     []manifest.Limit    // of stages, before those of the manifest
	Backend    string              // what networks are computed on, as package neural takes it; part of the environment
	Observer   stages.Observer     // nil observes nothing
	Locked     bool                // never change the lock: what it lacks is a *DriftError
	AllowDirty bool                // build although the user's sources have uncommitted changes
	Retry      bool                // try the dead photos of the lock again
	Missed     func(pin.Failure)   // is told of the places that photos were asked for in vain; nil tells nobody
	Index      string              // a folder that has an exported index; empty has none
	Upgrade    bool                // pin the metadata files, the image and the libraries anew; of Lock only
	Until      string              // the last stage to run; empty runs all and publishes
	From       string              // run this stage and all that need it, whatever is known; empty runs what has to
	Force      []string            // run these stages, whatever is known
	KeepGoing  bool                // after a failure, run what does not need the stage that failed
	NoPush     bool                // build the package, and push it nowhere
	Verify     bool                // run each stage once more, and fail if it does not do the same
	Runner     string              // what runs the user's own stages, as package sandbox names it; "" for the best there is
	Getenv     func(string) string // the variables that find programs; nil for those of this process

	// Now is the clock of the history, which no result depends on; nil keeps the build
	// out of it.
	Now func() time.Time

	Registry registry.Options // of the registry that is pushed to; its Base and Warn do not matter

	rebuild *Remains            // build from the lock alone, and from these: see Rebuild; nil does not
	repin   bool                // pin anew what the world does not have any more as it was locked
	hold    bool                // build the package, and do not publish it
	beside  bool                // publish a revision, and leave the latest as it is
	done    map[cas.Digest]bool // see stages.Engine.Done
}

// Shared is a cache over that of this machine which has what other machines have produced.
type Shared interface {
	cas.Store
	stages.Cache
}

// DriftError says in what the lock differs from what the manifest needs.
type DriftError struct {
	Path    string // of the lock
	Changes []string
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("%s is out of date:\n  %s", e.Path, strings.Join(e.Changes, "\n  "))
}

// session is one run of a command on a project.
type session struct {
	*Project
	options     Options
	store       cas.Store // the options' Store, or what is laid over it
	environment environment.Native
	engine      stages.Engine
	client      *fetch.Client
	resolver    pin.Resolver
	memory      memo.Memory
	scratch     string        // a folder for temporary files
	index       *index        // that of the options, or nil
	lock        *lockfile     // the project's
	code        cas.Tree      // the user's sources; the zero Tree when lock.Code is nil
	classes     []string      // what the labels become, sorted
	converted   *converted    // the data set, where it is not in the form of Open Images
	built       *stages.Build // as far as the last run of the plan got; nil before one
	runners     runners
	programs    map[string]program // of the user's own stages, by name
	required    []string           // the files of requirements, the manifest's first; or the environment.yml
	conda       *conda.Environment // what that asks for; nil without one
	python      python             // of this machine, once it was looked for
}

// withSession prepares a session, lets run use it and cleans up after it.
func withSession(p *Project, o Options, run func(*session) error) (err error) {
	s := &session{Project: p, options: o, store: o.Store, memory: memo.Memory{Notes: o.Store}, scratch: o.Store.Root()}
	cache := stages.Cache(o.Store)
	if o.Shared != nil {
		s.store, cache = o.Shared, o.Shared
	}
	if s.options.Observer == nil {
		s.options.Observer = stages.Discard
	}
	if s.lock, err = openLock(p.LockPath); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lock.Close()) }()
	if o.Index != "" {
		if s.index, err = openIndex(o.Index); err != nil {
			return err
		}
	}
	if s.environment, err = native(o); err != nil {
		return err
	}
	name, err := s.environment.Digest()
	if err != nil {
		return err
	}
	s.engine = stages.Engine{
		Store: s.store, Cache: cache, Environment: name.String(), Workers: o.Workers, Memory: machine.Memory(), Observer: s.options.Observer,
		KeepGoing: o.KeepGoing, Verify: o.Verify, Done: o.done, Earlier: s.earlier(),
	}
	if s.client, err = fetch.New(fetch.Options{Mirrors: p.Manifest.Mirrors, Dir: p.Dir, Buckets: new(buckets), OptOut: p.Manifest.Dataset.OptOut}); err != nil {
		return err
	}
	defer s.client.Close()
	journal, err := pin.OpenJournal(s.journalPath())
	if err != nil {
		return err
	}
	s.resolver = pin.Resolver{
		Blobs: pin.Blobs{Client: s.client, Store: s.store}, Journal: journal, Sums: s.memory, Retry: o.Retry, Repin: o.repin, Missed: o.Missed,
		Index: func(folder string) string { return disk.FolderFile(o.Store.Root(), folder) },
	}
	defer func() { err = errors.Join(err, s.resolver.Journal.Close()) }()
	return run(s)
}

// native is the toolchain and the modules of this program, and what it computes on.
func native(o Options) (environment.Native, error) {
	n, err := environment.Current()
	if err == nil && o.Backend != neural.DefaultBackend {
		n.Backend = o.Backend
	}
	return n, err
}

// getenv returns a variable of the environment.
func (s *session) getenv(name string) string {
	if s.options.Getenv == nil {
		return os.Getenv(name)
	}
	return s.options.Getenv(name)
}

// prepare pins everything that decides the plan, and returns the plan. photos makes the
// pinner of the photos, once the lock holds the sources.
func (s *session) prepare(ctx context.Context, photos func() stages.Pinner) (*stages.Plan, error) {
	if err := s.readCode(ctx); err != nil {
		return nil, err
	}
	if err := s.readInputs(ctx); err != nil {
		return nil, err
	}
	if err := s.pinImage(ctx); err != nil {
		return nil, err
	}
	if err := s.pinWheels(ctx); err != nil {
		return nil, err
	}
	if err := s.pinConda(ctx); err != nil {
		return nil, err
	}
	if err := s.findPrograms(ctx); err != nil {
		return nil, err
	}
	// The files of the last build are found in a cache that is shared, before they are
	// fetched from where they were published.
	_, _ = s.engine.Cache.Latest(ctx, stages.NoteName(s.Manifest.Name, Metadata)) // a miss is no matter
	if err := s.pinSources(ctx); err != nil {
		return nil, err
	}
	return s.plan(photos())
}

// readCode reads the user's sources, and completes the lock with them.
func (s *session) readCode(ctx context.Context) error {
	if s.options.rebuild != nil {
		s.code = s.options.rebuild.Code
		return nil
	}
	var now *lock.Code
	if s.Manifest.Code != nil {
		commit, dirty, err := gitcode.Read(ctx, s.options.Store, filepath.Join(s.Dir, s.Manifest.Code.Git),
			s.written(), s.options.AllowDirty)
		switch {
		case errors.Is(err, gitcode.ErrNoRepository):
			s.warn("code %s is %v; the package will list this program's modules instead of your sources", s.Manifest.Code.Git, gitcode.ErrNoRepository)
		case err != nil:
			return err
		default:
			s.code = commit.Tree
			now = &lock.Code{Commit: commit.ID, Tree: digest.Digest(commit.Tree.ID().String()), Dirty: dirty}
		}
	}
	if drift := lock.DriftCode(s.lock.Code, now); len(drift) > 0 {
		if s.options.Locked {
			return s.drift(drift)
		}
		s.lock.Code = now
	}
	return nil
}

// written are the files beside the manifest that sandwich itself writes. They are not
// part of the user's sources: a lock that held the digest of itself could not exist.
func (s *session) written() []string {
	names := []string{filepath.Base(s.LockPath)}
	places := []string{s.Manifest.Registry}
	if s.Manifest.Cache != nil {
		places = append(places, s.Manifest.Cache.Remote)
	}
	for _, place := range places {
		// What lies elsewhere is not among the sources; what has a scheme is no path.
		folder := filepath.Clean(place)
		if !strings.Contains(place, "://") && filepath.IsLocal(folder) && folder != "." {
			names = append(names, filepath.ToSlash(folder))
		}
	}
	return names
}

// pinSources pins the metadata files in the lock and checks the labels against them.
func (s *session) pinSources(ctx context.Context) error {
	files := manifest.Files(s.Manifest.Dataset)
	if s.options.Locked {
		var need []string
		for _, f := range files {
			need = append(need, f.URL)
		}
		if drift := lock.DriftSources(s.lock.Sources, need); len(drift) > 0 {
			return s.drift(drift)
		}
	}
	if form := dataset.New(s.Manifest.Dataset.Source); form != nil {
		if s.options.rebuild != nil {
			return s.formAsLocked(ctx, form, files)
		}
		return s.pinForm(ctx, form, files)
	}
	// The labels are checked before anything large is fetched: a misspelt one must not
	// cost gigabytes.
	large := rowsFrom(files)
	if s.options.rebuild != nil {
		return s.checkLabels(ctx, files[:large], s.locked(files[:large]))
	}
	lists, err := s.resolver.Sources(ctx, files[:large], s.known())
	if err != nil {
		return err
	}
	if err := s.checkLabels(ctx, files[:large], lists); err != nil {
		return err
	}
	rows, err := s.pinRows(ctx, files[large:])
	if err != nil {
		return err
	}
	return s.lockSources(append(lists, rows...))
}

// locked returns the pins that the lock has of files.
func (s *session) locked(files []manifest.SourceFile) []lock.Source {
	pins := make([]lock.Source, len(files))
	for i, f := range files {
		pins[i], _ = s.lock.Source(f.URL) // it has them all
	}
	return pins
}

// lockSources puts the pins into the lock. Files of the user's own are read on every
// build, so that a pin may differ although its URL is in the lock.
func (s *session) lockSources(pins []lock.Source) error {
	if s.options.Locked {
		var changes []lock.Change
		for _, pin := range pins {
			if locked, _ := s.lock.Source(pin.URL); locked != pin {
				changes = append(changes, lock.Change{
					Subject: lock.SourceLine, Kind: lock.Changed, Name: pin.URL,
					Detail: fmt.Sprintf("%s -> %s", locked.Digest, pin.Digest),
				})
			}
		}
		if len(changes) > 0 {
			return s.drift(changes)
		}
	}
	slices.SortFunc(pins, func(a, b lock.Source) int { return strings.Compare(a.URL, b.URL) })
	s.lock.Sources = pins
	return nil
}

// checkLabels looks up the manifest's labels in the class list. What is wrong with
// them is told like any other fault of the manifest.
func (s *session) checkLabels(ctx context.Context, files []manifest.SourceFile, pins []lock.Source) error {
	classes, hierarchy, err := s.readLists(ctx, files, pins)
	if err != nil {
		return err
	}
	return s.resolveLabels(classes, hierarchy)
}

// resolveLabels looks up the manifest's labels.
func (s *session) resolveLabels(classes *openimages.Classes, hierarchy *openimages.Hierarchy) error {
	resolved, err := selection.ResolveLabels(classes, hierarchy, s.Manifest.Dataset.Labels)
	var wrong selection.LabelErrors
	if !errors.As(err, &wrong) {
		if s.classes = resolved.Classes(); err == nil && len(s.classes) < 2 {
			line, column := manifest.Locate(s.file, "dataset.labels")
			err = &manifest.Faults{{
				File: s.Path, Line: line, Column: column, Path: "dataset.labels",
				Message: "the data set has one class, " + s.classes[0] + ", and there is nothing to tell apart",
			}}
		}
		return err
	}
	faults := make(manifest.Faults, 0, len(wrong))
	for _, e := range wrong {
		line, column := manifest.Locate(s.file, e.Path())
		faults = append(faults, manifest.Fault{
			File: s.Path, Line: line, Column: column, Path: e.Path(), Message: e.Err.Error(), Hint: nearest(e.Err),
		})
	}
	return &faults
}

// nearest is a hint that names the labels that an unknown one is near to.
func nearest(err error) string {
	unknown, ok := errors.AsType[*openimages.UnknownLabelError](err)
	if !ok || len(unknown.Nearest) == 0 {
		return ""
	}
	return "the nearest are " + strings.Join(unknown.Nearest, ", ")
}

// readSource returns the bytes of a pinned metadata file. If the store lost or damaged
// them, they are fetched again.
func (s *session) readSource(ctx context.Context, source lock.Source) ([]byte, error) {
	d, err := blobDigest(source)
	if err != nil {
		return nil, err
	}
	text, err := cas.ReadBlob(ctx, s.store, d)
	var lost *cas.BlobError
	if !errors.As(err, &lost) {
		return text, err
	}
	if err := s.resolver.FetchBlob(ctx, source.URL, d); err != nil {
		return nil, err
	}
	return cas.ReadBlob(ctx, s.store, d)
}

func blobDigest(s lock.Source) (cas.Digest, error) {
	return cas.NewDigest(s.Digest.Encoded(), s.Size)
}

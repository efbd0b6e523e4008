package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/neural"
	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// buildFlags are the flags of the verbs that work on a manifest and the cache.
type buildFlags struct {
	cache   string
	workers int
	set     []string
	limits  []string
	backend string
	runner  string
	shared  sharedFlags
}

func (f *buildFlags) add(cmd *cobra.Command) {
	f.addCache(cmd)
	f.shared.add(cmd)
	cmd.Flags().IntVarP(&f.workers, "jobs", "j", 0, "cores to keep busy (default all); the result does not depend on it")
	cmd.Flags().StringArrayVarP(&f.set, "set", "S", nil, "replace a value of the manifest, as in model.epochs=2; repeatable")
	cmd.Flags().StringArrayVar(&f.limits, "limit", nil, "what a stage may take, as in crop.cpu=2 or train.memory=4GiB; repeatable")
	f.addMachine(cmd)
}

// addMachine adds the flags that say what of this machine a build uses.
func (f *buildFlags) addMachine(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.runner, "runner", "", "what keeps your own stages to what they declare: docker, podman, bubblewrap, runc, crun or none (default the first that works here, the first two for images alone)")
	cmd.Flags().StringVar(&f.backend, "backend", neural.DefaultBackend,
		"what networks are computed on: exact, go or xla:PLUGIN (see README.md); part of every key")
}

// addCache adds the flag of those verbs that build nothing.
func (f *buildFlags) addCache(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cache, "cache", "", "folder of the cache (default $SANDWICH_CACHE, or sandwich in the user's cache folder)")
}

// openProject opens the project that the arguments name, and the cache.
func (a *app) openProject(args []string, f buildFlags) (*pipeline.Project, pipeline.Options, error) {
	workers := cmp.Or(f.workers, runtime.GOMAXPROCS(0))
	if workers < 1 {
		return nil, pipeline.Options{}, usagef("leave it out to use every core", "--jobs %d: want 1 or more", workers)
	}
	if err := f.checkBackend(); err != nil {
		return nil, pipeline.Options{}, err
	}
	limits, err := f.parseLimits()
	if err != nil {
		return nil, pipeline.Options{}, err
	}
	project, err := f.openManifest(args)
	if err != nil {
		return nil, pipeline.Options{}, err
	}
	store, index, err := a.openCache(f.cache)
	if err != nil {
		return nil, pipeline.Options{}, err
	}
	return project, pipeline.Options{
		Store: store, Index: index, Workers: workers, Limits: limits, Backend: f.backend, Runner: a.wantedRunner(f), Getenv: a.Getenv,
		Observer: a.view, Now: time.Now,
	}, nil
}

// openManifest opens the project that the arguments name, with the settings of the flags.
func (f *buildFlags) openManifest(args []string) (*pipeline.Project, error) {
	settings := make([]manifest.Setting, len(f.set))
	for i, text := range f.set {
		settings[i] = manifest.Setting(text)
	}
	project, err := pipeline.Open(manifestArg(args), settings...)
	if err != nil {
		return nil, unreadable(manifestArg(args), err)
	}
	return project, nil
}

func (f *buildFlags) checkBackend() error {
	if err := neural.CheckBackend(f.backend); err != nil {
		return usagef("exact is the default", "--backend: %v", err)
	}
	return nil
}

// wantedRunner is what the flag, or else the environment, wants to keep programs; empty for the best.
func (a *app) wantedRunner(f buildFlags) string { return cmp.Or(f.runner, a.Getenv("SANDWICH_RUNNER")) }

func (f *buildFlags) parseLimits() ([]manifest.Limit, error) {
	var limits []manifest.Limit
	for _, text := range f.limits {
		l, err := manifest.ParseLimit(text)
		if err != nil {
			return nil, usagef("as in --limit crop.cpu=2 or --limit train.memory=4GiB", "--%v", err)
		}
		limits = manifest.MergeLimits(limits, []manifest.Limit{l})
	}
	return limits, nil
}

// openCache opens the cache of builds, and returns the folder with an installed index of
// boxes, if one is named.
func (a *app) openCache(flag string) (store *disk.Store, index string, err error) {
	dir, err := a.cacheDir(flag)
	if err != nil {
		return nil, "", err
	}
	if index, err = a.index(); err != nil {
		return nil, "", err
	}
	if store, err = disk.Open(dir); err != nil {
		return nil, "", fmt.Errorf("open cache %s: %w", dir, err)
	}
	return store, index, nil
}

func (a *app) cacheDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if dir := a.Getenv("SANDWICH_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", usagef("--cache DIR names it; SANDWICH_CACHE in the environment does too", "no folder for the cache: %v", err)
	}
	return filepath.Join(dir, "sandwich"), nil
}

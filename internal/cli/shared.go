package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandwich-build/sandwich/internal/pipeline"
	"github.com/sandwich-build/sandwich/internal/sharedcache"
	"github.com/sandwich-build/sandwich/internal/ui"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// sharedFlags are the flags of the verbs that look into a shared cache.
type sharedFlags struct {
	storeFlags
	sharedCache
}

func (f *sharedFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Remote, "cache-remote", "", "cache that a team shares: s3://bucket/prefix, a folder or file:///path; \"none\" for none")
	cmd.Flags().Var(&f.Mode, "cache-mode", "whether to put there what is built here (default read-write)")
	f.storeFlags.add(cmd)
}

// cacheMode is how a shared cache is used; empty when it is not said.
type cacheMode string

// Set parses a mode's name.
func (m *cacheMode) Set(s string) error {
	if s != manifest.ReadWrite && s != manifest.ReadOnly {
		return fmt.Errorf("want %s or %s", manifest.ReadWrite, manifest.ReadOnly)
	}
	*m = cacheMode(s)
	return nil
}

// UnmarshalText is Set, for the config file.
func (m *cacheMode) UnmarshalText(text []byte) error { return m.Set(string(text)) }

// String returns the mode's name.
func (m *cacheMode) String() string { return string(*m) }

// Type names the values in help texts.
func (*cacheMode) Type() string { return manifest.ReadWrite + "|" + manifest.ReadOnly }

// noCache is what is written instead of the place of a shared cache to have none.
const noCache = "none"

// sharedPlace is a shared cache and how to reach it. The zero sharedPlace is none.
type sharedPlace struct {
	location string // as it is told to people: a path is absolute
	store    storeFlags
	readOnly bool
}

// sharedPlace returns the shared cache that a verb uses: that of the flags, of the environment,
// of the manifest, if there is one, or of the config file, in this order. Flags and environment
// also decide how it is used; otherwise it is only read when manifest or config file say so.
func (a *app) sharedPlace(f sharedFlags, project *pipeline.Project) (sharedPlace, error) {
	c, err := a.configuration()
	if err != nil {
		return sharedPlace{}, err
	}
	written, dir := sharedCache{}, ""
	if project != nil && project.Manifest.Cache != nil {
		written.Remote, written.Mode = project.Manifest.Cache.Remote, cacheMode(project.Manifest.Cache.Mode)
		dir = project.Dir
	}
	var mode cacheMode
	if text := a.Getenv("SANDWICH_CACHE_MODE"); text != "" {
		if err := mode.Set(text); err != nil {
			return sharedPlace{}, usagef("", "SANDWICH_CACHE_MODE: %v", err)
		}
	}
	if mode = cmp.Or(f.Mode, mode); mode == "" && (written.Mode == manifest.ReadOnly || c.Cache.Mode == manifest.ReadOnly) {
		mode = manifest.ReadOnly
	}
	at := sharedPlace{readOnly: mode == manifest.ReadOnly, store: f.storeFlags}
	if at.location = cmp.Or(f.Remote, a.Getenv("SANDWICH_CACHE_REMOTE")); at.location == "" {
		at.store.s3 = f.configured(c)
		if at.location = written.Remote; at.location == "" {
			at.location, dir = c.Cache.Remote, ""
		}
	} else {
		dir = ""
	}
	if at.location == noCache {
		at.location = ""
	}
	if at.location != "" && !strings.Contains(at.location, "://") && !filepath.IsAbs(at.location) {
		at.location, err = filepath.Abs(filepath.Join(dir, at.location))
	}
	return at, err
}

// mode is how the shared cache is used, in a word.
func (p sharedPlace) mode() string {
	if p.readOnly {
		return manifest.ReadOnly
	}
	return manifest.ReadWrite
}

// sharing lets a verb use the cache of the options with the shared one laid over it, if there
// is one, and then waits until what was built is uploaded. Who interrupts does not wait.
func (a *app) sharing(ctx context.Context, project *pipeline.Project, f sharedFlags, o pipeline.Options, use func(pipeline.Options) (ui.Answer, error)) (ui.Answer, error) {
	at, err := a.sharedPlace(f, project)
	if err != nil {
		return nil, err
	}
	if at.location == "" {
		return use(o)
	}
	store, prefix, err := sharedcache.OpenStore(ctx, at.location, at.store.s3)
	if err != nil {
		return nil, usagef("--cache-remote none does without", "%v", err)
	}
	o.Observer = stages.Serial(o.Observer)
	shared := sharedcache.New(ctx, o.Store, store, sharedcache.Options{
		Location: at.location, Prefix: prefix, ReadOnly: at.readOnly,
		Warn: func(text string) {
			o.Observer.Observe(stages.Message{Stage: sharedStage, Line: cas.Line{Warning: true, Text: text}})
		},
	})
	defer shared.Close()
	o.Shared = shared
	answer, err := use(o)
	if ended := shared.Finish(ctx, func(done, total int64) {
		o.Observer.Observe(stages.Progress{Stage: sharedStage, Done: done, Total: total, Unit: ui.UnitBytes})
	}); err == nil {
		err = ended
	}
	a.tellTraffic(shared, answer)
	return answer, err
}

// consulting is sharing for a verb that builds nothing: it only reads.
func (a *app) consulting(ctx context.Context, project *pipeline.Project, f sharedFlags, o pipeline.Options, use func(pipeline.Options) (ui.Answer, error)) (ui.Answer, error) {
	f.Mode = manifest.ReadOnly
	return a.sharing(ctx, project, f, o, use)
}

// sharedStage is the name under which events tell of the shared cache.
const sharedStage = "cache"

// sharedTraffic is what a shared cache was used for, as answers tell it.
type sharedTraffic struct {
	Remote     string `json:"remote"`
	Results    int64  `json:"results"`
	Blobs      int64  `json:"blobs"`
	Downloaded int64  `json:"downloaded"`
	Shared     int64  `json:"shared"`
	Uploaded   int64  `json:"uploaded"`
	Requests   int64  `json:"requests"`
}

// sharingAnswer is an answer that tells what a shared cache was used for.
type sharingAnswer interface{ share(sharedTraffic) }

// tellTraffic adds to the story and to the answer what the shared cache was used for.
func (a *app) tellTraffic(shared *sharedcache.Cache, answer ui.Answer) {
	t := shared.Traffic()
	if s, ok := answer.(sharingAnswer); ok {
		s.share(sharedTraffic{
			Remote: shared.Location(), Results: t.Results, Blobs: t.Blobs, Downloaded: t.Downloaded,
			Shared: t.Shared, Uploaded: t.Uploaded, Requests: t.Requests,
		})
	}
	if a.summary == "" {
		return
	}
	if t.Downloaded > 0 {
		a.summary += fmt.Sprintf("; %s from %s", ui.Bytes(t.Downloaded), shared.Location())
	}
	if t.Uploaded > 0 {
		a.summary += fmt.Sprintf("; %s to %s", ui.Bytes(t.Uploaded), shared.Location())
	}
}

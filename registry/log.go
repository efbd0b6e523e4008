package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

// LogEntry is one push of a package.
type LogEntry struct {
	Time    time.Time // of the push, to the second, in UTC; zero when no pointer tells
	TopHash quilt.TopHash
	Latest  bool // whether the package's latest revision is this one

	// From the package file. When that can not be read, Err says why and these are zero.
	Message string
	Files   int
	Size    int64 // bytes of all files
	Err     error
}

// Log returns the pushes of a package, newest first. A package that is not there is a
// *NotFoundError.
func (r *Registry) Log(ctx context.Context, name string) ([]LogEntry, error) {
	entries, err := r.log(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", name, err)
	}
	return entries, nil
}

func (r *Registry) log(ctx context.Context, name string) ([]LogEntry, error) {
	entries, err := r.pushes(ctx, name)
	if err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range entries {
		if entries[i].Err == nil {
			group.Go(func() error { return r.describe(groupCtx, &entries[i]) })
		}
	}
	return entries, group.Wait()
}

// describe adds what the package file tells.
func (r *Registry) describe(ctx context.Context, e *LogEntry) error {
	content, err := r.load(ctx, e.TopHash)
	var damage *DamageError
	if errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) {
		e.Err = err
		return nil
	}
	if err != nil {
		return err
	}
	e.Message, e.Files, e.Size = content.Message(), len(content.Entries), content.Size()
	return nil
}

// pushes returns the log without what is in the package files.
func (r *Registry) pushes(ctx context.Context, name string) ([]LogEntry, error) {
	if err := quilt.CheckName(name); err != nil {
		return nil, err
	}
	pointers, err := r.pointers(ctx, name)
	if err != nil {
		return nil, err
	}
	latest := pointers[latestTag].top
	var entries []LogEntry
	for _, tag := range slices.Sorted(maps.Keys(pointers)) {
		unix, ok := parseStamp(tag)
		if !ok {
			continue
		}
		p := pointers[tag]
		if n := len(entries); n > 0 && p.err == nil && entries[n-1].Err == nil && entries[n-1].TopHash == p.top {
			continue // two pushers of one content
		}
		entries = append(entries, LogEntry{Time: time.Unix(unix, 0).UTC(), TopHash: p.top, Err: p.err})
	}
	slices.Reverse(entries)
	entries = markLatest(entries, latest)
	if len(entries) == 0 {
		return nil, &NotFoundError{Ref: Ref{Name: name}, Registry: r.String()}
	}
	return entries, nil
}

// markLatest marks the newest push of the latest revision. Quilt's own clients may have
// removed its timestamp pointer; then it is put in front.
func markLatest(entries []LogEntry, latest quilt.TopHash) []LogEntry {
	if latest.IsZero() {
		return entries
	}
	i := slices.IndexFunc(entries, func(e LogEntry) bool { return e.Err == nil && e.TopHash == latest })
	if i < 0 {
		return slices.Insert(entries, 0, LogEntry{TopHash: latest, Latest: true})
	}
	entries[i].Latest = true
	return entries
}

package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

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
	for i := range entries {
		e := &entries[i]
		if e.Err != nil {
			continue
		}
		content, err := r.load(ctx, e.TopHash)
		var damage *DamageError
		if errors.As(err, &damage) || errors.Is(err, fs.ErrNotExist) {
			e.Err = err
			continue
		}
		if err != nil {
			return nil, err
		}
		e.Message, e.Files, e.Size = content.Message(), len(content.Entries), content.Size()
	}
	return entries, nil
}

// pushes returns the log without what is in the package files.
func (r *Registry) pushes(ctx context.Context, name string) ([]LogEntry, error) {
	if err := quilt.CheckName(name); err != nil {
		return nil, err
	}
	latest, _, err := r.latest(ctx, name)
	var damage *DamageError
	if err != nil && !errors.As(err, &damage) {
		return nil, err
	}
	stamps, err := r.stamps(ctx, name)
	if err != nil {
		return nil, err
	}
	var entries []LogEntry
	for _, s := range stamps {
		top, err := r.readPointer(ctx, s.key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a push that lost its race has just removed it
		}
		if err != nil && !errors.As(err, &damage) {
			return nil, err
		}
		if n := len(entries); n > 0 && err == nil && entries[n-1].Err == nil && entries[n-1].TopHash == top {
			continue // two pushers of one content
		}
		entries = append(entries, LogEntry{Time: time.Unix(s.unix, 0).UTC(), TopHash: top, Err: err})
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

package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/quilt"
)

// TagError says that a tag can not be set as asked.
type TagError struct {
	Ref    Ref
	Reason string
}

func (e *TagError) Error() string { return fmt.Sprintf("tag %s: %s", e.Ref, e.Reason) }

// Tag makes a tag of a package name a revision. A tag that names another one is moved
// only if move says so; otherwise that is a *TagError.
func (r *Registry) Tag(ctx context.Context, name, tag string, top quilt.TopHash, move bool) error {
	ref := Ref{Name: name, Tag: tag}
	if _, err := ParseRef(ref.String()); err != nil {
		return err
	}
	if _, stamp := parseStamp(tag); stamp || tag == latestTag {
		return &TagError{Ref: ref, Reason: "this name is that of a push; Rollback changes latest"}
	}
	if _, err := r.store.Stat(ctx, packagesPrefix+top.String()); err != nil {
		return fmt.Errorf("tag %s: %w", ref, r.absent(Ref{Name: name, Hash: top.String()}, err))
	}
	old, err := r.find(ctx, name, tag)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("tag %s: %w", ref, err)
	case old.tag != "" && old.err == nil && old.top == top:
		return nil
	case old.tag != "" && !move:
		return &TagError{Ref: ref, Reason: "it names another revision, " + old.top.String()}
	}
	if err := r.store.PutIf(ctx, pointerKey(name, tag), []byte(top.String()), old.tag); err != nil {
		return fmt.Errorf("tag %s: %w", ref, err)
	}
	return nil
}

// found is a pointer that was read.
type found struct {
	top quilt.TopHash
	tag blob.Tag // of its bytes
	err error    // a *DamageError when they are no pointer
}

func (r *Registry) find(ctx context.Context, name, tag string) (found, error) {
	key := pointerKey(name, tag)
	data, stamp, err := r.store.ReadTagged(ctx, key)
	if err != nil {
		return found{}, err
	}
	top, err := pointer(key, data)
	return found{top: top, tag: stamp, err: err}, nil
}

// pointers reads all pointers of a package, by the last part of their key.
func (r *Registry) pointers(ctx context.Context, name string) (map[string]found, error) {
	prefix := pointersPrefix + name + "/"
	var mu sync.Mutex // guards all
	all := map[string]found{}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for info, err := range r.store.List(ctx, prefix) {
		if err != nil {
			return nil, errors.Join(err, group.Wait())
		}
		tag := strings.TrimPrefix(info.Key, prefix)
		if !isTag(tag) {
			continue
		}
		group.Go(func() error {
			p, err := r.find(groupCtx, name, tag)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed since
			}
			mu.Lock()
			defer mu.Unlock()
			all[tag] = p
			return err
		})
	}
	return all, group.Wait()
}

// Rollback makes an older revision the latest again. Like quilt3 it changes that pointer
// only. It returns which revision was the latest.
func (r *Registry) Rollback(ctx context.Context, name string, top quilt.TopHash) (quilt.TopHash, error) {
	ref := Ref{Name: name, Hash: top.String()}
	if _, err := ParseRef(ref.String()); err != nil {
		return quilt.TopHash{}, err
	}
	if _, err := r.store.Stat(ctx, packagesPrefix+ref.Hash); err != nil {
		return quilt.TopHash{}, fmt.Errorf("roll back to %s: %w", ref, r.absent(ref, err))
	}
	latest, tag, err := r.latest(ctx, name)
	if err == nil && tag == "" {
		err = &NotFoundError{Ref: Ref{Name: name}, Registry: r.String()}
	}
	if err != nil || latest == top {
		return latest, err
	}
	return latest, r.store.PutIf(ctx, pointerKey(name, latestTag), []byte(ref.Hash), tag)
}

// absent makes a *NotFoundError of fs.ErrNotExist.
func (r *Registry) absent(ref Ref, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{Ref: ref, Registry: r.String()}
	}
	return err
}

// Remove removes what names a package, a revision or a tag: pointers only, as Quilt does.
// Package files and objects stay, so a revision can still be had by its hash. When the
// latest revision is removed, the newest push that is left becomes the latest. It returns
// the number of pointers that were removed.
func (r *Registry) Remove(ctx context.Context, ref Ref) (int, error) {
	n, err := r.remove(ctx, ref)
	if err != nil {
		return n, fmt.Errorf("remove %s: %w", ref, err)
	}
	return n, nil
}

func (r *Registry) remove(ctx context.Context, ref Ref) (int, error) {
	if _, err := ParseRef(ref.String()); err != nil {
		return 0, err
	}
	if ref.Tag == latestTag {
		return 0, errors.New("latest is no tag that can be removed; give a hash, or the name alone")
	}
	if err := r.writable(); err != nil {
		return 0, err
	}
	pointers, err := r.pointers(ctx, ref.Name)
	if err != nil {
		return 0, err
	}
	var doomed []string // latest first, so that nobody is led to what is going
	switch {
	case ref.Hash != "":
		top, err := r.Resolve(ctx, ref)
		if err != nil {
			return 0, err
		}
		if doomed, err = r.retreat(ctx, ref.Name, top, pointers); err != nil {
			return 0, err
		}
	case ref.Tag != "":
		if _, ok := pointers[ref.Tag]; ok {
			doomed = []string{ref.Tag}
		}
	default:
		if _, ok := pointers[latestTag]; ok {
			doomed = []string{latestTag}
		}
		for tag := range pointers {
			if tag != latestTag {
				doomed = append(doomed, tag)
			}
		}
	}
	if len(doomed) == 0 {
		return 0, &NotFoundError{Ref: ref, Registry: r.String()}
	}
	for i, tag := range doomed {
		if err := r.store.Delete(ctx, pointerKey(ref.Name, tag)); err != nil {
			return i, err
		}
	}
	return len(doomed), nil
}

// retreat makes the newest other push the latest, when top is, and returns the pointers
// that lead to top.
func (r *Registry) retreat(ctx context.Context, name string, top quilt.TopHash, pointers map[string]found) ([]string, error) {
	var doomed []string
	newest, heir := "", quilt.TopHash{}
	for tag, p := range pointers {
		_, stamp := parseStamp(tag)
		switch {
		case tag == latestTag:
		case p.err == nil && p.top == top:
			doomed = append(doomed, tag)
		case p.err == nil && stamp && tag > newest:
			newest, heir = tag, p.top
		}
	}
	latest, ok := pointers[latestTag]
	if !ok || latest.err != nil || latest.top != top {
		return doomed, nil
	}
	if heir.IsZero() {
		return append([]string{latestTag}, doomed...), nil
	}
	return doomed, r.store.PutIf(ctx, pointerKey(name, latestTag), []byte(heir.String()), latest.tag)
}

// Listing is a package of a registry.
type Listing struct {
	Name      string
	Revisions int       // pushes
	Pushed    time.Time // the newest, in UTC; zero when no pointer tells
	Tags      []string  // without latest
}

// List returns the packages of the registry, by name. It makes no more requests than
// listing the pointers takes.
func (r *Registry) List(ctx context.Context) ([]Listing, error) {
	var all []Listing
	for info, err := range r.store.List(ctx, pointersPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list packages: %w", err)
		}
		rest := strings.TrimPrefix(info.Key, pointersPrefix)
		i := strings.LastIndex(rest, "/")
		if i < 0 || quilt.CheckName(rest[:i]) != nil {
			continue // not Quilt's
		}
		if len(all) == 0 || all[len(all)-1].Name != rest[:i] {
			all = append(all, Listing{Name: rest[:i]})
		}
		p, tag := &all[len(all)-1], rest[i+1:]
		if unix, ok := parseStamp(tag); ok {
			p.Revisions++
			p.Pushed = time.Unix(unix, 0).UTC() // listed in this order
		} else if tag != latestTag {
			p.Tags = append(p.Tags, tag)
		}
	}
	return all, nil
}

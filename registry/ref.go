package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

const (
	latestTag = "latest"
	// minPrefix is the fewest digits of a top hash that name a revision, as in quilt3.
	minPrefix = 6
	hashLen   = 64
)

// Ref names a revision of a package: namespace/name for the latest, with @ and the first
// digits of a top hash for a certain one, or with : and a tag.
type Ref struct {
	Name string // namespace/name
	Hash string // 6 to 64 lower-case hexadecimal digits; "" for a tag
	Tag  string // "" means latest, where Hash is empty too
}

// ParseRef parses a reference.
func ParseRef(s string) (Ref, error) {
	name, rest, found := s, "", false
	ref := Ref{}
	if i := strings.IndexAny(s, "@:"); i >= 0 {
		name, rest, found = s[:i], s[i+1:], true
	}
	if err := quilt.CheckName(name); err != nil {
		return Ref{}, fmt.Errorf("parse reference %+q: %w", s, err)
	}
	ref.Name = name
	switch {
	case !found:
	case s[len(name)] == '@':
		if len(rest) < minPrefix || len(rest) > hashLen || !quilt.IsHex(rest) {
			return Ref{}, fmt.Errorf("parse reference %+q: want %d to %d lower-case hexadecimal digits after @", s, minPrefix, hashLen)
		}
		ref.Hash = rest
	case !isTag(rest):
		return Ref{}, fmt.Errorf("parse reference %+q: want letters, digits, _, - and . as the tag behind the colon", s)
	default:
		ref.Tag = rest
	}
	return ref, nil
}

// isTag reports whether s can be the file name of a pointer.
func isTag(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_-.", c) {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

// String returns the reference as ParseRef takes it.
func (r Ref) String() string {
	switch {
	case r.Hash != "":
		return r.Name + "@" + r.Hash
	case r.Tag != "":
		return r.Name + ":" + r.Tag
	}
	return r.Name
}

// Resolve returns the top hash that ref names. It is a *NotFoundError when there is
// none and an *AmbiguousError when several start with its digits. Like quilt3 it looks
// for digits among the revisions of all packages.
func (r *Registry) Resolve(ctx context.Context, ref Ref) (quilt.TopHash, error) {
	// A Ref need not come from ParseRef.
	if _, err := ParseRef(ref.String()); err != nil {
		return quilt.TopHash{}, err
	}
	var top quilt.TopHash
	var err error
	switch {
	case len(ref.Hash) == hashLen:
		if top, err = quilt.ParseTopHash(ref.Hash); err == nil {
			_, err = r.store.Stat(ctx, packagesPrefix+ref.Hash)
		}
	case ref.Hash != "":
		top, err = r.resolvePrefix(ctx, ref)
	case ref.Tag != "":
		top, err = r.readPointer(ctx, pointerKey(ref.Name, ref.Tag))
	default:
		top, err = r.readPointer(ctx, pointerKey(ref.Name, latestTag))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &NotFoundError{Ref: ref, Registry: r.String()}
	}
	if err != nil {
		return quilt.TopHash{}, fmt.Errorf("resolve: %w", err)
	}
	return top, nil
}

func (r *Registry) resolvePrefix(ctx context.Context, ref Ref) (quilt.TopHash, error) {
	var matches []quilt.TopHash
	for info, err := range r.store.List(ctx, packagesPrefix+ref.Hash) {
		if err != nil {
			return quilt.TopHash{}, err
		}
		top, err := quilt.ParseTopHash(strings.TrimPrefix(info.Key, packagesPrefix))
		if err != nil {
			continue // no package file
		}
		if matches = append(matches, top); len(matches) > 1 {
			return quilt.TopHash{}, &AmbiguousError{Ref: ref, Matches: matches}
		}
	}
	if len(matches) == 0 {
		return quilt.TopHash{}, fs.ErrNotExist
	}
	return matches[0], nil
}

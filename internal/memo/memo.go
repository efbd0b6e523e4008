// Package memo remembers what was worked out before, so that a build of nothing need not
// look at every photo, nor read gigabytes, to find that nothing is to be done.
//
// A fact is found by all that it depends on. So there is no such thing as an old one, and
// what cannot be read is worked out again: a lost memory costs time, and never a wrong
// result.
package memo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/sandwich-build/sandwich/internal/stamp"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// Notes keeps digests by name, as a cache does.
type Notes interface {
	Latest(ctx context.Context, name string) (cas.Digest, error)
	Note(ctx context.Context, name string, d cas.Digest) error
}

// Memory remembers facts.
type Memory struct {
	Notes Notes
	Now   func() time.Time // nil is time.Now; decides only what is worth remembering
}

// Fact names something that was worked out: what it is, and all that it depends on.
type Fact []string

func (f Fact) name() string { return "fact\x00" + strings.Join(f, "\x00") }

// Recall returns what is remembered of a fact.
func (m Memory) Recall(ctx context.Context, f Fact) (cas.Digest, bool) {
	d, err := m.Notes.Latest(ctx, f.name())
	return d, err == nil
}

// Keep remembers a fact. What cannot be kept will be worked out again.
func (m Memory) Keep(ctx context.Context, f Fact, d cas.Digest) {
	_ = m.Notes.Note(ctx, f.name(), d)
}

// Sum returns the digest of a file's bytes. It calls read for it unless it did so before,
// and the file's stamp, of which stat tells, is as it was then. The name must be absolute.
// The digest of a file that changed meanwhile, or whose next change its stamp may not show,
// is not remembered.
func (m Memory) Sum(ctx context.Context, name string, stat func() (fs.FileInfo, error), read func() (cas.Digest, error)) (cas.Digest, error) {
	now := m.Now
	if now == nil {
		now = time.Now
	}
	start := now()
	before, err := stat()
	if err != nil {
		return cas.Digest{}, err
	}
	was := stamp.From(before)
	f := Fact{"file", name, fmt.Sprintf("%+v", was)}
	if d, ok := m.Recall(ctx, f); ok {
		return d, nil
	}
	d, err := read()
	if err != nil || !was.Settled(start) {
		return d, err
	}
	after, err := stat()
	if err != nil {
		return cas.Digest{}, err
	}
	if stamp.From(after) == was {
		m.Keep(ctx, f, d)
	}
	return d, nil
}

// File is Sum of the file at an absolute path.
func (m Memory) File(ctx context.Context, path string) (cas.Digest, error) {
	stat := func() (fs.FileInfo, error) { return os.Stat(path) }
	return m.Sum(ctx, path, stat, func() (_ cas.Digest, err error) {
		f, err := os.Open(path)
		if err != nil {
			return cas.Digest{}, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		return Digest(f)
	})
}

// Digest returns the digest of what r has.
func Digest(r io.Reader) (cas.Digest, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return cas.Digest{}, err
	}
	return cas.NewDigest(hex.EncodeToString(h.Sum(nil)), n)
}

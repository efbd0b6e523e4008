package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/sandwich-build/sandwich/internal/memo"
	"github.com/sandwich-build/sandwich/internal/pin"
	"github.com/sandwich-build/sandwich/manifest/lock"
	"github.com/sandwich-build/sandwich/stages"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// LockReport says what became of a lock.
type LockReport struct {
	Path    string
	Changed bool // whether the file was written
	Photos  int  // photos that are pinned
	Dead    int  // photos that no place has
	// Upgraded says how the metadata files and the libraries differ from those of before; nil unless the lock was
	// to be upgraded and there was one.
	Upgraded *Upstream
	Reasons  map[string]int // how often each reason of a place is that of a dead photo, such as "original: 404 Not Found"
	Failures []DeadPhoto    // by id; with Options.Retry only
}

// DeadPhoto is a photo that no place has.
type DeadPhoto struct {
	lock.Photo
	Places []pin.Failure // those that were asked just now
}

// Lock pins everything that a build of the project needs, and writes the lock. It
// downloads what it pins, since nothing else tells its digest; the bytes stay in the
// store for the build.
func Lock(ctx context.Context, p *Project, o Options) (*LockReport, error) {
	o.Until, o.repin = Download, !o.Retry // which asks for the dead, and for nothing else
	report := &LockReport{Path: p.LockPath, Reasons: map[string]int{}}
	asked := map[string][]pin.Failure{}
	if missed := o.Missed; o.Retry {
		o.Missed = func(f pin.Failure) {
			asked[string(f.ImageID)] = append(asked[string(f.ImageID)], f)
			if missed != nil {
				missed(f)
			}
		}
	}
	err := withSession(p, o, func(s *session) (err error) {
		if o.Upgrade && s.lock.disk != nil {
			if report.Upgraded, err = s.upgrade(ctx); err != nil {
				return err
			}
		}
		wheels, packages := s.lock.Wheels, s.lock.Conda
		if _, err := s.build(ctx); err != nil {
			return err
		}
		if report.Upgraded != nil {
			report.Upgraded.Wheels = wheelChanges(wheels, s.lock.Wheels)
			report.Upgraded.Conda = condaChanges(packages, s.lock.Conda)
		}
		report.Changed = s.lock.changed
		for photo, err := range s.lock.Photos.All() {
			switch {
			case err != nil:
				return err
			case photo.Dead != "":
				report.Dead++
				for reason := range strings.SplitSeq(photo.Dead, "; ") {
					report.Reasons[reason]++
				}
				if o.Retry {
					report.Failures = append(report.Failures, DeadPhoto{photo, asked[photo.ID]})
				}
			default:
				report.Photos++
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

// upgrade pins the metadata files as they are published now, and tells what that changes.
func (s *session) upgrade(ctx context.Context) (*Upstream, error) {
	u, now, err := s.compareUpstream(ctx)
	if err != nil {
		return nil, err
	}
	return u, s.lockSources(now)
}

// lockfile is the lock of a session, which is completed as the session goes on.
type lockfile struct {
	lock.Lock
	path    string
	disk    *lock.File // the file as it was read or written last; nil when there is none
	ahead   bool       // there are photos that the file does not have
	changed bool       // the session wrote the file
	open    []io.Closer
}

// openLock opens the lock at path. One that does not exist is empty.
func openLock(path string) (*lockfile, error) {
	l := &lockfile{path: path}
	err := l.read()
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	return l, err
}

func (l *lockfile) read() error {
	f, err := lock.Open(l.path)
	if err != nil {
		return err
	}
	l.open = append(l.open, f)
	l.disk, l.Lock, l.ahead = f, f.Lock, false
	return nil
}

// Close closes what photos are read from.
func (l *lockfile) Close() error {
	var errs []error
	for _, f := range l.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// onDisk reports whether the file holds all that the lock does.
func (l *lockfile) onDisk() bool {
	return l.disk != nil && !l.ahead && slices.Equal(l.disk.Sources, l.Sources) &&
		slices.Equal(l.disk.Inputs, l.Inputs) && slices.Equal(l.disk.Wheels, l.Wheels) &&
		samePin(l.disk.Python, l.Python) && l.disk.Platform == l.Platform && slices.Equal(l.disk.Conda, l.Conda) && samePin(l.disk.Code, l.Code) && samePin(l.disk.Image, l.Image)
}

// samePin compares pins of which there may be none.
func samePin[T comparable](was, is *T) bool {
	return was == is || (was != nil && is != nil && *was == *is)
}

// write brings the file up to date.
func (l *lockfile) write() error {
	if l.onDisk() {
		return nil
	}
	changed, err := lock.Write(l.path, &l.Lock)
	if err != nil {
		return err
	}
	l.changed = l.changed || changed
	return l.read()
}

// digest returns the digest of the file, which must be up to date.
func (l *lockfile) digest(ctx context.Context, m memo.Memory) (cas.Digest, error) {
	name, err := filepath.Abs(l.path)
	if err != nil {
		return cas.Digest{}, err
	}
	return m.Sum(ctx, name, l.disk.Stat, func() (cas.Digest, error) { return memo.Digest(l.disk.Text()) })
}

// put adds the lock's file to a tree. What is up to date and in the store is not read.
func (l *lockfile) put(ctx context.Context, m memo.Memory, out *cas.Builder, store cas.Store) error {
	if !l.onDisk() { // a plan does not write it
		return out.Write(ctx, lock.FileName, func(w io.Writer) error { return lock.Encode(w, &l.Lock) })
	}
	d, err := l.digest(ctx, m)
	if err != nil {
		return err
	}
	if missing, err := store.Missing(ctx, []cas.Digest{d}); err != nil || len(missing) > 0 {
		return errors.Join(err, out.Put(ctx, lock.FileName, l.disk.Text()))
	}
	return out.Add(lock.FileName, d)
}

// keep keeps new pins of photos in a file without a name below dir, until they are all
// there and the lock is written.
func (l *lockfile) keep(dir string, photos lock.Photos) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("pin photos: %w", err)
	}
	f, err := os.CreateTemp(dir, "photos-*")
	if err != nil {
		return fmt.Errorf("pin photos: %w", err)
	}
	l.open = append(l.open, f)
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("pin photos: %w", err)
	}
	if err := lock.Encode(f, &lock.Lock{Photos: photos}); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("pin photos: %w", err)
	}
	kept, err := lock.Decode(f.Name(), f, info.Size())
	if err != nil {
		return err
	}
	l.Photos, l.ahead = kept.Photos, true
	return nil
}

// pinning is the folder of what an unfinished pinning has found.
func (s *session) pinning() string { return filepath.Join(s.options.Store.Root(), "pinning") }

// journalPath is where the progress of an unfinished pinning is kept: in the cache,
// under the name of the lock that it is for.
func (s *session) journalPath() string {
	name := filepath.Join(s.Dir, filepath.Base(s.LockPath))
	return filepath.Join(s.pinning(), digest.FromString(name).Encoded()+".jsonl")
}

// saveLock writes the lock. What the journal remembers is in it then.
func (s *session) saveLock() error {
	if err := s.lock.write(); err != nil {
		return err
	}
	done := s.resolver.Journal
	s.resolver.Journal = nil
	return done.Remove()
}

// drift is the error of a session that must not change the lock but would.
func (s *session) drift(changes []lock.Change) error {
	e := &DriftError{Path: s.LockPath}
	for _, c := range changes {
		e.Changes = append(e.Changes, c.String())
	}
	return e
}

// lockStage is the name under which events tell of work on the lock.
const lockStage = "lock"

func (s *session) warn(format string, args ...any) {
	s.tell(lockStage, cas.Line{Warning: true, Text: fmt.Sprintf(format, args...)})
}

func (s *session) say(format string, args ...any) {
	s.tell(lockStage, cas.Line{Text: fmt.Sprintf(format, args...)})
}

func (s *session) tell(stage string, line cas.Line) {
	s.options.Observer.Observe(stages.Message{Stage: stage, Line: line})
}

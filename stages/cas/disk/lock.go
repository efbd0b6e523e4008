package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// introduce writes into a lock's file who holds it. It is a courtesy: an error is no
// reason not to go on.
func introduce(name string) {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	data, err := json.Marshal(cas.Holder{PID: os.Getpid(), Host: host, Since: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		_ = os.WriteFile(name, append(data, '\n'), 0o666)
	}
}

// holder reads who holds a lock. What cannot be read, because it is being written just
// now or was never written, is nobody's.
func holder(name string) cas.Holder {
	data, err := os.ReadFile(name)
	var h cas.Holder
	if err != nil || json.Unmarshal(data, &h) != nil {
		return cas.Holder{}
	}
	h.Since = h.Since.Local()
	return h
}

// lockPoll is how often a waiting process looks whether the lock is free. The lock is
// held for as long as a stage runs, so a quarter of a second is not felt.
const lockPoll = 250 * time.Millisecond

// Lock makes this process the only one to run an action until the returned function is
// called. When another process holds the lock, Lock says once to waiting who it is, and
// waits. The operating system frees the lock of a process that dies.
func (s *Store) Lock(ctx context.Context, action cas.Digest, waiting func(cas.Holder)) (unlock func(), err error) {
	name := s.path(locksDir, action)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return nil, fmt.Errorf("lock action: %w", err)
	}
	lock := flock.New(name, flock.SetPermissions(0o666))
	ok, err := lock.TryLock()
	if err == nil && !ok {
		waiting(introduced(name))
		ok, err = lock.TryLockContext(ctx, lockPoll)
	}
	if err != nil {
		return nil, fmt.Errorf("lock action: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("lock action %s: not granted", action)
	}
	introduce(name)
	return func() {
		_ = os.Truncate(name, 0) // who comes next must not be told of this process
		_ = lock.Unlock()
	}, nil
}

// introduced reads who holds a lock that is held. A process that got it this moment has
// not written its name yet, for which introduced waits a little.
func introduced(name string) cas.Holder {
	for range 10 {
		if h := holder(name); h.PID != 0 {
			return h
		}
		time.Sleep(time.Millisecond)
	}
	return cas.Holder{}
}

// BusyError says that a store cannot be had because of what another process does with
// it.
type BusyError struct {
	Cleaning bool       // it is being cleaned up; otherwise it is in use
	By       cas.Holder // zero when it is not known
}

func (e *BusyError) Error() string {
	if e.Cleaning {
		return "the store is being cleaned up by " + e.By.String()
	}
	return "the store is in use by " + e.By.String()
}

// useLock keeps gc away from a store that is in use. It is nil where it cannot be had:
// in a store that may only be read and that nobody can clean up.
type useLock struct {
	file *flock.Flock
	name string
}

const (
	useLockFile = "in-use.lock"
	// cleaningWait is how long opening a store waits for gc, which copies a few hundred
	// megabytes a second. Who waits longer wants to know why.
	cleaningWait = 30 * time.Second
	cleaningPoll = 50 * time.Millisecond
)

func openUseLock(name string) (*useLock, error) {
	lock := flock.New(name, flock.SetPermissions(0o666))
	for waited := time.Duration(0); ; waited += cleaningPoll {
		ok, err := lock.TryRLock()
		if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if ok {
			return &useLock{file: lock, name: name}, nil
		}
		if waited >= cleaningWait {
			return nil, &BusyError{Cleaning: true, By: holder(name)}
		}
		time.Sleep(cleaningPoll)
	}
}

func (l *useLock) release() error {
	if l == nil {
		return nil
	}
	return l.file.Unlock()
}

// errReadOnly says that a store cannot be changed.
var errReadOnly = errors.New("the store may only be read")

// Alone makes this process the only one that has the store open until the returned
// function is called, or returns a *BusyError. Sweep needs that: no build can be using
// what it removes.
func (s *Store) Alone() (release func() error, err error) {
	if s.use == nil {
		return nil, errReadOnly
	}
	if err := s.use.file.Unlock(); err != nil {
		return nil, fmt.Errorf("lock store: %w", err)
	}
	ok, err := s.use.file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock store: %w", err)
	}
	if !ok {
		busy := &BusyError{By: s.builder()}
		if _, err := s.use.file.TryRLock(); err != nil {
			return nil, fmt.Errorf("lock store: %w", err)
		}
		return nil, busy
	}
	introduce(s.use.name)
	// Somebody else may have had it alone for a moment, and moved blobs to other packs.
	if err := errors.Join(s.packs.close(), s.packs.refresh()); err != nil {
		return nil, errors.Join(fmt.Errorf("lock store: %w", err), s.use.file.Unlock(), s.use.again())
	}
	return func() error {
		return errors.Join(os.Truncate(s.use.name, 0), s.use.file.Unlock(), s.use.again())
	}, nil
}

// again takes the shared lock back.
func (l *useLock) again() error { return l.file.RLock() }

// builder returns a process that holds the lock of an action, if there is one.
func (s *Store) builder() cas.Holder {
	names, err := filepath.Glob(filepath.Join(s.root, locksDir, "*", "*"))
	if err != nil {
		return cas.Holder{}
	}
	for _, name := range names {
		if h := holder(name); h.PID != 0 && held(name) {
			return h
		}
	}
	return cas.Holder{}
}

// held tells whether a process has a lock.
func held(name string) bool {
	lock := flock.New(name)
	ok, err := lock.TryRLock()
	return err == nil && !ok || errors.Join(err, lock.Unlock()) != nil
}

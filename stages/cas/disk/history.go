package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// historyDir holds what happened under a name, entry by entry: history/ab/cdef…, a line
// each, "<SHA-256 of the entry> <entry>". A line that a crash cut is no entry.
const historyDir = "history"

// maxHistory is how large a history may grow, in bytes, before its older half goes: some
// thousand builds.
const maxHistory = 8 << 20

// historyPoll is how often an Append that waits looks again. Another one takes as long as
// a write.
const historyPoll = 5 * time.Millisecond

// Append adds an entry, one line of text, to the history of a name.
func (s *Store) Append(ctx context.Context, name string, entry []byte) (err error) {
	if bytes.ContainsRune(entry, '\n') {
		return fmt.Errorf("append to history: %w", fs.ErrInvalid)
	}
	file, lock := s.historyFiles(name)
	defer func() {
		if err != nil {
			err = fmt.Errorf("append to history: %w", err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	guard := flock.New(lock)
	if _, err := guard.TryLockContext(ctx, historyPoll); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Unlock()) }()
	if err := s.shortenHistory(ctx, name, file); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	// The line break in front ends a line that a crash cut.
	_, err = fmt.Fprintf(f, "\n%s\n", historyLine(entry))
	return errors.Join(err, f.Close())
}

func historyLine(entry []byte) []byte {
	return fmt.Appendf(nil, "%x %s", sha256.Sum256(entry), entry)
}

// History returns the entries of a name, the oldest first. Those that are damaged are
// left out.
func (s *Store) History(_ context.Context, name string) ([][]byte, error) {
	file, _ := s.historyFiles(name)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	var entries [][]byte
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		_, entry, _ := bytes.Cut(line, []byte(" "))
		if len(line) > 0 && bytes.Equal(line, historyLine(entry)) {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// shortenHistory drops the older half of a history that has grown too large.
func (s *Store) shortenHistory(ctx context.Context, name, file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() <= maxHistory) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := s.History(ctx, name)
	if err != nil {
		return err
	}
	var text []byte
	for _, entry := range entries[len(entries)/2:] {
		text = fmt.Appendf(text, "%s\n", historyLine(entry))
	}
	shorter := file + ".new"
	if err := os.WriteFile(shorter, text, 0o666); err != nil {
		return err
	}
	return os.Rename(shorter, file)
}

// historyFiles returns the file of a history and that of its lock.
func (s *Store) historyFiles(name string) (file, lock string) {
	file = s.path(historyDir, cas.Sum([]byte(name)))
	return file, file + ".lock"
}

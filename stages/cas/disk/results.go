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

	"github.com/sandwich-build/sandwich/stages/cas"
)

// Result returns what an action produced, or fs.ErrNotExist. An entry that is damaged,
// or that belongs to another action, does not exist. The entry's time becomes now, for
// gc, which keeps what was used of late.
func (s *Store) Result(_ context.Context, action cas.Digest) (cas.Result, error) {
	name := s.path(resultsDir, action)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return cas.Result{}, &cas.BlobError{Digest: action, Err: fs.ErrNotExist}
	}
	if err != nil {
		return cas.Result{}, fmt.Errorf("read result: %w", err)
	}
	found, r, ok := cas.DecodeResult(data)
	if !ok || found != action {
		return cas.Result{}, &cas.BlobError{Digest: action, Err: fs.ErrNotExist}
	}
	markUsed(name)
	return r, nil
}

// useGranularity is how precisely gc knows when a result was used: writing the time at
// every use would make a build of nothing write to the disk.
const useGranularity = time.Hour

// markUsed notes that a result is used. It fails without harm where the store may only
// be read. A time in the future, which a clock that jumps leaves behind, is put right.
func markUsed(name string) {
	info, err := os.Stat(name)
	if err != nil {
		return
	}
	now := time.Now()
	if age := now.Sub(info.ModTime()); age > useGranularity || age < 0 {
		_ = os.Chtimes(name, now, now)
	}
}

// Record remembers what an action produced. The tree's blobs must be in the store.
//
// This is where a build becomes durable: when Record returns, every blob that this
// process has stored, and then the result, have been given to the disk. What was stored
// since the last Record may be lost in a power cut, and nothing else. A result that is
// recorded already is not written again.
func (s *Store) Record(_ context.Context, action cas.Digest, r cas.Result) error {
	entry, err := cas.EncodeResult(action, r)
	if err != nil {
		return err
	}
	// A result promises that its blobs exist, so they must not reach the disk after it.
	if err := s.sync(); err != nil {
		return fmt.Errorf("record result: %w", err)
	}
	name := s.path(resultsDir, action)
	if was, err := os.ReadFile(name); err == nil && bytes.Equal(was, entry) {
		markUsed(name)
		return nil
	}
	if err := s.write(name, entry, true); err != nil {
		return fmt.Errorf("record result: %w", err)
	}
	return nil
}

// write makes data the content of the file name, whole or not at all.
func (s *Store) write(name string, data []byte, sync bool) (err error) {
	tmp, err := os.CreateTemp(filepath.Join(s.root, tmpDir), "entry-*")
	if err != nil {
		return err
	}
	defer discard(tmp, &err)
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if sync {
		if err := tmp.Sync(); err != nil {
			return err
		}
	}
	return s.publish(tmp, name)
}

// Forget removes the result of an action, so that it runs again.
func (s *Store) Forget(_ context.Context, action cas.Digest) error {
	err := os.Remove(s.path(resultsDir, action))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget result: %w", err)
	}
	return nil
}

// Latest returns the action that was last noted under name, or fs.ErrNotExist. A note
// that is damaged, or that belongs to another name, does not exist.
func (s *Store) Latest(_ context.Context, name string) (cas.Digest, error) {
	data, err := os.ReadFile(s.path(latestDir, cas.Sum([]byte(name))))
	if err != nil {
		return cas.Digest{}, fmt.Errorf("latest action: %w", err)
	}
	_, line, _ := bytes.Cut(data, []byte(" "))
	d, err := cas.ParseDigest(string(line))
	if err != nil || !bytes.Equal(data, note(name, d)) {
		return cas.Digest{}, fmt.Errorf("latest action: %w", fs.ErrNotExist)
	}
	return d, nil
}

// note is the text of a note: a checksum, which covers the name too, and the action.
func note(name string, action cas.Digest) []byte {
	line := fmt.Appendf(nil, "%s %d\n", action.Hex(), action.Size())
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", name, line))
	return fmt.Appendf(nil, "%x %s", sum, line)
}

// Note makes action the latest of name. A note that says so already is left alone,
// which lets a build of nothing work on a store that may only be read.
func (s *Store) Note(ctx context.Context, name string, action cas.Digest) error {
	if was, err := s.Latest(ctx, name); err == nil && was == action {
		return nil
	}
	if err := s.write(s.path(latestDir, cas.Sum([]byte(name))), note(name, action), false); err != nil {
		return fmt.Errorf("note action: %w", err)
	}
	return nil
}

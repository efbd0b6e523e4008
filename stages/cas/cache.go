package cas

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
)

// Result returns what an action produced, or fs.ErrNotExist. An entry that is damaged,
// or that belongs to another action, does not exist. The entry's time becomes now, for
// gc, which keeps what was used of late.
func (s *Disk) Result(_ context.Context, action Digest) (Result, error) {
	name := s.path(resultsDir, action)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, notExist(action)
	}
	if err != nil {
		return Result{}, fmt.Errorf("read result: %w", err)
	}
	found, r, ok := DecodeResult(data)
	if !ok || found != action {
		return Result{}, notExist(action)
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
// since the last Record may be lost in a power cut, and nothing else.
func (s *Disk) Record(_ context.Context, action Digest, r Result) error {
	entry, err := EncodeResult(action, r)
	if err != nil {
		return err
	}
	// A result promises that its blobs exist, so they must not reach the disk after it.
	if err := s.sync(); err != nil {
		return fmt.Errorf("record result: %w", err)
	}
	if err := s.write(s.path(resultsDir, action), entry, true); err != nil {
		return fmt.Errorf("record result: %w", err)
	}
	return nil
}

// EncodeResult returns the text of a result's file: a checksum in a line of its own, a
// line with the action, and the result. The checksum covers the action too, so that
// a file under a wrong name answers for nobody.
func EncodeResult(action Digest, r Result) ([]byte, error) {
	body, err := r.MarshalBinary()
	if err != nil {
		return nil, err
	}
	signed := append(fmt.Appendf(nil, "%s %d\n", action.Hex(), action.size), body...)
	return append(fmt.Appendf(nil, "%x\n", sha256.Sum256(signed)), signed...), nil
}

// DecodeResult reads what EncodeResult wrote; ok is false when it is damaged.
func DecodeResult(data []byte) (action Digest, r Result, ok bool) {
	sum, signed, _ := bytes.Cut(data, []byte("\n"))
	if string(sum) != fmt.Sprintf("%x", sha256.Sum256(signed)) {
		return Digest{}, Result{}, false
	}
	line, body, _ := bytes.Cut(signed, []byte("\n"))
	action, err := parseDigestLine(line)
	if err != nil || r.UnmarshalBinary(body) != nil {
		return Digest{}, Result{}, false
	}
	return action, r, true
}

// parseDigestLine reads "<hex> <size>".
func parseDigestLine(line []byte) (Digest, error) {
	var sum string
	var size int64
	if _, err := fmt.Sscanf(string(line), "%s %d", &sum, &size); err != nil {
		return Digest{}, err
	}
	return NewDigest(sum, size)
}

// write makes data the content of the file name, whole or not at all.
func (s *Disk) write(name string, data []byte, sync bool) (err error) {
	tmp, err := os.CreateTemp(filepath.Join(s.root, tmpDir), "entry-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // closed already on most paths; the first error is the one to tell
			_ = os.Remove(tmp.Name())
		}
	}()
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
func (s *Disk) Forget(_ context.Context, action Digest) error {
	err := os.Remove(s.path(resultsDir, action))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget result: %w", err)
	}
	return nil
}

// Latest returns the action that was last noted under name, or fs.ErrNotExist. A note
// that is damaged, or that belongs to another name, does not exist.
func (s *Disk) Latest(_ context.Context, name string) (Digest, error) {
	data, err := os.ReadFile(s.path(latestDir, Sum([]byte(name))))
	if err != nil {
		return Digest{}, fmt.Errorf("latest action: %w", err)
	}
	_, line, _ := bytes.Cut(data, []byte(" "))
	d, err := parseDigestLine(line)
	if err != nil || !bytes.Equal(data, note(name, d)) {
		return Digest{}, fmt.Errorf("latest action: %w", fs.ErrNotExist)
	}
	return d, nil
}

// note is the text of a note: a checksum, which covers the name too, and the action.
func note(name string, action Digest) []byte {
	line := fmt.Appendf(nil, "%s %d\n", action.Hex(), action.size)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", name, line))
	return fmt.Appendf(nil, "%x %s", sum, line)
}

// Note makes action the latest of name. A note that says so already is left alone,
// which lets a build of nothing work on a store that may only be read.
func (s *Disk) Note(ctx context.Context, name string, action Digest) error {
	if was, err := s.Latest(ctx, name); err == nil && was == action {
		return nil
	}
	if err := s.write(s.path(latestDir, Sum([]byte(name))), note(name, action), false); err != nil {
		return fmt.Errorf("note action: %w", err)
	}
	return nil
}

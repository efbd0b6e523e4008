package upkeep

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// An archive is a tar file: an entry that tells the format, the blobs, each under its
// SHA-256, then the results, when all that they need has arrived, and an entry that tells
// the end: a tar file that was cut between two entries looks whole. Equal parts of a
// cache make equal archives.
const (
	formatEntry   = "sandwich-cache-1"
	endEntry      = "end"
	blobPrefix    = "blobs/"
	resultPrefix  = "results/"
	maxResultSize = 64 << 20 // far more than the longest log of a stage
)

// Moved says what an archive has brought.
type Moved struct {
	Results int
	Blobs   int
	Bytes   int64
}

// ErrNothing says that there is nothing to export.
var ErrNothing = errors.New("the cache has no result to export")

// ArchiveError says that a file is not an archive, or a damaged one.
type ArchiveError struct {
	Entry string // the entry at fault; empty when it is not a tar file at all
	Err   error
}

func (e *ArchiveError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("not an archive of a cache: %v", e.Err)
	}
	return fmt.Sprintf("archive entry %s: %v", e.Entry, e.Err)
}

// Unwrap returns the cause.
func (e *ArchiveError) Unwrap() error { return e.Err }

// Export writes the results of actions, and all the blobs that they need, to w. Without
// actions it writes all results that the store has whole.
func Export(ctx context.Context, s *disk.Store, w io.Writer, actions []cas.Digest) (Moved, error) {
	results, err := resultsOf(ctx, s, actions)
	if err != nil {
		return Moved{}, err
	}
	needed := newClosure(s)
	for _, r := range results {
		if err := needed.add(ctx, r); err != nil {
			return Moved{}, err
		}
	}
	blobs := make([]cas.Digest, 0, len(needed.seen))
	for d := range needed.seen {
		blobs = append(blobs, d)
	}
	slices.SortFunc(blobs, func(a, b cas.Digest) int { return strings.Compare(a.Hex(), b.Hex()) })
	out := tar.NewWriter(w)
	if err := writeEntry(out, formatEntry, 0, bytes.NewReader(nil)); err != nil {
		return Moved{}, err
	}
	for _, d := range blobs {
		if err := writeBlob(ctx, out, s, d); err != nil {
			return Moved{}, err
		}
	}
	for _, r := range results {
		data, err := cas.EncodeResult(r.Action, r.Result)
		if err == nil {
			err = writeEntry(out, resultPrefix+r.Action.Hex(), int64(len(data)), bytes.NewReader(data))
		}
		if err != nil {
			return Moved{}, err
		}
	}
	if err := writeEntry(out, endEntry, 0, bytes.NewReader(nil)); err != nil {
		return Moved{}, err
	}
	return Moved{Results: len(results), Blobs: len(blobs), Bytes: needed.bytes}, out.Close()
}

// resultsOf returns the results to export, in the order of their files.
func resultsOf(ctx context.Context, s *disk.Store, actions []cas.Digest) ([]disk.CachedResult, error) {
	var results []disk.CachedResult
	for r, err := range s.Results(ctx) {
		if err != nil {
			return nil, err
		}
		if r.Damaged || len(actions) > 0 && !slices.Contains(actions, r.Action) {
			continue
		}
		whole, err := complete(ctx, s, r.Result.Tree)
		if err != nil {
			return nil, err
		}
		if !whole {
			continue
		}
		if whole, err = complete(ctx, s, r.Result.Items); err != nil {
			return nil, err
		}
		if !whole {
			r.Result.Items = cas.TreeID{}
		}
		if whole, err = complete(ctx, s, r.Result.Printed); err != nil {
			return nil, err
		}
		if !whole {
			r.Result.Printed = cas.TreeID{}
		}
		results = append(results, r)
	}
	if len(results) == 0 {
		return nil, ErrNothing
	}
	return results, nil
}

func writeBlob(ctx context.Context, out *tar.Writer, s cas.Store, d cas.Digest) (err error) {
	r, err := s.Open(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return writeEntry(out, blobPrefix+d.Hex(), d.Size(), r)
}

// writeEntry writes a file that has no time and no owner.
func writeEntry(out *tar.Writer, name string, size int64, r io.Reader) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o444, Size: size, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if _, err := io.Copy(out, r); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// Import stores what Export has written. Every blob is checked against its name, and a
// result is taken only when all its blobs are there. That its blobs are what the action
// would have produced is the word of who made the archive.
func Import(ctx context.Context, s *disk.Store, r io.Reader) (Moved, error) {
	var m Moved
	in := tar.NewReader(r)
	head, err := in.Next()
	if err == nil && head.Name != formatEntry {
		err = fmt.Errorf("it begins with %q", head.Name)
	}
	if err != nil {
		return m, &ArchiveError{Err: err}
	}
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return m, &ArchiveError{Err: err}
		}
		if head.Name == endEntry {
			return m, nil
		}
		if sum, ok := strings.CutPrefix(head.Name, blobPrefix); ok {
			err = m.blob(ctx, s, sum, in)
		} else if sum, ok := strings.CutPrefix(head.Name, resultPrefix); ok {
			err = m.result(ctx, s, sum, in)
		} else {
			err = &ArchiveError{Entry: head.Name, Err: errors.New("is neither a blob nor a result")}
		}
		if err != nil {
			return m, err
		}
	}
}

func (m *Moved) blob(ctx context.Context, s cas.Store, sum string, r io.Reader) error {
	in := &source{r: r}
	d, err := s.Put(ctx, in)
	if in.err != nil {
		return &ArchiveError{Entry: blobPrefix + sum, Err: in.err}
	}
	if err != nil {
		return err
	}
	if d.Hex() != sum {
		return &ArchiveError{Entry: blobPrefix + sum, Err: cas.ErrDamaged}
	}
	m.Blobs++
	m.Bytes += d.Size()
	return nil
}

// source keeps the error of a reader apart from those of who reads it.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (m *Moved) result(ctx context.Context, s *disk.Store, sum string, r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxResultSize))
	if err != nil {
		return &ArchiveError{Err: err}
	}
	action, result, ok := cas.DecodeResult(data)
	if !ok || action.Hex() != sum {
		return &ArchiveError{Entry: resultPrefix + sum, Err: cas.ErrDamaged}
	}
	whole, err := complete(ctx, s, result.Tree)
	if err == nil && !whole {
		err = &ArchiveError{Entry: resultPrefix + sum, Err: cas.ErrLost}
	}
	if err != nil {
		return err
	}
	m.Results++
	return s.Record(ctx, action, result)
}

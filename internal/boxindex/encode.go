package boxindex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sandwich-build/sandwich/internal/parquet"
)

// encoder writes the files of labels, one after another, in the same memory.
type encoder struct {
	b       *builder
	records records
	group   group
	file    *parquet.Writer
	out     *bufio.Writer
}

func newEncoder(b *builder) *encoder {
	// Pages are mostly small, and each write wakes up who reads the other end of the pipe.
	out := bufio.NewWriterSize(nil, 256<<10)
	return &encoder{
		b: b, records: records{src: bufio.NewReaderSize(nil, 64<<10)},
		file: parquet.NewWriter(out, columns), out: out,
	}
}

// write writes the file of a label.
func (e *encoder) write(ctx context.Context, s *shelf, put func(context.Context, string, io.Reader) error) error {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(e.encode(ctx, s, w))
	}()
	err := put(ctx, FileName(s.counts.ID), r)
	r.CloseWithError(err) // lets the writer go when not all was wanted
	<-done
	return err
}

// encode writes the records of a label as Parquet.
func (e *encoder) encode(ctx context.Context, s *shelf, w io.Writer) error {
	e.out.Reset(w)
	e.file.Reset(e.out)
	e.group.reset(string(s.counts.ID), s.counts.Boxes)
	e.records.reset(&reader{s, e.b.shelves.spill})
	var images []uint64 // hashes, when equal images need not be neighbours
	if !e.b.ordered {
		images = make([]uint64, 0, s.counts.Boxes)
	}
	for {
		rec, err := e.records.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("sort boxes: %w", err)
		}
		if !e.b.ordered {
			images = append(images, hashOf(rec.image))
		}
		if e.group.add(&rec); len(e.group.rows) == groupRows {
			if err := e.flush(ctx, s); err != nil {
				return err
			}
		}
	}
	if err := e.flush(ctx, s); err != nil {
		return err
	}
	if !e.b.ordered {
		slices.Sort(images)
		s.counts.Images = int64(len(slices.Compact(images)))
	}
	return errors.Join(e.file.Close("box index 1"), e.out.Flush())
}

// flush writes the row group at work, if it has rows, and empties it.
func (e *encoder) flush(ctx context.Context, s *shelf) error {
	if err := context.Cause(ctx); err != nil || len(e.group.rows) == 0 {
		return err
	}
	err := e.file.Group(len(e.group.rows), func(column int) parquet.Values { return e.group.column(column, e.b.sources.names) })
	e.group.reset(e.group.label, s.counts.Boxes)
	return err
}

// hashOf is 64 bits of FNV-1a: of a million images, two are taken for one with a probability
// of three in a hundred million.
func hashOf(text []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range text {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// Package table reads and writes the CSV tables that stages exchange: UTF-8, one
// header row that is known beforehand, lines that end with LF, quotes only where they
// are needed. Equal rows give equal bytes.
package table

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// Write writes the header and the rows. A row is not kept after the next one is asked
// for.
func Write(w io.Writer, columns []string, rows iter.Seq[[]string]) error {
	out := csv.NewWriter(w)
	if err := out.Write(columns); err != nil {
		return err
	}
	for row := range rows {
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// Read reads a table with exactly these columns from src, which messages call file. The
// row that parse is given is valid only during the call. The first fault ends the
// sequence; it names the file and the line.
func Read[T any](src io.Reader, file string, columns []string, parse func(row []string) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		in := csv.NewReader(src)
		in.ReuseRecord = true
		in.FieldsPerRecord = len(columns)
		var none T
		if err := readHeader(in, columns); err != nil {
			yield(none, fmt.Errorf("%s: %w", file, err))
			return
		}
		for {
			row, err := in.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(none, fmt.Errorf("%s: %w", file, err))
				return
			}
			item, err := parse(row)
			if err != nil {
				line, _ := in.FieldPos(0)
				yield(none, fmt.Errorf("%s:%d: %w", file, line, err))
				return
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

func readHeader(in *csv.Reader, want []string) error {
	got, err := in.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("want the columns %s, got an empty file", strings.Join(want, ","))
	}
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("want the columns %s, got %s", strings.Join(want, ","), strings.Join(got, ","))
	}
	return nil
}

// Folder is where tables are: a tree of the content store.
type Folder interface {
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// Rows opens the table name in a folder and reads it with read, which is a function such
// as cropfile.Crops. The first fault ends the sequence.
func Rows[T any](ctx context.Context, in Folder, name string, read func(io.Reader, string) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		r, err := in.Open(ctx, name)
		if err != nil {
			yield(none, fmt.Errorf("open %s: %w", name, err))
			return
		}
		defer func() { _ = r.Close() }() // reading to the end verifies; closing tells nothing
		read(r, name)(yield)
	}
}

// All reads a whole table.
func All[T any](ctx context.Context, in Folder, name string, read func(io.Reader, string) iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for row, err := range Rows(ctx, in, name, read) {
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}

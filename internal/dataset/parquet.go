package dataset

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/parquet-go/parquet-go"
)

// parquetMagic begins and ends a Parquet file.
const parquetMagic = "PAR1"

// parquetRow is a row of a Parquet file. Columns within lists and groups are left out.
type parquetRow struct {
	names  []string
	leaves []int // of the names, among all columns of the file
	values parquet.Row
	line   int
}

func (r *parquetRow) Columns() []string { return r.names }
func (r *parquetRow) Line() int         { return r.line }

func (r *parquetRow) Text(column int) string {
	for _, v := range r.values {
		if v.Column() == r.leaves[column] && !v.IsNull() {
			return v.String()
		}
	}
	return ""
}

// parquetRows reads a Parquet file, which messages call name, row by row. Its index stands
// at its end, so that it is kept in a file of its own for as long as it is read.
func parquetRows(src io.Reader, name string) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		f, err := os.CreateTemp("", "sandwich-*.parquet")
		if err != nil {
			yield(nil, fmt.Errorf("read %s: %w", name, err))
			return
		}
		defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // nobody needs it any more
		size, err := io.Copy(f, src)
		if err != nil {
			yield(nil, fmt.Errorf("read %s: %w", name, err))
			return
		}
		readParquet(f, size, name, yield)
	}
}

// readParquet yields the rows of a file. Of a damaged one the library may panic, which is a
// fault of the file like the errors that it returns.
func readParquet(f io.ReaderAt, size int64, name string, yield func(row, error) bool) {
	done := false // yield must not be called any more, and its own panics are not ours
	more := func(r row, err error) bool {
		done = true
		if !yield(r, err) {
			return false
		}
		done = false
		return true
	}
	broken := func(problem any) error {
		return &FaultError{File: name, Problem: fmt.Sprintf("not a sound Parquet file: %v", problem)}
	}
	defer func() {
		if done {
			return
		}
		if problem := recover(); problem != nil {
			yield(nil, broken(problem))
		}
	}()
	file, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		more(nil, broken(err))
		return
	}
	r := &parquetRow{}
	for i, path := range file.Schema().Columns() {
		if len(path) == 1 {
			r.names, r.leaves = append(r.names, path[0]), append(r.leaves, i)
		}
	}
	const batch = 128
	buffer := make([]parquet.Row, batch)
	for _, group := range file.RowGroups() {
		rows := group.Rows()
		for ended := false; !ended; {
			n, err := rows.ReadRows(buffer)
			if ended = errors.Is(err, io.EOF); err != nil && !ended {
				more(nil, broken(errors.Join(err, rows.Close())))
				return
			}
			ended = ended || n == 0
			for _, r.values = range buffer[:n] {
				r.line++
				if !more(r, nil) {
					_ = rows.Close() // the file is closed next
					return
				}
			}
		}
		if err := rows.Close(); err != nil {
			more(nil, broken(err))
			return
		}
	}
}

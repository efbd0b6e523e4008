package openimages

import (
	"io"
	"iter"
	"strings"
)

// Row is a row of any delimited file in the reader's buffer. It is valid until the reader
// moves on.
type Row struct{ t *table }

// Rows reads the delimited file src, which messages call file, row by row. Its first row
// names the columns. The first fault ends the sequence; it is a *RowError, or the error of
// src.
func Rows(src io.Reader, file string) iter.Seq2[*Row, error] {
	return rows(src, file, func(t *table) (*Row, error) {
		_, err := t.readHeader(nil, nil)
		return &Row{t}, err
	})
}

func (*Row) check() error { return nil }

func (*Row) on(t *table) *Row { return &Row{t} }

// Columns returns the names of the columns.
func (r *Row) Columns() []string { return r.t.header }

// Text copies field i as valid UTF-8; a byte that is not becomes U+FFFD.
func (r *Row) Text(i int) string { return strings.ToValidUTF8(string(r.t.field(i)), "\uFFFD") }

// Line returns the line where the row starts, counted from 1.
func (r *Row) Line() int { return r.t.at }

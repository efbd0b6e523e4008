package openimages

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"slices"
	"strings"
)

const (
	// firstRead is the buffer a table starts with. Below 256 KiB the calls to
	// the store show in the scan's time, above it nothing is gained.
	firstRead = 256 << 10
	// maxRow bounds one row, in bytes. The longest official row is below 2 KiB;
	// a row beyond this is a quote that nobody closed, or no CSV at all.
	maxRow = 1 << 20
	// maxColumns bounds the columns of a file. V6 box files have 21.
	maxColumns = 1 << 10
)

// RowError is a fault of a metadata file, at the place where it shows.
type RowError struct {
	File    string // the name the reader was given
	Line    int    // where the row starts, counted from 1; 0 when the fault is the file's as a whole
	Column  string // the column's name in the header, or "column N" where it has none; may be empty
	Problem string // what is wrong
}

// Error returns "file:line:column: problem", without the parts that are not known.
func (e *RowError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Column != "" {
		b.WriteString(":" + e.Column)
	}
	return b.String() + ": " + e.Problem
}

// table reads delimited text row by row, without allocating: a row is a view of
// the buffer until the next one is read.
//
// encoding/csv is not used because it knows only line feeds as ends of lines (it
// sees a file with the line ends of Excel for Mac as one record), and because a
// box file is read for the few rows that are wanted: making a string of each of
// 14.6 million rows takes most of the time.
type table struct {
	src  io.Reader
	file string

	buf      []byte
	pos, end int  // buf[pos:end] is read but not yet returned
	eof      bool // src has ended

	comma, eol byte     // the file's separator and (last) byte of a line end
	header     []string // names of the columns; nil before the header is read

	row    []byte // the current row, without its line end; starts at buf[pos]
	taken  int    // length of the current row with its line end
	at     int    // the line where the current row starts
	line   int    // the line where the next row starts
	fields []span // of the current row

	unquoted bool // there is no quote in what is left: set by who has looked

	mayPlain    bool  // rows may be plain
	plain       bool  // the current row is: it has no fields, and is right
	label, tail int32 // of a plain row: where the label starts and ends

	// Plain rows are found some at a time. Nothing is read into buf before all of them were the
	// current row.
	batch [64]plainRow
	ahead []plainRow // of batch, those that are to come
	base  int        // where in buf the text starts that they are in
}

// span is a field: row[from:to].
type span struct{ from, to int32 }

// openTable starts to read src. It finds out how the file is written: its
// separator (comma, semicolon or tab, whichever comes first in the first line) and
// its line ends. It recognises what is often called .csv and is not.
func openTable(src io.Reader, file string) (*table, error) {
	t := &table{src: src, file: file, buf: make([]byte, firstRead), line: 1}
	for !t.eof && t.end < len(t.buf) {
		if err := t.fill(); err != nil {
			return nil, err
		}
	}
	head := t.buf[:t.end]
	if what := foreign(head); what != "" {
		return nil, &RowError{File: file, Problem: "this is " + what + ", not CSV"}
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		t.pos = 3
	}
	t.comma, t.eol = dialect(t.buf[t.pos:t.end])
	return t, nil
}

// foreign says what head is the start of, when it is a well-known something else.
func foreign(head []byte) string {
	trimmed := bytes.ToLower(bytes.TrimLeft(head[:min(len(head), 64)], " \t\r\n"))
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return "a zip file or an Excel workbook"
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return "a gzip file"
	case bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")):
		return "an old Excel workbook"
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return "UTF-16 text"
	case bytes.HasPrefix(head, []byte("PAR1")):
		return "a Parquet file"
	case bytes.HasPrefix(trimmed, []byte("<!doctype")), bytes.HasPrefix(trimmed, []byte("<html")):
		return "an HTML page"
	case bytes.HasPrefix(trimmed, []byte("<?xml")):
		return "an XML document"
	}
	return ""
}

// dialect returns the separator and the (last) byte of the line ends of a file
// that starts with head, going by its first line that is not empty.
func dialect(head []byte) (comma, eol byte) {
	head = bytes.TrimLeft(head, "\r\n")
	quoted := false
	for i, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case comma == 0 && (c == ',' || c == ';' || c == '\t'):
			comma = c
		case c == '\n' || c == '\r':
			eol = '\n'
			if c == '\r' && i+1 < len(head) && head[i+1] != '\n' {
				eol = '\r'
			}
			return cmp.Or(comma, ','), eol
		}
	}
	return cmp.Or(comma, ','), '\n'
}

// fill reads more of src behind buf[pos:end], which it may move to the front.
func (t *table) fill() error {
	if t.pos > 0 {
		t.end = copy(t.buf, t.buf[t.pos:t.end])
		t.pos = 0
	}
	if t.end == len(t.buf) {
		if len(t.buf) >= maxRow {
			return t.fault("", "the row is longer than %d bytes; is a quote not closed?", maxRow)
		}
		t.buf = append(t.buf, make([]byte, len(t.buf))...)
	}
	// A reader may return nothing a few times; one that keeps on is broken.
	for range 100 {
		n, err := t.src.Read(t.buf[t.end:])
		t.end += n
		if errors.Is(err, io.EOF) {
			t.eof = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", t.file, err)
		}
		if n > 0 {
			return nil
		}
	}
	return fmt.Errorf("read %s: %w", t.file, io.ErrNoProgress)
}

// next moves to the next row that is not an empty line. It returns io.EOF at the
// end of the file. Once a header is set, a row with another number of columns is
// a fault.
func (t *table) next() error {
	if t.plain = t.mayPlain && t.nextPlain(); t.plain {
		return nil
	}
	for {
		t.pos += t.taken
		t.taken, t.at = 0, t.line
		n, err := t.lineLength(0)
		if err != nil {
			return err
		}
		t.take(n)
		if !t.unquoted && bytes.IndexByte(t.row, '"') >= 0 {
			err = t.splitQuoted()
		} else if t.trimCR(); len(t.row) > 0 {
			t.split()
		} else {
			continue
		}
		if err == nil && t.header != nil && len(t.fields) != len(t.header) {
			err = t.fault("", "the row has %d columns, the header has %d", len(t.fields), len(t.header))
		}
		return err
	}
}

// take makes the row of the first n bytes, which a line end follows.
func (t *table) take(n int) {
	t.row = t.buf[t.pos : t.pos+n]
	t.taken = min(n+1, t.end-t.pos) // the last line may have no end
	t.line++
}

// trimCR takes away the first half of a line end of two bytes.
func (t *table) trimCR() {
	if n := len(t.row); t.eol == '\n' && n > 0 && t.row[n-1] == '\r' {
		t.row = t.row[:n-1]
	}
}

// lineLength returns how many bytes there are up to the next line end, or the end of
// the file, behind the next from bytes. It returns io.EOF when there are none.
func (t *table) lineLength(from int) (int, error) {
	for seen := from; ; {
		if i := bytes.IndexByte(t.buf[t.pos+seen:t.end], t.eol); i >= 0 {
			return seen + i, nil
		}
		seen = t.end - t.pos
		if t.eof {
			if seen <= from {
				return 0, io.EOF
			}
			return seen, nil
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
}

// split cuts the row, which holds no quotes, into fields. It looks at eight bytes at
// a time: fields are so short that a call of bytes.IndexByte for each costs more.
func (t *table) split() {
	row, comma := t.row, uint64(t.comma)*ones
	fields, from, i := t.fields[:0], 0, 0
	for ; i+8 <= len(row); i += 8 {
		x := binary.LittleEndian.Uint64(row[i:]) ^ comma // a comma is now a zero byte
		zeros := ^((x&low7 + low7) | x | low7)           // of which the top bit is set
		for ; zeros != 0; zeros &= zeros - 1 {
			at := i + bits.TrailingZeros64(zeros)/8
			fields = append(fields, span{int32(from), int32(at)})
			from = at + 1
		}
	}
	for ; i < len(row); i++ {
		if row[i] == t.comma {
			fields = append(fields, span{int32(from), int32(i)})
			from = i + 1
		}
	}
	t.fields = append(fields, span{int32(from), int32(len(row))})
}

// splitQuoted is split for a row with quotes, which may go on behind the end of the
// line. It takes the quotes away in place: the text of a field never gets longer by that.
func (t *table) splitQuoted() error {
	t.fields = t.fields[:0]
	for from := 0; ; {
		var field span
		var next int // where the field's separator is
		if from < len(t.row) && t.row[from] == '"' {
			end, err := t.closingQuote(from + 1)
			if err != nil {
				return err
			}
			field = span{int32(from + 1), int32(from + 1 + unquote(t.row[from+1:end]))}
			if t.trimCR(); end+1 < len(t.row) && t.row[end+1] != t.comma {
				return t.fault(t.columnName(len(t.fields)), "there is text behind the closing quote")
			}
			next = end + 1
		} else {
			if i := bytes.IndexByte(t.row[from:], t.comma); i >= 0 {
				next = from + i
			} else {
				t.trimCR()
				next = len(t.row)
			}
			field = span{int32(from), int32(next)}
		}
		t.fields = append(t.fields, field)
		if next >= len(t.row) {
			return nil
		}
		from = next + 1
	}
}

// closingQuote returns where the quoted field ends whose text starts at from, and
// makes the row longer until it holds all of it.
func (t *table) closingQuote(from int) (int, error) {
	for at := from; ; {
		i := bytes.IndexByte(t.row[at:], '"')
		switch {
		case i < 0:
			at = len(t.row)
			n, err := t.lineLength(t.taken)
			if errors.Is(err, io.EOF) {
				err = t.fault(t.columnName(len(t.fields)), "a quote is not closed")
			}
			if err != nil {
				return 0, err
			}
			t.take(n)
		case at+i+1 < len(t.row) && t.row[at+i+1] == '"':
			at += i + 2
		default:
			return at + i, nil
		}
	}
}

// unquote makes one quote of two, in place, and returns the length of the text.
func unquote(text []byte) int {
	to := bytes.IndexByte(text, '"')
	if to < 0 {
		return len(text)
	}
	for from := to; from < len(text); from++ {
		text[to] = text[from]
		to++
		if text[from] == '"' {
			from++
		}
	}
	return to
}

// field returns field i of the current row: a view that the next row overwrites.
func (t *table) field(i int) []byte {
	if t.plain {
		f := t.plainField(i)
		return t.row[f.from:f.to:f.to]
	}
	f := t.fields[i]
	return t.row[f.from:f.to:f.to]
}

// columnName names column i for a person.
func (t *table) columnName(i int) string {
	if i < len(t.header) && t.header[i] != "" {
		return t.header[i]
	}
	return fmt.Sprintf("column %d", i+1)
}

// fault is a RowError in the current row.
func (t *table) fault(column, format string, args ...any) error {
	return &RowError{File: t.file, Line: t.at, Column: column, Problem: fmt.Sprintf(format, args...)}
}

// faultIn is a RowError in column i of the current row; problem says what was wanted.
func (t *table) faultIn(i int, problem error) error {
	return t.fault(t.columnName(i), "%v, got %s", problem, excerpt(t.field(i)))
}

// readHeader reads the first row as the names of the columns and finds those that
// are wanted: required ones must be there, optional ones get the index -1 when
// they are not. Other columns are passed over, so that an index column that
// pandas wrote, or a column that a later version added, does no harm.
func (t *table) readHeader(required, optional []string) (columns []int, err error) {
	if err := t.next(); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &RowError{File: t.file, Problem: "the file is empty"}
		}
		return nil, err
	}
	if len(t.fields) > maxColumns {
		return nil, t.fault("", "the header has more than %d columns", maxColumns)
	}
	header := make([]string, len(t.fields))
	for i := range header {
		header[i] = string(bytes.TrimSpace(t.field(i)))
	}
	var missing []string
	for i, name := range slices.Concat(required, optional) {
		at := slices.Index(header, name)
		columns = append(columns, at)
		switch {
		case at < 0 && i < len(required):
			missing = append(missing, name)
		case at >= 0 && slices.Contains(header[at+1:], name):
			return nil, t.fault(name, "the header names this column twice")
		}
	}
	if len(missing) > 0 {
		return nil, t.fault("", "the header has no column %s; it has %s", strings.Join(missing, ", "), excerpt([]byte(strings.Join(header, ","))))
	}
	t.header = header
	return columns, nil
}

// excerpt quotes text for a message, cut to what fits in a line.
func excerpt(text []byte) string {
	const most = 120
	if len(text) > most {
		return fmt.Sprintf("%q…", text[:most])
	}
	return fmt.Sprintf("%q", text)
}

// row is a view of a table's current row that knows how to check it.
type row[R any] interface {
	check() error
	on(t *table) R // the view of another table with the same columns
}

// rows reads src row by row: open reads the header and makes the view that is
// yielded for every row. The first error is yielded last.
func rows[R row[R]](src io.Reader, file string, open func(*table) (R, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		t, err := openTable(src, file)
		if err != nil {
			yield(none, err)
			return
		}
		view, err := open(t)
		if err != nil {
			yield(none, err)
			return
		}
		each(t, view)(yield)
	}
}

// each passes over the rows of t that are left. The first error is yielded last.
func each[R row[R]](t *table, view R) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		for {
			err := t.next()
			if err == nil && !t.plain {
				err = view.check()
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(none, err)
				}
				return
			}
			if !yield(view, nil) {
				return
			}
		}
	}
}

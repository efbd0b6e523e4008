package openimages

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// readTable reads all rows of text.
func readTable(src io.Reader) (rows [][]string, err error) {
	t, err := openTable(src, "f")
	if err != nil {
		return nil, err
	}
	for {
		if err := t.next(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return rows, err
		}
		row := make([]string, len(t.fields))
		for i := range row {
			row[i] = string(t.field(i))
		}
		rows = append(rows, row)
	}
}

func TestTable(t *testing.T) {
	tests := []struct {
		name, text string
		rows       [][]string
		err        string
	}{
		{"plain", "a,b\nc,d\n", [][]string{{"a", "b"}, {"c", "d"}}, ""},
		{"no line end at the end", "a,b\nc,d", [][]string{{"a", "b"}, {"c", "d"}}, ""},
		{"CRLF", "a,b\r\nc,d\r\n", [][]string{{"a", "b"}, {"c", "d"}}, ""},
		{"CR", "a,b\rc,d\r", [][]string{{"a", "b"}, {"c", "d"}}, ""},
		{"CRLF and LF mixed, as V3's class list", "a,b\r\nc,d\ne,f\n", [][]string{{"a", "b"}, {"c", "d"}, {"e", "f"}}, ""},
		{"one CR at the end", "a,b\r", [][]string{{"a", "b"}}, ""},
		{"empty lines", "\n\na,b\n\n\r\nc,d\n\n", [][]string{{"a", "b"}, {"c", "d"}}, ""},
		{"nothing", "", nil, ""},
		{"only line ends", "\r\n\r\n", nil, ""},
		{"empty fields", ",,\n,\n", [][]string{{"", "", ""}, {"", ""}}, ""},
		{"byte order mark", "\ufeffa,b\n", [][]string{{"a", "b"}}, ""},
		{"semicolons", "a;b,c\nd;e\n", [][]string{{"a", "b,c"}, {"d", "e"}}, ""},
		{"tabs", "a\tb\n", [][]string{{"a", "b"}}, ""},
		{"quoted comma in the first line", `"a;b",c` + "\n", [][]string{{"a;b", "c"}}, ""},
		{"quotes", `"a","b,c"` + "\n" + `"d ""e""",""` + "\n", [][]string{{"a", "b,c"}, {`d "e"`, ""}}, ""},
		{"quotes and CRLF", "\"a\",\"b\"\r\n\"c\",d\r\n", [][]string{{"a", "b"}, {"c", "d"}}, ""},
		{"quote in a bare field", "a 5\" pipe,b\n", [][]string{{`a 5" pipe`, "b"}}, ""},
		{"line ends in quotes", "x,y\n\"a\nb\",\"c\n\nd\"\ne,f\n", [][]string{{"x", "y"}, {"a\nb", "c\n\nd"}, {"e", "f"}}, ""},
		{"CRLF in quotes", "x\r\n\"a\r\nb\"\r\n", [][]string{{"x"}, {"a\r\nb"}}, ""},
		{"open quote", "a,b\nc,\"d\ne,f\n", [][]string{{"a", "b"}}, "f:2:column 2: a quote is not closed"},
		{"open quote at the end", "a\n\"", [][]string{{"a"}}, "f:2:column 1: a quote is not closed"},
		{"text behind a quote", "a,b\n\"c\"d,e\n", [][]string{{"a", "b"}}, "f:2:column 1: there is text behind the closing quote"},
		{"workbook", "PK\x03\x04rest", nil, "f: this is a zip file or an Excel workbook, not CSV"},
		{"gzip", "\x1f\x8b\x08", nil, "f: this is a gzip file, not CSV"},
		{"UTF-16", "\xff\xfea\x00", nil, "f: this is UTF-16 text, not CSV"},
		{"web page", "\n<!DOCTYPE html><html>", nil, "f: this is an HTML page, not CSV"},
		{"error of a bucket", "<?xml version='1.0'?><Error>", nil, "f: this is an XML document, not CSV"},
		{"row without end", strings.Repeat("a", maxRow+1), nil, "f:1: the row is longer than 1048576 bytes; is a quote not closed?"},
		{"quote without end", "a,b\nc,\"" + strings.Repeat("d\n", maxRow), [][]string{{"a", "b"}}, "f:2: the row is longer than 1048576 bytes; is a quote not closed?"},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once":     func(r io.Reader) io.Reader { return r },
		"in halves":   iotest.HalfReader,
		"by byte":     iotest.OneByteReader,
		"EOF at once": iotest.DataErrReader,
	}
	for _, test := range tests {
		for how, wrap := range readers {
			rows, err := readTable(wrap(strings.NewReader(test.text)))
			if diff := cmp.Diff(test.rows, rows); diff != "" {
				t.Errorf("%s, %s: %s", test.name, how, diff)
			}
			message := ""
			if err != nil {
				message = err.Error()
			}
			if message != test.err {
				t.Errorf("%s, %s: got error %q, want %q", test.name, how, message, test.err)
			}
		}
	}
}

// TestTableRowsAcrossReads reads rows that end at, before and behind the end of the
// buffer, quoted and not.
func TestTableRowsAcrossReads(t *testing.T) {
	for _, line := range []string{"01234567,abc\n", "\"12\",\"a\nb\"\n", "\"\"\"b\",c\r\n"} {
		for extra := range len(line) {
			text := strings.Repeat("x", extra) + ",y\n" + strings.Repeat(line, firstRead/len(line)+10)
			rows, err := readTable(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			want, err := csv.NewReader(strings.NewReader(text)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(want, rows, slices.Equal) {
				t.Fatalf("%q with %d bytes in front: differs from encoding/csv", line, extra)
			}
		}
	}
}

func TestTableErrorOfTheSource(t *testing.T) {
	broken := errors.New("the disk is gone")
	src := io.MultiReader(strings.NewReader("ImageID,Subset,OriginalURL\na,b,c\n"), iotest.ErrReader(broken))
	var err error
	for _, err = range Images(src, "images.csv") {
		if err != nil {
			break
		}
	}
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "images.csv") {
		t.Errorf("got %v", err)
	}
}

// FuzzTable holds the table against encoding/csv for what both read alike: files with
// commas and line feeds.
func FuzzTable(f *testing.F) {
	for _, seed := range []string{"a,b\nc,d\n", "\"a\"\"\",b\n", "a,\"b\nc\"\n", "a\"b,c\n", "\"a\"b\n", "\"", "a;b\n", ",\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := readTable(bytes.NewReader(text))
		if err != nil || bytes.ContainsAny(text, ";\t\r\ufeff") {
			return
		}
		reader := csv.NewReader(bytes.NewReader(text))
		reader.FieldsPerRecord = -1
		reader.LazyQuotes = true
		want, err := reader.ReadAll()
		if err != nil || !slices.EqualFunc(want, rows, slices.Equal) {
			t.Errorf("%q: got %q, encoding/csv %q, %v", text, rows, want, err)
		}
	})
}

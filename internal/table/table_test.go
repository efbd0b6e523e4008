package table_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/table"
)

var columns = []string{"Name", "Text"}

func clone(row []string) ([]string, error) { return slices.Clone(row), nil }

func write(t *testing.T, rows [][]string) string {
	t.Helper()
	var buf bytes.Buffer
	if err := table.Write(&buf, columns, slices.Values(rows)); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestEqualRowsAreEqualBytes(t *testing.T) {
	rows := [][]string{{"a", "plain"}, {"é", "with, comma"}, {"b", "two\nlines and a \"quote\""}, {"", ""}}
	const want = "Name,Text\na,plain\né,\"with, comma\"\nb,\"two\nlines and a \"\"quote\"\"\"\n,\n"
	if got := write(t, rows); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// folder is a map of files.
type folder map[string]string

func (f folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	text, ok := f[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func read(src io.Reader, file string) iter.Seq2[[]string, error] {
	return table.Read(src, file, columns, clone)
}

func TestAll(t *testing.T) {
	rows := [][]string{{"a", "1"}, {"b", "2"}}
	in := folder{"t.csv": write(t, rows)}
	got, err := table.All(t.Context(), in, "t.csv", read)
	if diff := cmp.Diff(rows, got); err != nil || diff != "" {
		t.Errorf("All: %v (-want +got)\n%s", err, diff)
	}
	if _, err := table.All(t.Context(), in, "u.csv", read); err == nil || !strings.Contains(err.Error(), "open u.csv") {
		t.Errorf("All of a missing table: %v", err)
	}
	for row, err := range table.Rows(t.Context(), in, "t.csv", read) {
		if err != nil || row[0] == "b" {
			t.Errorf("row %q, %v; want the first row only", row, err)
		}
		break
	}
}

// FuzzRead holds that what is read and written again reads the same.
func FuzzRead(f *testing.F) {
	f.Add("Name,Text\na,b\n")
	f.Add("Name,Text\r\n\"a\nb\",\"\"\"\"\r\n")
	f.Add("Name\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := table.All(t.Context(), folder{"t": text}, "t", read)
		if err != nil {
			return
		}
		again, err := table.All(t.Context(), folder{"t": write(t, rows)}, "t", read)
		if diff := cmp.Diff(rows, again); err != nil || diff != "" {
			t.Fatalf("%v (-first +again)\n%s", err, diff)
		}
	})
}

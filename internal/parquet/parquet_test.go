package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sampleColumns = []Column{{"Name", Text}, {"Flag", Int8}, {"Number", Int32}, {"Side", Float}, {"Plain", Int32}}

// sample draws the values of a row group.
func sample(r *rand.Rand, rows, entries int) []Values {
	values := make([]Values, len(sampleColumns))
	values[0].Texts = &Texts{}
	for i := range entries {
		values[0].Texts.Append(fmt.Appendf(nil, "text %d ü", i))
		values[2].Ints = append(values[2].Ints, r.Int32()-1<<30)
	}
	values[1].Ints = []int32{0, 1, -1}
	for range rows {
		values[0].At = append(values[0].At, uint32(r.IntN(entries)))
		values[1].At = append(values[1].At, uint32(r.IntN(3)))
		values[2].At = append(values[2].At, uint32(entries-1)) // all the same
		values[3].Floats = append(values[3].Floats, r.Float32())
		values[4].Ints = append(values[4].Ints, r.Int32())
	}
	return values
}

func encoded(t testing.TB, groups ...[]Values) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, sampleColumns)
	for _, g := range groups {
		if err := w.Group(len(g[3].Floats), func(i int) Values { return g[i] }); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close("a note"); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sameTexts(a, b *Texts) bool {
	return a.Len() == b.Len() && (a == nil || b == nil || bytes.Equal(a.all, b.all) && slices.Equal(a.ends, b.ends))
}

// Dictionaries of each size, so that indexes have each width, and rows that do not fill a byte.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, entries := range []int{1, 2, 3, 4, 5, 17, 128, 129, 1000, 70_000} {
		for _, rows := range []int{1, 7, 8, 9, 1000} {
			want := [][]Values{sample(r, rows, entries), sample(r, rows+3, entries)}
			f, err := Open(encoded(t, want...))
			if err != nil {
				t.Fatal(err)
			}
			if f.Note != "a note" || f.Rows != int64(2*rows+3) || !cmp.Equal(f.Columns, sampleColumns) || len(f.Groups) != 2 {
				t.Fatalf("%d rows, note %q, columns %v", f.Rows, f.Note, f.Columns)
			}
			for i := range f.Groups {
				for c := range sampleColumns {
					got, err := f.Groups[i].Read(c)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want[i][c], got, cmpopts.EquateEmpty(), cmp.Comparer(sameTexts)); diff != "" {
						t.Fatalf("%d entries, %d rows, column %d: %s", entries, rows, c, diff)
					}
				}
			}
		}
	}
	if f, err := Open(encoded(t)); err != nil || f.Rows != 0 {
		t.Errorf("a table without rows: %v", err)
	}
}

// short is a writer with little room.
type short struct{ room int }

var errFull = errors.New("disk full")

func (s *short) Write(p []byte) (int, error) {
	if s.room -= len(p); s.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	values := sample(rand.New(rand.NewPCG(1, 2)), 10, 3)
	for room := 0; room < 900; room += 30 {
		w := NewWriter(&short{room}, sampleColumns)
		err := errors.Join(w.Group(10, func(i int) Values { return values[i] }), w.Close(""))
		if err != nil && !errors.Is(err, errFull) || err == nil && room < 300 {
			t.Errorf("room for %d: %v", room, err)
		}
	}
}

// FuzzOpen reads anything as a file: it is refused, or its columns can be read or are refused.
func FuzzOpen(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	f.Add(encoded(f, sample(r, 20, 3)))
	f.Add(encoded(f, sample(r, 3, 200), sample(r, 1, 1)))
	f.Add(encoded(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Open(data)
		if err != nil {
			return
		}
		for i := range file.Groups {
			for c := range file.Columns {
				v, err := file.Groups[i].Read(c)
				if err != nil {
					continue
				}
				if n := v.entries(); v.At == nil && n != file.Groups[i].Rows || v.At != nil && len(v.At) != file.Groups[i].Rows {
					t.Errorf("column %d has %d values for %d rows", c, n, file.Groups[i].Rows)
				}
			}
		}
	})
}

// A byte that is another one is noticed, or harmless, and always soon.
func TestDamage(t *testing.T) {
	whole := encoded(t, sample(rand.New(rand.NewPCG(1, 2)), 20, 3))
	for i := range whole {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			data := bytes.Clone(whole)
			data[i] ^= flip
			file, err := Open(data)
			if err != nil {
				continue
			}
			for g := range file.Groups {
				for c := range file.Columns {
					_, _ = file.Groups[g].Read(c)
				}
			}
		}
	}
}

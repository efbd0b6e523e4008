package sorted_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/sorted"
)

type pair struct{ Key, Value string }

func read(t *testing.T, r *sorted.Records) (all []pair) {
	t.Helper()
	for record, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pair{string(record.Key), string(record.Value)})
	}
	return all
}

// TestRecords compares with a stable sort in memory: with all records held, with some runs in the
// file, and with one for each record.
func TestRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	keys := []string{"", "\x00", "a", "a\x00", "ab", "same eight", "same eight ", "same eighu", "\xff", string(bytes.Repeat([]byte("long"), 200))}
	for _, memory := range []int{1 << 20, 4000, 300, 0} {
		folder := t.TempDir()
		records := sorted.NewRecords(folder, memory)
		var want []pair
		for i := range 500 {
			p := pair{keys[r.IntN(len(keys))], fmt.Sprint(i)}
			if i%9 == 0 {
				p.Value = ""
			}
			want = append(want, p)
			if err := records.Add([]byte(p.Key), []byte(p.Value)); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortStableFunc(want, func(a, b pair) int { return cmp.Compare(a.Key, b.Key) })
		for range 2 { // it can be read again
			if diff := gocmp.Diff(want, read(t, records)); diff != "" {
				t.Fatalf("%d bytes of memory: %s", memory, diff)
			}
			records.All()(func(sorted.Record, error) bool { return false }) // must not go on
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%d bytes of memory: the folder has %v, %v", memory, left, err)
		}
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRecordsWithoutFolder says why there is no place for what does not fit into memory.
func TestRecordsWithoutFolder(t *testing.T) {
	records := sorted.NewRecords(t.TempDir()+"/none", 0)
	if err := records.Add([]byte("a"), nil); err != nil {
		t.Fatal(err)
	}
	if err := records.Add([]byte("b"), nil); err == nil {
		t.Error("want an error")
	}
	if err := records.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkRecords sorts a million records of the size of a box, of which the memory holds a tenth.
func BenchmarkRecords(b *testing.B) {
	const rows = 1_000_000
	value := make([]byte, 60)
	for b.Loop() {
		records := sorted.NewRecords(b.TempDir(), rows/10*100)
		r := rand.New(rand.NewPCG(1, 2))
		for range rows {
			if err := records.Add(binary.BigEndian.AppendUint64(nil, r.Uint64()), value); err != nil {
				b.Fatal(err)
			}
		}
		n := 0
		for _, err := range records.All() {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != rows {
			b.Fatalf("%d rows", n)
		}
		if err := records.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

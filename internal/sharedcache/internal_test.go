package sharedcache

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/sandwich-build/sandwich/stages/cas"
)

// rows are some blobs in two packs, of which one is used in part.
func rows() []row {
	var all []row
	for i, name := range []byte{1, 2} {
		p := pack{name: [32]byte{name}, size: 10_000, day: uint32(20_000 + i)}
		for n := range 5 {
			d := cas.Sum(bytes.Repeat([]byte{name, byte(n)}, 10+n))
			all = append(all, row{digest: d, pack: p, offset: int64(n * 100 * (i + 1))})
		}
	}
	return all
}

func TestTable(t *testing.T) {
	all := rows()
	got, err := decodeTable(encodeTable(all))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range all {
		i, ok := got.find(want.digest)
		if !ok || got.row(i) != want {
			t.Errorf("row of %s = %+v, %v, want %+v", want.digest, got.row(i), ok, want)
		}
	}
	if _, ok := got.find(cas.Sum([]byte("absent"))); ok {
		t.Error("a blob was found that is not in the table")
	}
	sum := all[0].digest
	if other, err := cas.NewDigest(sum.Hex(), sum.Size()+1); err != nil {
		t.Error(err)
	} else if _, ok := got.find(other); ok {
		t.Error("a blob of another size was found")
	}
	i, _ := got.find(all[1].digest)
	if run := got.run(i, 250); len(run) != 3 || run[0] != all[1] || run[2] != all[3] {
		t.Errorf("run = %+v", run)
	}
	if run := got.run(i, 1<<40); len(run) != 4 {
		t.Errorf("a run goes on behind its pack: %+v", run)
	}
	if run := got.run(i, 1); len(run) != 1 {
		t.Errorf("run = %+v, want the one that was asked for", run)
	}
}

// What a table says lies in its packs, whatever its bytes are.
func FuzzTable(f *testing.F) {
	sound := encodeTable(rows())
	f.Add(sound)
	f.Add(encodeTable(nil))
	f.Add(sound[:len(sound)-1])
	f.Add(binary.LittleEndian.AppendUint32(append([]byte(tableMagic), 255, 255, 255, 255), 1<<31))
	huge := append([]byte(nil), sound...)
	copy(huge[len(huge)-8:], bytes.Repeat([]byte{255}, 8))
	f.Add(huge)
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := decodeTable(data)
		if err != nil {
			return
		}
		all := make([]row, 0, len(table.bySum))
		for i := range table.bySum {
			r := table.row(i)
			if r.offset < 0 || r.digest.Size() < 0 || r.offset+r.digest.Size() > r.pack.size {
				t.Errorf("row %d does not lie in its pack: %+v", i, r)
			}
			// Of two rows with one sum and two sizes, only one is found.
			if n, ok := table.find(r.digest); ok && table.row(n).digest != r.digest {
				t.Errorf("row %d is taken for another blob", i)
			}
			if run := table.run(i, 1000); run[0] != r {
				t.Errorf("run of row %d = %+v", i, run)
			}
			all = append(all, r)
		}
		_ = encodeTable(all)
	})
}

// An entry that is read is that of the action, and its root is that of its tree.
func FuzzEntry(f *testing.F) {
	action := cas.Sum([]byte("action"))
	root := []byte("not a directory")
	e, err := newEntry(action, cas.Result{Tree: cas.NewTreeID(cas.Sum(root)), Counters: map[string]int64{"crops": 3}}, root, cas.Sum([]byte("table")))
	if err != nil {
		f.Fatal(err)
	}
	text, err := e.encode()
	if err != nil {
		f.Fatal(err)
	}
	if got, err := decodeEntry(text, action); err != nil || got.result.Tree != e.result.Tree || got.Table != e.Table || got.result.Counters["crops"] != 3 {
		f.Errorf("decodeEntry = %+v, %v", got, err)
	}
	if _, err := decodeEntry(text, cas.Sum([]byte("another"))); err == nil {
		f.Error("an entry answers for another action")
	}
	_, body, _ := bytes.Cut(text, []byte("\n"))
	for _, seed := range [][]byte{body, {}, []byte("{}"), []byte("null"), []byte(`{"action":"/"}`), bytes.ReplaceAll(body, []byte("action"), []byte("table"))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := decodeEntry(sealed(body), action)
		if err != nil {
			return
		}
		if e.Action.Digest != action || e.Root != nil && cas.Sum(e.Root) != e.result.Tree.Digest() {
			t.Errorf("%+v", e)
		}
	})
}

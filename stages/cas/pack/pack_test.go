package pack_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
)

// fill makes a pack of n blobs and returns its name and what is in it.
func fill(t *testing.T, n int) (base string, blobs map[cas.Digest]string) {
	t.Helper()
	base, blobs = filepath.Join(t.TempDir(), "000001"), map[cas.Digest]string{}
	w, err := pack.Append(base, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		data := strings.Repeat(fmt.Sprint(i), i%9)
		d := cas.Sum([]byte(data))
		blobs[d] = data
		if err := w.Append(d, append(make([]byte, pack.HeaderSize), data...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return base, blobs
}

func openPack(t *testing.T, base string) *pack.Pack {
	t.Helper()
	p, err := pack.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestPackWithoutIndex finds the blobs by their index, then without one, and then by the
// index that was made again.
func TestPackWithoutIndex(t *testing.T) {
	base, blobs := fill(t, 2000)
	check := func(p *pack.Pack, want bool) {
		t.Helper()
		for d, data := range blobs {
			at, ok, err := p.Find(d)
			if err != nil || ok != want {
				t.Fatalf("Find = %v, %v", ok, err)
			}
			if !ok {
				continue
			}
			if got, whole, err := p.Read(at); err != nil || !whole || string(got) != data {
				t.Fatalf("read %q, %v, %v", got, whole, err)
			}
		}
	}
	check(openPack(t, base), true)
	if err := os.Remove(base + ".index"); err != nil {
		t.Fatal(err)
	}
	p := openPack(t, base)
	check(p, false)
	if n, err := p.Reindex(func() error { return nil }); err != nil || n != len(blobs) {
		t.Errorf("Reindex = %d, %v; want %d", n, err, len(blobs))
	}
	check(p, true)
	enough := errors.New("enough")
	if n, err := p.Reindex(func() error { return enough }); !errors.Is(err, enough) || n != 0 {
		t.Errorf("Reindex = %d, %v", n, err)
	}
}

// TestAppendRecord makes a pack in memory, which is the one that a writer makes.
func TestAppendRecord(t *testing.T) {
	var travels []byte
	base := filepath.Join(t.TempDir(), "000001")
	w, err := pack.Append(base, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"ham", "", "cheese and cucumber"} {
		d := cas.Sum([]byte(data))
		travels = pack.AppendRecord(travels, d, []byte(data))
		if err := w.Append(d, append(make([]byte, pack.HeaderSize), data...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(base + ".pack")
	if err != nil || !bytes.Equal(written, travels) {
		t.Errorf("%d bytes in memory, %d on disk, %v", len(travels), len(written), err)
	}
	n := 0
	for at, err := range pack.Scan(bytes.NewReader(travels), int64(len(travels))) {
		if err != nil {
			t.Fatal(err)
		}
		if data, whole, err := pack.ReadBlob(bytes.NewReader(travels), at); err != nil || !whole || cas.Sum(data) != at.Digest {
			t.Errorf("read %q, %v, %v", data, whole, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d records", n)
	}
}

// TestOneAppends lets one writer at a time append, up to the limit.
func TestOneAppends(t *testing.T) {
	base := filepath.Join(t.TempDir(), "000001")
	w, err := pack.Append(base, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pack.Append(base, 100); !errors.Is(err, pack.ErrLocked) {
		t.Errorf("second Append = %v", err)
	}
	if _, err := openPackAfter(t, w, base).Reindex(func() error { return nil }); !errors.Is(err, pack.ErrLocked) {
		t.Errorf("Reindex = %v", err)
	}
	if err := w.Append(cas.Sum([]byte("b")), append(make([]byte, pack.HeaderSize), 'b')); err != nil || !w.Full() {
		t.Errorf("Append = %v, full %t", err, w.Full())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(cas.Sum([]byte("c")), append(make([]byte, pack.HeaderSize), 'c')); !errors.Is(err, pack.ErrClosed) {
		t.Errorf("Append after Close = %v", err)
	}
	if _, err := pack.Append(base, 100); !errors.Is(err, pack.ErrFull) {
		t.Errorf("Append to a full one = %v", err)
	}
	if err := pack.Remove(base); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(base + "*"); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// openPackAfter opens a pack once it has its first blob.
func openPackAfter(t *testing.T, w *pack.Writer, base string) *pack.Pack {
	t.Helper()
	if err := w.Append(cas.Sum([]byte("a")), append(make([]byte, pack.HeaderSize), 'a')); err != nil {
		t.Fatal(err)
	}
	return openPack(t, base)
}

// FuzzScan reads packs of any bytes. What is said to be whole is the blob.
func FuzzScan(f *testing.F) {
	var good []byte
	for _, data := range []string{"", "ham", strings.Repeat("egg", 10)} {
		good = pack.AppendRecord(good, cas.Sum([]byte(data)), []byte(data))
	}
	f.Add(good)
	f.Add(good[8:])
	f.Fuzz(func(t *testing.T, data []byte) {
		end := int64(0)
		for at, err := range pack.Scan(bytes.NewReader(data), int64(len(data))) {
			if err != nil {
				t.Fatal(err)
			}
			if at.Offset < end {
				t.Errorf("record at %d begins before the end of the last, %d", at.Offset, end)
			}
			end = at.Offset + at.Digest.Size()
			if got, whole, err := pack.ReadBlob(bytes.NewReader(data), at); err != nil || whole && cas.Sum(got) != at.Digest {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		}
	})
}

package nearby_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandwich-build/sandwich/internal/nearby"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

func entry(t *testing.T, key, data string) quilt.Entry {
	t.Helper()
	hasher, err := quilt.NewHasher(quilt.SHA256Chunked, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hasher.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	return quilt.NewEntry(key, "s3://bucket/"+key, int64(len(data)), hasher.Hash(), quilt.Value{})
}

func pack(t *testing.T, entries ...quilt.Entry) *quilt.Package {
	t.Helper()
	p, err := quilt.New(quilt.NewHeader(quilt.Value{}, quilt.Value{}, ""), entries)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// found reads what a finder has for some bytes; "" for nothing.
func found(t *testing.T, f *nearby.Finder, data string) string {
	t.Helper()
	r, err := f.Open(t.Context(), entry(t, "x", data))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestFindsBlobsOfTheCache(t *testing.T) {
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	contents := []string{"small", strings.Repeat("medium", 1<<18), strings.Repeat("large", 2<<20)} // packed, a chunk, two chunks
	for _, data := range contents {
		if _, err := store.Put(t.Context(), strings.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	f := &nearby.Finder{Cache: store, Records: t.TempDir(), Name: "a/b"}
	for _, data := range contents {
		if found(t, f, data) != data {
			t.Errorf("the %d bytes of %.6s… are not found", len(data), data)
		}
	}
	if got := found(t, f, "other"); got != "" {
		t.Errorf("found %q for bytes that nothing has", got)
	}
	old := quilt.NewEntry("old", "s3://b/old", 5, quilt.Hash{Type: quilt.SHA256, Value: fmt.Sprintf("%x", sha256.Sum256([]byte("small")))}, quilt.Value{})
	if r, err := f.Open(t.Context(), old); err != nil {
		t.Errorf("by the hash of an old package: %v", err)
	} else if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestFindsFilesOfInstalledFolders(t *testing.T) {
	dest, outside, records := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "installed")
	files := map[string]string{"here": "one", "deep/er": "two", "gone": "three", "link": "four"}
	var entries []quilt.Entry
	for key, data := range files {
		entries = append(entries, entry(t, key, data))
	}
	for _, key := range []string{"here", "deep/er"} {
		path := filepath.Join(dest, filepath.FromSlash(key))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(files[key]), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(outside, "secret"), []byte("four"), 0o600), os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dest, "link"))); err != nil {
		t.Fatal(err)
	}
	if err := (&nearby.Finder{Records: records, Name: "a/b"}).Remember(dest, pack(t, entries...)); err != nil {
		t.Fatal(err)
	}
	f := &nearby.Finder{Records: records, Name: "a/b"}
	for key, want := range map[string]string{"here": "one", "deep/er": "two", "gone": "", "link": ""} {
		if got := found(t, f, files[key]); got != want {
			t.Errorf("%s: found %q, want %q", key, got, want)
		}
	}
	if got := found(t, &nearby.Finder{Records: records, Name: "a/c"}, "one"); got != "" {
		t.Errorf("another package found %q", got)
	}
}

// Of one package a few records are kept, the newest, and one for each folder. A record that
// is damaged costs nothing but itself.
func TestRecordsAreBounded(t *testing.T) {
	records := t.TempDir()
	for i := range 12 {
		dest := t.TempDir()
		data := fmt.Sprint("file of install ", i)
		if err := os.WriteFile(filepath.Join(dest, "f"), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		f := &nearby.Finder{Records: records, Name: "a/b"}
		for range 2 {
			if err := f.Remember(dest, pack(t, entry(t, "f", data))); err != nil {
				t.Fatal(err)
			}
		}
		all, err := os.ReadDir(records)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all { // as if they were a minute apart
			info, err := e.Info()
			if err == nil {
				err = os.Chtimes(filepath.Join(records, e.Name()), time.Time{}, info.ModTime().Add(-time.Minute))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := filepath.Glob(filepath.Join(records, "*"))
	if err != nil || len(all) != 4 {
		t.Fatalf("%d records are kept, want 4: %v", len(all), err)
	}
	for i, name := range all[:3] {
		if err := os.WriteFile(name, [][]byte{nil, []byte("{}"), []byte("{\"dest\":\"/x\"}\n{\"version\":")}[i], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := &nearby.Finder{Records: records, Name: "a/b"}
	n := 0
	for i := range 12 {
		if found(t, f, fmt.Sprint("file of install ", i)) != "" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("of one whole record and three damaged ones %d files are found", n)
	}
}

func FuzzRecord(f *testing.F) {
	var file bytes.Buffer
	p := &quilt.Package{Header: quilt.NewHeader(quilt.Value{}, quilt.Value{}, "")}
	if err := p.Encode(&file); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("{\"dest\":\"/x\"}\n" + file.String()))
	f.Add([]byte("{}\n{}\n{\"logical_key\":\"../a\",\"physical_keys\":[\"file:///a\"],\"size\":1,\"hash\":{\"type\":\"SHA256\",\"value\":\"\"},\"meta\":{}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records := t.TempDir()
		if err := os.WriteFile(filepath.Join(records, "a@b@1"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		finder := &nearby.Finder{Records: records, Name: "a/b"}
		if r, err := finder.Open(context.Background(), entry(t, "k", "x")); err == nil {
			_ = r.Close()
		}
	})
}

// Package wheeltest makes wheels, and an index that has them, for tests.
package wheeltest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"html"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

// Test is what a test or a script of tests has.
type Test interface {
	Fatalf(format string, args ...any)
}

// Wheel is what a wheel is made of.
type Wheel struct {
	Name, Version string
	Tags          string            // "py3-none-any" when empty
	Requires      []string          // as in Requires-Dist
	Files         map[string]string // by their paths in the archive, besides the metadata
	EntryPoints   string            // the text of entry_points.txt; empty for none
}

// File is the name of the wheel's file.
func (w Wheel) File() string {
	tags := w.Tags
	if tags == "" {
		tags = "py3-none-any"
	}
	return w.Name + "-" + w.Version + "-" + tags + ".whl"
}

// Bytes are the archive; equal wheels have equal bytes.
func (w Wheel) Bytes(t Test) []byte {
	info := w.Name + "-" + w.Version + ".dist-info/"
	metadata := fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", w.Name, w.Version)
	for _, r := range w.Requires {
		metadata += "Requires-Dist: " + r + "\n"
	}
	files := map[string]string{
		info + "METADATA": metadata,
		info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: wheeltest\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "RECORD":   "",
	}
	if w.EntryPoints != "" {
		files[info+"entry_points.txt"] = w.EntryPoints
	}
	maps.Copy(files, w.Files)
	return Archive(t, files)
}

// Archive makes a zip file.
func Archive(t Test, files map[string]string) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := z.Create(name)
		if err != nil {
			t.Fatalf("make a wheel: %v", err)
		}
		if _, err := f.Write([]byte(files[name])); err != nil {
			t.Fatalf("make a wheel: %v", err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatalf("make a wheel: %v", err)
	}
	return out.Bytes()
}

// Index is a package index in the simple form that pip reads.
type Index struct {
	mu     sync.Mutex        // guards what follows
	files  map[string][]byte // by their names
	closed bool
}

// Put puts a wheel into the index.
func (i *Index) Put(t Test, w Wheel) {
	data := w.Bytes(t)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.files == nil {
		i.files = make(map[string][]byte)
	}
	i.files[w.File()] = data
}

// Close lets the index refuse everything, or not any more.
func (i *Index) Close(closed bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = closed
}

// ServeHTTP has the page of a distribution at /simple/<name>/, and a file at /files/<file>.
func (i *Index) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		http.Error(w, "closed", http.StatusForbidden)
		return
	}
	if file, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok {
		data, known := i.files[file]
		if !known {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data) // who has gone needs none
		return
	}
	name := path.Base(strings.TrimSuffix(r.URL.Path, "/"))
	var page strings.Builder
	for _, file := range slices.Sorted(maps.Keys(i.files)) {
		distribution, _, _ := strings.Cut(file, "-")
		if strings.ReplaceAll(strings.ToLower(distribution), "_", "-") == name {
			fmt.Fprintf(&page, "<a href=\"/files/%s#sha256=%x\">%s</a>\n", html.EscapeString(file), sha256.Sum256(i.files[file]), html.EscapeString(file))
		}
	}
	if page.Len() == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!DOCTYPE html><html><body>\n" + page.String() + "</body></html>\n")) // as above
}

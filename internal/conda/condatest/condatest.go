// Package condatest makes packages of conda, and a channel that has them, for tests.
package condatest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/md5" //nolint:gosec // channels tell it too
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Test is what a test or a script of tests has.
type Test interface {
	Fatalf(format string, args ...any)
}

// File is a file of a package.
type File struct {
	Text        string
	Executable  bool
	Link        string // what a link points at; empty for a file
	Placeholder string // in Text
	Binary      bool   // how it is replaced there
}

// Package is what a package is made of.
type Package struct {
	Name, Version string
	Build         string // "0" when empty
	Subdir        string // "linux-64", or "noarch" when empty
	Python        bool   // a noarch package of Python's
	Depends       []string
	Files         map[string]File
	EntryPoints   []string // as in "tool = module:function"
}

func (p Package) build() string {
	if p.Build == "" {
		return "0"
	}
	return p.Build
}

func (p Package) subdir() string {
	if p.Subdir == "" {
		return "noarch"
	}
	return p.Subdir
}

// File is the name of the package's file.
func (p Package) File() string { return p.stem() + ".conda" }

func (p Package) stem() string { return p.Name + "-" + p.Version + "-" + p.build() }

// record is the package in index.json, and in its channel.
func (p Package) record() map[string]any {
	r := map[string]any{
		"name": p.Name, "version": p.Version, "build": p.build(), "build_number": 0, "subdir": p.subdir(),
		"depends": append([]string{}, p.Depends...), "license": "MIT", "timestamp": 1700000000000,
	}
	if p.Python {
		r["noarch"] = "python"
	} else if p.subdir() == "noarch" {
		r["noarch"] = "generic"
	}
	return r
}

// Bytes are the package; equal packages have equal bytes.
func (p Package) Bytes(t Test) []byte {
	type listed struct {
		Path        string `json:"_path"`
		Type        string `json:"path_type"`
		Placeholder string `json:"prefix_placeholder,omitempty"`
		Mode        string `json:"file_mode,omitempty"`
	}
	list := []listed{}
	for _, name := range slices.Sorted(maps.Keys(p.Files)) {
		f := p.Files[name]
		l := listed{Path: name, Type: "hardlink", Placeholder: f.Placeholder}
		switch {
		case f.Link != "":
			l.Type = "softlink"
		case f.Binary:
			l.Mode = "binary"
		case f.Placeholder != "":
			l.Mode = "text"
		}
		list = append(list, l)
	}
	info := map[string]File{
		"info/index.json": {Text: encode(t, p.record())},
		"info/paths.json": {Text: encode(t, map[string]any{"paths_version": 1, "paths": list})},
	}
	if p.Python {
		info["info/link.json"] = File{Text: encode(t, map[string]any{
			"package_metadata_version": 1, "noarch": map[string]any{"type": "python", "entry_points": p.EntryPoints},
		})}
	}
	return Archive(t, p.stem(), Tar(t, info), Tar(t, p.Files))
}

func encode(t Test, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("make a package: %v", err)
	}
	return string(text)
}

// Archive makes a package of the two archives that are in it.
func Archive(t Test, stem string, info, pkg []byte) []byte {
	return frames(t, stem, compress(t, info), compress(t, pkg))
}

// Frame makes a package whose archives are compressed already.
func Frame(t Test, stem string, both []byte) []byte { return frames(t, stem, both, both) }

func frames(t Test, stem string, info, pkg []byte) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, member := range []struct {
		name string
		data []byte
	}{
		{"metadata.json", []byte(`{"conda_pkg_format_version": 2}`)}, {"pkg-" + stem + ".tar.zst", pkg}, {"info-" + stem + ".tar.zst", info},
	} {
		f, err := z.CreateHeader(&zip.FileHeader{Name: member.name, Method: zip.Store})
		if err != nil {
			t.Fatalf("make a package: %v", err)
		}
		if _, err := f.Write(member.data); err != nil {
			t.Fatalf("make a package: %v", err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatalf("make a package: %v", err)
	}
	return out.Bytes()
}

func compress(t Test, data []byte) []byte {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatalf("make a package: %v", err)
	}
	return e.EncodeAll(data, nil)
}

// Tar makes an archive of files.
func Tar(t Test, files map[string]File) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.Text))}
		if f.Executable {
			h.Mode = 0o755
		}
		if f.Link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, f.Link, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("make a package: %v", err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := w.Write([]byte(f.Text)); err != nil {
			t.Fatalf("make a package: %v", err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("make a package: %v", err)
	}
	return out.Bytes()
}

// Channel has packages, as a channel of conda does.
type Channel struct {
	mu     sync.Mutex // guards what follows
	files  map[string][]byte
	lists  map[string]*list // by subdir
	closed bool
}

// list is repodata.json.
type list struct {
	Info    map[string]string         `json:"info"`
	Old     map[string]map[string]any `json:"packages"`
	New     map[string]map[string]any `json:"packages.conda"`
	Version int                       `json:"repodata_version"`
	Removed []string                  `json:"removed"`
}

// Put puts a package into the channel.
func (c *Channel) Put(t Test, p Package) { c.add(p.subdir(), p.File(), p.record(), p.Bytes(t)) }

// PutFile puts a package that was made elsewhere into the channel. record is its index.json.
func (c *Channel) PutFile(t Test, subdir, file string, record string, data []byte) {
	var r map[string]any
	if err := json.Unmarshal([]byte(record), &r); err != nil {
		t.Fatalf("put %s: %v", file, err)
	}
	c.add(subdir, file, r, data)
}

func (c *Channel) add(subdir, file string, record map[string]any, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files, c.lists = make(map[string][]byte), make(map[string]*list)
		for _, name := range []string{"noarch", "linux-64", "linux-aarch64"} {
			c.lists[name] = &list{
				Info: map[string]string{"subdir": name}, Old: map[string]map[string]any{}, New: map[string]map[string]any{}, Version: 1, Removed: []string{},
			}
		}
	}
	c.files[path.Join(subdir, file)] = data
	sum, old := sha256.Sum256(data), md5.Sum(data) //nolint:gosec // as above
	record["sha256"], record["md5"], record["size"] = hex.EncodeToString(sum[:]), hex.EncodeToString(old[:]), len(data)
	l := c.lists[subdir]
	if strings.HasSuffix(file, ".conda") {
		l.New[file] = record
	} else {
		l.Old[file] = record
	}
}

// Close lets the channel refuse everything, or not any more.
func (c *Channel) Close(closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = closed
}

// ServeHTTP has /<subdir>/repodata.json and /<subdir>/<file>.
func (c *Channel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		http.Error(w, "closed", http.StatusForbidden)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	subdir, file := path.Split(name)
	data, ok := c.files[name]
	if l := c.lists[strings.TrimSuffix(subdir, "/")]; file == "repodata.json" && l != nil {
		text, err := json.Marshal(l)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		data, ok = text, true
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(text))))
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data) // who has gone needs none
}

package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandwich-build/sandwich/internal/conda/archive"
	"github.com/sandwich-build/sandwich/internal/conda/condatest"
)

// text keeps contents as they come to in an environment.
func text(r io.Reader, p archive.Placeholder) (string, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	data, err = p.Replace(data, "/e")
	return string(data), err
}

func read(file string, data []byte) (*archive.Package[string], error) {
	return archive.Read(file, bytes.NewReader(data), int64(len(data)), archive.Bounds{Bytes: 1 << 20, Entries: 100}, text)
}

// TestReal reads packages that conda-package-handling 2.6.0 has made: in both forms, with both forms of
// metadata, and with a hard link in one.
func TestReal(t *testing.T) {
	const placeholder = "/home/builder/env_placehold_placehold_placehold_placehold"
	for _, file := range []string{"salt-1.0-0.conda", "salt-1.0-0.tar.bz2"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		p, err := read(file, data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		pad := strings.Repeat("\x00", 2*(len(placeholder)-len("/e")))
		want := []archive.File[string]{
			{Path: "bin/salt", Content: "#!/bin/sh\necho salt in /e\n", Executable: true},
			{Path: "lib/libsalt.so", Link: "libsalt.so.1", Executable: true},
			{Path: "lib/libsalt.so.1", Content: "lib"},
			{Path: "lib/libsalt.so.1.0", Content: "lib"},
			{Path: "share/salt/salt.bin", Content: "\x7fBIN\x00/e/share/salt:/e/lib\x00" + pad + "end\x00"},
		}
		if !slices.Equal(p.Files, want) || p.Name != (archive.Name{Name: "salt", Version: "1.0", Build: "0"}) || p.Noarch != "" {
			t.Errorf("%s: got %+v", file, p)
		}
	}
}

// TestPython says where the files of Python's packages belong, and what their programs are.
func TestPython(t *testing.T) {
	bread := condatest.Package{
		Name: "bread", Version: "1.0", Python: true, EntryPoints: []string{"bread = bread.cli:App.main"},
		Files: map[string]condatest.File{"site-packages/bread/cli.py": {}, "python-scripts/slice": {}, "etc/bread": {}},
	}
	p, err := read(bread.File(), bread.Bytes(t))
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, f := range p.Files {
		places = append(places, p.Place(f, "lib/python3.12/site-packages"))
	}
	if want := []string{"etc/bread", "bin/slice", "lib/python3.12/site-packages/bread/cli.py"}; !slices.Equal(places, want) {
		t.Errorf("got %q, want %q", places, want)
	}
	if len(p.EntryPoints) != 1 {
		t.Fatalf("got %v", p.EntryPoints)
	}
	const want = "#!/e/bin/python\nimport sys\n\nfrom bread.cli import App\n\nif __name__ == \"__main__\":\n    sys.exit(App.main())\n"
	if got := string(p.EntryPoints[0].Script("/e")); got != want {
		t.Errorf("got %q", got)
	}
	python := condatest.Package{Name: "python", Version: "3.12.1", Subdir: "linux-64"}
	if p, err := read(python.File(), python.Bytes(t)); err != nil || p.Site != "lib/python3.12/site-packages" {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestReplace(t *testing.T) {
	for _, c := range []struct {
		in, want string
		binary   bool
	}{
		{"#!/long/prefix/bin/x /long/prefix", "#!/e/bin/x /e", false},
		{"a\x00/long/prefix/lib\x00b", "a\x00/e/lib" + strings.Repeat("\x00", 11) + "b", true},
		{"/long/prefix:/long/prefix\x00/long/prefix", "/e:/e" + strings.Repeat("\x00", 21) + "/e" + strings.Repeat("\x00", 10), true},
		{"nothing", "nothing", true},
	} {
		got, err := archive.Placeholder{Text: "/long/prefix", Binary: c.binary}.Replace([]byte(c.in), "/e")
		if err != nil || string(got) != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	if _, err := (archive.Placeholder{Text: "/p", Binary: true}).Replace([]byte("/p\x00"), "/longer"); err == nil {
		t.Error("there was room for what is longer")
	}
}

// packed is a package with other archives in it.
func packed(t *testing.T, info map[string]string, pkg []byte) []byte {
	files := make(map[string]condatest.File)
	for name, text := range info {
		files["info/"+name] = condatest.File{Text: text}
	}
	return condatest.Archive(t, "x-1-0", condatest.Tar(t, files), pkg)
}

const index = `{"name": "x", "version": "1", "build": "0"}`

// headers makes an archive of whatever an attacker may write.
func headers(t *testing.T, all ...tar.Header) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range all {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestHostile refuses what no package should have.
func TestHostile(t *testing.T) {
	only := map[string]string{"index.json": index}
	link := func(name, to string) []byte {
		return packed(t, only, headers(t, tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}))
	}
	file := func(name string, size int64) []byte {
		return packed(t, only, headers(t, tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size}))
	}
	paths := func(text string) []byte {
		return packed(t, map[string]string{"index.json": index, "paths.json": text}, headers(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}))
	}
	var many []tar.Header
	for i := range 200 {
		many = append(many, tar.Header{Name: strings.Repeat("a", i+1), Typeflag: tar.TypeReg})
	}
	whole := file("a", 1)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"climbs":            {file("../a", 1), `"../a": no path within a package`},
		"climbs inside":     {file("a/../../b", 1), "no path within a package"},
		"absolute":          {file("/a", 1), `"/a": no path within a package`},
		"backslash":         {file(`a\b`, 1), "no path within a package"},
		"long name":         {file(strings.Repeat("a", 300), 1), "the name is longer"},
		"absolute link":     {link("a", "/etc/passwd"), "and not to a file of the environment"},
		"link out":          {link("bin/a", "../../x"), "outside of the environment"},
		"link to above":     {link("a", ".."), "outside of the environment"},
		"hard link out":     {packed(t, only, headers(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"})), "is not among the files before it"},
		"device":            {packed(t, only, headers(t, tar.Header{Name: "a", Typeflag: tar.TypeChar})), "neither a file nor a link"},
		"twice":             {packed(t, only, headers(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "./a", Typeflag: tar.TypeReg})), "twice"},
		"bomb":              {file("a", 2<<20), "more bytes than it may"},
		"bomb of metadata":  {packed(t, map[string]string{"index.json": strings.Repeat(" ", 2<<20)}, headers(t)), "more bytes than it may"},
		"many":              {packed(t, only, headers(t, many...)), "more files than it may"},
		"cut off":           {whole[:len(whole)/2], "not a package"},
		"no zip":            {[]byte("hello"), "not a package"},
		"no index":          {packed(t, nil, headers(t)), "it has no info/index.json"},
		"another":           {packed(t, map[string]string{"index.json": `{"name": "y", "version": "1", "build": "0"}`}, headers(t)), "its file is not called so"},
		"index is no JSON":  {packed(t, map[string]string{"index.json": "{"}, headers(t)), `"info/index.json": `},
		"lists what is not": {paths(`{"paths_version": 1, "paths": [{"_path": "b"}]}`), "does not have it"},
		"lists twice":       {paths(`{"paths_version": 1, "paths": [{"_path": "a"}, {"_path": "a"}]}`), "lists it twice"},
		"lists info":        {paths(`{"paths_version": 1, "paths": [{"_path": "info/index.json"}]}`), "does not have it"},
		"mode":              {paths(`{"paths_version": 1, "paths": [{"_path": "a", "prefix_placeholder": "/p", "file_mode": "x"}]}`), "want text or binary"},
		"version":           {paths(`{"paths_version": 9}`), "want version 1, got 9"},
		"tar lies":          {condatest.Archive(t, "x-1-0", condatest.Tar(t, nil), headers(t, tar.Header{Name: "a", Size: 5, Typeflag: tar.TypeReg})[:514]), `"a": unexpected EOF`},
		"entry point": {packed(t, map[string]string{
			"index.json": `{"name": "x", "version": "1", "build": "0", "noarch": "python"}`, "link.json": `{"noarch": {"entry_points": ["../x = a:b"]}}`,
		}, headers(t)), "want a program as in"},
		"site": {condatest.Archive(t, "python-1-0", condatest.Tar(t, map[string]condatest.File{
			"info/index.json": {Text: `{"name": "python", "version": "1", "build": "0", "python_site_packages_path": "../x"}`},
		}), headers(t)), "no path within a package"},
		"old prefix": {packed(t, map[string]string{"index.json": index, "has_prefix": "a b\n"}, headers(t)), "want a placeholder, text or binary, and a path"},
	} {
		file := "x-1-0.conda"
		if name == "site" {
			file = "python-1-0.conda"
		}
		_, err := read(file, c.data)
		if _, ok := errors.AsType[*archive.Error](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if _, err := read("../x.conda", nil); err == nil {
		t.Error("any name will do")
	}
	mine := errors.New("the disk is full")
	_, err := archive.Read("x-1-0.conda", bytes.NewReader(whole), int64(len(whole)), archive.Usual, func(io.Reader, archive.Placeholder) (int, error) { return 0, mine })
	if _, blamed := errors.AsType[*archive.Error](err); blamed || !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
}

// FuzzRead has no file of any package lead out of the environment.
func FuzzRead(f *testing.F) {
	for _, file := range []string{"salt-1.0-0.conda", "salt-1.0-0.tar.bz2"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file, data)
	}
	bread := condatest.Package{Name: "bread", Version: "1.0", Python: true, EntryPoints: []string{"b = b:c"}, Files: map[string]condatest.File{"site-packages/b.py": {Text: "x"}}}
	f.Add(bread.File(), bread.Bytes(f))
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		p, err := read(file, data)
		archive.Check(t, p, err)
	})
}

// FuzzReplace keeps the size of binaries, and what is not near a placeholder.
func FuzzReplace(f *testing.F) {
	f.Add([]byte("a\x00/place/bin\x00b/place"))
	f.Add([]byte("/place/place:/place"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := archive.Placeholder{Text: "/place", Binary: true}.Replace(data, "/p")
		if err != nil || len(out) != len(data) || bytes.Contains(out, []byte("/place")) && !bytes.Contains(data, []byte("/place")) {
			t.Errorf("%q became %q, %v", data, out, err)
		}
	})
}

// TestWindow refuses a frame that asks for more memory than it may.
func TestWindow(t *testing.T) {
	const frame = "\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00" // of a window of 256 MiB, with an empty block
	data := condatest.Frame(t, "x-1-0", []byte(frame))
	if _, err := read("x-1-0.conda", data); err == nil || !strings.Contains(err.Error(), "window") {
		t.Errorf("got %v", err)
	}
}

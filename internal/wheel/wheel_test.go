package wheel_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/wheel"
	"github.com/sandwich-build/sandwich/internal/wheel/wheeltest"
)

var few = wheel.Bounds{Bytes: 1 << 20, Entries: 100}

func open(data []byte, b wheel.Bounds) (*wheel.Wheel, error) {
	return wheel.Open("a_b-1.0-py3-none-any.whl", bytes.NewReader(data), int64(len(data)), b)
}

// show lists the files with their places, but for those of the metadata.
func show(t *testing.T, w *wheel.Wheel) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, f := range w.Files {
		if strings.Contains(f.Path, ".dist-info/") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("%d:%s", f.Place, f.Path)] = string(text)
	}
	return all
}

// TestOpen puts each file where pip does.
func TestOpen(t *testing.T) {
	w, err := open(wheeltest.Wheel{
		Name: "a_b", Version: "1.0", Files: map[string]string{
			"a_b/__init__.py":                "x = 1\n",
			"a_b/":                           "",
			"a_b-1.0.data/platlib/a_b/c.so":  "binary",
			"a_b-1.0.data/purelib/more.py":   "y",
			"a_b-1.0.data/scripts/tool":      "#!python -x\nprint()\n",
			"a_b-1.0.data/scripts/shell":     "#!/bin/sh\necho\n",
			"a_b-1.0.data/scripts/both":      "the file",
			"a_b-1.0.data/scripts/short":     "#!",
			"a_b-1.0.data/headers/a_b.h":     "int x;",
			"a_b-1.0.data/data/share/a/b":    "d",
			"a_b-1.0.dist-info/RECORD.jws":   "signed",
			"a_b-1.0.data/data/share/python": "no program",
		},
		EntryPoints: "# scripts\n[console_scripts]\nboth = a_b:main\nrun-it = a_b.cli : App.run [extra]\n\n[other]\nno script = x\n; end\n",
	}.Bytes(t), few)
	if err != nil {
		t.Fatal(err)
	}
	const made = "#!/usr/bin/env python3\nimport sys\n\nfrom %s import %s\n\nif __name__ == \"__main__\":\n    sys.exit(%s())\n"
	want := map[string]string{
		"0:a_b/__init__.py": "x = 1\n", "0:a_b/c.so": "binary", "0:more.py": "y",
		"1:tool": "#!/usr/bin/env python3\nprint()\n", "1:shell": "#!/bin/sh\necho\n", "1:short": "#!",
		"1:both": fmt.Sprintf(made, "a_b", "main", "main"), "1:run-it": fmt.Sprintf(made, "a_b.cli", "App", "App.run"),
		"2:a_b.h": "int x;", "3:share/a/b": "d", "3:share/python": "no program",
	}
	if diff := cmp.Diff(want, show(t, w)); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	if w.Record != "a_b-1.0.dist-info/RECORD" || w.Name != (wheel.Name{Distribution: "a_b", Version: "1.0"}) {
		t.Errorf("got %+v", w)
	}
	for _, f := range w.Files {
		if strings.Contains(f.Path, "RECORD") {
			t.Errorf("%s was left in", f.Path)
		}
	}
}

// TestRefused refuses what would reach out of the folder, fill the disk, or is no wheel.
func TestRefused(t *testing.T) {
	link := func(t *testing.T) []byte {
		var out bytes.Buffer
		z := zip.NewWriter(&out)
		h := &zip.FileHeader{Name: "link"}
		h.SetMode(fs.ModeSymlink | 0o777)
		f, err := z.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte("/etc/passwd"))
		}
		if err := errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	with := func(files map[string]string) func(t *testing.T) []byte {
		return func(t *testing.T) []byte { return wheeltest.Wheel{Name: "a_b", Version: "1.0", Files: files}.Bytes(t) }
	}
	for name, test := range map[string]struct {
		data   func(t *testing.T) []byte
		bounds wheel.Bounds
		want   string
	}{
		"climbs":       {with(map[string]string{"a/../../b": ""}), few, "no path within"},
		"absolute":     {with(map[string]string{"/etc/passwd": ""}), few, "no path within"},
		"backslash":    {with(map[string]string{`a\b`: ""}), few, "no path within"},
		"long":         {with(map[string]string{strings.Repeat("x", 300): ""}), few, "longer than files"},
		"data climbs":  {with(map[string]string{"a_b-1.0.data/data/../../x": ""}), few, "no path within"},
		"data":         {with(map[string]string{"a_b-1.0.data/etc/x": ""}), few, "no such folder of data"},
		"link":         {link, few, "neither a file nor a folder"},
		"bytes":        {with(map[string]string{"a": strings.Repeat("x", 1<<20)}), few, "more bytes than it may"},
		"entries":      {with(map[string]string{"a": "", "b": ""}), wheel.Bounds{Bytes: 1 << 20, Entries: 4}, "more files than it may"},
		"python":       {with(map[string]string{"a_b-1.0.data/scripts/python3.12": ""}), few, "the place of the interpreter"},
		"python, data": {with(map[string]string{"a_b-1.0.data/data/bin/python": ""}), few, "the place of the interpreter"},
		"settings":     {with(map[string]string{"a_b-1.0.data/data/pyvenv.cfg": ""}), few, "the place of the interpreter"},
		"twice":        {with(map[string]string{"a_b-1.0.data/purelib/x": "", "x": ""}), few, "twice"},
		"two":          {with(map[string]string{"c-1.0.dist-info/METADATA": ""}), few, "both"},
		"none":         {func(t *testing.T) []byte { return wheeltest.Archive(t, map[string]string{"a": ""}) }, few, "no folder"},
		"version":      {with(map[string]string{"a_b-1.0.dist-info/WHEEL": "Wheel-Version: 2.0\n"}), few, "version 1"},
		"no version":   {with(map[string]string{"a_b-1.0.dist-info/WHEEL": "x"}), few, "does not say its version"},
		"point":        {with(map[string]string{"a_b-1.0.dist-info/entry_points.txt": "[console_scripts]\n../x = a:b"}), few, "want a script"},
		"point code":   {with(map[string]string{"a_b-1.0.dist-info/entry_points.txt": "[console_scripts]\nx = a:b;import os"}), few, "want a script"},
		"point python": {with(map[string]string{"a_b-1.0.dist-info/entry_points.txt": "[console_scripts]\npython = a:b"}), few, "the place of the interpreter"},
		"point twice":  {with(map[string]string{"a_b-1.0.dist-info/entry_points.txt": "[console_scripts]\nx = a:b\nx = a:c"}), few, "there twice"},
		"no archive":   {func(*testing.T) []byte { return []byte("<html>") }, few, "not a wheel"},
	} {
		_, err := open(test.data(t), test.bounds)
		if e, ok := errors.AsType[*wheel.Error](err); !ok || !strings.Contains(e.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// TestLies refuses content that is not as the archive says.
func TestLies(t *testing.T) {
	data := wheeltest.Wheel{Name: "a_b", Version: "1.0", Files: map[string]string{"a": "some text that is not packed well"}}.Bytes(t)
	at := bytes.Index(data, []byte("a_b-1.0.dist-info/METADATA"))
	if at < 0 {
		t.Fatal("no metadata")
	}
	data[at+len("a_b-1.0.dist-info/METADATA")+10] ^= 0xff // in the packed bytes
	w, err := open(data, few)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range w.Files {
		if !strings.HasSuffix(f.Path, "METADATA") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(in)
		if e, ok := errors.AsType[*wheel.Error](err); !ok {
			t.Errorf("got %v, %v", e, err)
		}
	}
}

func TestParseName(t *testing.T) {
	for file, want := range map[string]wheel.Name{
		"numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": {Distribution: "numpy", Version: "2.1.0"},
		"ruamel.yaml-0.18.6-1-py3-none-any.whl":                                  {Distribution: "ruamel.yaml", Version: "0.18.6"},
		"torch-2.3.0+cpu-cp311-cp311-linux_x86_64.whl":                           {Distribution: "torch", Version: "2.3.0+cpu"},
		"a-1-py3-none.whl": {}, "a-1.tar.gz": {}, "../a-1-py3-none-any.whl": {}, "": {},
	} {
		if got, err := wheel.ParseName(file); got != want || (err == nil) == (want == wheel.Name{}) {
			t.Errorf("%s: got %+v, %v", file, got, err)
		}
	}
}

// FuzzOpen opens and reads whatever comes: it ends with an error or with files that stay in their
// places, and within the bounds.
func FuzzOpen(f *testing.F) {
	f.Add(wheeltest.Wheel{Name: "a_b", Version: "1.0", Files: map[string]string{"a": "x", "a_b-1.0.data/scripts/s": "#!python\n"}, EntryPoints: "[console_scripts]\nx = a:b\n"}.Bytes(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := open(data, few)
		if err != nil {
			return
		}
		var total int64
		for _, file := range w.Files {
			if !fs.ValidPath(file.Path) {
				t.Errorf("%q is no path", file.Path)
			}
			in, err := file.Open()
			if err != nil {
				continue
			}
			n, _ := io.Copy(io.Discard, in) // what is damaged ends early
			total += n
			_ = in.Close()
		}
		if total > few.Bytes+1<<20 { // and what was made of entry points
			t.Errorf("unpacked %d bytes", total)
		}
	})
}

// FuzzEntryPoints makes scripts of whatever text: programs that import and call, and nothing else.
func FuzzEntryPoints(f *testing.F) {
	f.Add("[console_scripts]\nx = a.b:c.d [e]\n[gui_scripts]\ny=a:b")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := open(wheeltest.Wheel{Name: "a_b", Version: "1.0", EntryPoints: text + "\n"}.Bytes(t), wheel.Usual)
		if err != nil {
			return
		}
		for name, made := range show(t, w) {
			if strings.Count(made, "\n") != 7 || strings.Contains(strings.TrimPrefix(name, "1:"), "/") {
				t.Errorf("%q: %q", name, made)
			}
		}
	})
}

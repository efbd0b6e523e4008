package archive

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/sandwich-build/sandwich/internal/conda/condatest"
)

// FuzzTar is FuzzRead behind sums and compression, where luck does not get: the two archives of a package.
func FuzzTar(f *testing.F) {
	const index = `{"name": "x", "version": "1", "build": "0"}`
	f.Add(condatest.Tar(f, map[string]condatest.File{"info/index.json": {Text: index}, "info/files": {Text: "a\nb\n"}, "info/has_prefix": {Text: "a\n'/p' text b\n"}}),
		condatest.Tar(f, map[string]condatest.File{"a": {Text: "x"}, "b": {Link: "a"}}))
	f.Add(condatest.Tar(f, map[string]condatest.File{"info/index.json": {Text: index}, "info/paths.json": {Text: `{"paths_version":1,"paths":[{"_path":"a"}]}`}}),
		condatest.Tar(f, map[string]condatest.File{"a": {Text: "x"}}))
	f.Fuzz(func(t *testing.T, info, pkg []byte) {
		few := Bounds{Bytes: 1 << 20, Entries: 100}
		c := newContents(func(r io.Reader, p Placeholder) (string, error) {
			data, err := io.ReadAll(r)
			if err != nil {
				return "", err
			}
			data, err = p.Replace(data, "/e")
			return string(data), err
		})
		err := c.tar(bytes.NewReader(info), few)
		if err == nil {
			err = c.readList()
		}
		if err == nil {
			err = c.tar(bytes.NewReader(pkg), few)
		}
		var p *Package[string]
		if err == nil {
			p, err = newPackage(Name{"x", "1", "0"}, c)
		}
		Check(t, p, err)
	})
}

// Check holds of whatever was read.
func Check(t *testing.T, p *Package[string], err error) {
	if err != nil {
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("got %v", err)
		}
		return
	}
	for _, f := range p.Files {
		at := p.Place(f, "lib/python3/site-packages")
		if !filepath.IsLocal(at) || f.Link != "" && !filepath.IsLocal(filepath.Join(filepath.Dir(f.Path), f.Link)) {
			t.Errorf("%+v leads out", f)
		}
	}
}

package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sandwich-build/sandwich/internal/model"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
)

// push puts the files of a folder into a registry, at a time that is always the same:
// push registry name message folder.
func push(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: push registry name message folder")
	}
	location, name, message, folder := ts.MkAbs(args[0]), args[1], args[2], ts.MkAbs(args[3])
	ctx := context.Background()
	clock := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	r, err := registry.Open(ctx, location, registry.Options{Now: clock})
	ts.Check(err)
	meta, err := quilt.ValueOf(map[string]string{"labels": "ham, egg"})
	ts.Check(err)
	rev := registry.Revision{Message: message, Meta: meta}
	ts.Check(filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key, err := filepath.Rel(folder, path)
		info, statErr := d.Info()
		if err := errors.Join(err, statErr); err != nil {
			return err
		}
		rev.Files = append(rev.Files, objects.File{
			Key: filepath.ToSlash(key), Size: info.Size(),
			Open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) },
		})
		return nil
	}))
	_, _, err = r.Push(ctx, name, rev, registry.PushOptions{})
	ts.Check(err)
}

// tinyModel writes a model that was never trained: tinymodel folder.
func tinyModel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tinymodel folder")
	}
	layers := []manifest.Layer{{Flatten: &manifest.Flatten{}}}
	network, err := model.New(layers, 8, []string{"egg", "ham"})
	ts.Check(err)
	m := &model.Model{Network: network, Input: model.Preparation{Shape: model.Stretch, Resize: model.CatmullRom}, Weights: network.Initial(1)}
	desc, weights, err := m.Encode()
	ts.Check(err)
	folder := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(folder, 0o777))
	ts.Check(os.WriteFile(filepath.Join(folder, model.DescriptionFile), desc, 0o666))
	ts.Check(os.WriteFile(filepath.Join(folder, model.WeightsFile), weights, 0o666))
}

// picture writes a picture of one colour: picture file.
func picture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: picture file")
	}
	img := image.NewGray(image.Rect(0, 0, 16, 12))
	for i := range img.Pix {
		img.Pix[i] = 200
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(errors.Join(png.Encode(f, img), f.Close()))
}

// damage changes a byte of every object of a registry: damage registry.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage registry")
	}
	objects := filepath.Join(ts.MkAbs(args[0]), ".sandwich", "objects")
	ts.Check(filepath.WalkDir(objects, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[0] ^= 1
		return errors.Join(os.Chmod(path, 0o666), os.WriteFile(path, data, 0o666))
	}))
}

// damagePack changes a byte of a JPEG among the packed blobs of a cache: damagepack cache.
func damagePack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damagepack cache")
	}
	name := filepath.Join(ts.MkAbs(args[0]), "packs", "000001.pack")
	data, err := os.ReadFile(name)
	ts.Check(err)
	jpg := bytes.Index(data, []byte("\xff\xd8\xff"))
	if jpg < 0 {
		ts.Fatalf("%s has no JPEG", name)
	}
	data[jpg+100] ^= 1
	ts.Check(os.WriteFile(name, data, 0o666))
}

// flip changes a byte of the first file below a folder: flip folder.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip folder")
	}
	errDone := errors.New("done")
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 1
		return cmp.Or(os.Remove(path), os.WriteFile(path, data, 0o666), errDone)
	})
	if !errors.Is(err, errDone) {
		ts.Fatalf("%s has no file: %v", args[0], err)
	}
}

// mislay puts the attestations of one revision into the place of those of all others:
// mislay registry.
func mislay(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mislay registry")
	}
	all, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), ".sandwich", "attestations", "*", "*.json"))
	ts.Check(err)
	for _, to := range all {
		for _, from := range all {
			if filepath.Base(from) == filepath.Base(to) && filepath.Dir(from) != filepath.Dir(to) {
				data, err := os.ReadFile(from)
				ts.Check(err)
				ts.Check(os.WriteFile(to, data, 0o666))
				break
			}
		}
	}
}

// hold keeps a cache open, as a build does, until the script ends: hold cache.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold cache")
	}
	store, err := disk.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { ts.Check(store.Close()) })
}

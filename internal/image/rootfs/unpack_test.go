package rootfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/image/imagetest"
	"github.com/sandwich-build/sandwich/internal/image/rootfs"
)

type entry = imagetest.Entry

var few = rootfs.Bounds{Bytes: 1 << 20, Entries: 1000}

// unpack lays layers over each other in dir.
func unpack(t testing.TB, dir string, b rootfs.Bounds, layers ...[]byte) error {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	u := rootfs.NewUnpacker(root, b)
	for _, l := range layers {
		if err := u.Layer(t.Context(), bytes.NewReader(l)); err != nil {
			return err
		}
	}
	return u.Finish()
}

// show lists a folder: what each file holds, and where each link leads.
func show(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			found[rel] = "folder"
		case e.Type() == fs.ModeSymlink:
			to, err := os.Readlink(name)
			found[rel] = "-> " + to
			return err
		case e.Type().IsRegular():
			text, err := os.ReadFile(name)
			found[rel] = string(text)
			return err
		default:
			found[rel] = e.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestLayers lays layers over each other.
func TestLayers(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers [][]entry
		want   map[string]string
	}{
		{"files and folders", [][]entry{{{Name: "./"}, {Name: "./a/"}, {Name: "a/b", Text: "x"}, {Name: "/c/d/e", Text: "y"}}},
			map[string]string{"a": "folder", "a/b": "x", "c": "folder", "c/d": "folder", "c/d/e": "y"}},
		{"a file over another", [][]entry{{{Name: "a", Text: "old"}}, {{Name: "a", Text: "new"}}},
			map[string]string{"a": "new"}},
		{"a file twice in a layer", [][]entry{{{Name: "a", Text: "old"}, {Name: "a", Text: "new"}}},
			map[string]string{"a": "new"}},
		{"a file over a folder", [][]entry{{{Name: "a/b", Text: "x"}}, {{Name: "a", Text: "y"}}},
			map[string]string{"a": "y"}},
		{"a folder over a file", [][]entry{{{Name: "a", Text: "x"}}, {{Name: "a/"}, {Name: "a/b", Text: "y"}}},
			map[string]string{"a": "folder", "a/b": "y"}},
		{"a file in what was a file", [][]entry{{{Name: "a", Text: "x"}}, {{Name: "a/b", Text: "y"}}},
			map[string]string{"a": "folder", "a/b": "y"}},
		{"a folder stays with what is in it", [][]entry{{{Name: "a/b", Text: "x"}}, {{Name: "a/"}, {Name: "a/c", Text: "y"}}},
			map[string]string{"a": "folder", "a/b": "x", "a/c": "y"}},
		{"a folder over a link", [][]entry{{{Name: "b/"}, {Name: "a", Type: tar.TypeSymlink, Link: "b"}}, {{Name: "a/"}, {Name: "a/c", Text: "y"}}},
			map[string]string{"a": "folder", "a/c": "y", "b": "folder"}},
		{"through a link", [][]entry{{{Name: "usr/bin/"}, {Name: "bin", Type: tar.TypeSymlink, Link: "usr/bin"}}, {{Name: "bin/sh", Text: "x"}}},
			map[string]string{"usr": "folder", "usr/bin": "folder", "bin": "-> usr/bin", "usr/bin/sh": "x"}},
		{"through an absolute link", [][]entry{{{Name: "var/run", Type: tar.TypeSymlink, Link: "/run"}}, {{Name: "var/run/x", Text: "x"}}},
			map[string]string{"var": "folder", "var/run": "-> /run", "run": "folder", "run/x": "x"}},
		{"through a link that climbs", [][]entry{{{Name: "a/b", Type: tar.TypeSymlink, Link: "../../../../c"}}, {{Name: "a/b/x", Text: "x"}}},
			map[string]string{"a": "folder", "a/b": "-> ../../../../c", "c": "folder", "c/x": "x"}},
		{"links stay what they are", [][]entry{{{Name: "a", Type: tar.TypeSymlink, Link: "/etc/passwd"}, {Name: "b", Type: tar.TypeSymlink, Link: "../../x"}}},
			map[string]string{"a": "-> /etc/passwd", "b": "-> ../../x"}},
		{"a file over a link does not follow it", [][]entry{{{Name: "b", Text: "b"}, {Name: "a", Type: tar.TypeSymlink, Link: "b"}}, {{Name: "a", Text: "a"}}},
			map[string]string{"a": "a", "b": "b"}},
		{"a second name", [][]entry{{{Name: "a", Text: "x"}}, {{Name: "b/c", Type: tar.TypeLink, Link: "a"}}},
			map[string]string{"a": "x", "b": "folder", "b/c": "x"}},
		{"a second name of a link", [][]entry{{{Name: "a", Type: tar.TypeSymlink, Link: "x"}, {Name: "b", Type: tar.TypeLink, Link: "/a"}}},
			map[string]string{"a": "-> x", "b": "-> x"}},
		{"gone", [][]entry{{{Name: "a/b", Text: "x"}, {Name: "a/c/d", Text: "y"}}, {{Name: "a/.wh.b"}, {Name: "a/.wh.c"}}},
			map[string]string{"a": "folder"}},
		{"gone, and there anew", [][]entry{{{Name: "a/b", Text: "x"}}, {{Name: ".wh.a"}, {Name: "a/c", Text: "y"}}},
			map[string]string{"a": "folder", "a/c": "y"}},
		{"there anew, and gone before", [][]entry{{{Name: "a/b", Text: "x"}}, {{Name: "a/c", Text: "y"}, {Name: ".wh.a"}}},
			map[string]string{"a": "folder", "a/c": "y"}},
		{"what was never there is gone", [][]entry{{{Name: "a/.wh.b"}}},
			map[string]string{"a": "folder"}},
		{"gone is the link, not what it leads to", [][]entry{{{Name: "b", Text: "b"}, {Name: "a", Type: tar.TypeSymlink, Link: "b"}}, {{Name: ".wh.a"}}},
			map[string]string{"b": "b"}},
		{"opaque", [][]entry{{{Name: "a/b", Text: "x"}, {Name: "a/c/d", Text: "x"}}, {{Name: "a/.wh..wh..opq"}, {Name: "a/e", Text: "y"}}},
			map[string]string{"a": "folder", "a/e": "y"}},
		{"opaque at the end", [][]entry{{{Name: "a/b", Text: "x"}, {Name: "a/c/d", Text: "x"}}, {{Name: "a/c/e", Text: "y"}, {Name: "a/.wh..wh..opq"}}},
			map[string]string{"a": "folder", "a/c": "folder", "a/c/e": "y"}},
		{"marks of file systems", [][]entry{{{Name: ".wh..wh.plnk/"}, {Name: ".wh..wh.aufs"}}},
			map[string]string{}},
		{"devices and pipes", [][]entry{{{Name: "dev/null", Type: tar.TypeChar}, {Name: "dev/sda", Type: tar.TypeBlock}, {Name: "p", Type: tar.TypeFifo}}},
			map[string]string{"dev": "folder"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			var layers [][]byte
			for _, l := range test.layers {
				layers = append(layers, imagetest.Layer(t, l...))
			}
			if err := unpack(t, dir, few, layers...); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, show(t, dir)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestHostile unpacks archives that try to reach out of their folder, or to fill the disk.
func TestHostile(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers [][]entry
		fails  bool
	}{
		{"climbs", [][]entry{{{Name: "../outside/x", Text: "x"}}}, true},
		{"climbs later", [][]entry{{{Name: "a/../../outside/x", Text: "x"}}}, true},
		{"absolute", [][]entry{{{Name: "OUTSIDE/x", Text: "x"}}}, false}, // is below the folder
		{"through a link", [][]entry{{{Name: "a", Type: tar.TypeSymlink, Link: "OUTSIDE"}, {Name: "a/x", Text: "x"}}}, false},
		{"through a link that climbs", [][]entry{{{Name: "a", Type: tar.TypeSymlink, Link: "../outside"}, {Name: "a/x", Text: "x"}}}, false},
		{"through links of links", [][]entry{{
			{Name: "a", Type: tar.TypeSymlink, Link: "."}, {Name: "b", Type: tar.TypeSymlink, Link: "a/.."}, {Name: "c", Type: tar.TypeSymlink, Link: "b/outside"}, {Name: "c/x", Text: "x"},
		}}, false},
		{"a file in the place of a link", [][]entry{{{Name: "a", Type: tar.TypeSymlink, Link: "OUTSIDE/secret"}, {Name: "a", Text: "x"}}}, false},
		{"a second name of what is outside", [][]entry{{{Name: "a", Type: tar.TypeLink, Link: "../outside/secret"}}}, true},
		{"a second name of what is outside, absolute", [][]entry{{{Name: "a", Type: tar.TypeLink, Link: "OUTSIDE/secret"}}}, true},
		{"a second name through a link", [][]entry{{{Name: "l", Type: tar.TypeSymlink, Link: "OUTSIDE"}, {Name: "a", Type: tar.TypeLink, Link: "l/secret"}}}, true},
		{"a second name of a folder", [][]entry{{{Name: "a/"}, {Name: "b", Type: tar.TypeLink, Link: "a"}}}, true},
		{"gone outside", [][]entry{{{Name: "../outside/.wh.secret"}}}, true},
		{"gone through a link", [][]entry{{{Name: "l", Type: tar.TypeSymlink, Link: "OUTSIDE"}, {Name: "l/.wh.secret"}}}, false},
		{"opaque through a link", [][]entry{{{Name: "l", Type: tar.TypeSymlink, Link: "../outside"}, {Name: "l/.wh..wh..opq"}}}, false},
		{"gone is the folder itself", [][]entry{{{Name: "a/.wh.."}}}, true},
		{"gone is the one above", [][]entry{{{Name: "a/.wh..."}}}, true},
		{"gone is nothing", [][]entry{{{Name: "a/.wh."}}}, true},
		{"a folder's permissions through a link", [][]entry{{{Name: "l/", Mode: 0o777}}, {{Name: ".wh.l"}, {Name: "l", Type: tar.TypeSymlink, Link: "OUTSIDE"}}}, false},
		{"links without end", [][]entry{{{Name: "a", Type: tar.TypeSymlink, Link: "b"}, {Name: "b", Type: tar.TypeSymlink, Link: "a"}, {Name: "a/x", Text: "x"}}}, true},
		{"a long name", [][]entry{{{Name: strings.Repeat("a/", 3000), Text: ""}}}, true},
		{"too many bytes", [][]entry{{{Name: "a", Text: strings.Repeat("x", 600<<10)}}, {{Name: "b", Text: strings.Repeat("x", 600<<10)}}}, true},
		{"too deep", [][]entry{{{Name: strings.Repeat("a/", 300) + "b"}}}, true},
		{"too deep by links", [][]entry{{{Name: "l", Type: tar.TypeSymlink, Link: strings.Repeat("a/", 1100)}, {Name: "l/b"}}}, true},
		{"too many folders", slices.Repeat([][]entry{{{Name: strings.Repeat("a/", 50) + "b"}}, {{Name: ".wh.a"}}}, 20), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			place := t.TempDir()
			dir, outside := filepath.Join(place, "root"), filepath.Join(place, "outside")
			for _, name := range []string{dir, outside} {
				if err := os.Mkdir(name, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600); err != nil {
				t.Fatal(err)
			}
			var layers [][]byte
			for _, l := range test.layers {
				var real []entry
				for _, e := range l {
					e.Name, e.Link = strings.ReplaceAll(e.Name, "OUTSIDE", outside), strings.ReplaceAll(e.Link, "OUTSIDE", outside)
					real = append(real, e)
				}
				layers = append(layers, imagetest.Layer(t, real...))
			}
			if err := unpack(t, dir, few, layers...); (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
			checkOutside(t, outside)
			for name, text := range show(t, dir) {
				if text == "s" {
					t.Errorf("%s is what is outside", name)
				}
			}
		})
	}
}

// checkOutside holds a folder to what TestHostile and the fuzzing put there.
func checkOutside(t testing.TB, outside string) {
	t.Helper()
	if diff := cmp.Diff(map[string]string{"secret": "s"}, show(t, outside)); diff != "" {
		t.Errorf("outside (-want +got)\n%s", diff)
	}
	info, err := os.Stat(outside)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder outside: %v, %v", info.Mode(), err)
	}
}

// TestLooks keeps permissions and times, and drops what gives rights.
func TestLooks(t *testing.T) {
	dir := t.TempDir()
	err := unpack(t, dir, few, imagetest.Layer(t,
		entry{Name: "a/", Mode: 0o750}, entry{Name: "a/run", Mode: 0o6755}, entry{Name: "shadow", Type: tar.TypeReg, Mode: 0o1000}, entry{Name: "closed/", Mode: 0o500}, entry{Name: "closed/x"}))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"a": fs.ModeDir | 0o750, "a/run": 0o755, "shadow": 0o400, "closed": fs.ModeDir | 0o700} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want || !info.ModTime().Equal(imagetest.Time) {
			t.Errorf("%s is %v of %v, %v; want %v of %v", name, info.Mode(), info.ModTime(), err, want, imagetest.Time)
		}
	}
}

// TestMountPoints makes what an image lacks, and follows no link out of it.
func TestMountPoints(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	u := rootfs.NewUnpacker(root, few)
	if err := u.Layer(t.Context(), bytes.NewReader(imagetest.Layer(t,
		entry{Name: "tmp", Type: tar.TypeSymlink, Link: "/etc"}, entry{Name: "proc", Text: "x"}, entry{Name: "etc/hosts", Text: "mine"},
		entry{Name: "etc/resolv.conf", Type: tar.TypeSymlink, Link: "/etc/passwd"}))); err != nil {
		t.Fatal(err)
	}
	for name, folder := range map[string]bool{"/tmp": true, "/proc": true, "/a/b": true, "/etc/hosts": false, "/etc/resolv.conf": false} {
		if err := u.MountPoint(name, folder); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"tmp": "folder", "proc": "folder", "a": "folder", "a/b": "folder", "etc": "folder", "etc/hosts": "mine", "etc/resolv.conf": ""}
	if diff := cmp.Diff(want, show(t, dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestCancelled ends within a file.
func TestCancelled(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = rootfs.NewUnpacker(root, few).Layer(ctx, bytes.NewReader(imagetest.Layer(t, entry{Name: "a", Text: "x"})))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// FuzzLayers unpacks whatever it is given: as archives, and as archives made of lines, which come
// to more.
func FuzzLayers(f *testing.F) {
	f.Add(imagetest.Layer(f, entry{Name: "a/b", Text: "x"}, entry{Name: "l", Type: tar.TypeSymlink, Link: "../outside"}, entry{Name: "l/x", Text: "y"}))
	f.Add([]byte("a/b\nl\x002../outside\nl/.wh.secret\n\nl/x\na/.wh..wh..opq\nh\x001l/secret"))
	f.Add([]byte("a\x002/\nb\x002a/..\nb/outside/x\n\n.wh.a\na/\nd\x005"))
	f.Fuzz(func(t *testing.T, data []byte) {
		place := t.TempDir()
		dir, outside := filepath.Join(place, "root"), filepath.Join(place, "outside")
		for _, name := range []string{dir, outside} {
			if err := os.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = unpack(t, dir, few, append(fromLines(data), data)...)
		checkOutside(t, outside)
	})
}

// fromLines makes layers of a text: an entry a line, as name, a zero byte, a type and a link; an
// empty line ends a layer.
func fromLines(text []byte) (layers [][]byte) {
	for part := range bytes.SplitSeq(text, []byte("\n\n")) {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for line := range bytes.Lines(part) {
			name, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\x00")
			h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o777, ModTime: time.Unix(0, 0)}
			if strings.HasSuffix(name, "/") {
				h.Typeflag = tar.TypeDir
			}
			if rest != "" {
				h.Typeflag, h.Linkname = rest[0], rest[1:]
			}
			if w.WriteHeader(h) != nil {
				break // no archive can have it
			}
		}
		if err := w.Close(); err == nil {
			layers = append(layers, out.Bytes())
		}
	}
	return layers
}

// BenchmarkUnpack unpacks 10,000 small files.
func BenchmarkUnpack(b *testing.B) {
	var entries []entry
	for i := range 10_000 {
		entries = append(entries, entry{Name: fmt.Sprintf("usr/lib/%d/%d", i/100, i), Text: strings.Repeat("x", 4096)})
	}
	layer := imagetest.Layer(b, entries...)
	for b.Loop() {
		if err := unpack(b, b.TempDir(), rootfs.Usual, layer); err != nil {
			b.Fatal(err)
		}
	}
}

package dirindex_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/dirindex"
)

// project is a folder with an index.
type project struct {
	dir, file string
}

func newProject(t *testing.T) project {
	t.Helper()
	p := project{dir: t.TempDir(), file: filepath.Join(t.TempDir(), "index")}
	for _, name := range []string{"a", "b/c", "b/d/e", "f"} {
		p.write(t, name, "content of "+name)
	}
	if err := os.Mkdir(filepath.Join(p.dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	time.Sleep(150 * time.Millisecond) // what was written just now is not remembered
	return p
}

func (p project) path(name string) string { return filepath.Join(p.dir, filepath.FromSlash(name)) }

func (p project) write(t *testing.T, name, data string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(p.path(name)), 0o777), os.WriteFile(p.path(name), []byte(data), 0o666))
	if err != nil {
		t.Fatal(err)
	}
}

// learn goes through the folder once, saves the index, and returns the sum of each file,
// which files were read, and which directories were as before.
func (p project) learn(t *testing.T) (sums map[string]dirindex.Sum, read, same []string) {
	t.Helper()
	return p.learnWith(t, func(*os.File) {})
}

func (p project) learnWith(t *testing.T, meanwhile func(*os.File)) (sums map[string]dirindex.Sum, read, same []string) {
	t.Helper()
	x, err := dirindex.Open(p.file, p.dir)
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := x.Scan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range dirs {
		if note, ok := dirs[i].Same(); ok {
			same = append(same, dirs[i].Path)
			if string(note) != "note of "+dirs[i].Path {
				t.Errorf("the note of %s is %q", dirs[i].Path, note)
			}
		}
		dirs[i].Load()
	}
	var mu sync.Mutex // guards read
	err = x.Learn(t.Context(), dirs, func(_ context.Context, f *os.File) (dirindex.Sum, int64, error) {
		data, err := io.ReadAll(f)
		meanwhile(f)
		rel, relErr := filepath.Rel(p.dir, f.Name())
		mu.Lock()
		defer mu.Unlock()
		read = append(read, filepath.ToSlash(rel))
		return sha256.Sum256(data), int64(len(data)), errors.Join(err, relErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	sums = map[string]dirindex.Sum{}
	for i, d := range dirs {
		for _, f := range d.Files {
			sums[path.Join(d.Path, f.Name)] = f.Sum
		}
		x.Keep(&dirs[i], []byte("note of "+d.Path))
	}
	if err := x.Save(""); err != nil {
		t.Fatal(err)
	}
	slices.Sort(read)
	return sums, read, same
}

// right reads the folder, and fails where sums has something else.
func (p project) right(t *testing.T, sums map[string]dirindex.Sum) {
	t.Helper()
	want := map[string]dirindex.Sum{}
	err := fs.WalkDir(os.DirFS(p.dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p.path(name))
		want[name] = sha256.Sum256(data)
		return err
	})
	if diff := cmp.Diff(want, sums); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestReadsWhatChanged changes a folder that is known in one way after the other.
func TestReadsWhatChanged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, p project)
		read   []string
		same   []string
	}{
		"nothing": {func(*testing.T, project) {}, nil, []string{".", "b", "b/d", "empty"}},
		"written": {func(t *testing.T, p project) { p.write(t, "b/c", "more") }, []string{"b/c"}, []string{".", "b/d", "empty"}},
		"written, with size and time as before": {func(t *testing.T, p project) {
			info, err := os.Stat(p.path("a"))
			if err != nil {
				t.Fatal(err)
			}
			p.write(t, "a", "CONTENT OF a")
			if err := os.Chtimes(p.path("a"), info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, []string{"a"}, []string{"b", "b/d", "empty"}},
		"replaced": {func(t *testing.T, p project) {
			p.write(t, "new", "content of F")
			if err := os.Rename(p.path("new"), p.path("f")); err != nil {
				t.Fatal(err)
			}
		}, []string{"f"}, []string{"b", "b/d", "empty"}},
		"a file more": {func(t *testing.T, p project) { p.write(t, "b/d/g", "g") }, []string{"b/d/g"}, []string{".", "b", "empty"}},
		"a file less": {func(t *testing.T, p project) {
			if err := os.Remove(p.path("b/c")); err != nil {
				t.Fatal(err)
			}
		}, nil, []string{".", "b/d", "empty"}},
		"a folder more": {func(t *testing.T, p project) { p.write(t, "z/z", "z") }, []string{"z/z"}, []string{"b", "b/d", "empty"}},
		"a folder less": {func(t *testing.T, p project) {
			if err := os.Remove(p.path("empty")); err != nil {
				t.Fatal(err)
			}
		}, nil, []string{"b", "b/d"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			sums, read, same := p.learn(t)
			if len(read) != 4 || len(same) != 0 {
				t.Errorf("first: read %q, same %q", read, same)
			}
			p.right(t, sums)
			c.change(t, p)
			sums, read, same = p.learn(t)
			if !slices.Equal(read, c.read) || !slices.Equal(same, c.same) {
				t.Errorf("read %q, want %q; same %q, want %q", read, c.read, same, c.same)
			}
			p.right(t, sums)
		})
	}
}

// TestRacilyClean writes a file while, and just before, it is read. It is read again.
func TestRacilyClean(t *testing.T) {
	p := newProject(t)
	p.write(t, "a", "written just now")
	sums, _, _ := p.learnWith(t, func(f *os.File) {
		if filepath.Base(f.Name()) == "f" {
			p.write(t, "f", "longer than it was")
		}
	})
	if sums["f"] != sha256.Sum256([]byte("content of f")) {
		t.Error("the sum is not that of the bytes that were read")
	}
	sums, read, _ := p.learn(t)
	if !slices.Equal(read, []string{"a", "f"}) {
		t.Errorf("read %q", read)
	}
	p.right(t, sums)
}

// TestRacyNames makes a file whenever the folder was looked at: some come within one tick
// of the file system's clock, in which a directory's stamp does not change again.
func TestRacyNames(t *testing.T) {
	p := newProject(t)
	for i := range 30 {
		p.write(t, fmt.Sprint("b/new", i), "new")
		sums, _, _ := p.learn(t)
		p.right(t, sums)
	}
}

// TestUnchangedIsNotWritten leaves the file alone when there is nothing new.
func TestUnchangedIsNotWritten(t *testing.T) {
	p := newProject(t)
	p.learn(t)
	if err := os.Chmod(filepath.Dir(p.file), 0o555); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(p.file)
	if err != nil {
		t.Fatal(err)
	}
	p.learn(t)
	if after, err := os.Stat(p.file); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was written again: %v", err)
	}
	if err := os.Chmod(filepath.Dir(p.file), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedIndex flips and cuts an index at every seventh byte. What is not known any more
// is read, and nothing is wrong.
func TestDamagedIndex(t *testing.T) {
	p := newProject(t)
	p.learn(t)
	good, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good); i += 7 {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		for _, data := range [][]byte{bad, good[:i]} {
			if err := os.WriteFile(p.file, data, 0o666); err != nil {
				t.Fatal(err)
			}
			sums, _, _ := p.learn(t)
			p.right(t, sums)
		}
	}
}

// TestAnotherFolder gives the index of one folder to another.
func TestAnotherFolder(t *testing.T) {
	p := newProject(t)
	p.learn(t)
	p.dir = newProject(t).dir
	if _, read, _ := p.learn(t); len(read) != 4 {
		t.Errorf("read %q", read)
	}
}

func TestScan(t *testing.T) {
	p := newProject(t)
	if err := os.Symlink("a", p.path("b/link")); err != nil {
		t.Fatal(err)
	}
	open := func(dir string) *dirindex.Index {
		x, err := dirindex.Open("", dir)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	filter := func(name string, dir bool) bool { return name != "f" && (name != "b/d" || !dir) }
	dirs, err := open(p.dir).Scan(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range dirs {
		for _, f := range d.Files {
			info, err := os.Lstat(p.path(path.Join(d.Path, f.Name)))
			if err != nil || info.Size() != f.Stamp.Size || info.ModTime().UnixNano() != f.Stamp.Mtime {
				t.Errorf("%s: %+v, %v", f.Name, f.Stamp, err)
			}
			got = append(got, path.Join(d.Path, f.Name))
		}
		for _, name := range d.Other {
			got = append(got, "other "+path.Join(d.Path, name))
		}
		for _, name := range d.Dirs {
			got = append(got, "dir "+path.Join(d.Path, name))
		}
	}
	if want := []string{"a", "dir b", "dir empty", "b/c", "other b/link"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := open(p.path("none")).Scan(t.Context(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(p.dir).Scan(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

// FuzzIndex reads an index of any bytes, and blocks of any content that have a right sum.
// It may know what is wrong, as its author likes, but not panic.
func FuzzIndex(f *testing.F) {
	f.Add([]byte("sandwich folder 3\n/x\n"), []byte(".\x00"))
	f.Add([]byte("/x\n"+strings.Repeat("\x01", 80)), []byte(strings.Repeat("\x01", 200)))
	f.Fuzz(func(t *testing.T, rest, block []byte) {
		file, dir := filepath.Join(t.TempDir(), "index"), t.TempDir()
		data := fmt.Appendf(nil, "sandwich folder 3\n%s\n\n", dir)
		block = append([]byte("\x01."), block...)
		body := append(binary.LittleEndian.AppendUint32(nil, uint32(len(block))), block...)
		sum := sha256.Sum256(body)
		data = slices.Concat(data, sum[:], body, rest)
		err := errors.Join(os.WriteFile(file, data, 0o666), os.WriteFile(filepath.Join(dir, "a"), nil, 0o666))
		if err != nil {
			t.Fatal(err)
		}
		x, err := dirindex.Open(file, dir)
		if err != nil {
			t.Fatal(err)
		}
		dirs, err := x.ScanAll(t.Context(), nil, func(context.Context, *os.File) (dirindex.Sum, int64, error) { return dirindex.Sum{1}, 0, nil })
		if err != nil || len(dirs) == 0 {
			t.Errorf("%+v, %v", dirs, err)
		}
	})
}

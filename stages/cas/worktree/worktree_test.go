package worktree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/dirindex"
	"github.com/sandwich-build/sandwich/stages/cas"
	"github.com/sandwich-build/sandwich/stages/cas/disk"
	"github.com/sandwich-build/sandwich/stages/cas/disk/disktest"
	"github.com/sandwich-build/sandwich/stages/cas/pack"
	"github.com/sandwich-build/sandwich/stages/cas/worktree"
)

// fill makes a folder of small files and a large one.
func fill(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{"large": strings.Repeat("large", pack.MaxBlob), "empty": ""}
	for i := range 300 {
		files[fmt.Sprintf("a/%d", i)] = fmt.Sprint("small ", i)
		files[fmt.Sprintf("a/b/%d/c/d", i%7)] = fmt.Sprint("deep ", i%7)
	}
	for name, data := range files {
		write(t, filepath.Join(dir, name), data)
	}
	return files
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(data), 0o666)); err != nil {
		t.Fatal(err)
	}
}

// take takes dir in, with the index in file.
func take(t *testing.T, s cas.Store, dir, file string) (cas.Tree, worktree.Taken) {
	t.Helper()
	x, err := dirindex.Open(file, dir)
	if err != nil {
		t.Fatal(err)
	}
	tree, taken, err := worktree.Take(t.Context(), s, dir, x)
	if err == nil {
		err = x.Save(taken.Mark())
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree, taken
}

func content(t *testing.T, tree cas.Tree) map[string]string {
	t.Helper()
	files := map[string]string{}
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		data, err := tree.ReadFile(t.Context(), f.Path)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Path] = string(data)
	}
	return files
}

// TestTake takes a folder in again and again. The tree is always the one that a Builder
// makes of the files, and no file is read without a need.
func TestTake(t *testing.T) {
	dir, index := t.TempDir(), filepath.Join(t.TempDir(), "index")
	files := fill(t, dir)
	time.Sleep(150 * time.Millisecond) // what was written just now would be read again
	s := disktest.Open(t, t.TempDir())
	check := func(read int) cas.Tree {
		t.Helper()
		tree, taken := take(t, s, dir, index)
		if taken.Read != read || taken.Files != len(files) {
			t.Errorf("took %+v; want %d of %d files read", taken, read, len(files))
		}
		b := cas.NewBuilder(cas.NewMemory())
		for name, data := range files {
			if err := b.PutBytes(t.Context(), name, []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := b.Commit(t.Context())
		if err != nil || want.ID() != tree.ID() {
			t.Errorf("tree %s, want %s, %v", tree.ID(), want.ID(), err)
		}
		if diff := cmp.Diff(files, content(t, tree)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		return tree
	}
	first := check(len(files))
	check(0)
	files["a/b/3/c/d"] = "changed"
	write(t, filepath.Join(dir, "a/b/3/c/d"), "changed")
	time.Sleep(150 * time.Millisecond)
	check(1)
	files["new/one"] = "new"
	write(t, filepath.Join(dir, "new/one"), "new")
	time.Sleep(150 * time.Millisecond)
	check(1)

	// The store loses a file, and then everything.
	s = disktest.Open(t, t.TempDir())
	check(len(files))
	if first.ID() == check(0).ID() {
		t.Error("the tree did not change")
	}
	d := cas.Sum([]byte(files["large"]))
	if err := os.Remove(filepath.Join(s.Root(), "blobs", d.Hex()[:2], d.Hex()[2:])); err != nil {
		t.Fatal(err)
	}
	check(1)
	dry, taken := take(t, cas.Nowhere{}, dir, "")
	if tree, _ := take(t, s, dir, index); dry.ID() != tree.ID() || taken.Read != len(files) {
		t.Errorf("dry: %s, %+v", dry.ID(), taken)
	}
}

// TestTakeAfterLoss takes a folder in again after the store has lost blobs in one way after
// the other. What the index knows of the store does not hide that.
func TestTakeAfterLoss(t *testing.T) {
	const file, text = "one", "the file that is lost" // small, so that it lies in a pack
	pack := func(s *disk.Store) string { return filepath.Join(s.Root(), "packs", "000001.pack") }
	for name, c := range map[string]struct {
		lose func(t *testing.T, s *disk.Store, d cas.Digest) error
		all  bool // files have to be read again, and not just the one
	}{
		"a damaged blob that was read": {func(t *testing.T, s *disk.Store, d cas.Digest) error {
			damage(t, pack(s), text)
			if _, err := s.Open(t.Context(), d); !errors.Is(err, cas.ErrDamaged) {
				t.Errorf("Open of a damaged blob = %v", err)
			}
			return nil
		}, false},
		"gc of one blob": {func(t *testing.T, s *disk.Store, d cas.Digest) error {
			// What is left of a pack moves to another only when enough of it goes.
			gone := 0
			keep := func(other cas.Digest) bool {
				if other != d && gone < 10 {
					gone++
					return false
				}
				return other != d
			}
			release, err := s.Alone()
			if err != nil {
				return err
			}
			_, err = s.Sweep(t.Context(), keep, false)
			return errors.Join(err, release())
		}, true},
		"a pack that was cut":     {func(_ *testing.T, s *disk.Store, _ cas.Digest) error { return os.Truncate(pack(s), 1000) }, true},
		"a pack that was removed": {func(_ *testing.T, s *disk.Store, _ cas.Digest) error { return os.Remove(pack(s)) }, true},
		"the index of a pack was removed": {func(_ *testing.T, s *disk.Store, _ cas.Digest) error {
			return os.Remove(strings.TrimSuffix(pack(s), ".pack") + ".index")
		}, true},
		"another pack in its place": {func(t *testing.T, s *disk.Store, _ cas.Digest) error {
			other := disktest.Open(t, t.TempDir())
			for i := range 9 {
				if _, err := other.Put(t.Context(), strings.NewReader(strings.Repeat(fmt.Sprint(i), 100_000))); err != nil {
					return err
				}
			}
			return errors.Join(os.Rename(pack(other), pack(s)),
				os.Rename(filepath.Join(other.Root(), "packs", "000001.index"), filepath.Join(s.Root(), "packs", "000001.index")))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, index, root := t.TempDir(), filepath.Join(t.TempDir(), "index"), t.TempDir()
			files := map[string]string{file: text}
			for i := range 20 {
				files[fmt.Sprintf("a/%d", i)] = strings.Repeat(fmt.Sprint(i), 100)
			}
			for name, data := range files {
				write(t, filepath.Join(dir, name), data)
			}
			time.Sleep(150 * time.Millisecond)
			s := disktest.Open(t, root)
			tree, _ := take(t, s, dir, index)
			if _, taken := take(t, s, dir, index); taken.Read != 0 {
				t.Fatalf("with nothing lost: %+v", taken)
			}
			d, err := tree.Lookup(t.Context(), file)
			if err == nil {
				err = c.lose(t, s, d)
			}
			if err != nil {
				t.Fatal(err)
			}
			s = disktest.Open(t, root)
			tree, taken := take(t, s, dir, index)
			if all := taken.Read > 1; taken.Read == 0 || all != c.all {
				t.Errorf("took %+v", taken)
			}
			if diff := cmp.Diff(files, content(t, tree)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if _, taken := take(t, s, dir, index); taken.Read != 0 {
				t.Errorf("then: %+v", taken)
			}
		})
	}
}

// damage flips a bit of a text in a file.
func damage(t *testing.T, name, text string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(text))
	if at < 0 {
		t.Fatalf("%s does not have %q", name, text)
	}
	data[at] ^= 1
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestTakeRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("x", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	x, err := dirindex.Open("", dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := worktree.Take(t.Context(), cas.NewMemory(), dir, x); !errors.Is(err, worktree.ErrIrregular) {
		t.Errorf("a link: %v", err)
	}
}

// TestWrite writes a tree out, and takes the folder in again as the same tree.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	files := fill(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "nothing in it"), 0o777); err != nil {
		t.Fatal(err)
	}
	s := disktest.Open(t, t.TempDir())
	tree, _ := take(t, s, dir, "")
	dest := filepath.Join(t.TempDir(), "parent", "dest")
	written, err := worktree.Write(t.Context(), s, tree.ID(), dest)
	if err != nil || written.Files != len(files) {
		t.Fatalf("%+v, %v", written, err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dest, name))
		if err != nil || string(got) != want {
			t.Errorf("%s has %d bytes, %v", name, len(got), err)
		}
		if info, err := os.Stat(filepath.Join(dest, name)); err != nil || info.Mode().Perm()&0o600 != 0o600 {
			t.Errorf("%s may not be edited: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := worktree.Write(t.Context(), s, tree.ID(), dest); err == nil {
		t.Error("wrote into a folder that is not empty")
	}
}

// TestWriteIsWholeOrAbsent writes a tree of which the store has lost or damaged a file.
func TestWriteIsWholeOrAbsent(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	for _, damage := range []func(name string) error{
		os.Remove,
		func(name string) error {
			data, err := os.ReadFile(name)
			return errors.Join(err, os.Chmod(name, 0o644), os.WriteFile(name, append(data[:len(data)-1], '!'), 0o444))
		},
	} {
		s := disktest.Open(t, t.TempDir())
		tree, _ := take(t, s, dir, "")
		d, err := tree.Lookup(t.Context(), "large")
		if err == nil {
			err = damage(filepath.Join(s.Root(), "blobs", d.Hex()[:2], d.Hex()[2:]))
		}
		if err != nil {
			t.Fatal(err)
		}
		parent := t.TempDir()
		_, err = worktree.Write(t.Context(), s, tree.ID(), filepath.Join(parent, "dest"))
		if _, bad := errors.AsType[*cas.BlobError](err); !bad || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Write = %v", err)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := disktest.Open(t, t.TempDir())
	tree, _ := take(t, s, dir, "")
	if _, err := worktree.Write(ctx, s, tree.ID(), filepath.Join(t.TempDir(), "dest")); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

// TestReflink has store and folder on file systems whose files can share bytes. Large
// files go in and out as clones, and neither side feels what is done to the other.
func TestReflink(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			root := mount(t, kind)
			src := filepath.Join(root, "src")
			files := fill(t, src)
			s := disktest.Open(t, filepath.Join(root, "store"))
			tree, _ := take(t, s, src, "")
			large := filepath.Join(src, "large")
			d := cas.Sum([]byte(files["large"]))
			if !shared(t, large) {
				t.Error("the store has copied the bytes of a large file")
			}
			dest := filepath.Join(root, "dest")
			written, err := worktree.Write(t.Context(), s, tree.ID(), dest)
			if err != nil || written.Cloned != 1 {
				t.Fatalf("%+v, %v", written, err)
			}
			for _, name := range []string{large, filepath.Join(dest, "large")} {
				f, err := os.OpenFile(name, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.WriteAt([]byte("edited in place"), 100)
				if err := errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := cas.ReadBlob(t.Context(), s, d); err != nil || string(got) != files["large"] {
				t.Errorf("after edits outside: %d bytes, %v", len(got), err)
			}
			// A damaged blob is not given out as a clone either.
			blob := filepath.Join(s.Root(), "blobs", d.Hex()[:2], d.Hex()[2:])
			data := bytes.Clone([]byte(files["large"]))
			data[7] ^= 1
			if err := errors.Join(os.Chmod(blob, 0o644), os.WriteFile(blob, data, 0o444)); err != nil {
				t.Fatal(err)
			}
			if _, err := worktree.Write(t.Context(), s, tree.ID(), filepath.Join(root, "again")); !errors.Is(err, cas.ErrDamaged) {
				t.Errorf("Write of a damaged blob = %v", err)
			}
		})
	}
}

// shared tells whether filefrag calls an extent of a file shared.
func shared(t *testing.T, name string) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "filefrag", "-v", "-s", name).CombinedOutput()
	if err != nil {
		t.Fatalf("filefrag: %v\n%s", err, out)
	}
	return strings.Contains(string(out), "shared")
}

// mount makes a file system of that kind, which only root may do.
func mount(t *testing.T, kind string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a file system")
	}
	if _, err := exec.LookPath("mkfs." + kind); err != nil {
		t.Skip(err)
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(320<<20), f.Close()) // XFS wants 300 MB at least
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs." + kind, "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", args[0], err, out) // the kernel need not know it, and a container may not mount
		}
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

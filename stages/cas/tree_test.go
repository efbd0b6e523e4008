package cas_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sandwich-build/sandwich/stages/cas"
)

func build(t *testing.T, s cas.Store, paths ...string) cas.Tree {
	t.Helper()
	b := cas.NewBuilder(s)
	for _, p := range paths {
		if err := b.PutBytes(t.Context(), p, []byte("content of "+p)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func paths(t *testing.T, tree cas.Tree) []string {
	t.Helper()
	var names []string
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Path)
	}
	return names
}

func TestTree(t *testing.T) {
	// In the order of their path segments: "a/b" before "a-b".
	names := []string{"B", "a/b", "a/c/d e", "a/c-d", "a-b", "é/ü.txt", "😀"}
	s := cas.NewMemory()
	tree := build(t, s, names...)
	if got := paths(t, tree); !slices.Equal(got, names) {
		t.Errorf("files are %q, want %q", got, names)
	}
	for _, name := range names {
		data, err := tree.ReadFile(t.Context(), name)
		if err != nil || string(data) != "content of "+name {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"a", "a/c", "nothing", "a/nothing", "B/b"} {
		if _, err := tree.ReadFile(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "/B", "a//b", "a/../B", "a/"} {
		if _, err := tree.ReadFile(t.Context(), name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	sub, err := tree.Sub(t.Context(), "a/c")
	if err != nil || !slices.Equal(paths(t, sub), []string{"d e"}) {
		t.Errorf("Sub(a/c): %v", err)
	}
}

// TestTreeDoesNotDependOnOrder builds one random tree from many goroutines in several
// orders.
func TestTreeDoesNotDependOnOrder(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("d%d/e%d/f%d", i%3, i%7, i))
	}
	s := cas.NewMemory()
	want := build(t, s, names...).ID()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b := cas.NewBuilder(s)
		var wg sync.WaitGroup
		for part := range slices.Chunk(names, 40) {
			wg.Go(func() {
				for _, p := range part {
					if err := b.PutBytes(t.Context(), p, []byte("content of "+p)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		tree, err := b.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if tree.ID() != want {
			t.Fatalf("tree %s, want %s", tree.ID(), want)
		}
	}
}

// TestAddTreeIsAPointer holds that a tree put together from parts is the tree that was
// built file by file.
func TestAddTreeIsAPointer(t *testing.T) {
	s := cas.NewMemory()
	part := build(t, s, "x", "y/z")
	b := cas.NewBuilder(s)
	if err := b.AddTree(t.Context(), "left/part", part); err != nil {
		t.Fatal(err)
	}
	if err := b.AddTree(t.Context(), "", part); err != nil {
		t.Fatal(err)
	}
	tree, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paths(t, tree), []string{"left/part/x", "left/part/y/z", "x", "y/z"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
	if sub, err := tree.Sub(t.Context(), "left/part"); err != nil || sub.ID() != part.ID() {
		t.Errorf("the part is another tree: %v", err)
	}
}

func TestBuilderRefuses(t *testing.T) {
	s := cas.NewMemory()
	d, err := cas.PutBytes(t.Context(), s, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{"a", "a"}, {"a", "a/b"}, {"a/b", "a"}} {
		b := cas.NewBuilder(s)
		if err := b.Add(pair[0], d); err != nil {
			t.Fatal(err)
		}
		if err := b.Add(pair[1], d); err == nil {
			t.Errorf("%q after %q was taken", pair[1], pair[0])
		}
	}
	for _, name := range []string{"", ".", "/a", "../a", "a//b", "a/"} {
		if err := cas.NewBuilder(s).Add(name, d); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Add(%q) = %v", name, err)
		}
	}
}

// TestLostBlobIsNotAMissingFile holds that a kind which treats a file as optional can
// not take a store that lost the file for a tree that never had it.
func TestLostBlobIsNotAMissingFile(t *testing.T) {
	tree := build(t, cas.NewMemory(), "a/b")
	elsewhere := cas.NewTree(cas.NewMemory(), tree.ID())
	if _, err := elsewhere.ReadFile(t.Context(), "a/b"); !errors.Is(err, cas.ErrLost) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the directory: %v", err)
	}
	b := cas.NewBuilder(cas.NewMemory())
	if err := b.Add("x", cas.Sum([]byte("never stored"))); err != nil {
		t.Fatal(err)
	}
	hollow, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hollow.ReadFile(t.Context(), "x"); !errors.Is(err, cas.ErrLost) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile: %v", err)
	}
	if _, err := hollow.Open(t.Context(), "x"); !errors.Is(err, cas.ErrLost) {
		t.Errorf("Open: %v", err)
	}
}

// FuzzDirectory holds that no directory, whoever wrote it, names a file outside its
// root or makes the walk panic.
func FuzzDirectory(f *testing.F) {
	seed := func(d *repb.Directory) {
		data, err := proto.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	digest := &repb.Digest{Hash: cas.Sum(nil).Hex()}
	seed(&repb.Directory{Files: []*repb.FileNode{{Name: "a", Digest: digest}, {Name: "b", Digest: digest}}})
	seed(&repb.Directory{Files: []*repb.FileNode{{Name: "../a", Digest: digest}}})
	seed(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "..", Digest: digest}}})
	seed(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "d"}}})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := cas.NewMemory()
		if _, err := cas.PutBytes(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
		d, err := cas.PutBytes(t.Context(), s, data)
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		for file, err := range cas.NewTree(s, cas.NewTreeID(d)).Files(t.Context()) {
			if err != nil {
				return
			}
			if !fs.ValidPath(file.Path) || file.Path == last {
				t.Fatalf("file %q after %q", file.Path, last)
			}
			last = file.Path
		}
	})
}

// opensOf counts how often a store is asked for each blob.
type opensOf struct {
	cas.Store
	opens map[cas.Digest]int
}

func (o opensOf) Open(ctx context.Context, d cas.Digest) (io.ReadCloser, error) {
	o.opens[d]++
	return o.Store.Open(ctx, d)
}

// TestLookupsReadADirectoryOnce keeps stages that look up each of their files from
// reading the whole list for each.
func TestLookupsReadADirectoryOnce(t *testing.T) {
	memory := cas.NewMemory()
	b := cas.NewBuilder(memory)
	for _, name := range []string{"a/1", "a/2", "b/1", "b/2"} {
		if err := b.PutBytes(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store := opensOf{memory, make(map[cas.Digest]int)}
	tree := cas.NewTree(store, built.ID())
	for _, name := range []string{"a/1", "b/1", "a/2", "b/2", "a/1"} {
		if _, err := tree.Lookup(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if len(store.opens) != 3 {
		t.Errorf("%d directories were read, want 3", len(store.opens))
	}
	for d, n := range store.opens {
		if n != 1 {
			t.Errorf("directory %s was read %d times", d, n)
		}
	}
}

// TestWrite: what the writer says of itself is told, and nothing of it becomes a file.
func TestWrite(t *testing.T) {
	b := cas.NewBuilder(cas.NewMemory())
	if err := b.Write(t.Context(), "lunch", func(w io.Writer) error {
		_, err := io.WriteString(w, "ham, egg")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	burnt := errors.New("burnt")
	err := b.Write(t.Context(), "dinner", func(w io.Writer) error {
		_, _ = io.WriteString(w, "half a ")
		return burnt
	})
	if !errors.Is(err, burnt) || !strings.Contains(err.Error(), "dinner") {
		t.Errorf("the error is %v, want what the writer said, and of which file", err)
	}
	if err := b.Write(t.Context(), "../lunch", func(io.Writer) error { return nil }); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path that leads out: %v, want fs.ErrInvalid", err)
	}
	tree, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := tree.ReadFile(t.Context(), "lunch")
	if err != nil || string(text) != "ham, egg" {
		t.Errorf("lunch is %q, %v", text, err)
	}
	if _, err := tree.Lookup(t.Context(), "dinner"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dinner is there: %v", err)
	}
}

package cas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
)

// TreeID names an immutable directory of blobs: the digest of its root Directory.
// It is a type of its own so that a blob is never taken for a tree.
type TreeID struct{ root Digest }

// NewTreeID says that d is the digest of a root Directory.
func NewTreeID(d Digest) TreeID { return TreeID{d} }

// Digest returns the digest of the root Directory.
func (id TreeID) Digest() Digest { return id.root }

// String returns the digest of the root as "sha256:…".
func (id TreeID) String() string { return id.root.String() }

// MarshalBinary implements encoding.BinaryMarshaler.
func (id TreeID) MarshalBinary() ([]byte, error) { return id.root.MarshalBinary() }

// UnmarshalBinary reads what MarshalBinary wrote.
func (id *TreeID) UnmarshalBinary(data []byte) error { return id.root.UnmarshalBinary(data) }

// IsZero reports whether id names nothing.
func (id TreeID) IsZero() bool { return id.root.IsZero() }

// Tree is a tree together with the store that holds it. Every read of the zero Tree
// fails.
type Tree struct {
	store Store
	id    TreeID
	known *directories // that lookups have read
}

// NewTree returns a handle on a tree; nothing is read until it is used. Copies of the
// handle remember together which directories they have read.
func NewTree(s Store, id TreeID) Tree { return Tree{store: s, id: id, known: new(directories)} }

// ID returns the tree's name.
func (t Tree) ID() TreeID { return t.id }

// File is one file of a tree.
type File struct {
	Path   string // slash-separated, relative to the root
	Digest Digest
}

// Lookup returns the digest of the file at path, or fs.ErrNotExist.
func (t Tree) Lookup(ctx context.Context, name string) (Digest, error) {
	d, err := t.lookup(ctx, name)
	if err != nil {
		return Digest{}, fmt.Errorf("tree %s: %s: %w", shortHex(t.id.root), name, err)
	}
	return d, nil
}

func (t Tree) lookup(ctx context.Context, name string) (Digest, error) {
	if !fs.ValidPath(name) || name == "." {
		return Digest{}, fs.ErrInvalid
	}
	dir := t.id.root
	for {
		head, rest, nested := strings.Cut(name, "/")
		d, err := t.known.read(ctx, t.store, dir)
		if err != nil {
			return Digest{}, err
		}
		if !nested {
			return findFile(d, head)
		}
		if dir, err = findDirectory(d, head); err != nil {
			return Digest{}, err
		}
		name = rest
	}
}

// Sub returns the tree below the directory at path, or fs.ErrNotExist.
func (t Tree) Sub(ctx context.Context, name string) (Tree, error) {
	dir := t.id.root
	for head := range strings.SplitSeq(name, "/") {
		d, err := readDirectory(ctx, t.store, dir)
		if err == nil {
			dir, err = findDirectory(d, head)
		}
		if err != nil {
			return Tree{}, fmt.Errorf("tree %s: %s: %w", shortHex(t.id.root), name, err)
		}
	}
	return NewTree(t.store, TreeID{dir}), nil
}

// Open opens the file at path; see Store.Open for what its reader promises. The error is
// fs.ErrNotExist when the tree has no such file, and a *BlobError when the store lost it.
func (t Tree) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	d, err := t.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := t.store.Open(ctx, d)
	return r, lost(d, err)
}

// ReadFile returns the content of the file at path.
func (t Tree) ReadFile(ctx context.Context, name string) ([]byte, error) {
	d, err := t.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := ReadBlob(ctx, t.store, d)
	return data, lost(d, err)
}

// errNoTree answers every read of the zero Tree.
var errNoTree = errors.New("there is no tree")

// lost turns "the store does not have this blob" into ErrLost. Whoever reads a tree
// takes fs.ErrNotExist for "the tree has no such file" and may go on without it; what
// the tree names and the store lost must never look like that.
func lost(d Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &BlobError{Digest: d, Err: ErrLost}
	}
	return err
}

// Files yields every file, sorted by path segment. It stops at the first error.
func (t Tree) Files(ctx context.Context) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		t.walk(ctx, "", t.id.root, yield)
	}
}

// Directories returns the directories at the root of the tree.
func (t Tree) Directories(ctx context.Context) (map[string]TreeID, error) {
	d, err := readDirectory(ctx, t.store, t.id.root)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]TreeID, len(d.GetDirectories()))
	for _, n := range d.GetDirectories() {
		digest, err := fromProto(n.GetDigest())
		if err != nil {
			return nil, err
		}
		ids[n.GetName()] = TreeID{digest}
	}
	return ids, nil
}

func (t Tree) walk(ctx context.Context, prefix string, dir Digest, yield func(File, error) bool) bool {
	d, err := readDirectory(ctx, t.store, dir)
	if err != nil {
		yield(File{}, err)
		return false
	}
	for e := range entries(d) {
		digest, err := fromProto(e.digest)
		if err != nil {
			yield(File{}, err)
			return false
		}
		name := path.Join(prefix, e.name)
		if e.isDir {
			if !t.walk(ctx, name, digest, yield) {
				return false
			}
		} else if !yield(File{Path: name, Digest: digest}, nil) {
			return false
		}
	}
	return true
}

// Reach calls visit for every blob that the tree needs: its directories, the root first,
// and its files. What is below a directory for which visit returns false is left out.
func (t Tree) Reach(ctx context.Context, visit func(d Digest) bool) error {
	if !visit(t.id.root) {
		return nil
	}
	d, err := readDirectory(ctx, t.store, t.id.root)
	if err != nil {
		return err
	}
	for e := range entries(d) {
		digest, err := fromProto(e.digest)
		if err != nil {
			return err
		}
		if !e.isDir {
			visit(digest)
		} else if err := NewTree(t.store, TreeID{digest}).Reach(ctx, visit); err != nil {
			return err
		}
	}
	return nil
}

// maxKnown bounds the directories that a handle remembers, in entries of some 300 bytes.
const maxKnown = 1 << 18

// directories remembers directories by their digests. A stage that looks up a hundred
// thousand crops in two folders would else read and check both lists for each.
type directories struct {
	mu      sync.Mutex // guards what follows
	byID    map[Digest]*repb.Directory
	entries int // of all in byID
}

// read is readDirectory, once for each directory as long as there is room.
func (k *directories) read(ctx context.Context, s Store, id Digest) (*repb.Directory, error) {
	if k == nil { // of the zero Tree
		return readDirectory(ctx, s, id)
	}
	k.mu.Lock()
	defer k.mu.Unlock() // also while reading: who waits wants the same directory
	if d, ok := k.byID[id]; ok {
		return d, nil
	}
	d, err := readDirectory(ctx, s, id)
	if err != nil {
		return nil, err
	}
	n := len(d.GetFiles()) + len(d.GetDirectories())
	if k.byID == nil || k.entries+n > maxKnown {
		k.byID, k.entries = make(map[Digest]*repb.Directory), 0
	}
	k.byID[id], k.entries = d, k.entries+n
	return d, nil
}

// entry is a file or a directory of a Directory.
type entry struct {
	name   string
	digest *repb.Digest
	isDir  bool
}

// entries merges the two sorted lists of a Directory into one.
func entries(d *repb.Directory) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		files, dirs := d.GetFiles(), d.GetDirectories()
		for len(files)+len(dirs) > 0 {
			var e entry
			if len(dirs) == 0 || (len(files) > 0 && files[0].GetName() < dirs[0].GetName()) {
				e = entry{name: files[0].GetName(), digest: files[0].GetDigest()}
				files = files[1:]
			} else {
				e = entry{name: dirs[0].GetName(), digest: dirs[0].GetDigest(), isDir: true}
				dirs = dirs[1:]
			}
			if !yield(e) {
				return
			}
		}
	}
}

func findFile(d *repb.Directory, name string) (Digest, error) {
	i, ok := slices.BinarySearchFunc(d.GetFiles(), name, func(n *repb.FileNode, s string) int {
		return strings.Compare(n.GetName(), s)
	})
	if !ok {
		return Digest{}, fs.ErrNotExist
	}
	return fromProto(d.GetFiles()[i].GetDigest())
}

func findDirectory(d *repb.Directory, name string) (Digest, error) {
	i, ok := slices.BinarySearchFunc(d.GetDirectories(), name, func(n *repb.DirectoryNode, s string) int {
		return strings.Compare(n.GetName(), s)
	})
	if !ok {
		return Digest{}, fs.ErrNotExist
	}
	return fromProto(d.GetDirectories()[i].GetDigest())
}

// readDirectory reads one directory and checks what the rest relies on: the names are
// single path segments, sorted and unique. A tree that came from elsewhere can
// therefore not name a file outside its root.
func readDirectory(ctx context.Context, s Store, id Digest) (*repb.Directory, error) {
	if s == nil {
		return nil, errNoTree
	}
	data, err := ReadBlob(ctx, s, id)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", shortHex(id), lost(id, err))
	}
	d := new(repb.Directory)
	if err := proto.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("directory %s: %w", id, err)
	}
	for i, f := range d.GetFiles() {
		if !validSegment(f.GetName()) || (i > 0 && d.GetFiles()[i-1].GetName() >= f.GetName()) {
			return nil, fmt.Errorf("directory %s: file name %q is unsafe or out of order", id, f.GetName())
		}
	}
	for i, c := range d.GetDirectories() {
		if !validSegment(c.GetName()) || (i > 0 && d.GetDirectories()[i-1].GetName() >= c.GetName()) {
			return nil, fmt.Errorf("directory %s: directory name %q is unsafe or out of order", id, c.GetName())
		}
	}
	return d, nil
}

func validSegment(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.Contains(name, "/")
}

func shortHex(d Digest) string { return d.Hex()[:12] }

// Builder makes a tree. It is safe for concurrent use, and the tree does not depend on
// the order of the calls.
type Builder struct {
	store Store
	mu    sync.Mutex // guards root
	root  *node
}

// node is a directory under construction. A child is a file, a directory under
// construction, or (sealed) a directory that the store already has.
type node struct {
	files  map[string]Digest
	dirs   map[string]*node
	sealed map[string]Digest
}

func newNode() *node {
	return &node{files: map[string]Digest{}, dirs: map[string]*node{}, sealed: map[string]Digest{}}
}

// NewBuilder returns a builder of an empty tree.
func NewBuilder(s Store) *Builder { return &Builder{store: s, root: newNode()} }

// Put stores what r yields as the file at path.
func (b *Builder) Put(ctx context.Context, name string, r io.Reader) error {
	d, err := b.store.Put(ctx, r)
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return b.Add(name, d)
}

// PutBytes stores data as the file at path.
func (b *Builder) PutBytes(ctx context.Context, name string, data []byte) error {
	return b.Put(ctx, name, bytes.NewReader(data))
}

// Write stores what write writes as the file at path. It is not held in memory.
func (b *Builder) Write(ctx context.Context, name string, write func(io.Writer) error) error {
	text, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(in)
		written <- err
		_ = in.CloseWithError(err) // never fails
	}()
	err := b.Put(ctx, name, text)
	_ = text.Close() // ends the writer if the store did not read it all; never fails
	// What the writer says of itself is told as it said it.
	if failed := <-written; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return fmt.Errorf("put %s: %w", name, failed)
	}
	return err
}

// Add makes a blob that the store already has the file at path.
func (b *Builder) Add(name string, d Digest) error {
	return b.insert(name, func(n *node, last string) { n.files[last] = d })
}

// AddTree makes t the directory at path; "" adds its files at the root.
func (b *Builder) AddTree(ctx context.Context, name string, t Tree) error {
	if name != "" {
		return b.insert(name, func(n *node, last string) { n.sealed[last] = t.id.root })
	}
	d, err := readDirectory(ctx, t.store, t.id.root)
	if err != nil {
		return err
	}
	for e := range entries(d) {
		digest, err := fromProto(e.digest)
		if err != nil {
			return err
		}
		if e.isDir {
			err = b.AddTree(ctx, e.name, NewTree(t.store, TreeID{digest}))
		} else {
			err = b.Add(e.name, digest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errTaken says that a path is in use already; an output that overwrote itself would
// depend on the order of its writes.
var errTaken = errors.New("path is already taken")

func (b *Builder) insert(name string, set func(n *node, last string)) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("tree path %q: %w", name, fs.ErrInvalid)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.root
	for {
		head, rest, nested := strings.Cut(name, "/")
		if !nested {
			break
		}
		if n.has(head) && n.dirs[head] == nil {
			return fmt.Errorf("tree path %q: %w", name, errTaken)
		}
		if n.dirs[head] == nil {
			n.dirs[head] = newNode()
		}
		n, name = n.dirs[head], rest
	}
	if n.has(name) {
		return fmt.Errorf("tree path %q: %w", name, errTaken)
	}
	set(n, name)
	return nil
}

func (n *node) has(name string) bool {
	_, file := n.files[name]
	_, sealed := n.sealed[name]
	return file || sealed || n.dirs[name] != nil
}

// Commit stores the directories and returns the tree.
func (b *Builder) Commit(ctx context.Context) (Tree, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	root, err := b.commit(ctx, b.root)
	if err != nil {
		return Tree{}, fmt.Errorf("store tree: %w", err)
	}
	return NewTree(b.store, TreeID{root}), nil
}

func (b *Builder) commit(ctx context.Context, n *node) (Digest, error) {
	d := new(repb.Directory)
	for _, name := range sortedKeys(n.files) {
		d.Files = append(d.Files, &repb.FileNode{Name: name, Digest: n.files[name].proto()})
	}
	subs := make(map[string]Digest, len(n.dirs)+len(n.sealed))
	for name, digest := range n.sealed {
		subs[name] = digest
	}
	for _, name := range sortedKeys(n.dirs) {
		digest, err := b.commit(ctx, n.dirs[name])
		if err != nil {
			return Digest{}, err
		}
		subs[name] = digest
	}
	for _, name := range sortedKeys(subs) {
		d.Directories = append(d.Directories, &repb.DirectoryNode{Name: name, Digest: subs[name].proto()})
	}
	// Deterministic only fixes the order of map fields, which Directory has none of;
	// fields are written in tag order, as the Remote Execution API asks.
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		return Digest{}, err
	}
	return PutBytes(ctx, b.store, data)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

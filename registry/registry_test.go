package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/registry"
	"github.com/sandwich-build/sandwich/registry/blob"
	"github.com/sandwich-build/sandwich/registry/blob/blobtest"
	"github.com/sandwich-build/sandwich/registry/blob/mem"
	"github.com/sandwich-build/sandwich/registry/folder"
	"github.com/sandwich-build/sandwich/registry/objects"
	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

const name = "quilt/open_images"

// clock is a clock that stands still.
func clock() time.Time { return time.Unix(1_700_000_000, 0) }

func open(t *testing.T, store blob.Store) *registry.Registry {
	t.Helper()
	r, err := registry.New(store, "/registry", registry.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// revision makes a revision of files, of which every second one has a known sha256.
func revision(message string, files map[string]string) registry.Revision {
	rev := registry.Revision{Message: message}
	for i, key := range slices.Sorted(maps.Keys(files)) {
		data := files[key]
		file := objects.File{
			Key:  key,
			Size: int64(len(data)),
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil },
		}
		if i%2 == 0 {
			file.SHA256 = sha256.Sum256([]byte(data))
		}
		rev.Files = append(rev.Files, file)
	}
	return rev
}

var (
	first  = map[string]string{"README.md": "one", "data/a.jpg": "aaaa", "data/sub/b c+é.jpg": "bb", "empty": "", "copy.jpg": "aaaa", "x": "old"}
	second = map[string]string{"README.md": "two", "data/a.jpg": "aaaa", "data/sub": "now a file", "empty": "", "new/n": "nn", "x/y": "now a folder"}
)

func push(t *testing.T, r *registry.Registry, message string, files map[string]string) quilt.TopHash {
	t.Helper()
	top, created, err := r.Push(t.Context(), name, revision(message, files), registry.PushOptions{})
	if err != nil || !created {
		t.Fatalf("Push = %v, %v, %v", top, created, err)
	}
	return top
}

func load(t *testing.T, r *registry.Registry, ref registry.Ref) *registry.Package {
	t.Helper()
	p, err := r.Load(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tree reads a folder, with symbolic links as "-> target".
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			files[filepath.ToSlash(rel)] = "-> " + target
			return err
		}
		data, err := os.ReadFile(path)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func wantTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", filepath.Base(dir), diff)
	}
}

func blobs(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func write(t *testing.T, s blob.Store, key, data string) {
	t.Helper()
	if err := s.Put(t.Context(), key, blob.Bytes([]byte(data))); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s blob.Store, key string) string {
	t.Helper()
	data, err := blob.ReadAll(t.Context(), s, key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// pass lets every call through and counts.
func pass(s blob.Conditional) *blobtest.Faulty {
	return blobtest.Intercept(s, func(blobtest.Call) *blobtest.Fault { return nil })
}

func TestLayout(t *testing.T) {
	store := &mem.Store{}
	meta, err := quilt.ValueOf(map[string]int{"labels": 2})
	if err != nil {
		t.Fatal(err)
	}
	rev := revision("Initial", map[string]string{"a b.txt": "hello"})
	rev.Meta = meta
	top, created, err := open(t, store).Push(t.Context(), name, rev, registry.PushOptions{})
	if err != nil || !created {
		t.Fatal(created, err)
	}
	// The hash of "hello" in checksums.json of the vectors, in hexadecimal.
	const object = ".sandwich/objects/95/9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"
	want := map[string]string{
		object:                            "hello",
		".quilt/packages/" + top.String(): `{"version": "v0", "user_meta": {"labels": 2}, "message": "Initial"}` + "\n" + `{"logical_key": "a b.txt", "physical_keys": ["file:///registry/` + object + `"], "size": 5, "hash": {"type": "sha2-256-chunked", "value": "lZXJ35AHUUjrBoYDZd8zWEt1v/eCpRDGzUiDpBmDPVA="}, "meta": {}}` + "\n",
		".quilt/named_packages/" + name + "/1700000000": top.String(),
		".quilt/named_packages/" + name + "/latest":     top.String(),
	}
	got := map[string]string{}
	for _, key := range blobs(t, store, "") {
		got[key] = read(t, store, key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPushAgainWritesNothing(t *testing.T) {
	store := pass(&mem.Store{})
	r := open(t, store)
	top := push(t, r, "m", first)
	before := len(store.Calls())
	again, created, err := r.Push(t.Context(), name, revision("m", first), registry.PushOptions{})
	if err != nil || created || again != top {
		t.Errorf("second Push = %v, %v, %v", again, created, err)
	}
	if calls := store.Calls()[before:]; len(calls) != 1 || calls[0].Op != blobtest.ReadTagged {
		t.Errorf("second push calls %v", calls)
	}
	// Another message is another revision, but has no new objects.
	objects := store.Count(blobtest.Put, ".sandwich/objects/")
	if objects != 5 {
		t.Errorf("%d objects were put, want 5: one for two equal files", objects)
	}
	push(t, r, "other", first)
	if n := store.Count(blobtest.Put, ".sandwich/objects/"); n != objects {
		t.Errorf("%d objects were sent again", n-objects)
	}
}

func TestPushOpensOnlyWhatItMust(t *testing.T) {
	r := open(t, &mem.Store{})
	push(t, r, "m", first)
	rev := revision("n", first)
	for i := range rev.Files {
		data := first[rev.Files[i].Key]
		rev.Files[i].SHA256 = sha256.Sum256([]byte(data))
		rev.Files[i].Open = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("opened") }
	}
	if _, created, err := r.Push(t.Context(), name, rev, registry.PushOptions{}); err != nil || !created {
		t.Errorf("Push = %v, %v", created, err)
	}
}

func TestPushLargeFile(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 9<<16) // 9 MiB: two chunks
	store := &mem.Store{}
	r := open(t, store)
	var reported, total int64
	rev := revision("m", map[string]string{"big": data, "small": "x"})
	_, _, err := r.Push(t.Context(), name, rev, registry.PushOptions{Progress: func(at transfer.State) { reported, total = at.Bytes, at.AllBytes }})
	if err != nil {
		t.Fatal(err)
	}
	if reported != int64(len(data)+1) || total != reported {
		t.Errorf("progress ends at %d of %d bytes, want %d", reported, total, len(data)+1)
	}
	got, err := r.ReadFile(t.Context(), load(t, r, registry.Ref{Name: name}), "big")
	if err != nil || !bytes.Equal(got, []byte(data)) {
		t.Errorf("ReadFile = %d bytes, %v", len(got), err)
	}
}

// lying is a source that verifies by itself, and finds damage with its last byte.
type lying struct {
	io.Reader
	err error
}

func (l *lying) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == nil && n > 0 {
		err = l.err
	}
	return n, err
}

func (*lying) Close() error { return nil }

// What is read to be hashed is told of: of a large file that takes as long as to send it.
func TestPushTellsOfHashing(t *testing.T) {
	r := open(t, &mem.Store{})
	var states []transfer.State
	rev := revision("m", map[string]string{"large": noise(20 << 20)})
	if _, _, err := r.Push(t.Context(), name, rev, registry.PushOptions{Hashing: func(s transfer.State) { states = append(states, s) }}); err != nil {
		t.Fatal(err)
	}
	if n := len(states); n < 3 || states[n-1] != (transfer.State{Files: 1, AllFiles: 1, Bytes: 20 << 20, AllBytes: 20 << 20}) {
		t.Errorf("states = %+v", states)
	}
}

// TestPushTellsTheErrorOfASource pushes bytes whose source knows that they are damaged:
// the caller must see its error, which says what can be done about it.
func TestPushTellsTheErrorOfASource(t *testing.T) {
	damaged := errors.New("damaged")
	sum := sha256.Sum256([]byte("right"))
	rev := registry.Revision{Message: "m", Files: []objects.File{{
		Key: "a", Size: 5, SHA256: sum,
		Open: func(context.Context) (io.ReadCloser, error) { return &lying{strings.NewReader("wrong"), damaged}, nil },
	}}}
	_, _, err := open(t, new(mem.Store)).Push(t.Context(), "team/data", rev, registry.PushOptions{})
	if !errors.Is(err, damaged) {
		t.Errorf("got %v, want the error of the source", err)
	}
}

func TestPushRefuses(t *testing.T) {
	store := &mem.Store{}
	r := open(t, store)
	file := func(key string, size int64, data string) objects.File {
		return objects.File{Key: key, Size: size, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(data)), nil
		}}
	}
	lying := file("a", 1, "x")
	lying.SHA256 = sha256.Sum256([]byte("y"))
	broken := objects.File{Key: "a", Size: 1, Open: func(context.Context) (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }}
	for label, files := range map[string][]objects.File{
		"wrong hash":           {lying},
		"too short":            {file("a", 2, "x")},
		"too long":             {file("a", 1, "xx")},
		"negative":             {file("a", -1, "")},
		"broken":               {broken},
		"parent":               {file("../a", 1, "x")},
		"device":               {file("a/NUL", 1, "x")},
		"twice":                {file("a", 1, "x"), file("a", 1, "x")},
		"file and folder":      {file("a", 1, "x"), file("a/b", 1, "x")},
		"wrong known and long": {{Key: "a", Size: 1, SHA256: lying.SHA256, Open: file("a", 1, "yy").Open}},
	} {
		if top, created, err := r.Push(t.Context(), name, registry.Revision{Files: files}, registry.PushOptions{}); err == nil {
			t.Errorf("%s: Push = %v, %v", label, top, created)
		}
	}
	if _, _, err := r.Push(t.Context(), "no name", registry.Revision{}, registry.PushOptions{}); err == nil {
		t.Error("a bad name was pushed")
	}
	if left := blobs(t, store, ""); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestExpect(t *testing.T) {
	r := open(t, &mem.Store{})
	none := quilt.TopHash{}
	pushExpecting := func(message string, expect quilt.TopHash) (quilt.TopHash, error) {
		top, _, err := r.Push(t.Context(), name, revision(message, first), registry.PushOptions{Expect: &expect})
		return top, err
	}
	one, err := pushExpecting("1", none)
	if err != nil {
		t.Fatal(err)
	}
	two, err := pushExpecting("2", one)
	if err != nil {
		t.Fatal(err)
	}
	for _, expect := range []quilt.TopHash{none, one} {
		top, err := pushExpecting("3", expect)
		var conflict *registry.ConflictError
		if !errors.As(err, &conflict) {
			t.Fatalf("Push = %v, want a conflict", err)
		}
		if want := (registry.ConflictError{Name: name, Expected: expect, Found: two, Pushed: top}); *conflict != want {
			t.Errorf("conflict = %+v, want %+v", *conflict, want)
		}
	}
	if _, err = pushExpecting("3", none); !strings.Contains(err.Error(), "the package exists: latest is "+two.String()) {
		t.Errorf("the conflict does not name the other revision: %v", err)
	}
	if _, err := pushExpecting("2", none); err != nil {
		t.Errorf("push of what is the latest already: %v", err)
	}
}

// TestPushBeside adds revisions to the log, each once, and leaves the latest as it is.
func TestPushBeside(t *testing.T) {
	r := open(t, &mem.Store{})
	push := func(message string, beside, want bool) quilt.TopHash {
		t.Helper()
		top, created, err := r.Push(t.Context(), name, revision(message, first), registry.PushOptions{Beside: beside})
		if err != nil || created != want {
			t.Fatalf("push of %s: created %v, %v; want %v", message, created, err, want)
		}
		return top
	}
	one := push("1", true, true)
	if _, err := r.Resolve(t.Context(), registry.Ref{Name: name}); err == nil {
		t.Error("there is a latest revision")
	}
	two := push("2", false, true)
	push("3", true, true)
	push("1", true, false)
	if latest, err := r.Resolve(t.Context(), registry.Ref{Name: name}); err != nil || latest != two {
		t.Errorf("the latest is %s, %v; want %s", latest, err, two)
	}
	if entries, err := r.Log(t.Context(), name); err != nil || len(entries) != 3 {
		t.Errorf("%d entries in the log, %v", len(entries), err)
	}
	if _, err := r.Load(t.Context(), registry.Ref{Name: name, Hash: one.String()}); err != nil {
		t.Errorf("a revision beside the latest: %v", err)
	}
}

// A push is killed at every call, before and after it took effect. At no time does a
// pointer lead to an incomplete revision, and pushing again sends nothing twice.
func TestPushKilledAtEveryCall(t *testing.T) {
	base := &mem.Store{}
	one := push(t, open(t, base), "one", first)
	counted := pass(clone(t, base))
	two := push(t, open(t, counted), "two", second)
	total := len(counted.Calls())
	if total < 10 {
		t.Fatalf("only %d calls", total)
	}
	for n := 1; n <= total; n++ {
		for _, after := range []bool{false, true} {
			store := clone(t, base)
			rev := revision("two", second)
			opts := registry.PushOptions{Workers: 1}
			_, _, err := open(t, blobtest.Kill(store, n, after)).Push(t.Context(), name, rev, opts)
			if !errors.Is(err, blobtest.ErrFault) {
				t.Fatalf("call %d: Push = %v, want %v", n, err, blobtest.ErrFault)
			}
			checkAllReachable(t, store)
			arrived := len(blobs(t, store, ".sandwich/objects/")) - len(blobs(t, base, ".sandwich/objects/"))

			resumed := pass(store)
			if _, _, err := open(t, resumed).Push(t.Context(), name, rev, opts); err != nil {
				t.Fatalf("call %d: resume: %v", n, err)
			}
			if sent := resumed.Count(blobtest.Put, ".sandwich/objects/"); sent != 4-arrived {
				t.Errorf("call %d: %d objects had arrived, %d were sent", n, arrived, sent)
			}
			checkAllReachable(t, store)
			if pointers := blobs(t, store, ".quilt/named_packages/"); len(pointers) != 3 {
				t.Errorf("call %d: two revisions have the pointers %v", n, pointers)
			}
			entries, err := open(t, store).Log(t.Context(), name)
			if err != nil || len(entries) != 2 || entries[0].TopHash != two || !entries[0].Latest || entries[1].TopHash != one {
				t.Errorf("call %d: log = %+v, %v", n, entries, err)
			}
		}
	}
}

func clone(t *testing.T, s blob.Store) *mem.Store {
	t.Helper()
	c := &mem.Store{}
	for _, key := range blobs(t, s, "") {
		write(t, c, key, read(t, s, key))
	}
	return c
}

// checkAllReachable follows every pointer and reads all that it leads to.
func checkAllReachable(t *testing.T, store blob.Store) {
	t.Helper()
	r := open(t, store)
	for _, key := range blobs(t, store, ".quilt/named_packages/") {
		p := load(t, r, registry.Ref{Name: name, Hash: read(t, store, key)})
		if report, err := r.VerifyObjects(t.Context(), p, nil); err != nil || !report.OK(false) {
			t.Fatalf("%s leads to an incomplete revision: %+v, %v", key, report, err)
		}
	}
}

// Several pushers start from the same revision, again and again. One of them wins each
// time, the others learn which, and the log has the winners only.
func TestRacingPushers(t *testing.T) {
	everywhere(t, func(t *testing.T, r *registry.Registry) {
		const pushers = 3
		var winners []quilt.TopHash
		base := quilt.TopHash{}
		for round := range repeated(t, 10) {
			winners = append(winners, race(t, r, round, pushers, base))
			base = winners[round]
		}
		entries, err := r.Log(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var logged []quilt.TopHash
		for _, e := range slices.Backward(entries) {
			logged = append(logged, e.TopHash)
		}
		if diff := cmp.Diff(winners, logged); diff != "" {
			t.Errorf("log (-winners +logged):\n%s", diff)
		}
	})
}

// repeated returns how often a test of chance repeats: often when that is asked for by
// SANDWICH_TEST_ROUNDS=100, else n times.
func repeated(t *testing.T, n int) int {
	t.Helper()
	text := os.Getenv("SANDWICH_TEST_ROUNDS")
	if text == "" {
		return n
	}
	rounds, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return rounds
}

func race(t *testing.T, r *registry.Registry, round, pushers int, base quilt.TopHash) quilt.TopHash {
	t.Helper()
	type outcome struct {
		top quilt.TopHash
		err error
	}
	outcomes := make(chan outcome)
	for i := range pushers {
		go func() {
			rev := revision(fmt.Sprintf("round %d, pusher %d", round, i), first)
			top, _, err := r.Push(t.Context(), name, rev, registry.PushOptions{Expect: &base})
			outcomes <- outcome{top, err}
		}()
	}
	var winner quilt.TopHash
	var conflicts []*registry.ConflictError
	for range pushers {
		got := <-outcomes
		var conflict *registry.ConflictError
		switch {
		case got.err == nil && winner.IsZero():
			winner = got.top
		case errors.As(got.err, &conflict):
			conflicts = append(conflicts, conflict)
		default:
			t.Errorf("round %d: %v, %v", round, got.top, got.err)
		}
	}
	for _, c := range conflicts {
		if c.Found != winner || c.Expected != base {
			t.Errorf("round %d: conflict names %v, but %v won", round, c.Found, winner)
		}
	}
	if got := load(t, r, registry.Ref{Name: name}).TopHash; got != winner {
		t.Errorf("round %d: latest is %v, but %v won", round, got, winner)
	}
	return winner
}

func openFolder(t *testing.T, dir string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), dir, registry.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	want, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	want = "file://" + filepath.ToSlash(want)
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for location, base := range map[string]string{dir: "", "file://" + dir: "/elsewhere", ".": dir, "../" + filepath.Base(dir): dir} {
		r, err := registry.Open(t.Context(), location, registry.Options{Base: base})
		if err != nil || r.String() != want {
			t.Errorf("Open(%s) = %v, %v, want %s", location, r, err, want)
		}
	}
	for _, location := range []string{"", filepath.Join(dir, "file"), "file://host/x", "file://rel"} {
		if r, err := registry.Open(t.Context(), location, registry.Options{}); err == nil {
			t.Errorf("Open(%q) = %v", location, r)
		}
	}
	for _, scheme := range []string{"gs", "ftp"} {
		var unsupported *registry.UnsupportedError
		_, err := registry.Open(t.Context(), scheme+"://bucket", registry.Options{})
		if !errors.As(err, &unsupported) || unsupported.Scheme != scheme {
			t.Errorf("Open of %s = %v", scheme, err)
		}
	}
}

func TestAbsentRegistry(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not yet", "there")
	r := openFolder(t, dir)
	if _, err := r.Load(t.Context(), registry.Ref{Name: name}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load = %v", err)
	}
	if _, err := r.Log(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Log = %v", err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("reading made the folder")
	}
	push(t, r, "m", first)
}

func TestResolve(t *testing.T) {
	store := &mem.Store{}
	r := open(t, store)
	one, two := push(t, r, "one", first), push(t, r, "two", second)
	write(t, store, ".quilt/named_packages/"+name+"/stable", one.String()+" \n")
	write(t, store, ".quilt/packages/abcdef"+strings.Repeat("0", 58), "")
	write(t, store, ".quilt/packages/abcdef"+strings.Repeat("1", 58), "")
	write(t, store, ".quilt/packages/abcdef.txt", "")
	for ref, want := range map[string]quilt.TopHash{
		name: two, name + ":latest": two, name + ":stable": one, name + ":1700000000": one,
		name + "@" + one.String(): one, name + "@" + one.String()[:6]: one, name + "@" + two.String()[:20]: two,
	} {
		parsed, err := registry.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Resolve(t.Context(), parsed); err != nil || got != want {
			t.Errorf("Resolve(%s) = %v, %v, want %v", ref, got, err, want)
		}
	}
	for _, ref := range []registry.Ref{
		{Name: "no/such"}, {Name: name, Tag: "none"}, {Name: name, Hash: "000000"}, {Name: name, Hash: strings.Repeat("0", 64)},
	} {
		var unknown *registry.NotFoundError
		if _, err := r.Resolve(t.Context(), ref); !errors.As(err, &unknown) || unknown.Ref != ref || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%v) = %v", ref, err)
		}
	}
	var ambiguous *registry.AmbiguousError
	if _, err := r.Resolve(t.Context(), registry.Ref{Name: name, Hash: "abcdef"}); !errors.As(err, &ambiguous) || len(ambiguous.Matches) < 2 {
		t.Errorf("Resolve of an ambiguous prefix = %v", err)
	}
	if _, err := r.Resolve(t.Context(), registry.Ref{Name: name, Tag: "../x"}); err == nil {
		t.Error("Resolve took a tag that leads away")
	}
}

func TestParseRef(t *testing.T) {
	for _, s := range []string{"a/b", "a/b@012def", "a/b@" + strings.Repeat("a", 64), "a/b:tag", "a/b:v1.0", "日本/語"} {
		ref, err := registry.ParseRef(s)
		if err != nil || ref.String() != s {
			t.Errorf("ParseRef(%s) = %+v, %v", s, ref, err)
		}
	}
	for _, s := range []string{
		"", "a", "a/b@", "a/b:", "a/b@01234", "a/b@01234G", "a/b@ABCDEF", "a/b@" + strings.Repeat("a", 65),
		"a/b@abcdef:x", "a/b:x@abcdef", "a/b:..", "a/b:x/y", "a/b/c", "a/b\n",
	} {
		if ref, err := registry.ParseRef(s); err == nil {
			t.Errorf("ParseRef(%q) = %+v", s, ref)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("ns/name@abcdef")
	f.Add("ns/name:latest")
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := registry.ParseRef(s)
		if err == nil && ref.String() != s {
			t.Errorf("ParseRef(%q) = %+v", s, ref)
		}
	})
}

func TestLog(t *testing.T) {
	store := &mem.Store{}
	r := open(t, store)
	one, two := push(t, r, "one", first), push(t, r, "two", second)
	push(t, r, "one", first) // back to what it was
	write(t, store, ".quilt/named_packages/"+name+"/1600000000", strings.Repeat("1", 64))
	write(t, store, ".quilt/named_packages/"+name+"/1500000000", "garbage")
	write(t, store, ".quilt/named_packages/"+name+"/tag", one.String())
	got, err := r.Log(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if got[3].TopHash.String() != strings.Repeat("1", 64) {
		t.Errorf("the pointer to a missing revision became %v", got[3].TopHash)
	}
	got[3].TopHash = quilt.TopHash{}
	for i := range got {
		if wantErr := i >= 3; (got[i].Err != nil) != wantErr {
			t.Errorf("entry %d: error %v", i, got[i].Err)
		}
		got[i].Err = nil
	}
	at := func(unix int64) time.Time { return time.Unix(unix, 0).UTC() }
	want := []registry.LogEntry{
		{Time: at(1_700_000_002), TopHash: one, Message: "one", Files: 6, Size: 16, Latest: true},
		{Time: at(1_700_000_001), TopHash: two, Message: "two", Files: 6, Size: 31},
		{Time: at(1_700_000_000), TopHash: one, Message: "one", Files: 6, Size: 16},
		{Time: at(1_600_000_000)},
		{Time: at(1_500_000_000)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Quilt's clients can remove timestamp pointers.
	for _, stamp := range []string{"1700000000", "1700000002", "1500000000", "1600000000"} {
		if err := store.Delete(t.Context(), ".quilt/named_packages/"+name+"/"+stamp); err != nil {
			t.Fatal(err)
		}
	}
	got, err = r.Log(t.Context(), name)
	if err != nil || len(got) != 2 || got[0].TopHash != one || !got[0].Latest || !got[0].Time.IsZero() || got[1].Latest {
		t.Errorf("without its pointer, log = %+v, %v", got, err)
	}
}

func TestTampering(t *testing.T) {
	var damage *registry.DamageError
	wantDamage := func(t *testing.T, err error) {
		t.Helper()
		if !errors.As(err, &damage) {
			t.Errorf("got %v, want a *DamageError", err)
		}
	}
	newRegistry := func(t *testing.T) (*mem.Store, *registry.Registry, string) {
		store := &mem.Store{}
		r := open(t, store)
		return store, r, ".quilt/packages/" + push(t, r, "m", first).String()
	}
	t.Run("package", func(t *testing.T) {
		store, r, key := newRegistry(t)
		whole := read(t, store, key)
		for _, changed := range []string{strings.Replace(whole, `"size": 3`, `"size": 4`, 1), whole[:len(whole)/2], "", whole[:strings.LastIndex(whole[:len(whole)-1], "\n")+1]} {
			write(t, store, key, changed)
			_, err := r.Load(t.Context(), registry.Ref{Name: name})
			wantDamage(t, err)
		}
	})
	t.Run("pointer", func(t *testing.T) {
		store, r, _ := newRegistry(t)
		for _, changed := range []string{"", "garbage", strings.Repeat("z", 64), strings.Repeat("0", 64), strings.Repeat("1", 1000)} {
			write(t, store, ".quilt/named_packages/"+name+"/latest", changed)
			_, err := r.Load(t.Context(), registry.Ref{Name: name})
			wantDamage(t, err)
			_, _, err = r.Push(t.Context(), name, revision("n", second), registry.PushOptions{})
			wantDamage(t, err)
		}
	})
	t.Run("object", func(t *testing.T) {
		store, r, _ := newRegistry(t)
		p := load(t, r, registry.Ref{Name: name})
		for _, key := range blobs(t, store, ".sandwich/objects/") {
			whole := read(t, store, key)
			changes := []string{whole + "x"}
			if whole != "" {
				changes = append(changes, "", whole[1:], strings.Repeat("y", len(whole)))
			}
			for _, changed := range changes {
				write(t, store, key, changed)
				dest := filepath.Join(t.TempDir(), "dest")
				_, err := r.Install(t.Context(), p, dest, registry.InstallOptions{})
				wantDamage(t, err)
				if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("a part of the package is visible: %v", tree(t, dest))
				}
				report, err := r.VerifyObjects(t.Context(), p, nil)
				if err != nil || len(report.Changed) == 0 || len(report.Missing) > 0 {
					t.Errorf("VerifyObjects = %+v, %v", report, err)
				}
			}
			if err := store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			report, err := r.VerifyObjects(t.Context(), p, nil)
			if err != nil || len(report.Missing) == 0 || len(report.Changed) > 0 {
				t.Errorf("VerifyObjects = %+v, %v", report, err)
			}
			write(t, store, key, whole)
		}
	})
	t.Run("truncated object is sent again", func(t *testing.T) {
		store, r, _ := newRegistry(t)
		write(t, store, blobs(t, store, ".sandwich/objects/")[0], "cut off")
		push(t, r, "again", first)
		checkAllReachable(t, store)
	})
}

// plant writes a package file made by hand under its true top hash.
func plant(t *testing.T, store blob.Store, entries ...quilt.Entry) registry.Ref {
	t.Helper()
	slices.SortFunc(entries, func(a, b quilt.Entry) int { return quilt.CompareKeys(a.Key, b.Key) })
	content := &quilt.Package{Header: quilt.NewHeader(quilt.Value{}, quilt.Value{}, "planted"), Entries: entries}
	top, err := content.TopHash()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := content.Encode(&buf); err != nil {
		t.Fatal(err)
	}
	write(t, store, ".quilt/packages/"+top.String(), buf.String())
	return registry.Ref{Name: name, Hash: top.String()}
}

func entry(t *testing.T, key, physical, data string) quilt.Entry {
	t.Helper()
	hash, ok := quilt.ChunkedFromSHA256(sha256.Sum256([]byte(data)), int64(len(data)))
	if !ok {
		t.Fatal("data is too large")
	}
	return quilt.NewEntry(key, physical, int64(len(data)), hash, quilt.Value{})
}

func TestHostileKeys(t *testing.T) {
	store := &mem.Store{}
	r := open(t, store)
	push(t, r, "m", map[string]string{"a": "x"})
	parent := t.TempDir()
	for _, key := range []string{
		"../escape", "/etc/escape", "a//b", "a/../../escape", ".", "a/", `..\escape`, `a\b`, "C:/escape", "NUL", "sub/con.txt", ".sandwich-part/files/x",
	} {
		ref := plant(t, store, entry(t, "A", "file:///registry/x", "x"), entry(t, key, "file:///registry/x", "x"))
		p, err := r.Load(t.Context(), ref)
		if err == nil {
			_, err = r.Install(t.Context(), p, filepath.Join(parent, "dest"), registry.InstallOptions{})
			if _, err := folder.Verify(t.Context(), p.Content, parent, nil); err == nil {
				t.Errorf("VerifyFolder took key %q", key)
			}
		}
		var fault *quilt.KeyError
		if !errors.As(err, &fault) {
			t.Errorf("key %q: %v, want a *quilt.KeyError", key, err)
		}
	}
	if left := tree(t, parent); len(left) > 0 {
		t.Errorf("written: %v", left)
	}
}

// A package must not make its reader open files outside of the registry, even such as
// have the right hash.
func TestPhysicalKeysStayInside(t *testing.T) {
	root := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := openFolder(t, root)
	if err := os.WriteFile(filepath.Join(root, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	inBucket := "s3://bucket/" + strings.TrimPrefix(r.String(), "file://") + "/secret"
	store := &mem.Store{}
	for _, physical := range []string{
		"file://" + outside, inBucket, "s3://bucket/secret", r.String() + "/../" + filepath.Base(filepath.Dir(outside)) + "/secret", r.String(), r.String() + "x/secret",
	} {
		ref := plant(t, store, entry(t, "a", physical, "secret"))
		key := ".quilt/packages/" + ref.Hash
		target := filepath.Join(root, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, []byte(read(t, store, key)), 0o644); err != nil {
			t.Fatal(err)
		}
		if data, err := r.ReadFile(t.Context(), load(t, r, ref), "a"); err == nil {
			t.Errorf("%s was read: %q", physical, data)
		}
	}
}

// What quilt3 has put into a folder lies under its name, with a hash type of its time.
func TestQuiltObjects(t *testing.T) {
	store := &mem.Store{}
	r := open(t, store)
	write(t, store, "ns/n/a b", "hello")
	const plain = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for _, hash := range []quilt.Hash{{Type: quilt.SHA256, Value: plain}, {Type: quilt.CRC64NVME, Value: "M3eFcAZSQlc="}, {Type: quilt.SHA256Chunked, Value: "lZXJ35AHUUjrBoYDZd8zWEt1v/eCpRDGzUiDpBmDPVA="}} {
		p := load(t, r, plant(t, store, quilt.NewEntry("a", "file:///registry/ns/n/a%20b", 5, hash, quilt.Value{})))
		dest := filepath.Join(t.TempDir(), "dest")
		if _, err := r.Install(t.Context(), p, dest, registry.InstallOptions{}); err != nil {
			t.Errorf("%s: %v", hash.Type, err)
			continue
		}
		wantTree(t, dest, map[string]string{"a": "hello"})
		if report, err := folder.Verify(t.Context(), p.Content, dest, nil); err != nil || !report.OK(false) {
			t.Errorf("%s: %+v, %v", hash.Type, report, err)
		}
	}
	p := load(t, r, plant(t, store, quilt.NewEntry("a", "file:///registry/ns/n/a%20b", 5, quilt.Hash{Type: "md5", Value: "x"}, quilt.Value{})))
	var unsupported *quilt.UnsupportedHashError
	if _, err := r.Install(t.Context(), p, filepath.Join(t.TempDir(), "dest"), registry.InstallOptions{}); !errors.As(err, &unsupported) {
		t.Errorf("unknown hash: %v", err)
	}
}

// FuzzPointer reads pointers that hold anything: they name a revision, or are damaged.
func FuzzPointer(f *testing.F) {
	for _, seed := range []string{"", " ", strings.Repeat("0", 64), strings.Repeat("ab", 32) + "\n", strings.Repeat("AB", 32), strings.Repeat("a", 4096), "../" + strings.Repeat("a", 61)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		store := &mem.Store{}
		if err := store.Put(t.Context(), ".quilt/named_packages/"+name+"/latest", blob.Bytes(data)); err != nil {
			t.Fatal(err)
		}
		r := open(t, store)
		top, err := r.Resolve(t.Context(), registry.Ref{Name: name})
		var damage *registry.DamageError
		switch {
		case err == nil && (top.IsZero() || strings.TrimSpace(string(data)) != top.String()):
			t.Errorf("%q is %s", data, top)
		case err != nil && !errors.As(err, &damage):
			t.Errorf("%q: %v, want a *DamageError", data, err)
		}
		// A push over it says so, or replaces it; it never takes it for a revision.
		if _, _, err := r.Push(t.Context(), name, revision("m", map[string]string{"a": "x"}), registry.PushOptions{}); err != nil && !errors.As(err, &damage) {
			t.Errorf("push over %q: %v", data, err)
		}
	})
}

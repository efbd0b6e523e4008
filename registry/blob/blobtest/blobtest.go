// Package blobtest is the suite that every blob store passes, and a store that fails
// as a test has planned.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/registry/blob"
)

// Run tests a store. newStore returns an empty one each time.
func Run(t *testing.T, newStore func(*testing.T) blob.Store) { run(t, newStore, false) }

// RunLossy tests a store whose way to its server loses requests and answers, which it has
// to make again. It must keep all promises, but of what was put there may be a version more
// than was put knowingly, and a conditional write that took effect may be told as lost when
// another one followed at once.
func RunLossy(t *testing.T, newStore func(*testing.T) blob.Store) { run(t, newStore, true) }

func run(t *testing.T, newStore func(*testing.T) blob.Store, lossy bool) {
	for _, tc := range reading {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			tc.test(t, s, s)
		})
	}
	for _, tc := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"broken body", testBrokenBody},
		{"known sums", testKnownSums},
		{"delete", testDelete},
		{"bad keys", testBadKeys},
		{"cancelled put", testCancelledPut},
		{"concurrent writers", testConcurrentWriters},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, newStore(t)) })
	}
	t.Run("list", func(t *testing.T) {
		s := newStore(t)
		testList(t, s, s)
	})
	if s, ok := newStore(t).(blob.Conditional); ok {
		t.Run("conditional", func(t *testing.T) { testConditional(t, s) })
		t.Run("read tagged", func(t *testing.T) {
			s := newStore(t).(blob.Conditional)
			testReadTagged(t, s, s)
		})
		t.Run("conditional race", func(t *testing.T) { testRace(t, newStore(t).(blob.Conditional), lossy) })
	}
	if s, ok := newStore(t).(blob.Versioned); ok {
		t.Run("versions", func(t *testing.T) { testVersions(t, s, lossy) })
	}
}

// reading are the tests of what a store shows of what was written to w, which is the same
// store or another way to it.
var reading = []struct {
	name string
	test func(t *testing.T, w, s blob.Store)
}{
	{"absent", testAbsent},
	{"put and read", testPutAndRead},
	{"ranges", testRanges},
	{"replace", testReplace},
	{"bad keys read", testBadKeysRead},
	{"cancelled", testCancelled},
}

// RunReadOnly tests a store that can only be read. newStore returns one and, as another
// way to the same blobs, an empty store that writes. lists says whether the store can list;
// if not, and of what would write, it says so with errors.ErrUnsupported.
func RunReadOnly(t *testing.T, lists bool, newStore func(*testing.T) (w blob.Store, s blob.Conditional)) {
	for _, tc := range reading {
		t.Run(tc.name, func(t *testing.T) {
			w, s := newStore(t)
			tc.test(t, w, s)
		})
	}
	t.Run("read tagged", func(t *testing.T) {
		w, s := newStore(t)
		testReadTagged(t, w, s)
	})
	t.Run("list", func(t *testing.T) {
		w, s := newStore(t)
		if lists {
			testList(t, w, s)
			return
		}
		for _, err := range s.List(t.Context(), "") {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("List yields %v, want %v", err, errors.ErrUnsupported)
			}
		}
	})
	t.Run("writing", func(t *testing.T) {
		w, s := newStore(t)
		mustPut(t, w, "k", "old")
		for op, err := range map[Op]error{
			Put:    s.Put(t.Context(), "k", blob.Bytes([]byte("new"))),
			PutIf:  s.PutIf(t.Context(), "new", nil, ""),
			Delete: s.Delete(t.Context(), "k"),
		} {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s = %v, want %v", op, err, errors.ErrUnsupported)
			}
		}
		wantBlob(t, s, "k", "old")
		wantAbsent(t, s, "new")
	})
}

// RunFaults tests that a store keeps its promises when calls on it fail, before or after
// they took effect, and in the midst of a blob.
func RunFaults(t *testing.T, newStore func(*testing.T) blob.Conditional) {
	for _, after := range []bool{false, true} {
		for _, op := range []Op{Put, PutIf, Delete, Stat, List, ReadTagged} {
			t.Run(fmt.Sprintf("%s, after %v", op, after), func(t *testing.T) {
				testFault(t, Plan(t, newStore(t), Planned{Op: op, Key: "k", Fault: Fault{After: after}}))
			})
		}
	}
	t.Run("cut put", func(t *testing.T) {
		testFault(t, Plan(t, newStore(t), Planned{Op: Put, Key: "k", Fault: Fault{Cut: 2}}))
	})
	t.Run("cut open", func(t *testing.T) {
		s := Plan(t, newStore(t), Planned{Op: Open, Key: "k", Fault: Fault{Cut: 2}})
		mustPut(t, s, "k", "12345")
		data, err := blob.ReadAll(t.Context(), s, "k", 10)
		if !errors.Is(err, ErrFault) {
			t.Errorf("read = %q, %v, want %v", data, err, ErrFault)
		}
		wantBlob(t, s, "k", "12345")
	})
}

// testFault does every operation, again where it failed, and expects the same in the end
// as without a fault.
func testFault(t *testing.T, s blob.Conditional) {
	ctx := t.Context()
	twice := func(op func() error) {
		t.Helper()
		if err := op(); err != nil {
			if !errors.Is(err, ErrFault) {
				t.Fatal(err)
			}
			if err := op(); err != nil && !errors.Is(err, blob.ErrChanged) {
				t.Fatal(err)
			}
		}
	}
	twice(func() error { return s.Put(ctx, "k", blob.Bytes([]byte("12345"))) })
	wantBlob(t, s, "k", "12345")
	twice(func() error { _, err := s.Stat(ctx, "k"); return err })
	twice(func() error {
		for _, err := range s.List(ctx, "k") {
			return err
		}
		return errors.New("nothing listed")
	})
	var tag blob.Tag
	twice(func() (err error) { _, tag, err = s.ReadTagged(ctx, "k"); return err })
	twice(func() error { return s.PutIf(ctx, "k", []byte("new"), tag) })
	wantBlob(t, s, "k", "new")
	twice(func() error { return s.Delete(ctx, "k") })
	wantAbsent(t, s, "k")
}

func testAbsent(t *testing.T, w, s blob.Store) {
	wantAbsent(t, s, "a")
	mustPut(t, w, "a/b", "x")
	wantAbsent(t, s, "a")     // a folder at most
	wantAbsent(t, s, "a/b/c") // below a blob
}

func testPutAndRead(t *testing.T, w, s blob.Store) {
	for key, data := range map[string]string{
		"a": "", "b": "x", ".quilt/named_packages/ns/n/latest": strings.Repeat("0", 64),
		"é/ü b+c%20": "unicode", "a?b#c&d=e@f:g'(h)": "quoted", "sub/index.html": "a page", "big": strings.Repeat("0123456789", 100_000),
	} {
		mustPut(t, w, key, data)
		wantBlob(t, s, key, data)
		info, err := s.Stat(t.Context(), key)
		if want := (blob.Info{Key: key, Size: int64(len(data))}); err != nil || info != want {
			t.Errorf("Stat = %v, %v, want %v", info, err, want)
		}
	}
}

func testRanges(t *testing.T, w, s blob.Store) {
	mustPut(t, w, "k", "0123456789")
	for _, tc := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"}, {3, -1, "3456789"}, {3, 4, "3456"}, {8, 4, "89"}, {0, 0, ""}, {10, -1, ""}, {12, 3, ""},
	} {
		r, err := s.Open(t.Context(), "k", tc.offset, tc.length)
		if err != nil {
			t.Errorf("Open from %d: %v", tc.offset, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || string(got) != tc.want {
			t.Errorf("%d bytes from %d = %q, %v, want %q", tc.length, tc.offset, got, err, tc.want)
		}
	}
}

// testReplace reads a blob while it is replaced: the reader keeps what it has opened or
// fails, but mixes nothing.
func testReplace(t *testing.T, w, s blob.Store) {
	before, after := strings.Repeat("a", 200_000), strings.Repeat("b", 100_000)
	mustPut(t, w, "k", before)
	r, err := s.Open(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	mustPut(t, w, "k", after)
	rest, err := io.ReadAll(r)
	if err == nil && string(head)+string(rest) != before {
		t.Error("a reader saw parts of two contents")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	wantBlob(t, s, "k", after)
}

func testBrokenBody(t *testing.T, s blob.Store) {
	broken := errors.New("broken")
	body := func(size int64, r io.Reader) blob.Body {
		return blob.Body{Size: size, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }}
	}
	mustPut(t, s, "old", "old")
	for _, key := range []string{"new", "old"} {
		for name, b := range map[string]blob.Body{
			"fails at once": {Open: func(context.Context) (io.ReadCloser, error) { return nil, broken }},
			"fails late":    body(5, io.MultiReader(strings.NewReader("123"), failing{broken})),
			"fails at end":  body(3, io.MultiReader(strings.NewReader("123"), failing{broken})),
		} {
			if err := s.Put(t.Context(), key, b); !errors.Is(err, broken) {
				t.Errorf("Put of a body that %s = %v, want %v", name, err, broken)
			}
		}
		for _, size := range []int64{2, 4} {
			if err := s.Put(t.Context(), key, body(size, strings.NewReader("123"))); err == nil {
				t.Errorf("Put of 3 bytes as %d succeeded", size)
			}
		}
	}
	wantAbsent(t, s, "new")
	wantBlob(t, s, "old", "old")
	if diff := cmp.Diff([]string{"old"}, list(t, s, "")); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
}

// testKnownSums puts bodies whose sums are told: right ones, and such as the bytes do not
// have.
func testKnownSums(t *testing.T, s blob.Store) {
	const chunk = 8 << 20
	data := []byte(strings.Repeat("0123456789abcde\n", 9<<16)) // 9 MiB: two chunks
	for _, size := range []int{0, 5, chunk, len(data)} {
		body := blob.Bytes(data[:size])
		body.Chunk = chunk
		for rest := data[:size]; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
			body.Sums = append(body.Sums, sha256.Sum256(rest[:min(chunk, len(rest))]))
		}
		if err := s.Put(t.Context(), "k", body); err != nil {
			t.Errorf("Put of %d bytes with their sums: %v", size, err)
		}
		if info, err := s.Stat(t.Context(), "k"); err != nil || info.Size != int64(size) {
			t.Errorf("Stat = %v, %v, want %d bytes", info, err, size)
		}
		if size == 0 {
			continue // has no sums that could be wrong
		}
		body.Sums[len(body.Sums)-1][31] ^= 1
		for _, key := range []string{"k", "new"} {
			if err := s.Put(t.Context(), key, body); !errors.Is(err, blob.ErrDiffers) {
				t.Errorf("Put of %d bytes with a wrong sum = %v, want %v", size, err, blob.ErrDiffers)
			}
		}
		wantAbsent(t, s, "new")
		if info, err := s.Stat(t.Context(), "k"); err != nil || info.Size != int64(size) {
			t.Errorf("Stat after a refused Put = %v, %v", info, err)
		}
	}
}

// testVersions overwrites and deletes a blob, and wants its versions.
func testVersions(t *testing.T, s blob.Versioned, lossy bool) {
	ctx := t.Context()
	kept, err := s.Versioned(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var want []string // ids, newest first
	for _, data := range []string{"one", "two"} {
		id, err := s.PutVersion(ctx, "a/k", blob.Bytes([]byte(data)))
		if err != nil || (id != "") != kept {
			t.Fatalf("PutVersion = %q, %v, and the store keeps versions: %v", id, err, kept)
		}
		want = append([]string{id}, want...)
	}
	sum := sha256.Sum256([]byte("two"))
	sum = sha256.Sum256(sum[:])
	if v, err := s.StatVersion(ctx, "a/k"); err != nil || v.ID != want[0] || v.Size != 3 || v.Sum != nil && !bytes.Equal(v.Sum, sum[:]) {
		t.Errorf("StatVersion = %+v, %v", v, err)
	}
	if !kept {
		return
	}
	if err := s.Delete(ctx, "a/k"); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, s, "a/k")
	var got []string
	for v, err := range s.ListVersions(ctx, "a/") {
		if err != nil || v.Key != "a/k" || v.Size != 3 {
			t.Errorf("ListVersions yields %+v, %v", v, err)
		}
		if !lossy || slices.Contains(want, v.ID) {
			got = append(got, v.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("versions (-put +listed):\n%s", diff)
	}
	for i, data := range []string{"two", "one"} {
		r, err := s.OpenVersion(ctx, "a/k", want[i], 1, -1)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || string(text) != data[1:] {
			t.Errorf("version %d = %q, %v, want %q", i, text, err, data[1:])
		}
	}
}

func testList(t *testing.T, w, s blob.Store) {
	if keys := list(t, s, "none/"); len(keys) > 0 {
		t.Errorf("List = %v, want nothing", keys)
	}
	all := []string{"B", "a-b", "a.txt", "a/b", "a/c-d", "a/c/d", "ab", "é"}
	for _, key := range all {
		mustPut(t, w, key, key)
	}
	for prefix, want := range map[string][]string{
		"": all, "a": all[1:7], "a/": all[3:6], "a/c": all[4:6], "a/c/": all[5:6], "a/c/d": all[5:6], "x": nil, "../": nil, "/": nil, "a//": nil,
	} {
		if diff := cmp.Diff(want, list(t, s, prefix)); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", prefix, diff)
		}
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.Key != all[0] {
			t.Errorf("List yields %v, %v first", info, err)
		}
		break // after which nothing more may be yielded
	}
}

func testDelete(t *testing.T, s blob.Store) {
	mustPut(t, s, "a/b", "x")
	mustPut(t, s, "a/c", "y")
	for range 2 {
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
	}
	wantAbsent(t, s, "a/b")
	wantBlob(t, s, "a/c", "y")
	for _, key := range []string{"none", "a/c/d"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete of the absent %s: %v", key, err)
		}
	}
}

var badKeys = []string{"", ".", "..", "../x", "/x", "a/../../x", "a//b", "a/", "a\x00"}

func testBadKeysRead(t *testing.T, _, s blob.Store) {
	for _, key := range badKeys {
		if r, err := s.Open(t.Context(), key, 0, -1); err == nil {
			t.Errorf("Open(%q) succeeded", key)
			_ = r.Close()
		}
		if _, err := s.Stat(t.Context(), key); err == nil {
			t.Errorf("Stat(%q) succeeded", key)
		}
	}
}

func testBadKeys(t *testing.T, s blob.Store) {
	for _, key := range badKeys {
		if err := s.Put(t.Context(), key, blob.Bytes(nil)); err == nil {
			t.Errorf("Put(%q) succeeded", key)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete(%q) succeeded", key)
		}
	}
}

func testCancelled(t *testing.T, w, s blob.Store) {
	mustPut(t, w, "k", strings.Repeat("x", 100_000))
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	r, err := s.Open(ctx, "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	cancel(gone)
	if _, err := io.ReadAll(r); !errors.Is(err, gone) {
		t.Errorf("read after cancel: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, gone) {
			t.Errorf("List after cancel: %v", err)
		}
	}
}

func testCancelledPut(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if err := s.Put(ctx, "new", blob.Bytes([]byte("x"))); !errors.Is(err, gone) {
		t.Errorf("Put after cancel: %v", err)
	}
	wantAbsent(t, s, "new")
}

func testConcurrentWriters(t *testing.T, s blob.Store) {
	const writers = 8
	content := func(i int) string { return strings.Repeat(strconv.Itoa(i), 50_000) }
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			if err := s.Put(t.Context(), "dir/k", blob.Bytes([]byte(content(i)))); err != nil {
				t.Error(err)
			}
			data, err := blob.ReadAll(t.Context(), s, "dir/k", 1<<20)
			if err != nil || len(data) != 50_000 || bytes.Count(data, data[:1]) != len(data) {
				t.Errorf("read %d bytes, %v: not those of one writer", len(data), err)
			}
		})
	}
	group.Wait()
}

func testReadTagged(t *testing.T, w blob.Store, s blob.Conditional) {
	ctx := t.Context()
	if _, _, err := s.ReadTagged(ctx, "k"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadTagged of an absent blob: %v", err)
	}
	mustPut(t, w, "k", "1")
	if data, tag, err := s.ReadTagged(ctx, "k"); err != nil || string(data) != "1" || tag == "" {
		t.Errorf("ReadTagged = %q, %q, %v", data, tag, err)
	}
	mustPut(t, w, "large", strings.Repeat("x", blob.MaxTagged+1))
	if _, _, err := s.ReadTagged(ctx, "large"); !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("ReadTagged of a large blob: %v, want %v", err, blob.ErrTooLarge)
	}
}

func testConditional(t *testing.T, s blob.Conditional) {
	ctx := t.Context()
	if err := s.PutIf(ctx, "k", []byte("1"), "no such tag"); !errors.Is(err, blob.ErrChanged) {
		t.Errorf("PutIf over an absent blob: %v", err)
	}
	wantAbsent(t, s, "k")
	if err := s.PutIf(ctx, "k", []byte("1"), ""); err != nil {
		t.Fatal(err)
	}
	if err := s.PutIf(ctx, "k", []byte("2"), ""); !errors.Is(err, blob.ErrChanged) {
		t.Errorf("PutIf of a new blob over an old one: %v", err)
	}
	data, tag, err := s.ReadTagged(ctx, "k")
	if err != nil || string(data) != "1" || tag == "" {
		t.Fatalf("ReadTagged = %q, %q, %v", data, tag, err)
	}
	mustPut(t, s, "k", "other")
	if err := s.PutIf(ctx, "k", []byte("2"), tag); !errors.Is(err, blob.ErrChanged) {
		t.Errorf("PutIf with an old tag: %v", err)
	}
	wantBlob(t, s, "k", "other")
	if _, tag, err = s.ReadTagged(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if err := s.PutIf(ctx, "k", []byte("2"), tag); err != nil {
		t.Error(err)
	}
	wantBlob(t, s, "k", "2")
}

// testRace counts up in one blob from several goroutines: no step may be lost. Who does not
// hear that a step was taken, and comes too late to see it, takes it again.
func testRace(t *testing.T, s blob.Conditional, lossy bool) {
	const writers, steps = 4, 5
	step := func() error {
		data, tag, err := s.ReadTagged(t.Context(), "n")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		n, err := strconv.Atoi("0" + string(data))
		if err != nil {
			return err
		}
		return s.PutIf(t.Context(), "n", []byte(strconv.Itoa(n+1)), tag)
	}
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for done := 0; done < steps; {
				switch err := step(); {
				case err == nil:
					done++
				case !errors.Is(err, blob.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	data, err := blob.ReadAll(t.Context(), s, "n", 10)
	if n, _ := strconv.Atoi(string(data)); err != nil || n < writers*steps || n > writers*steps && !lossy {
		t.Errorf("counted to %s, %v, want %d", data, err, writers*steps)
	}
}

func mustPut(t *testing.T, s blob.Store, key, data string) {
	t.Helper()
	if err := s.Put(t.Context(), key, blob.Bytes([]byte(data))); err != nil {
		t.Fatal(err)
	}
}

func wantBlob(t *testing.T, s blob.Store, key, want string) {
	t.Helper()
	got, err := blob.ReadAll(t.Context(), s, key, 2<<20)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %d bytes %.20q, %v, want %d bytes %.20q", key, len(got), got, err, len(want), want)
	}
}

func wantAbsent(t *testing.T, s blob.Store, key string) {
	t.Helper()
	if info, err := s.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(%s) = %v, %v, want %v", key, info, err, fs.ErrNotExist)
	}
	r, err := s.Open(t.Context(), key, 0, -1)
	if err == nil {
		_ = r.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open(%s) = %v, want %v", key, err, fs.ErrNotExist)
	}
}

func list(t *testing.T, s blob.Store, prefix string) []string {
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

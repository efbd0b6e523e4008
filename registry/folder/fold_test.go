package folder

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"

	"github.com/sandwich-build/sandwich/registry/quilt"
	"github.com/sandwich-build/sandwich/registry/transfer"
)

const (
	composed   = "caf\u00e9"
	decomposed = "cafe\u0301"
)

// entriesOf returns entries of a package, each with its key as content.
func entriesOf(t testing.TB, keys ...string) []quilt.Entry {
	t.Helper()
	var entries []quilt.Entry
	for _, key := range keys {
		hash, _ := quilt.ChunkedFromSHA256(sha256.Sum256([]byte(key)), int64(len(key)))
		entries = append(entries, quilt.NewEntry(key, "", int64(len(key)), hash, quilt.Value{}))
	}
	p, err := quilt.New(quilt.NewHeader(quilt.Value{}, quilt.Value{}, ""), entries)
	if err != nil {
		t.Fatal(err)
	}
	return p.Entries
}

func TestFindTwins(t *testing.T) {
	for _, c := range []struct {
		keys []string
		want []twins
	}{
		{keys: []string{"a", "b/a", "b/c", "c"}},
		{keys: []string{"a/b", "ab"}},
		{keys: []string{"A", "a"}, want: []twins{{"a", ".", [2]string{"A", "a"}}}},
		{keys: []string{"x/y/A", "x/y/B", "x/y/a"}, want: []twins{{"x/y/a", "x/y", [2]string{"A", "a"}}}},
		// Two folders; what is in them needs no word of its own.
		{keys: []string{"A/x", "A/z", "a/x", "a/y"}, want: []twins{{"a/x", ".", [2]string{"A", "a"}}}},
		// A file and a folder.
		{keys: []string{"Read/me", "read"}, want: []twins{{"read", ".", [2]string{"Read", "read"}}}},
		{keys: []string{decomposed, composed}, want: []twins{{composed, ".", [2]string{decomposed, composed}}}},
		{keys: []string{"straße", "STRASSE"}, want: []twins{{"straße", ".", [2]string{"STRASSE", "straße"}}}},
		{keys: []string{"a", "a.", "b /c", "b/c"}, want: []twins{{"a.", ".", [2]string{"a", "a."}}, {"b /c", ".", [2]string{"b", "b "}}}},
		{keys: []string{"I", "i", "ı", "İ"}, want: []twins{{"i", ".", [2]string{"I", "i"}}}},
	} {
		got := findTwins(entriesOf(t, c.keys...))
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(twins{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.keys, diff)
		}
	}
}

// Whatever the keys are: twins are two names of one folder, and what differs in the case of
// ASCII letters alone is found.
func FuzzFindTwins(f *testing.F) {
	f.Add("a/b", "A/c")
	f.Add(composed, decomposed)
	f.Add("a. /b", "a/b")
	f.Fuzz(func(t *testing.T, a, b string) {
		if quilt.CheckKey(a) != nil || quilt.CheckKey(b) != nil || a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") {
			t.Skip()
		}
		found := findTwins(entriesOf(t, a, b))
		for _, w := range found {
			if w.names[0] == w.names[1] || fold(w.names[0]) != fold(w.names[1]) || w.key != a && w.key != b {
				t.Errorf("%+q and %+q: %+q", a, b, w)
			}
		}
		if len(found) == 0 && strings.EqualFold(a, b) && isASCII(a+b) {
			t.Errorf("%+q and %+q are no twins", a, b)
		}
	})
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) }

// memory is a source of entries whose content is their key.
type memory struct{}

func (memory) Open(_ context.Context, e quilt.Entry) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(e.Key)), nil
}

func (m memory) OpenRange(ctx context.Context, e quilt.Entry, _, _ int64) (io.ReadCloser, error) {
	return m.Open(ctx, e)
}

// installTwins installs keys where the system says of two names what same says.
func installTwins(t *testing.T, dest string, same func(*os.Root, [2]string) (bool, error), keys ...string) error {
	t.Helper()
	i := &install{
		pkg: &quilt.Package{Entries: entriesOf(t, keys...)}, source: memory{}, pace: transfer.Fixed(2),
		meter: transfer.NewMeter(nil, len(keys), 0), same: same,
	}
	return i.run(t.Context(), dest)
}

// folds says what a file system says that takes letters of one sort for one: APFS of Macs
// in its usual form, or ext4 in a folder with casefold.
func folds(_ *os.Root, names [2]string) (bool, error) {
	return strings.EqualFold(norm.NFC.String(names[0]), norm.NFC.String(names[1])), nil
}

// Where two keys are one file, nothing is written, and the error names both.
func TestTwinsAreRefused(t *testing.T) {
	for _, keys := range [][]string{{"A", "a", "b"}, {"x/" + composed, "x/" + decomposed}, {"Data/1", "data/2"}} {
		dir := t.TempDir()
		dest := filepath.Join(dir, "dest")
		wantRefused(t, installTwins(t, dest, folds, keys...), keys)
		wantNames(t, dir)

		// A folder that exists, with a file of the package that is right.
		if err := installTwins(t, dest, folds, "z"); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, installTwins(t, dest, folds, append([]string{"z"}, keys...)...), keys)
		wantNames(t, dir, "dest")
		wantNames(t, dest, "z")

		// Where they are two, both are there.
		if err := installTwins(t, dest, sameName, append([]string{"z"}, keys...)...); err != nil {
			t.Error(err)
		}
		for _, key := range keys {
			if got, err := os.ReadFile(filepath.Join(dest, filepath.FromSlash(key))); err != nil || string(got) != key {
				t.Errorf("%s is %q, %v", key, got, err)
			}
		}
	}
}

// What only might be one is no reason to refuse: the file system decides.
func TestTwinsThatAreTwo(t *testing.T) {
	tried := 0
	never := func(*os.Root, [2]string) (bool, error) { tried++; return false, nil }
	if err := installTwins(t, filepath.Join(t.TempDir(), "dest"), never, "a", "A", "a.", "b"); err != nil || tried != 2 {
		t.Errorf("%d pairs were tried: %v", tried, err)
	}
}

// SANDWICH_FOLDING names a folder on a file system that takes upper and lower case for one,
// such as exFAT on a loop device (see registry/README.md).
func TestTwinsOnAFoldingFileSystem(t *testing.T) {
	folding := os.Getenv("SANDWICH_FOLDING")
	if folding == "" {
		t.Skip("SANDWICH_FOLDING names no folder of a file system that folds")
	}
	dir := filepath.Join(folding, "twins")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	keys := []string{"x/A", "x/B", "x/a"}
	wantRefused(t, installTwins(t, filepath.Join(dir, "dest"), sameName, keys...), []string{"x/A", "x/a"})
	wantNames(t, dir)
	if err := installTwins(t, filepath.Join(dir, "dest"), sameName, "x/A", "x/B"); err != nil {
		t.Error(err)
	}
}

func wantRefused(t *testing.T, err error, keys []string) {
	t.Helper()
	var fault *TwinsError
	if !errors.As(err, &fault) {
		t.Errorf("%q: %v, want a *TwinsError", keys, err)
	}
}

// wantNames wants a folder to hold just these names.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", dir, diff)
	}
}

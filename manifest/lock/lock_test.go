package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"
)

const (
	zeros  = digest.Digest("sha256:0000000000000000000000000000000000000000000000000000000000000000")
	ones   = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	commit = "3dac9ddc0a7f3dac9ddc0a7f3dac9ddc0a7f0000"
)

// sample has a line of every sort, out of order.
func sample() *Lock {
	return &Lock{
		Code: &Code{Commit: commit, Tree: zeros, Dirty: true},
		Sources: []Source{
			{URL: "https://example.org/images.csv", Digest: ones, Size: 0, MD5: "9846fd22fd2e68b45e3f3810a4c2a32a"},
			{URL: "a folder/boxes train.csv", Digest: zeros, Size: 12},
		},
		Photos: []Photo{
			{ID: "0004", Place: "cvdf", Digest: ones, Size: 1 << 40},
			{ID: "0001", Place: "original", Digest: zeros, Size: 5},
			{ID: "0002", Dead: "no place has it: original 404, thumbnail is Flickr's placeholder"},
		},
	}
}

const sampleText = `sandwich lock 1
code 3dac9ddc0a7f3dac9ddc0a7f3dac9ddc0a7f0000 sha256:0000000000000000000000000000000000000000000000000000000000000000 dirty
source sha256:0000000000000000000000000000000000000000000000000000000000000000 12 - a folder/boxes train.csv
source sha256:1111111111111111111111111111111111111111111111111111111111111111 0 9846fd22fd2e68b45e3f3810a4c2a32a https://example.org/images.csv
photo 0001 original sha256:0000000000000000000000000000000000000000000000000000000000000000 5
dead 0002 no place has it: original 404, thumbnail is Flickr's placeholder
photo 0004 cvdf sha256:1111111111111111111111111111111111111111111111111111111111111111 1099511627776
`

func mustEncode(t testing.TB, l *Lock) []byte {
	t.Helper()
	text, err := Encode(l)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEncode(t *testing.T) {
	l := sample()
	if diff := cmp.Diff(sampleText, string(mustEncode(t, l))); diff != "" {
		t.Errorf("the file's bytes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sample(), l); diff != "" {
		t.Errorf("Encode changed its argument:\n%s", diff)
	}
	back, err := Decode(FileName, []byte(sampleText))
	if err != nil {
		t.Fatal(err)
	}
	l.Sort()
	if diff := cmp.Diff(l, back); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := map[string]func(l *Lock){
		"commit":             func(l *Lock) { l.Code.Commit = "HEAD" },
		"tree":               func(l *Lock) { l.Code.Tree = "sha256:00" },
		"a URL of two lines": func(l *Lock) { l.Sources[0].URL = "a\nb" },
		"no URL":             func(l *Lock) { l.Sources[0].URL = "" },
		"source twice":       func(l *Lock) { l.Sources[0].URL = l.Sources[1].URL },
		"MD5":                func(l *Lock) { l.Sources[0].MD5 = "-" },
		"negative size":      func(l *Lock) { l.Photos[0].Size = -1 },
		"SHA-512":            func(l *Lock) { l.Photos[0].Digest = "sha512:" + digest.Digest(strings.Repeat("0", 128)) },
		"upper-case digest":  func(l *Lock) { l.Photos[0].Digest = "sha256:" + digest.Digest(strings.Repeat("A", 64)) },
		"photo twice":        func(l *Lock) { l.Photos[0].ID = l.Photos[1].ID },
		"id is a path":       func(l *Lock) { l.Photos[0].ID = "../x" },
		"id with a space":    func(l *Lock) { l.Photos[0].ID = "a b" },
		"no place":           func(l *Lock) { l.Photos[0].Place = "" },
		"dead and pinned":    func(l *Lock) { l.Photos[0].Dead = "gone" },
		"reason with tab":    func(l *Lock) { l.Photos[2].Dead = "a\tb" },
		"reason with space":  func(l *Lock) { l.Photos[2].Dead = "gone " },
		"reason not UTF-8":   func(l *Lock) { l.Photos[2].Dead = "\xff" },
		"long reason":        func(l *Lock) { l.Photos[2].Dead = strings.Repeat("x", maxText+1) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			l := sample()
			damage(l)
			if text, err := Encode(l); err == nil {
				t.Errorf("Encode accepted it:\n%s", text)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	lines := strings.SplitAfter(sampleText, "\n")
	without := func(i int) string { return strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "") }
	replace := func(old, new string) string { return strings.Replace(sampleText, old, new, 1) }
	tests := map[string]struct {
		src  string
		line int
		want string // in the message
	}{
		"empty":            {"", 1, `want "sandwich lock 1" on the first line`},
		"another version":  {replace("lock 1", "lock 2"), 1, `got "sandwich lock 2"`},
		"another file":     {"version: 1\n", 1, `got "version: 1"`},
		"cut off":          {sampleText[:len(sampleText)-1], 7, "cut off"},
		"empty line":       {sampleText + "\n", 8, "want code, source, photo or dead"},
		"unknown line":     {sampleText + "image x\n", 8, `got "image x"`},
		"code twice":       {replace(lines[1], lines[1]+lines[1]), 3, "one line"},
		"code late":        {without(1) + lines[1], 7, "before sources"},
		"source late":      {without(2) + lines[2], 7, "before photos"},
		"unsorted photos":  {replace("0001", "0003"), 6, `"0002" does not sort behind "0003"`},
		"photo twice":      {replace("0001", "0002"), 6, "does not sort behind"},
		"digest":           {replace("sha256:0", "sha256:x"), 2, "64 lower-case hex"},
		"size":             {replace(" 12 ", " 012 "), 3, "size in bytes"},
		"negative size":    {replace(" 12 ", " -12 "), 3, "size in bytes"},
		"too few words":    {replace(" 1099511627776", ""), 7, "too few words"},
		"two spaces":       {replace("photo 0001 ", "photo 0001  "), 5, "empty word"},
		"neither is clean": {replace("dirty", "dusty"), 2, "clean or dirty"},
		"no reason":        {sampleText + "dead 0005 \n", 8, "empty word"},
		"merge conflict":   {replace("photo 0001", "<<<<<<< HEAD\nphoto 0001"), 5, "run `sandwich lock`"},
		"middle of it":     {replace("dead", "=======\ndead"), 6, "git merge"},
		"CR LF":            {strings.ReplaceAll(sampleText, "\n", "\r\n"), 1, ".gitattributes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Decode("some/manifest.lock", []byte(test.src))
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got %v, want a *FormatError", err)
			}
			if format.Line != test.line || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant line %d and %q", err, test.line, test.want)
			}
			if !strings.HasPrefix(err.Error(), fmt.Sprintf("some/manifest.lock:%d: ", test.line)) {
				t.Errorf("%q does not start with its place", err)
			}
		})
	}
}

func TestFind(t *testing.T) {
	l, err := Decode(FileName, []byte(sampleText))
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := l.Photo("0002"); !ok || p.Dead == "" {
		t.Errorf("Photo(0002) = %v, %v", p, ok)
	}
	if _, ok := l.Photo("0003"); ok {
		t.Error("Photo(0003) was found")
	}
	if s, ok := l.Source("a folder/boxes train.csv"); !ok || s.Size != 12 {
		t.Errorf("Source = %v, %v", s, ok)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Read of nothing: %v, want fs.ErrNotExist", err)
	}
	write := func(l *Lock, want bool) os.FileInfo {
		t.Helper()
		changed, err := WriteFile(path, l)
		if err != nil || changed != want {
			t.Fatalf("WriteFile = %v, %v; want %v", changed, err, want)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := write(sample(), true)
	if again := write(sample(), false); !os.SameFile(first, again) {
		t.Error("an equal lock was written anew")
	}
	changed := sample()
	changed.Code = nil
	if after := write(changed, true); os.SameFile(first, after) {
		t.Error("the file was changed in place: a reader could see half of it")
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	changed.Sort()
	if diff := cmp.Diff(changed, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want the lock alone", entries, err)
	}
}

func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteFile(path, sample()); err == nil {
		t.Error("a folder was overwritten")
	}
	if err := replace(path, nil); err == nil {
		t.Error("a folder was renamed over")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("a temporary file stays behind: %v (%v)", entries, err)
	}
}

func TestDrift(t *testing.T) {
	need := func() Need {
		return Need{
			Sources: []string{"https://example.org/images.csv", "a folder/boxes train.csv"},
			Code:    &Code{Commit: strings.Repeat("f", 40), Tree: zeros, Dirty: true},
			Photos:  &Photos{IDs: []string{"0001", "0002", "0004", "0001"}, Places: []string{"original", "cvdf"}},
		}
	}
	all := []string{
		"code missing",
		"source missing: a folder/boxes train.csv", "source missing: https://example.org/images.csv",
		"photo missing: 0001", "photo missing: 0002", "photo missing: 0004",
	}
	tests := map[string]struct {
		have *Lock
		edit func(n *Need)
		want []string
	}{
		// The commit differs and the content does not: see driftCode.
		"none":       {sample(), func(*Need) {}, nil},
		"no lock":    {nil, func(*Need) {}, all},
		"empty lock": {&Lock{}, func(*Need) {}, all},
		"code": {sample(), func(n *Need) { n.Code.Tree = ones },
			[]string{"code changed: 3dac9ddc0a7f/000000000000+changes -> ffffffffffff/111111111111+changes"}},
		"clean code": {sample(), func(n *Need) { n.Code.Dirty = false },
			[]string{"code changed: 3dac9ddc0a7f/000000000000+changes -> ffffffffffff/000000000000"}},
		"no code":     {sample(), func(n *Need) { n.Code = nil }, []string{"code unneeded"}},
		"sources":     {sample(), func(n *Need) { n.Sources[0] = "b" }, []string{"source missing: b", "source unneeded: https://example.org/images.csv"}},
		"photos":      {sample(), func(n *Need) { n.Photos.IDs = []string{"0003", "0002", "0001"} }, []string{"photo missing: 0003", "photo unneeded: 0004"}},
		"all photos":  {sample(), func(n *Need) { n.Photos.IDs = nil }, []string{"photo unneeded: 0001", "photo unneeded: 0002", "photo unneeded: 0004"}},
		"unknown yet": {sample(), func(n *Need) { n.Photos = nil }, nil},
		"places": {sample(), func(n *Need) { n.Photos.Places = []string{"thumbnail", "cvdf"} },
			[]string{"photo changed: 0001: pinned at original, allowed: thumbnail, cvdf"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n := need()
			test.edit(&n)
			var got []string
			for _, c := range Drift(test.have, n) {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	have := sample()
	Drift(have, need())
	if diff := cmp.Diff(sample(), have); diff != "" {
		t.Errorf("Drift changed its argument:\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sampleText))
	for line := range strings.Lines(sampleText) {
		f.Add([]byte(header + "\n" + line))
	}
	f.Add([]byte(header + "\n<<<<<<< HEAD\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		l, err := Decode(FileName, src)
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) || format.Line < 1 || strings.Contains(err.Error(), "\n") {
				t.Fatalf("not a fault of one line: %#v", err)
			}
			return
		}
		// One lock has one file: whatever is accepted is what would be written.
		if text := mustEncode(t, l); !bytes.Equal(text, src) {
			t.Fatalf("decoded %q, encoded %q", src, text)
		}
		if diff := cmp.Diff(l, &Lock{Code: l.Code, Sources: sorted(l.Sources, Source.key), Photos: sorted(l.Photos, Photo.key)}, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("not sorted:\n%s", diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	l := &Lock{Photos: make([]Photo, 1_000_000)}
	for i := range l.Photos {
		l.Photos[i] = Photo{ID: fmt.Sprintf("%016x", i), Place: "original", Digest: ones, Size: 300_000}
	}
	text := mustEncode(b, l)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(FileName, text); err != nil {
			b.Fatal(err)
		}
	}
}

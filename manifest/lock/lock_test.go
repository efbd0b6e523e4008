package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

const (
	zeros  = digest.Digest("sha256:0000000000000000000000000000000000000000000000000000000000000000")
	ones   = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	commit = "3dac9ddc0a7f3dac9ddc0a7f3dac9ddc0a7f0000"
)

// content is a lock as a list.
type content struct {
	Code   *Code
	Image  *Image
	Inputs []Input
	Python *Python
	Wheels []Archive

	Platform string
	Conda    []Archive

	Sources []Source
	Photos  []Photo
}

// lock returns the lock with this content.
func (c *content) lock() *Lock {
	return &Lock{Code: c.Code, Image: c.Image, Inputs: c.Inputs, Python: c.Python, Wheels: c.Wheels, Platform: c.Platform, Conda: c.Conda, Sources: c.Sources, Photos: func(yield func(Photo, error) bool) {
		for _, p := range c.Photos {
			if !yield(p, nil) {
				return
			}
		}
	}}
}

// contentOf goes through a lock's photos.
func contentOf(l *Lock) (*content, error) {
	c := &content{Code: l.Code, Image: l.Image, Inputs: l.Inputs, Python: l.Python, Wheels: l.Wheels, Platform: l.Platform, Conda: l.Conda, Sources: l.Sources}
	for p, err := range l.Photos.All() {
		if err != nil {
			return nil, err
		}
		c.Photos = append(c.Photos, p)
	}
	return c, nil
}

// decode reads all of a lock.
func decode(name string, text []byte) (*content, error) {
	l, err := Decode(name, bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, err
	}
	return contentOf(l)
}

// own has a line of every sort that the user's own stages need. They are out of order.
func own() *content {
	return &content{
		Image:  &Image{Digest: ones, Size: 1234, Name: "docker.io/library/python:3.12-slim"},
		Inputs: []Input{{Path: "train.py", Digest: zeros, Size: 7}, {Path: "lib/a b.py", Digest: ones}},
		Python: &Python{ABI: "cpython-312-x86_64-linux-gnu", Site: "lib/python3.12/site-packages"},
		Wheels: []Archive{{URL: "https://example.org/b.whl", Digest: zeros, Size: 9}, {URL: "https://example.org/a.whl", Digest: ones, Size: 8}},

		Platform: "linux-64",
		Conda:    []Archive{{URL: "https://example.org/linux-64/b-1-0.conda", Digest: zeros, Size: 9}, {URL: "channel/noarch/a-1-0.conda", Digest: ones, Size: 8}},
	}
}

const ownText = string("sandwich lock 1\n" +
	"image " + ones + " 1234 docker.io/library/python:3.12-slim\n" +
	"file " + ones + " 0 lib/a b.py\n" +
	"file " + zeros + " 7 train.py\n" +
	"python cpython-312-x86_64-linux-gnu lib/python3.12/site-packages\n" +
	"wheel " + ones + " 8 https://example.org/a.whl\n" +
	"wheel " + zeros + " 9 https://example.org/b.whl\n" +
	"platform linux-64\n" +
	"conda " + ones + " 8 channel/noarch/a-1-0.conda\n" +
	"conda " + zeros + " 9 https://example.org/linux-64/b-1-0.conda\n")

func TestOwnStages(t *testing.T) {
	var text bytes.Buffer
	if err := Encode(&text, own().lock()); err != nil || text.String() != ownText {
		t.Fatalf("got %v\n%s", err, &text)
	}
	got, err := decode("l", text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := own()
	slices.Reverse(want.Inputs)
	slices.Reverse(want.Wheels)
	slices.Reverse(want.Conda)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	lines := strings.SplitAfter(ownText, "\n")
	for name, src := range map[string]string{
		"image twice":    lines[0] + lines[1] + lines[1],
		"image late":     lines[0] + lines[2] + lines[1],
		"file late":      lines[0] + lines[4] + lines[2],
		"files unsorted": lines[0] + lines[3] + lines[2],
		"python twice":   lines[0] + lines[4] + lines[4],
		"python late":    lines[0] + lines[5] + lines[4],
		"python climbs":  lines[0] + "python cpython-312 ../x\n",
		"python's ABI":   lines[0] + "python cpython/312 lib\n",
		"wheel twice":    lines[0] + lines[5] + lines[5],
		"platform twice": lines[0] + lines[7] + lines[7],
		"platform":       lines[0] + "platform ../x\n",
		"conda early":    lines[0] + lines[8] + lines[7],
		"no digest":      lines[0] + "image sha256:1 1 x\n",
		"no size":        lines[0] + "file " + string(zeros) + " x train.py\n",
		"no path":        lines[0] + "file " + string(zeros) + " 1 \n",
	} {
		if _, err := decode("l", []byte(src)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestDriftOfOwnStages(t *testing.T) {
	a, b, c := Input{Path: "a", Digest: zeros, Size: 1}, Input{Path: "b", Digest: zeros}, Input{Path: "c", Digest: zeros}
	changed := a
	changed.Digest = ones
	var lines []string
	for _, change := range DriftInputs([]Input{a, b}, []Input{c, changed}) {
		lines = append(lines, change.String())
	}
	want := []string{string("file changed: a: " + zeros + " -> " + ones), "file unneeded: b", "file missing: c"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	python := &Python{ABI: "cpython-311", Site: "lib"}
	other := &Python{ABI: "cpython-312", Site: "lib"}
	lines = nil
	for _, changes := range [][]Change{
		DriftPython(nil, python), DriftPython(python, nil), DriftPython(python, other), DriftPython(python, &Python{ABI: "cpython-311", Site: "lib"}),
		DriftWheels([]Archive{{URL: "a", Digest: ones}, {URL: "b", Digest: ones}, {URL: "d", Digest: ones}}, []Archive{{URL: "d", Digest: ones}, {URL: "c", Digest: ones}, {URL: "a", Digest: zeros}}),
		DriftConda("", nil, "linux-64", []Archive{{URL: "a", Digest: ones}}), DriftConda("linux-64", []Archive{{URL: "a", Digest: ones}}, "", nil),
		DriftConda("linux-64", []Archive{{URL: "a", Digest: ones, Size: 1}}, "linux-aarch64", []Archive{{URL: "a", Digest: ones}}),
	} {
		for _, change := range changes {
			lines = append(lines, change.String())
		}
	}
	want = []string{
		"python missing: cpython-311", "python unneeded: cpython-311", "python changed: cpython-311 in lib -> cpython-312 in lib",
		string("wheel changed: a: " + ones + " -> " + zeros), "wheel unneeded: b", "wheel missing: c",
		"platform missing: linux-64", "conda missing: a", "platform unneeded: linux-64", "conda unneeded: a", "platform changed: linux-64 -> linux-aarch64",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	x, y := &Image{Name: "x"}, &Image{Name: "y"}
	for _, test := range []struct {
		have, need *Image
		want       int
	}{{nil, nil, 0}, {nil, x, 1}, {x, nil, 1}, {x, x, 0}, {x, y, 1}, {x, &Image{Name: "x", Size: 1}, 1}} {
		if got := DriftImage(test.have, test.need); len(got) != test.want {
			t.Errorf("%v, %v: got %v", test.have, test.need, got)
		}
	}
}

// sample has a line of every sort. The sources are out of order.
func sample() *content {
	return &content{
		Code: &Code{Commit: commit, Tree: zeros, Dirty: true},
		Sources: []Source{
			{URL: "https://example.org/images.csv", Digest: ones, Size: 0, MD5: "9846fd22fd2e68b45e3f3810a4c2a32a"},
			{URL: "a folder/boxes train.csv", Digest: zeros, Size: 12},
		},
		Photos: []Photo{
			{ID: "0001", Place: "original", Digest: zeros, Size: 5},
			{ID: "0002", Dead: "no place has it: original 404, thumbnail is Flickr's placeholder"},
			{ID: "0004", Place: "cvdf", Digest: ones, Size: 1 << 40},
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

func encoded(l *content) ([]byte, error) {
	var text bytes.Buffer
	err := Encode(&text, l.lock())
	return text.Bytes(), err
}

func mustEncode(t testing.TB, l *content) []byte {
	t.Helper()
	text, err := encoded(l)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (c *content) sortSources() {
	slices.SortFunc(c.Sources, func(a, b Source) int { return strings.Compare(a.URL, b.URL) })
}

func TestEncode(t *testing.T) {
	l := sample()
	if diff := cmp.Diff(sampleText, string(mustEncode(t, l))); diff != "" {
		t.Errorf("the file's bytes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sample(), l); diff != "" {
		t.Errorf("Encode changed its argument:\n%s", diff)
	}
	back, err := decode(FileName, []byte(sampleText))
	if err != nil {
		t.Fatal(err)
	}
	l.sortSources()
	if diff := cmp.Diff(l, back); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

// TestPhotosAreReadAgain goes through the photos of one lock twice, and not to the end.
func TestPhotosAreReadAgain(t *testing.T) {
	l, err := Decode(FileName, strings.NewReader(sampleText), int64(len(sampleText)))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range l.Photos.All() {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	for range 2 {
		if c, err := contentOf(l); err != nil || len(c.Photos) != 3 {
			t.Errorf("got %v, %v", c, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := map[string]func(l *content){
		"commit":             func(l *content) { l.Code.Commit = "HEAD" },
		"tree":               func(l *content) { l.Code.Tree = "sha256:00" },
		"a URL of two lines": func(l *content) { l.Sources[0].URL = "a\nb" },
		"no URL":             func(l *content) { l.Sources[0].URL = "" },
		"source twice":       func(l *content) { l.Sources[0].URL = l.Sources[1].URL },
		"MD5":                func(l *content) { l.Sources[0].MD5 = "-" },
		"negative size":      func(l *content) { l.Photos[0].Size = -1 },
		"SHA-512":            func(l *content) { l.Photos[0].Digest = "sha512:" + digest.Digest(strings.Repeat("0", 128)) },
		"upper-case digest":  func(l *content) { l.Photos[0].Digest = "sha256:" + digest.Digest(strings.Repeat("A", 64)) },
		"photo twice":        func(l *content) { l.Photos[1].ID = l.Photos[0].ID },
		"unsorted photos":    func(l *content) { l.Photos[0].ID = "0003" },
		"id is a path":       func(l *content) { l.Photos[0].ID = "../x" },
		"id with a space":    func(l *content) { l.Photos[0].ID = "a b" },
		"no place":           func(l *content) { l.Photos[0].Place = "" },
		"dead and pinned":    func(l *content) { l.Photos[0].Dead = "gone" },
		"reason with tab":    func(l *content) { l.Photos[1].Dead = "a\tb" },
		"reason with space":  func(l *content) { l.Photos[1].Dead = "gone " },
		"reason not UTF-8":   func(l *content) { l.Photos[1].Dead = "\xff" },
		"long reason":        func(l *content) { l.Photos[1].Dead = strings.Repeat("x", maxText+1) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			l := sample()
			damage(l)
			if text, err := encoded(l); err == nil {
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
		"empty line":       {sampleText + "\n", 8, "want photo or dead"},
		"unknown line":     {sampleText + "image x\n", 8, "image comes before photos"},
		"unknown pin":      {replace("source", "sauce"), 3, "want code, image, file, python, wheel, platform, conda, source, photo or dead"},
		"endless line":     {sampleText + "dead 0005 " + strings.Repeat("x", bufferSize) + "\n", 8, "longer than any"},
		"code twice":       {replace(lines[1], lines[1]+lines[1]), 3, "one line"},
		"code late":        {without(1) + lines[1], 7, "code comes before photos"},
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
			_, err := decode("some/manifest.lock", []byte(test.src))
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

func TestSource(t *testing.T) {
	l := sample().lock()
	if s, ok := l.Source("a folder/boxes train.csv"); !ok || s.Size != 12 {
		t.Errorf("Source = %v, %v", s, ok)
	}
	if s, ok := l.Source("a folder"); ok {
		t.Errorf("Source = %v", s)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Open of nothing: %v, want fs.ErrNotExist", err)
	}
	write := func(l *content, want bool) os.FileInfo {
		t.Helper()
		changed, err := Write(path, l.lock())
		if err != nil || changed != want {
			t.Fatalf("Write = %v, %v; want %v", changed, err, want)
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
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	write(sample(), true) // what is open stays as it is
	got, err := contentOf(&file.Lock)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(file.Text()); err != nil || !bytes.Equal(text, mustEncode(t, changed)) {
		t.Errorf("the text is %q, %v", text, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	changed.sortSources()
	if diff := cmp.Diff(changed, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want the lock alone", entries, err)
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(path, sample().lock()); err == nil {
		t.Error("a folder was overwritten")
	}
	broken := sample()
	broken.Photos[2].ID = "../x"
	if _, err := Write(filepath.Join(dir, "other.lock"), broken.lock()); err == nil {
		t.Error("half a lock was written")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("a temporary file stays behind: %v (%v)", entries, err)
	}
}

func TestDriftCode(t *testing.T) {
	have := sample().Code
	other := func(edit func(c *Code)) *Code {
		c := &Code{Commit: strings.Repeat("f", 40), Tree: zeros, Dirty: true}
		edit(c)
		return c
	}
	tests := map[string]struct {
		have, need *Code
		want       []string
	}{
		"another commit of the same": {have, other(func(*Code) {}), nil},
		"neither":                    {nil, nil, nil},
		"no lock":                    {nil, have, []string{"code missing"}},
		"no code":                    {have, nil, []string{"code unneeded"}},
		"content": {have, other(func(c *Code) { c.Tree = ones }),
			[]string{"code changed: 3dac9ddc0a7f/000000000000+changes -> ffffffffffff/111111111111+changes"}},
		"clean": {have, other(func(c *Code) { c.Dirty = false }),
			[]string{"code changed: 3dac9ddc0a7f/000000000000+changes -> ffffffffffff/000000000000"}},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, lines(DriftCode(test.have, test.need))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func lines(changes []Change) []string {
	var text []string
	for _, c := range changes {
		text = append(text, c.String())
	}
	return text
}

func TestDriftSources(t *testing.T) {
	const boxes, images = "a folder/boxes train.csv", "https://example.org/images.csv"
	have := sample().Sources
	tests := map[string]struct {
		have []Source
		need []string
		want []string
	}{
		"none":    {have, []string{images, boxes, images}, nil},
		"no lock": {nil, []string{images, boxes}, []string{"source missing: " + boxes, "source missing: " + images}},
		"one":     {have, []string{"b", boxes}, []string{"source missing: b", "source unneeded: " + images}},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, lines(DriftSources(test.have, test.need))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDriftPhotos(t *testing.T) {
	have, both := sample().lock().Photos, []string{"original", "cvdf"}
	tests := map[string]struct {
		have   Photos
		need   []string
		places []string
		want   []string
	}{
		"none":    {have, []string{"0001", "0002", "0004"}, both, nil},
		"no lock": {nil, []string{"0001", "0002"}, both, []string{"photo missing: 0001", "photo missing: 0002"}},
		"photos":  {have, []string{"0001", "0002", "0003"}, both, []string{"photo missing: 0003", "photo unneeded: 0004"}},
		"all":     {have, nil, both, []string{"photo unneeded: 0001", "photo unneeded: 0002", "photo unneeded: 0004"}},
		"places": {have, []string{"0001", "0002", "0004"}, []string{"thumbnail", "cvdf"},
			[]string{"photo changed: 0001: pinned at original, allowed: thumbnail, cvdf"}},
	}
	for name, test := range tests {
		need := func(yield func(string, error) bool) {
			for _, id := range test.need {
				if !yield(id, nil) {
					return
				}
			}
		}
		var got []Change
		for c, err := range DriftPhotos(test.have, need, test.places) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c)
		}
		if diff := cmp.Diff(test.want, lines(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte(ownText))
	for line := range strings.Lines(sampleText) {
		f.Add([]byte(header + "\n" + line))
	}
	f.Add([]byte(header + "\n<<<<<<< HEAD\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		l, err := decode(FileName, src)
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
	})
}

// large is a lock of n photos.
func large(n int) *Lock {
	return &Lock{Photos: func(yield func(Photo, error) bool) {
		for i := range n {
			if !yield(Photo{ID: fmt.Sprintf("%016x", i), Place: "original", Digest: ones, Size: 300_000}, nil) {
				return
			}
		}
	}}
}

// TestLargeLocks reads and writes many photos in little memory: the heap that is in use
// meanwhile does not grow with them. As a list they would be 70 MB.
func TestLargeLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	var heap peak
	l := large(300_000)
	if _, err := Write(path, &Lock{Photos: heap.watch(l.Photos)}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if changed, err := Write(path, &Lock{Photos: heap.watch(f.Photos)}); err != nil || changed {
		t.Errorf("copied: changed %v, %v", changed, err)
	}
	if heap > 16<<20 {
		t.Errorf("%d MiB of heap for 300,000 photos", heap>>20)
	}
}

// peak is the largest heap that was seen, in bytes.
type peak uint64

// watch looks at the heap now and then while photos are gone through.
func (h *peak) watch(photos Photos) Photos {
	return func(yield func(Photo, error) bool) {
		n := 0
		for p, err := range photos {
			if n++; n%100_000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				*h = max(*h, peak(m.HeapInuse))
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	var buffer bytes.Buffer
	if err := Encode(&buffer, large(1_000_000)); err != nil {
		b.Fatal(err)
	}
	text := buffer.Bytes()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := Decode(FileName, bytes.NewReader(text), int64(len(text)))
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range l.Photos.All() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

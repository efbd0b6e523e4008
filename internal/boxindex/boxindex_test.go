package boxindex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/synthetic"
)

const header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"

// build makes an index in memory.
func build(t testing.TB, text string, o Options) (map[string][]byte, Counts, error) {
	t.Helper()
	var mu sync.Mutex // guards files
	files := map[string][]byte{}
	counts, err := Build(t.Context(), Source{Text: strings.NewReader(text), Name: "b.csv"}, o,
		func(_ context.Context, name string, r io.Reader) error {
			data, err := io.ReadAll(r)
			mu.Lock()
			defer mu.Unlock()
			files[name] = data
			return err
		})
	return files, counts, err
}

// naive are the boxes of a file by label, and what is to be counted of them.
func naive(text string) (map[openimages.LabelID][]openimages.Box, map[openimages.LabelID]Label, error) {
	boxes, labels := map[openimages.LabelID][]openimages.Box{}, map[openimages.LabelID]Label{}
	images := map[string]bool{}
	for row, err := range openimages.Boxes(strings.NewReader(text), "b.csv") {
		if err != nil {
			return nil, nil, err
		}
		b := row.Box()
		boxes[b.LabelID] = append(boxes[b.LabelID], b)
		l := labels[b.LabelID]
		l.ID = b.LabelID
		l.Boxes++
		if key := string(b.LabelID) + " " + string(b.ImageID); !images[key] {
			images[key] = true
			l.Images++
		}
		for a, f := range b.Flags {
			switch f {
			case openimages.Yes:
				l.Yes[a]++
			case openimages.Unknown:
				l.Unknown[a]++
			case openimages.No:
			}
		}
		labels[b.LabelID] = l
	}
	return boxes, labels, nil
}

// compare holds an index to the file that it is of.
func compare(t testing.TB, text string, files map[string][]byte, counts Counts) {
	t.Helper()
	boxes, labels, err := naive(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(boxes) || len(counts.Labels) != len(boxes) {
		t.Fatalf("%d files and %d counts of %d labels", len(files), len(counts.Labels), len(boxes))
	}
	all := int64(0)
	for _, got := range counts.Labels {
		if diff := cmp.Diff(labels[got.ID], got); diff != "" {
			t.Errorf("counts of %s: %s", got.ID, diff)
		}
		all += got.Boxes
		var found []openimages.Box
		for b, err := range Boxes(files[FileName(got.ID)]) {
			if err != nil {
				t.Fatalf("%s: %v", got.ID, err)
			}
			found = append(found, b)
		}
		if !slices.Equal(boxes[got.ID], found) {
			t.Errorf("boxes of %s: %s", got.ID, cmp.Diff(boxes[got.ID], found))
		}
		var want, photos []openimages.ImageID
		for _, b := range boxes[got.ID] {
			want = append(want, b.ImageID)
		}
		for id, err := range Photos(files[FileName(got.ID)]) {
			if err != nil {
				t.Fatalf("%s: %v", got.ID, err)
			}
			photos = append(photos, id)
		}
		// Where a row group ends among the boxes of a photo, that comes again.
		if diff := cmp.Diff(slices.Compact(want), slices.Compact(photos)); diff != "" {
			t.Errorf("photos of %s: %s", got.ID, diff)
		}
	}
	if all != counts.Boxes {
		t.Errorf("%d boxes are counted, of %d", all, counts.Boxes)
	}
}

const odd = header +
	"01,xclick,/m/a,1,0.012500,0.195312,0.148438,0.587500,0,1,0,0,0\n" +
	"01,xclick,/m/a,1,0.999999,1.000000,0.000000,1,0,1,-1,0,0\n" +
	"01,,/m/b,,1e-05,1.0000001,-1e-07,0.26458332,-1,-1,-1,-1,-1\n" +
	"02-a.b_c,activemil,/m/a,0.5,.5,0.123456789,0.,0.9642005,1,1,1,1,1\n" +
	"02-a.b_c,freeform,Own/../label,1.0,+0.5,0.50,0.5,0.5000000,,0.0,1.0,-1.0,0\n"

func TestOddRows(t *testing.T) {
	files, counts, err := build(t, odd, Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, odd, files, counts)
	if _, ok := files["m_a.parquet"]; !ok {
		t.Errorf("no file m_a.parquet among %d", len(files))
	}
}

func official(t testing.TB, photos int) string {
	t.Helper()
	var boxes bytes.Buffer
	err := synthetic.Dataset{Seed: 1, Photos: photos, Shape: synthetic.Official}.WriteMetadata(t.Context(), func(name string) (io.WriteCloser, error) {
		if strings.HasSuffix(name, "bbox.csv") {
			return into{&boxes}, nil
		}
		return into{io.Discard}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return boxes.String()
}

type into struct{ io.Writer }

func (into) Close() error { return nil }

// The number of workers, and whether the disk was needed, show nowhere.
func TestBuild(t *testing.T) {
	text := official(t, 2500)
	want, counts, err := build(t, text, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, text, want, counts)
	folder := t.TempDir()
	for _, o := range []Options{{Workers: 1, held: 1}, {Workers: 8, held: 100_000}, {Workers: 3}} {
		o.Folder = folder
		files, again, err := build(t, text, o)
		if err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(counts, again) || !maps.EqualFunc(want, files, bytes.Equal) {
			t.Errorf("%+v: another index", o)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Photos are counted right also where the rows of one are not together.
func TestBuildUnsorted(t *testing.T) {
	lines := strings.SplitAfter(strings.TrimPrefix(official(t, 300), header), "\n")
	lines = lines[:len(lines)-1]
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	text := header + strings.Join(lines, "")
	files, counts, err := build(t, text, Options{Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, text, files, counts)
}

// lines is a box file of so many rows, of which no more than one is ever in memory. Every other row
// is of one of two labels, which follow each other.
type lines struct {
	rows, row int
	rest      []byte
}

func (l *lines) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		switch {
		case l.row == 0:
			l.rest = append(l.rest, header...)
		case l.row > l.rows:
			return 0, io.EOF
		default:
			label := l.row / 2 % 2
			if l.row%2 == 1 {
				label = l.row % 600
			}
			l.rest = fmt.Appendf(l.rest[:0], "%016x,xclick,/m/0%d,1,0.012500,0.195312,0.148438,0.%06d,0,1,0,0,0\n", l.row, label, l.row%1_000_000)
		}
		l.row++
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// The memory that is in use does not follow the length of the file.
func TestBuildMemory(t *testing.T) {
	const mebibyte = 1 << 20
	use := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := use()
	var mu sync.Mutex // guards what follows
	var most, calls int
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%50 == 0 {
			most = max(most, use()-before)
		}
	}
	_, err := Build(t.Context(), Source{Text: &lines{rows: 800_000}, Name: "b.csv"}, Options{Workers: 2, Folder: t.TempDir(), Progress: func(int64) { look() }},
		func(_ context.Context, _ string, r io.Reader) error {
			for buf := make([]byte, 64<<10); ; look() {
				if _, err := r.Read(buf); err != nil {
					return eof(err)
				}
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	// There are eight of records, and two row groups at work.
	if most < 8*mebibyte || most > 18*mebibyte {
		t.Errorf("%.1f MiB at the most", float64(most)/mebibyte)
	}
}

// eof is err, unless that is the end of a file.
func eof(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func TestBuildFails(t *testing.T) {
	var fault *openimages.RowError
	if _, _, err := build(t, odd+"03,x,/m/a,1,0,12,0,1,0,0,0,0,0\n", Options{Workers: 2}); !errors.As(err, &fault) || fault.Line != 7 || fault.Column != "XMax" {
		t.Errorf("pixels: %v", err)
	}
	if _, _, err := build(t, odd, Options{held: 1, Folder: "/does/not/exist"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	full := errors.New("disk full")
	_, err := Build(t.Context(), Source{Text: strings.NewReader(odd), Name: "b.csv"}, Options{Workers: 2},
		func(_ context.Context, name string, r io.Reader) error {
			if name == "m_b.parquet" {
				return full
			}
			_, err := io.Copy(io.Discard, r)
			return err
		})
	if !errors.Is(err, full) {
		t.Errorf("full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, Source{Text: strings.NewReader(official(t, 500)), Name: "b.csv"}, Options{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var many strings.Builder
	many.WriteString(header)
	for i := range maxSources + 1 {
		fmt.Fprintf(&many, "1a,%d,/m/a,1,0,1,0,1,0,0,0,0,0\n", i)
	}
	if _, _, err := build(t, many.String(), Options{}); err == nil {
		t.Error("too many sources: no error")
	}
}

func TestCounts(t *testing.T) {
	want := []Counts{{Subset: "train", Boxes: 3, Labels: []Label{{ID: "/m/a", Boxes: 3, Images: 2, Yes: [5]int64{1}, Unknown: [5]int64{0, 2}}}}}
	var b bytes.Buffer
	if err := WriteCounts(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadCounts(&b)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := ReadCounts(strings.NewReader("[")); err == nil {
		t.Error("no JSON: no error")
	}
}

func TestFileName(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []openimages.LabelID{"/m/0cdn1", "/m/01_bhs", "m/0cdn1", "/m/", "/m/..", "/m/0CDN1", "/t/1", "..", openimages.LabelID(strings.Repeat("x", 128))} {
		name := FileName(id)
		if seen[name] || strings.ContainsAny(name, "/\\") || len(name) > 100 {
			t.Errorf("%s: %s", id, name)
		}
		seen[name] = true
	}
	if got := FileName("/m/0cdn1"); got != "m_0cdn1.parquet" {
		t.Errorf("got %s", got)
	}
}

// FuzzBuild makes an index of anything that is a box file: it holds the same rows.
func FuzzBuild(f *testing.F) {
	f.Add(odd)
	f.Add(header + "01,xclick,/m/a,1,0.0125001,0.195312,0.99999999,0.5,0,1,0,0,0\n")
	f.Add("ImageID,LabelName,XMin,XMax,YMin,YMax\n1,a,0,1,0.5000,1.\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, err := naive(text); err != nil {
			return
		}
		files, counts, err := build(t, text, Options{Workers: 2, held: 200, Folder: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, text, files, counts)
	})
}

// FuzzBoxes reads anything as the file of a label.
func FuzzBoxes(f *testing.F) {
	files, _, err := build(f, odd, Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		n := 0
		for _, err := range Photos(file) {
			if n++; err != nil || n > 1<<20 {
				break
			}
		}
		n = 0
		for box, err := range Boxes(file) {
			if n++; err != nil || n > 1<<20 {
				return
			}
			if _, err := openimages.ParseFraction(string(box.XMax)); err != nil {
				t.Errorf("%+v: %v", box, err)
			}
		}
	})
}

func TestDiff(t *testing.T) {
	file := func(rows string) []byte {
		files, _, err := build(t, header+rows, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return files["m_a.parquet"]
	}
	const one, two, other = "1a,x,/m/a,1,0,1,0,1,0,0,0,0,0\n", "2b,x,/m/a,1,0,1,0,0.5,0,0,0,0,0\n", "2b,x,/m/a,1,0,1,0,0.5,0,0,0,1,0\n"
	for _, test := range []struct {
		name, old, now string
		want           Change
	}{
		{"equal", one + two, two + one, Change{}},
		{"added", one, one + two + two, Change{Added: 2}},
		{"removed", one + one + two, one, Change{Removed: 2}},
		{"changed", one + two, one + other, Change{Changed: 1}},
		{"changed and added", two, two + other, Change{Added: 1}},
		{"one of two changed", two + two, other + two, Change{Changed: 1}},
		{"all", one + two, "3c,x,/m/a,1,0,1,0,1,0,0,0,0,0\n" + other, Change{Added: 1, Removed: 1, Changed: 1}},
	} {
		got, err := Diff(file(test.old), file(test.now))
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v, %v, want %+v", test.name, got, err, test.want)
		}
	}
	if got, err := Diff(nil, file(one)); err != nil || got.Added != 1 {
		t.Errorf("a label that is new: %+v, %v", got, err)
	}
	if _, err := Diff([]byte("x"), nil); err == nil {
		t.Error("a damaged file: no error")
	}
}

// FuzzReadCounts reads anything as labels.json; what it accepts is written the same again.
func FuzzReadCounts(f *testing.F) {
	f.Add(`{"subsets":[{"subset":"train","boxes":1,"labels":[{"id":"/m/1","boxes":1,"images":1,"yes":[0,0,0,0,0],"unknown":[1,1,1,1,1]}]}]}`)
	f.Add(`{"subsets":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		counts, err := ReadCounts(strings.NewReader(text))
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		if err := WriteCounts(&once, counts); err != nil {
			t.Fatal(err)
		}
		again, err := ReadCounts(bytes.NewReader(once.Bytes()))
		if err == nil {
			err = WriteCounts(&twice, again)
		}
		if err != nil || once.String() != twice.String() {
			t.Errorf("%v: %s and %s", err, once.String(), twice.String())
		}
	})
}

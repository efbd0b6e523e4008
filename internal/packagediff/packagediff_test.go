package packagediff

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/registry/quilt"
)

// side makes a package of files. Those named in old have a hash of the old type.
func side(t *testing.T, name, meta, message string, files map[string]string, old ...string) Side {
	t.Helper()
	var entries []quilt.Entry
	for _, key := range slices.Sorted(maps.Keys(files)) {
		kind := quilt.SHA256Chunked
		if slices.Contains(old, key) {
			kind = quilt.SHA256
		}
		hasher, err := quilt.NewHasher(kind, int64(len(files[key])))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = hasher.Write([]byte(files[key])) // never fails
		entries = append(entries, quilt.NewEntry(key, "", int64(len(files[key])), hasher.Hash(), quilt.Value{}))
	}
	value := quilt.Value{}
	if meta != "" {
		var err error
		if value, err = quilt.ParseValue([]byte(meta)); err != nil {
			t.Fatal(err)
		}
	}
	content, err := quilt.New(quilt.NewHeader(value, quilt.Value{}, message), entries)
	if err != nil {
		t.Fatal(err)
	}
	return Side{Name: name, Content: content, Open: func(_ context.Context, key string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(files[key])), nil
	}}
}

const boxesHeader = "Box,ImageID,Subset,Source,LabelID,LabelName,Label,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"

// box is the row of a box that starts at a place of its own.
func box(xmin, image, label string) string {
	id := sha256.Sum256([]byte("/m/0x 0." + xmin + " 0.9 0.1 0.2"))
	return fmt.Sprintf("%x,%s,train,xclick,/m/0x,%s,%s,1,0.%s,0.9,0.1,0.2,0,0,0,0,0\n", id[:4], image, label, label, xmin)
}

func TestCompare(t *testing.T) {
	const one, two, three = "00960080e5666c81", "00960080e5666c82", "00960080e5666c83"
	a := side(t, "a", `{"sandwich": {"commit": "abc"}}`, "first", map[string]string{
		"README.md": "same", "gone": "12",
		"manifest.lock":    "sandwich lock 1\ncode " + strings.Repeat("ab", 20) + " sha256:" + strings.Repeat("ab", 32) + " clean\n",
		"manifest.yaml":    "model:\n  epochs: 20\n  layers: [flatten]\n",
		"data/labels.json": `{"labels":["Ham","Hamburger"]}`,
		"data/boxes.csv":   boxesHeader + box("1", one, "Ham") + box("2", one, "Hamburger") + box("3", two, "Hamburger"),
		"data/dead.csv":    "ImageID,Reason\n" + two + ",404\n", "data/crops/train/Ham/1.jpg": "x", "data/crops/train/Ham/2.jpg": "y", "data/crops/train/Ham/3.jpg": "z",
		"environment/environment.json": `{"go":"go1.25","modules":[{"path":"a/b","version":"v1"},{"path":"c/d","version":"v1"}]}`,
		"report/metrics.json":          `{"accuracy":{"value":0.5},"classes":[{"label":"Ham","f1":0.25}],"confusion":[[1]]}`,
	}, "README.md")
	b := side(t, "b", `{"sandwich": {"commit": "def"}}`, "second", map[string]string{
		"README.md": "same", "new": "123",
		"manifest.lock":    "sandwich lock 1\ncode " + strings.Repeat("cd", 20) + " sha256:" + strings.Repeat("ab", 32) + " dirty\n",
		"manifest.yaml":    "model: {epochs: 30, layers: [flatten], seed: 1}\n",
		"data/labels.json": `{"labels":["Egg","Hamburger"]}`,
		"data/boxes.csv":   boxesHeader + box("4", one, "Egg") + box("2", one, "Hamburger"),
		"data/dead.csv":    "ImageID,Reason\n" + three + ",404\n", "data/crops/train/Ham/1.jpg": "changed", "data/crops/test/Ham/3.jpg": "z",
		"environment/environment.json": `{"go":"go1.26","modules":[{"path":"c/d","version":"v1"},{"path":"a/b","version":"v2"}]}`,
		"report/metrics.json":          `{"accuracy":{"value":0.75},"classes":[{"label":"Egg","f1":0.5}],"confusion":[[2]]}`,
	})
	got, err := Compare(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	x := func(f float64) *float64 { return &f }
	want := &Report{
		A: "a", B: "b", Equal: 1,
		Added:       []File{{Key: "data/crops/test/Ham/3.jpg", To: 1}, {Key: "new", To: 3}},
		Removed:     []File{{Key: "data/crops/train/Ham/2.jpg", From: 1}, {Key: "data/crops/train/Ham/3.jpg", From: 1}, {Key: "gone", From: 2}},
		Changed:     got.Changed, // their sizes say nothing
		Message:     &Field{"message", "first", "second"},
		Metadata:    []Field{{"sandwich.commit", "abc", "def"}},
		Manifest:    []Field{{"model.epochs", "20", "30"}, {"model.seed", "", "1"}},
		Code:        []Field{{"commit", strings.Repeat("ab", 20), strings.Repeat("cd", 20)}, {"dirty", "false", "true"}},
		Labels:      Names{Added: []string{"Egg"}, Removed: []string{"Ham"}},
		Boxes:       []Count{{Label: "Egg", Added: 1}, {Label: "Ham", Removed: 1}, {Label: "Hamburger", Removed: 1}},
		Crops:       Crops{Count: Count{Label: "crops", Removed: 1, Changed: 1}, Moved: 1},
		Dead:        Names{Added: []string{three}, Removed: []string{two}},
		Environment: []Field{{"go", "go1.25", "go1.26"}, {"modules.a/b.version", "v1", "v2"}},
		Metrics: []Metric{
			{Name: "accuracy.value", From: x(0.5), To: x(0.75), Change: x(0.25)},
			{Name: "classes.Egg.f1", To: x(0.5)}, {Name: "classes.Ham.f1", From: x(0.25)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got.Changed) != 8 {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Bare = true
	if bare, err := Compare(t.Context(), a, b); err != nil || bare.Message != nil || len(bare.Metadata) > 0 {
		t.Errorf("a folder lacks message and metadata: %+v, %v", bare, err)
	}
	same, err := Compare(t.Context(), a, a)
	if err != nil || !same.Same() || same.Equal != len(a.Content.Entries) || got.Same() {
		t.Errorf("a package with itself: %+v, %v", same, err)
	}
}

// Packages of other makers have files only, and a file that can not be parsed is an error.
func TestCompareOthers(t *testing.T) {
	a, b := side(t, "a", "", "", map[string]string{"x": "1"}), side(t, "b", "", "", map[string]string{"x": "2"})
	got, err := Compare(t.Context(), a, b)
	if err != nil || len(got.Changed) != 1 || got.Manifest == nil || len(got.Manifest) > 0 {
		t.Errorf("Compare = %+v, %v", got, err)
	}
	for _, key := range []string{manifestFile, lockFile, labelsFile, boxesFile, deadFile, environmentFile, metricsFile} {
		broken := side(t, "broken", "", "", map[string]string{key: "{a: [", "x": "1"})
		if _, err := Compare(t.Context(), a, broken); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	unreadable := errors.New("unreadable")
	broken := side(t, "broken", "", "", map[string]string{manifestFile: "a: 1"})
	broken.Open = func(context.Context, string) (io.ReadCloser, error) { return nil, unreadable }
	if _, err := Compare(t.Context(), a, broken); !errors.Is(err, unreadable) {
		t.Errorf("Compare = %v, want %v", err, unreadable)
	}
}

// Equal bytes under hashes of different types are equal; different ones are not.
func TestHashTypes(t *testing.T) {
	old := side(t, "a", "", "", map[string]string{"same": "1", "other": "2"}, "same", "other")
	fresh := side(t, "b", "", "", map[string]string{"same": "1", "other": "3"})
	for _, pair := range [][2]Side{{old, fresh}, {fresh, old}} {
		got, err := Compare(t.Context(), pair[0], pair[1])
		if err != nil || got.Equal != 1 || len(got.Changed) != 1 {
			t.Errorf("Compare = %+v, %v", got, err)
		}
	}
}

func TestFlattenIsBounded(t *testing.T) {
	bomb := "a: &a [[x], [x]]\n"
	for i := range 40 {
		bomb += fmt.Sprintf("b%d: &b%d {x: *%s, y: *%s}\n", i, i, last(i), last(i))
	}
	if flat, err := flatten([]byte(bomb)); err == nil {
		t.Errorf("%d values", len(flat))
	}
}

func last(i int) string {
	if i == 0 {
		return "a"
	}
	return fmt.Sprint("b", i-1)
}

func FuzzFlatten(f *testing.F) {
	f.Add([]byte("a: {b: [1, {name: x}]}"))
	f.Add([]byte(`{"a":[[1],2],"a":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		one, err := flatten(text)
		two, again := flatten(text)
		if (err == nil) != (again == nil) || !maps.Equal(one, two) {
			t.Error("two results")
		}
	})
}

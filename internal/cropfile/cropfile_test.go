package cropfile_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/cropfile"
)

var crops = []cropfile.Crop{
	{
		Path: `crops/Sub, "sandwich"/0001_ab.jpg`, Label: `Sub, "sandwich"`, ImageID: "0001", Subset: "train", Box: "ab",
		Left: 1, Top: 2, Right: 30, Bottom: 40, PhotoWidth: 50, PhotoHeight: 60,
	},
	{Path: "crops/é/0002_cd.jpg", Label: "é", ImageID: "0002", Subset: "test", Box: "cd", Right: 1, Bottom: 1, PhotoWidth: 1, PhotoHeight: 1},
}

func TestCropsRoundTrip(t *testing.T) {
	var buf bytes.Buffer
	if err := cropfile.WriteCrops(&buf, slices.Values(crops)); err != nil {
		t.Fatal(err)
	}
	var got []cropfile.Crop
	for c, err := range cropfile.Crops(&buf, "crops.csv") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	if diff := cmp.Diff(crops, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSplitRoundTrip(t *testing.T) {
	want := []cropfile.Assignment{
		{Path: "a.jpg", Label: "A", ImageID: "1", Set: cropfile.Train},
		{Path: "b.jpg", Label: "B", ImageID: "2", Set: cropfile.Test},
	}
	var buf bytes.Buffer
	if err := cropfile.WriteSplit(&buf, slices.Values(want)); err != nil {
		t.Fatal(err)
	}
	var got []cropfile.Assignment
	for a, err := range cropfile.Split(&buf, "split.csv") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestFaultsNameFileAndLine(t *testing.T) {
	tests := map[string]string{
		"":                                      "split.csv: want the columns Crop,Label,ImageID,Set, got an empty file",
		"Crop,Label\n":                          "split.csv: record on line 1: wrong number of fields",
		"Crop,Label,ImageID,Sets\n":             "split.csv: want the columns Crop,Label,ImageID,Set",
		"Crop,Label,ImageID,Set\na,b,c\n":       "split.csv: record on line 2",
		"Crop,Label,ImageID,Set\na,b,c,tests\n": `split.csv:2: want the set train, validation or test, got "tests"`,
		"Crop,Label,ImageID,Set\na,,c,test\n":   "split.csv:2: want the label of a",
		"Crop,Label,ImageID,Set\na,b,c,test\na,b,c,train\n": `split.csv:3: want each crop once, sorted: "a" after "a"`,
		"Crop,Label,ImageID,Set\n\"a,b,c,test\n":            "split.csv: parse error on line 2",
	}
	for text, want := range tests {
		var got error
		for _, err := range cropfile.Split(strings.NewReader(text), "split.csv") {
			got = err
		}
		if got == nil || !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%q: %v; want %q", text, got, want)
		}
	}
}

// FuzzSplit holds that what is read is sorted, and that each row is in one of the sets.
func FuzzSplit(f *testing.F) {
	f.Add("Crop,Label,ImageID,Set\ncrops/H/a.jpg,Hamburger,a,train\n\"crops/S/a,1.jpg\",Sandwich,a,test\n")
	f.Add("Crop,Label,ImageID,Set\r\n\r\na,b,,validation\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		last := ""
		for a, err := range cropfile.Split(strings.NewReader(text), "split.csv") {
			if err != nil {
				return
			}
			if a.Path <= last || !slices.Contains(cropfile.Sets(), a.Set) {
				t.Fatalf("%v after %q", a, last)
			}
			last = a.Path
		}
	})
}

func FuzzCrops(f *testing.F) {
	var buf bytes.Buffer
	if err := cropfile.WriteCrops(&buf, slices.Values(crops)); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.String())
	f.Add("Crop,Label\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		var got []cropfile.Crop
		for c, err := range cropfile.Crops(strings.NewReader(text), "crops.csv") {
			if err != nil {
				return
			}
			got = append(got, c)
		}
		var first, second bytes.Buffer
		if err := cropfile.WriteCrops(&first, slices.Values(got)); err != nil {
			t.Fatal(err)
		}
		var again []cropfile.Crop
		for c, err := range cropfile.Crops(bytes.NewReader(first.Bytes()), "again") {
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, c)
		}
		if err := cropfile.WriteCrops(&second, slices.Values(again)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Fatalf("written twice:\n%s\n%s", &first, &second)
		}
	})
}

package openimages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/shared"
)

// open opens a file of the shared data.
func open(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join(shared.Dir(t), "data", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestRealBoxes reads every box file of the shared data: the right rows, or an
// error that says where.
func TestRealBoxes(t *testing.T) {
	tests := []struct {
		file  string
		rows  int
		flags string // of the first row
		err   string
	}{
		{file: "metadata/v3-2017_11-slice/train/annotations-human-bbox.csv", rows: 1000, flags: "-1 -1 -1 -1 -1"},
		{file: "metadata/v3-2017_11-slice/validation/annotations-human-bbox.csv", rows: 1000, flags: "0 0 0 0 0"},
		{file: "metadata/v3-2017_11-slice/test/annotations-human-bbox.csv", rows: 1000, flags: "0 1 1 0 0"},
		{file: "metadata/v6-rows/oidv6-train-annotations-bbox.head.csv", rows: 3, flags: "0 1 0 0 0"},
		{file: "metadata/v6-rows/mmdet-oidv6-train-annotations-bbox.csv", rows: 1, flags: "0 0 0 0 0"},
		{file: "metadata/derived-hamburger-sandwich/train-annotations-bbox.csv", rows: 1348, flags: "-1 -1 -1 -1 -1"},
		{file: "metadata/derived-hamburger-sandwich/validation-annotations-bbox.csv", rows: 99, flags: "-1 -1 -1 -1 -1"},
		{file: "openimages/apple-orange/validation-annotations-bbox.csv", rows: 277, flags: "-1 -1 -1 -1 -1"},
		{file: "openimages/full-metadata-23/annotations-human-bbox.csv", rows: 83, flags: "0 0 0 0 0"},
		{file: "openimages/full-metadata-23/person-boxes.csv", rows: 43, flags: "-1 -1 -1 -1 -1"},
		{
			file: "metadata/nasty/test-annotations-bbox.xlsx-named.csv",
			err:  "test-annotations-bbox.xlsx-named.csv: this is a zip file or an Excel workbook, not CSV",
		},
		{
			file: "metadata/nasty/train-annotations-bbox.local-pixels.csv",
			err:  `train-annotations-bbox.local-pixels.csv:2:XMax: want a fraction of the photo's side, from 0 to 1; this looks like pixels, got "1600"`,
		},
		{
			file: "metadata/nasty/train-annotations-bbox.pixels.csv",
			err:  `train-annotations-bbox.pixels.csv:2:XMin: want a fraction of the photo's side, from 0 to 1; this looks like pixels, got "1110.1291248206599"`,
		},
		{
			file: "metadata/nasty/validation-annotations-bbox.blanked.csv",
			err:  `validation-annotations-bbox.blanked.csv:2:ImageID: want a value, got ""`,
		},
		{
			file: "openimages/apple-orange/labels/Apple.csv",
			err:  `Apple.csv:1: the header has no column LabelName; it has "ImageID,XMin,XMax,YMin,YMax"`,
		},
		{
			file: "metadata/food-2017_07/image_url_extracted_train.csv",
			err:  `image_url_extracted_train.csv:1: the header has no column ImageID, LabelName, XMin, XMax, YMin, YMax; it has "Image_id,Image_title,Image_url,Class_id,class_description,x_min,x_max,y_min,y_max"`,
		},
		{
			file: "metadata/v3-2017_11-slice/train/images.csv",
			err:  `images.csv:1: the header has no column LabelName, XMin, XMax, YMin, YMax; it has "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,Thumbnail30"…`,
		},
		{
			file: "metadata/v4/class-descriptions-boxable.csv",
			err:  `class-descriptions-boxable.csv:1: the header has no column ImageID, LabelName, XMin, XMax, YMin, YMax; it has "/m/011k07,Tortoise"`,
		},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			boxes, err := collectBoxes(open(t, test.file), filepath.Base(test.file))
			if test.err != "" {
				var fault *RowError
				if !errors.As(err, &fault) || err.Error() != test.err {
					t.Fatalf("got error %v\nwant      %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(boxes) != test.rows {
				t.Fatalf("got %d rows, want %d", len(boxes), test.rows)
			}
			if got := flagText(boxes[0]); got != test.flags {
				t.Errorf("flags of the first row: got %s, want %s", got, test.flags)
			}
			for _, b := range boxes {
				if b.Empty() {
					t.Errorf("box without area: %+v", b)
				}
			}
		})
	}
}

func collectBoxes(f *os.File, name string) (boxes []Box, err error) {
	for row, err := range Boxes(f, name) {
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, row.Box())
	}
	return boxes, nil
}

func flagText(b Box) string {
	var texts []string
	for _, f := range b.Flags {
		texts = append(texts, map[Flag]string{Unknown: "-1", No: "0", Yes: "1"}[f])
	}
	return strings.Join(texts, " ")
}

func TestRealBoxRow(t *testing.T) {
	boxes, err := collectBoxes(open(t, "metadata/v6-rows/oidv6-train-annotations-bbox.head.csv"), "v6.csv")
	if err != nil {
		t.Fatal(err)
	}
	want := Box{
		ImageID: "000002b66c9c498e", Source: "xclick", LabelID: "/m/01g317", Confidence: "1",
		XMin: "0.151562", XMax: "0.310937", YMin: "0.198437", YMax: "0.590625",
		Flags: [NumAttributes]Flag{Occluded: Yes},
	}
	if diff := cmp.Diff(want, boxes[2]); diff != "" {
		t.Error(diff)
	}
}

// TestRealImages reads every image file of the shared data.
func TestRealImages(t *testing.T) {
	tests := []struct {
		file                      string
		rows, thumbnails, rotated int // how many have them
		err                       string
	}{
		{file: "metadata/v3-2017_11-slice/train/images.csv", rows: 1000, thumbnails: 982},
		{file: "metadata/v3-2017_11-slice/validation/images.csv", rows: 1000, thumbnails: 961},
		{file: "metadata/v3-2017_11-slice/test/images.csv", rows: 1000, thumbnails: 969},
		{file: "metadata/v6-rows/train-images-boxable-with-rotation.head.csv", rows: 2, thumbnails: 2, rotated: 2},
		{file: "metadata/derived-hamburger-sandwich/train-images-with-rotation.csv", rows: 1348, thumbnails: 1314},
		{file: "metadata/derived-hamburger-sandwich/validation-images-with-rotation.csv", rows: 99, thumbnails: 97},
		{file: "openimages/full-metadata-23/images.csv", rows: 23, thumbnails: 23},
		{
			file: "openimages/full-metadata-23/annotations-human-bbox.csv",
			err:  `annotations-human-bbox.csv:1: the header has neither OriginalURL nor Thumbnail300KURL; it has "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"`,
		},
		{
			file: "metadata/nasty/test-annotations-bbox.xlsx-named.csv",
			err:  "test-annotations-bbox.xlsx-named.csv: this is a zip file or an Excel workbook, not CSV",
		},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			var rows, thumbnails, rotated int
			var err error
			for i, e := range SelectedImages(open(t, test.file), filepath.Base(test.file)) {
				if err = e; err != nil {
					break
				}
				rows++
				if i.Thumbnail300KURL != "" {
					thumbnails++
				}
				if i.Rotation != RotationUnknown {
					rotated++
				}
			}
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Fatalf("got error %v\nwant      %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if rows != test.rows || thumbnails != test.thumbnails || rotated != test.rotated {
				t.Errorf("got %d rows, %d thumbnails, %d rotated; want %d, %d, %d",
					rows, thumbnails, rotated, test.rows, test.thumbnails, test.rotated)
			}
		})
	}
}

func TestRealImageRow(t *testing.T) {
	want := Image{
		ImageID: "00075905539074f2", Subset: "validation",
		OriginalURL:        "https://farm3.staticflickr.com/568/21452126474_ab12789b36_o.jpg",
		OriginalLandingURL: "https://www.flickr.com/photos/dok1/21452126474",
		License:            "https://creativecommons.org/licenses/by/2.0/",
		AuthorProfileURL:   "https://www.flickr.com/people/dok1/",
		Author:             "Don O&#x27;Brien", Rotation: RotationUnknown,
	}
	for i, err := range SelectedImages(open(t, "openimages/full-metadata-23/images.csv"), "images.csv") {
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(shared.Dir(t), "data/openimages/full-metadata-23/images", string(i.ImageID)+".jpg"))
		if err != nil {
			t.Fatal(err)
		}
		if i.OriginalSize <= 0 || info.Size() <= 0 {
			t.Errorf("%s: size %d, on disk %d", i.ImageID, i.OriginalSize, info.Size())
		}
		if _, ok := i.MD5(); !ok {
			t.Errorf("%s: no MD5 in %q", i.ImageID, i.OriginalMD5)
		}
		if i.ImageID != want.ImageID {
			continue
		}
		want.Title, want.OriginalSize, want.OriginalMD5, want.Thumbnail300KURL = i.Title, i.OriginalSize, i.OriginalMD5, i.Thumbnail300KURL
		if diff := cmp.Diff(want, i); diff != "" {
			t.Error(diff)
		}
		if got := PlainText(i.Author); got != "Don O'Brien" {
			t.Errorf("plain author: %q", got)
		}
	}
}

func TestRealClasses(t *testing.T) {
	tests := []struct {
		file        string
		classes     int
		asked, want string // a name and its id, or the error
		err         string
	}{
		{file: "metadata/v4/class-descriptions-boxable.csv", classes: 601, asked: "Hamburger", want: "/m/0cdn1"},
		{file: "metadata/variants/class-descriptions-boxable.cr-only.csv", classes: 601, asked: "sandwich", want: "/m/0l515"},
		{file: "metadata/variants/class-descriptions-boxable.edited-names.csv", classes: 601, asked: "CricketBall", want: "/m/02ctlc"},
		{file: "metadata/v3-2017_11-slice/class-descriptions.csv", classes: 19995, asked: "Sprenger's tulip", want: "/m/0100nhbf"},
		{file: "metadata/food-2017_07/class-description.csv", classes: 32, asked: "Hot dog", want: "/m/01b9xk"},
		{
			file: "metadata/v3-2017_11-slice/classes.txt",
			err:  `classes.txt:1: want a label id and a name, got "/m/0100nhbf"`,
		},
		{
			file: "metadata/v3-2017_11-slice/train/images.csv",
			err:  `images.csv:1: want a label id and a name, got "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,Thumbnail30"…`,
		},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			c, err := ReadClasses(open(t, test.file), filepath.Base(test.file))
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Fatalf("got error %v\nwant      %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Len() != test.classes {
				t.Errorf("got %d classes, want %d", c.Len(), test.classes)
			}
			found, err := c.Find(test.asked)
			if err != nil || string(found.ID) != test.want {
				t.Errorf("find %q: got %v, %v, want %s", test.asked, found, err, test.want)
			}
		})
	}
}

// TestRealClassesAgree holds the damaged spellings of one list against the original.
func TestRealClassesAgree(t *testing.T) {
	original, err := ReadClasses(open(t, "metadata/v4/class-descriptions-boxable.csv"), "v4")
	if err != nil {
		t.Fatal(err)
	}
	crOnly, err := ReadClasses(open(t, "metadata/variants/class-descriptions-boxable.cr-only.csv"), "cr")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(original.list, crOnly.list); diff != "" {
		t.Error(diff)
	}
}

func TestRealFind(t *testing.T) {
	c, err := ReadClasses(open(t, "metadata/v4/class-descriptions-boxable.csv"), "v4")
	if err != nil {
		t.Fatal(err)
	}
	// The article's own commands, which its program could not find.
	for asked, nearest := range map[string][]string{
		"Sandwiches": {"Sandwich", "Submarine sandwich", "Candle"},
		"Hamburgers": {"Hamburger", "Hammer", "Hamster"},
		"hotdog":     {"Hot dog", "Dog", "Book"},
		"/m/0cdn2":   nil,
		"":           nil,
	} {
		_, err := c.Find(asked)
		var unknown *UnknownLabelError
		if !errors.As(err, &unknown) {
			t.Fatalf("find %q: got %v", asked, err)
		}
		if diff := cmp.Diff(nearest, unknown.Nearest); diff != "" {
			t.Errorf("nearest to %q: %s", asked, diff)
		}
	}

	v3, err := ReadClasses(open(t, "metadata/v3-2017_11-slice/class-descriptions.csv"), "v3")
	if err != nil {
		t.Fatal(err)
	}
	var ambiguous *AmbiguousLabelError
	if _, err := v3.Find("bun"); !errors.As(err, &ambiguous) || len(ambiguous.Candidates) != 2 {
		t.Errorf("find bun: got %v, want two candidates", err)
	}
}

func TestRealHierarchy(t *testing.T) {
	h, err := ReadHierarchy(open(t, "metadata/v4/bbox_labels_600_hierarchy.json"), "hierarchy.json")
	if err != nil {
		t.Fatal(err)
	}
	crlf, err := ReadHierarchy(open(t, "metadata/variants/bbox_labels_600_hierarchy.crlf.json"), "crlf.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, crlf, cmp.AllowUnexported(Hierarchy{})); diff != "" {
		t.Error(diff)
	}
	c, err := ReadClasses(open(t, "metadata/v4/class-descriptions-boxable.csv"), "v4")
	if err != nil {
		t.Fatal(err)
	}
	for class := range c.All() {
		if !h.Contains(class.ID) {
			t.Errorf("%s is not in the hierarchy", class.Name)
		}
	}
	if _, ok := c.byID[h.Root()]; ok {
		t.Errorf("the root %s is in the class list", h.Root())
	}
	names := func(ids []LabelID) (names []string) {
		for _, id := range ids {
			names = append(names, c.Name(id))
		}
		return names
	}
	if diff := cmp.Diff([]string{"Submarine sandwich", "Hamburger"}, names(h.Descendants("/m/0l515"))); diff != "" {
		t.Errorf("below Sandwich: %s", diff)
	}
	if got := len(h.Descendants(h.Root())); got != 601 {
		t.Errorf("%d labels are kinds of the root", got)
	}
	door, err := c.Find("Door")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Door handle"}, names(h.Parts(door.ID))); diff != "" {
		t.Errorf("parts of Door: %s", diff)
	}
	if below := h.Descendants(door.ID); len(below) > 0 {
		t.Errorf("below Door: %v", names(below))
	}
}

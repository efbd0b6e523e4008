package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
	"github.com/sandwich-build/sandwich/stages/cas"
)

// file is a file that holds text.
func file(name, text string) File {
	return File{Name: name, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

// folder is a folder of files with the texts given.
func folder(t testing.TB, name string, texts map[string]string) File {
	t.Helper()
	var listing bytes.Buffer
	err := WriteListing(&listing, func(yield func(Entry) bool) {
		for _, below := range slices.Sorted(maps.Keys(texts)) {
			sum := sha256.Sum256([]byte(texts[below]))
			if !yield(Entry{Path: below, Size: int64(len(texts[below])), SHA256: hex.EncodeToString(sum[:])}) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	f := file(name, listing.String())
	f.OpenIn = func(_ context.Context, e Entry) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(texts[e.Path])), nil
	}
	return f
}

// read is what a form makes of files: a line for each class, photo and box, in which photos
// go by their place.
func read(t testing.TB, form Form, files map[manifest.Role]File) (string, error) {
	t.Helper()
	store := cas.NewMemory()
	tree, err := Convert(t.Context(), store, form, []Input{{Subset: "train", Files: files}})
	if err != nil {
		return "", err
	}
	open := func(name string) io.Reader {
		data, err := tree.ReadFile(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(data)
	}
	classes, err := openimages.ReadClasses(open(openimages.ClassesFile), openimages.ClassesFile)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for c := range classes.All() {
		lines = append(lines, "class "+string(c.ID)+" "+c.Name)
	}
	places := map[openimages.ImageID]string{}
	for i, err := range openimages.SelectedImages(open(openimages.ImagesFile("train")), "images") {
		if err != nil {
			t.Fatal(err)
		}
		places[i.ImageID] = i.OriginalURL
		sum := i.SHA256
		lines = append(lines, strings.TrimSpace("photo "+i.OriginalURL+" "+sum[:min(len(sum), 8)]+" "+strings.Trim(strings.Join([]string{i.Author, i.Title, i.License, i.OriginalLandingURL}, "|"), "|")))
	}
	for b, err := range openimages.Boxes(open(openimages.BoxesFile("train")), "boxes") {
		if err != nil {
			t.Fatal(err)
		}
		box := b.Box()
		place, ok := places[box.ImageID]
		if !ok {
			t.Errorf("a box is on %s, which is no photo", box.ImageID)
		}
		if !slices.ContainsFunc(slices.Collect(classes.All()), func(c openimages.Class) bool { return c.ID == box.LabelID }) {
			t.Errorf("a box is of %s, which is no class", box.LabelID)
		}
		line := strings.Join([]string{"box", place, string(box.LabelID), string(box.XMin), string(box.XMax), string(box.YMin), string(box.YMax)}, " ")
		for a, f := range box.Flags {
			if f == openimages.Yes {
				line += " " + openimages.Attribute(a).String()
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n", nil
}

var photos = map[string]string{"a.jpg": "A", "b.png": "B", "sub/c d.jpg": "C"}

const cocoFile = `{
 "info": {"description": "x", "more": [1, {"a": "]"}]},
 "annotations": [
  {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 20, 30, 40], "iscrowd": 0, "segmentation": [[1, 2]]},
  {"id": 2, "image_id": 7, "category_id": 3, "bbox": [90, 0, 30.5, 50], "iscrowd": 1},
  {"id": 3, "image_id": 8, "category_id": 3}
 ],
 "images": [
  {"id": 7, "file_name": "a.jpg", "width": 100, "height": 200, "license": 4, "flickr_url": "http://f/7", "coco_url": "http://c/7.jpg"},
  {"id": 8, "file_name": "sub/c d.jpg", "width": 10, "height": 10, "coco_url": "http://c/8.jpg"},
  {"id": 9, "file_name": "gone.jpg", "coco_url": "http://c/9.jpg"}
 ],
 "licenses": [{"id": 4, "url": "http://by/2.0/", "name": "BY"}],
 "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "fire engine"}]
}`

const vocFile = `<?xml version="1.0"?>
<annotation>
 <folder>x</folder><filename>a.jpg</filename>
 <owner><name> Ann </name></owner>
 <size><width>100</width><height>200</height><depth>3</depth></size>
 <object><name>dog</name><truncated>1</truncated><difficult>0</difficult>
  <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>
  <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
 </object>
 <object><name>cat</name><occluded>1</occluded></object>
</annotation>`

func TestForms(t *testing.T) {
	parquetFile := func() string {
		type row struct {
			URL   string  `parquet:"url"`
			Label string  `parquet:"label"`
			XMin  float64 `parquet:"xmin"`
			XMax  float64 `parquet:"xmax"`
			YMin  float64 `parquet:"ymin"`
			YMax  float64 `parquet:"ymax"`
			Size  *int64  `parquet:"size,optional"`
			Tags  []string
			Title string `parquet:"title"`
		}
		n := int64(12)
		var b bytes.Buffer
		if err := parquet.Write(&b, []row{
			{URL: "https://x/1.jpg", Label: "dog", XMax: 0.5, YMax: 1, Size: &n, Tags: []string{"a", "b"}, Title: "One"},
			{URL: "https://x/1.jpg", Label: "cat", XMin: 0.5, XMax: 1, YMax: 1, Title: "One"},
			{URL: "s3://bucket/2.jpg", Tags: []string{"c"}, XMax: 1, YMax: 1},
		}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}()
	const (
		sumA, sumB, sumC = "559aead0", "df7e70e5", "6b23c0d5"
		cocoPhotos       = "photo i/a.jpg " + sumA + " http://by/2.0/|http://f/7\nphoto i/sub/c d.jpg " + sumC + "\nphoto i/gone.jpg\n"
	)
	for _, tt := range []struct {
		name  string
		form  Form
		files map[manifest.Role]File
		want  string
	}{
		{
			"folders", folders{}, map[manifest.Role]File{manifest.Photos: folder(t, "p/", map[string]string{"dog/a.jpg": "A", "hot dog/x/b.jpg": "B"})},
			"class dog dog\nclass hot%20dog hot dog\nphoto p/dog/a.jpg " + sumA + "\nphoto p/hot dog/x/b.jpg " + sumB +
				"\nbox p/dog/a.jpg dog 0 1 0 1\nbox p/hot dog/x/b.jpg hot%20dog 0 1 0 1\n",
		},
		{
			"folders of a bucket", folders{}, map[manifest.Role]File{manifest.Photos: file("s3://b/p/", "Path,Size,SHA256\nhot dog/a?.jpg,3,\n")},
			"class hot%20dog hot dog\nphoto s3://b/p/hot%20dog/a%3F.jpg\nbox s3://b/p/hot%20dog/a%3F.jpg hot%20dog 0 1 0 1\n",
		},
		{
			"coco", coco{}, map[manifest.Role]File{manifest.Annotations: file("c.json", cocoFile), manifest.Photos: folder(t, "i/", photos)},
			"class 18 dog\nclass 3 fire engine\n" + cocoPhotos +
				"box i/a.jpg 18 0.1 0.4 0.1 0.3\nbox i/a.jpg 3 0.9 1 0 0.25 group_of\nbox i/sub/c d.jpg 3 0 1 0 1\n",
		},
		{
			"coco on the web", coco{}, map[manifest.Role]File{manifest.Annotations: file("c.json", strings.Replace(cocoFile, `"annotations"`, `"other"`, 1))},
			"class 18 dog\nclass 3 fire engine\nphoto http://c/7.jpg  http://by/2.0/|http://f/7\nphoto http://c/8.jpg\nphoto http://c/9.jpg\n",
		},
		{
			"voc", voc{}, map[manifest.Role]File{
				manifest.Annotations: folder(t, "v/", map[string]string{
					"1.xml": vocFile, "b.xml": `<annotation><filename>wrong</filename></annotation>`, "gone.xml": `<annotation/>`,
				}), manifest.Photos: folder(t, "i/", photos),
			},
			"class cat cat\nclass dog dog\nphoto i/a.jpg " + sumA + " Ann\nphoto i/b.png " + sumB + "\nphoto i/gone.jpg\n" +
				"box i/a.jpg dog 0.1 0.4 0.1 0.3 truncated\nbox i/a.jpg cat 0 1 0 1 occluded\n",
		},
		{
			"yolo", yolo{}, map[manifest.Role]File{
				manifest.Classes: file("names.txt", "dog\r\ncat\n\n"),
				manifest.Annotations: folder(t, "l/", map[string]string{
					"a.txt": "0 0.25 0.2 0.5 0.4\n\n1 0.5 0.5 1.0 1.0 0.9\n", "b.txt": "", "classes.txt": "dog", "sub/c d.txt": "1 0.1 0.2 0.3 0.1 0.2 0.9\r\n", "gone.txt": "",
				}), manifest.Photos: folder(t, "i/", photos),
			},
			"class cat cat\nclass dog dog\nphoto i/a.jpg " + sumA + "\nphoto i/b.png " + sumB + "\nphoto i/gone.jpg\nphoto i/sub/c d.jpg " + sumC + "\n" +
				"box i/a.jpg dog 0 0.5 0 0.4\nbox i/a.jpg cat 0 1 0 1\nbox i/sub/c d.jpg cat 0.1 0.3 0.1 0.9\n",
		},
		{
			"csv", urls{"url", "class"}, map[manifest.Role]File{manifest.URLTable: file("t.csv", "url;class;Author;TITLE;licence;md5\r\nhttps://x/1.jpg;hot dog;Ann;\"One; two\";by;900150983cd24fb0d6963f7d28e17f72\r\nhttps://x/2.jpg;;;;;\r\nhttps://x/1.jpg;dog;;;;\r\n")},
			"class dog dog\nclass hot%20dog hot dog\nphoto https://x/1.jpg  Ann|One; two|by\nphoto https://x/2.jpg\n" +
				"box https://x/1.jpg hot%20dog 0 1 0 1\nbox https://x/1.jpg dog 0 1 0 1\n",
		},
		{
			"parquet", urls{"url", "label"}, map[manifest.Role]File{manifest.URLTable: file("t.parquet", parquetFile)},
			"class cat cat\nclass dog dog\nphoto https://x/1.jpg  One\nphoto s3://bucket/2.jpg\n" +
				"box https://x/1.jpg dog 0 0.5 0 1\nbox https://x/1.jpg cat 0.5 1 0 1\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(t, tt.form, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestFaults has files that are wrong in one place each.
func TestFaults(t *testing.T) {
	i := folder(t, "i/", photos)
	cocoOf := func(from, to string) (Form, map[manifest.Role]File) { //nolint:unparam // as the table wants it
		text := strings.Replace(cocoFile, from, to, 1)
		if text == cocoFile {
			t.Fatalf("%q is not in the file", from)
		}
		return coco{}, map[manifest.Role]File{manifest.Annotations: file("c.json", text), manifest.Photos: i}
	}
	vocOf := func(text string) (Form, map[manifest.Role]File) { //nolint:unparam // as the table wants it
		return voc{}, map[manifest.Role]File{manifest.Annotations: folder(t, "v/", map[string]string{"1.xml": text}), manifest.Photos: i}
	}
	yoloOf := func(row, names string) (Form, map[manifest.Role]File) { //nolint:unparam // as the table wants it
		return yolo{}, map[manifest.Role]File{
			manifest.Classes: file("n.yaml", names), manifest.Annotations: folder(t, "l/", map[string]string{"a.txt": "\n" + row}), manifest.Photos: i,
		}
	}
	tableOf := func(text string) (Form, map[manifest.Role]File) {
		return urls{"url", "label"}, map[manifest.Role]File{manifest.URLTable: file("t.csv", text)}
	}
	const names = "names: {0: dog, 1: cat}\n"
	for _, tt := range []struct {
		name string
		make func() (Form, map[manifest.Role]File)
		want string
	}{
		{"no class", func() (Form, map[manifest.Role]File) {
			return folders{}, map[manifest.Role]File{manifest.Photos: folder(t, "p/", map[string]string{"a.jpg": ""})}
		}, "p/a.jpg: want each photo in the folder of its class"},
		{"coco image", func() (Form, map[manifest.Role]File) { return cocoOf(`"image_id": 8`, `"image_id": 80`) }, "c.json:annotations[2]:image_id: there is no image 80"},
		{"coco category", func() (Form, map[manifest.Role]File) { return cocoOf(`"category_id": 18`, `"category_id": 1`) }, "c.json:annotations[0]:category_id: there is no category 1"},
		{"coco box", func() (Form, map[manifest.Role]File) { return cocoOf(`[10, 20, 30, 40]`, `[10, 20, -30, 40]`) }, "c.json:annotations[0]:bbox: want left, top, width and height in pixels"},
		{"coco size", func() (Form, map[manifest.Role]File) { return cocoOf(`"width": 100`, `"width": 0`) }, "c.json:annotations[0]:bbox: the image 7 has no width and height, without which a box says nothing"},
		{"coco type", func() (Form, map[manifest.Role]File) { return cocoOf(`"id": 7`, `"id": "7"`) }, "c.json:images[0]:id: want a int64, got a string"},
		{"coco twice", func() (Form, map[manifest.Role]File) { return cocoOf(`"id": 8`, `"id": 7`) }, "c.json:images[1]:id: the image 7 is there twice"},
		{"coco list", func() (Form, map[manifest.Role]File) {
			return cocoOf(`[{"id": 4, "url": "http://by/2.0/", "name": "BY"}]`, `{}`)
		}, "c.json:licenses: want a list, got {"},
		{"coco cut", func() (Form, map[manifest.Role]File) { return cocoOf(`"name": "fire engine"}]`+"\n}", ``) }, "c.json:categories[1]: the file ends too early, at byte "},
		{"coco class", func() (Form, map[manifest.Role]File) { return cocoOf(`fire engine`, `../x`) }, `c.json:categories[1]:name: want the name of a class without a slash and without a dot in front, since it names a folder, got "../x"`},
		{"not XML", func() (Form, map[manifest.Role]File) { return vocOf("<annotation>\n<a></b>") }, "v/1.xml:2: not XML: element <a> closed by </b>"},
		{"other XML", func() (Form, map[manifest.Role]File) { return vocOf("<svg/>") }, "v/1.xml: want an element annotation, got svg"},
		{"voc number", func() (Form, map[manifest.Role]File) {
			return vocOf(strings.Replace(vocFile, "<xmin>11", "<xmin>eleven", 1))
		}, `v/1.xml:object[0]:bndbox.xmin: want a number, got "eleven"`},
		{"voc size", func() (Form, map[manifest.Role]File) {
			return vocOf(strings.Replace(vocFile, "<width>100", "<width>0", 1))
		}, `v/1.xml:object[0]:size.width: want the photo's side in pixels, without which a box says nothing, got "0"`},
		{"yolo class", func() (Form, map[manifest.Role]File) { return yoloOf("2 0 0 0 0", names) }, `l/a.txt:2:class: want the number of a class, from 0 to 1, got "2"`},
		{"yolo pixels", func() (Form, map[manifest.Role]File) { return yoloOf("1 0.5 12 0.5 0.5", names) }, `l/a.txt:2:number 3: want a fraction of the photo's side, from 0 to 1, got "12"`},
		{"yolo count", func() (Form, map[manifest.Role]File) { return yoloOf("1 0.5 0.5 0.5", names) }, `l/a.txt:2: want a class and 4 numbers, or an outline of 3 points or more, got 3 numbers behind the class`},
		{"yolo names", func() (Form, map[manifest.Role]File) { return yoloOf("", "names: {0: a, 2: b}") }, `n.yaml:names: there are 2 names, and none has the number 1`},
		{"yolo no names", func() (Form, map[manifest.Role]File) { return yoloOf("", "nc: 3") }, `n.yaml:1:names: want the names of the classes, as a list or by number from 0 on`},
		{"table column", func() (Form, map[manifest.Role]File) { return tableOf("link,label\n") }, ""},
		{"table columns", func() (Form, map[manifest.Role]File) { return tableOf("link,label\nhttps://x,a\n") }, `t.csv: there is no column "url", which dataset.source.urls.url says; it has "link,label"`},
		{"table URL", func() (Form, map[manifest.Role]File) { return tableOf("url,label\nhttps://x/1,a\nphotos/2.jpg,a\n") }, `t.csv:3:url: want an http, https or s3 URL, got "photos/2.jpg"`},
		{"table box", func() (Form, map[manifest.Role]File) {
			return tableOf("url,label,XMin,XMax,YMin,YMax\nhttps://x/1,a,0,120,0,1\n")
		}, `t.csv:2:XMax: want a fraction of the photo's side, from 0 to 1; this looks like pixels, got "120"`},
		{"table half a box", func() (Form, map[manifest.Role]File) { return tableOf("url,label,XMin\nhttps://x/1,a,0\n") }, `t.csv: want all of the columns XMin, XMax, YMin and YMax, or none`},
		{"table sum", func() (Form, map[manifest.Role]File) { return tableOf("url,label,md5\nhttps://x/1,a,xyz\n") }, `t.csv:2:md5: want an MD5 sum in hexadecimal digits or base64, got "xyz"`},
		{"table size", func() (Form, map[manifest.Role]File) { return tableOf("url,label,size\nhttps://x/1,a,-1\n") }, `t.csv:2:size: want a number of bytes, got "-1"`},
		{"table row", func() (Form, map[manifest.Role]File) { return tableOf("url,label\nhttps://x/1\n") }, `t.csv:2: the row has 1 columns, the header has 2`},
		{"parquet", func() (Form, map[manifest.Role]File) { return tableOf("PAR1xxxxPAR1") }, "t.csv: not a sound Parquet file: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form, files := tt.make()
			_, err := read(t, form, files)
			if tt.want == "" {
				tt.want = "t.csv: there are no classes"
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || len(err.Error()) > len(tt.want) && tt.name != "parquet" && tt.name != "coco cut" {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestFractions: whatever the photo's size, pixels come back as they were.
func TestFractions(t *testing.T) {
	for side := 1.0; side <= 400; side++ {
		for lo := 0.0; lo < side; lo += 1 + math.Floor(side/40) {
			for hi := lo + 1; hi <= side; hi += 1 + math.Floor(side/30) {
				from, to := fractions(lo, hi, side)
				left, right := math.Floor(from.Float64()*side), math.Ceil(to.Float64()*side)
				if left != lo || right != hi {
					t.Fatalf("%v to %v of %v became %v to %v", lo, hi, side, left, right)
				}
			}
		}
	}
}

// fuzz reads what a form makes of arbitrary files: rows that openimages takes, or a fault
// that names the file.
//
// Fuzz with -fuzzminimizetime 20x. Go tries to shorten each new input, for up to a minute, and does
// not count these runs: of a text of 1,200 bytes there are 700,000 parts to leave out, so that without
// the flag it tells of 0 runs a second, and there are as few.
func fuzz(t *testing.T, form Form, files map[manifest.Role]File) {
	t.Helper()
	text, err := read(t, form, files)
	if err == nil && !strings.HasPrefix(text, "class ") {
		t.Errorf("got %q", text)
	}
	if err != nil && !strings.Contains(err.Error(), ": ") {
		t.Errorf("the error names no file: %v", err)
	}
}

func FuzzCOCO(f *testing.F) {
	f.Add(cocoFile)
	f.Add(`{"images":[{"id":1,"file_name":"a.jpg","width":1e308,"height":1}],"annotations":[{"image_id":1,"category_id":1,"bbox":[1e300,0,1e308,1]}],"categories":[{"id":1,"name":"a"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		fuzz(t, coco{}, map[manifest.Role]File{manifest.Annotations: file("c.json", text), manifest.Photos: folder(t, "i/", photos)})
	})
}

func FuzzVOC(f *testing.F) {
	f.Add(vocFile)
	f.Fuzz(func(t *testing.T, text string) {
		fuzz(t, voc{}, map[manifest.Role]File{manifest.Annotations: folder(t, "v/", map[string]string{"1.xml": text}), manifest.Photos: folder(t, "i/", photos)})
	})
}

func FuzzYOLO(f *testing.F) {
	f.Add("0 0.25 0.2 0.5 0.4\n1 0.1 0.2 0.3 0.1 0.2 0.9", "names: [dog, cat]", true)
	f.Add("0 0.25 0.2 0.5 0.4", "dog\ncat", false)
	f.Fuzz(func(t *testing.T, rows, names string, isYAML bool) {
		name := "n.txt"
		if isYAML {
			name = "n.yaml"
		}
		fuzz(t, yolo{}, map[manifest.Role]File{
			manifest.Classes: file(name, names), manifest.Annotations: folder(t, "l/", map[string]string{"a.txt": rows}), manifest.Photos: folder(t, "i/", photos),
		})
	})
}

func FuzzURLs(f *testing.F) {
	f.Add("url,label,XMin,XMax,YMin,YMax,md5,size\nhttps://x/1,a,0,1,0,1,,3\n")
	f.Add("PAR1\x15\x04PAR1")
	f.Fuzz(func(t *testing.T, text string) {
		fuzz(t, urls{"url", "label"}, map[manifest.Role]File{manifest.URLTable: file("t.csv", text)})
	})
}

func FuzzListing(f *testing.F) {
	f.Add("Path,Size,SHA256\na/b.jpg,3,00\n")
	f.Fuzz(func(t *testing.T, text string) {
		var entries []Entry
		for e, err := range Listing(strings.NewReader(text), "listing") {
			if err != nil {
				return
			}
			entries = append(entries, e)
		}
		var again bytes.Buffer
		if err := WriteListing(&again, slices.Values(entries)); err != nil {
			t.Fatal(err)
		}
		i := 0
		for e, err := range Listing(&again, "again") {
			if err != nil || e != entries[i] {
				t.Fatalf("%q: got %v, %v", text, e, err)
			}
			i++
		}
	})
}

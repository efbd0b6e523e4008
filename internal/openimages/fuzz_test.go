package openimages

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rowErrorOnly fails unless err is nil or says where the fault is.
func rowErrorOnly(t *testing.T, err error) {
	t.Helper()
	var fault *RowError
	if err != nil && !errors.As(err, &fault) {
		t.Errorf("got %T: %v", err, err)
	}
}

// FuzzBoxes reads anything as a box file; what it accepts must survive boxes.csv.
func FuzzBoxes(f *testing.F) {
	f.Add([]byte(boxLine + "1a,x,/m/a,1,0.1,0.25,0.5,1,1,0,-1,,1.0\n"))
	f.Add([]byte("\ufeff;ImageID;LabelName;XMin;XMax;YMin;YMax\r0;1a;/m/a;1e-5;1;0;\"1\"\r"))
	f.Add([]byte(boxLine + ",,,,,,,,,,,,\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var boxes []SelectedBox
		for row, err := range Boxes(bytes.NewReader(text), "f") {
			if err != nil {
				rowErrorOnly(t, err)
				return
			}
			b := SelectedBox{Box: row.Box()}
			for _, v := range []Fraction{b.XMin, b.XMax, b.YMin, b.YMax} {
				if x := v.Float64(); !(x >= 0 && x <= 1) {
					t.Errorf("coordinate %q is %v", v, x)
				}
			}
			if b.Empty() != row.Empty() {
				t.Errorf("%+v: the row and its copy differ in whether they are empty", b)
			}
			b.ID = BoxID(b.Digest()[:BoxIDDigits])
			boxes = append(boxes, b)
		}
		var file bytes.Buffer
		if err := WriteSelectedBoxes(&file, slices.Values(boxes)); err != nil {
			t.Fatal(err)
		}
		var again []SelectedBox
		for b, err := range SelectedBoxes(&file, "boxes.csv") {
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, b)
		}
		if diff := cmp.Diff(boxes, again); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzImages reads anything as an image file; what it accepts must survive images.csv.
func FuzzImages(f *testing.F) {
	f.Add([]byte("ImageID,Subset,OriginalURL,Author,Title,OriginalSize,OriginalMD5,Rotation\n1a,train,https://x,\"a, b\",\"c\n\"\"d\"\"\",12.0,1B2M2Y8AsgTpgAmY7PhCfg==,90.0\n"))
	f.Add([]byte("ImageID,Thumbnail300KURL\r\n1a,\xff\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var images []Image
		for i, err := range SelectedImages(bytes.NewReader(text), "f") {
			if err != nil {
				rowErrorOnly(t, err)
				return
			}
			images = append(images, i)
		}
		var file bytes.Buffer
		if err := WriteImages(&file, slices.Values(images)); err != nil {
			t.Fatal(err)
		}
		var again []Image
		for i, err := range SelectedImages(&file, "images.csv") {
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, i)
		}
		if diff := cmp.Diff(images, again); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzSelectedBoxes reads anything as boxes.csv.
func FuzzSelectedBoxes(f *testing.F) {
	f.Add([]byte("Box,ImageID,Subset,Source,LabelID,LabelName,Label,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n" +
		"098fc3e5,1000000000000001,train,xclick,/m/sandwich,Sandwich,Sandwich,1,0.1,0.2,0.3,0.4,1,-1,0,0,0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, err := range SelectedBoxes(bytes.NewReader(text), "f") {
			rowErrorOnly(t, err)
		}
	})
}

// FuzzReadClasses reads anything as a class list and looks something up.
func FuzzReadClasses(f *testing.F) {
	f.Add([]byte("/m/a,A\n/m/b,B b\n"), "a")
	f.Add([]byte(",LabelID,LabelName\r0,/m/a,A\r"), "Ab")
	f.Add([]byte("/m/a;A\n"), "")
	f.Fuzz(func(t *testing.T, text []byte, asked string) {
		c, err := ReadClasses(bytes.NewReader(text), "f")
		if err != nil {
			rowErrorOnly(t, err)
			return
		}
		for class := range c.All() {
			if found, err := c.Find(string(class.ID)); err != nil || found != class {
				t.Errorf("find %q: got %v, %v", class.ID, found, err)
			}
		}
		var unknown *UnknownLabelError
		if _, err := c.Find(asked); errors.As(err, &unknown) && len(unknown.Nearest) > 3 {
			t.Errorf("%d names are near", len(unknown.Nearest))
		}
	})
}

// FuzzReadHierarchy reads anything as a hierarchy and walks it.
func FuzzReadHierarchy(f *testing.F) {
	f.Add([]byte(`{"LabelName": "r", "Subcategory": [{"LabelName": "a", "Part": [{"LabelName": "p"}]}, {"LabelName": "b", "Subcategory": [{"LabelName": "a"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := ReadHierarchy(bytes.NewReader(text), "f")
		if err != nil {
			rowErrorOnly(t, err)
			return
		}
		if slices.Contains(h.Descendants(h.Root()), h.Root()) {
			t.Error("the root is below itself")
		}
	})
}

// transcript is what a reader of box files yields, as text.
func transcript(rows iter.Seq2[*BoxRow, error]) (string, error) {
	var b strings.Builder
	for row, err := range rows {
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%d: %q\n", row.t.at, fmt.Sprint(row.Box()))
	}
	return b.String(), nil
}

// FuzzScan reads anything in parallel, in chunks of a few bytes, in one go, and without
// knowing plain rows: the rows and the fault must be the same.
func FuzzScan(f *testing.F) {
	const plain = "000002b66c9c498e,xclick,/m/01g317,1,0.012500,0.195312,0.148438,0.587500,0,1,0,0,0\n"
	f.Add([]byte(boxLine+plain+plain+plain), 7)
	f.Add([]byte(boxLine+plain+strings.Replace(plain, "xclick", "a\nb", 1)+strings.Replace(plain, "xclick", "", 1)+plain+plain), 150)
	f.Add([]byte(boxLine+plain+strings.Replace(plain, "0.148438", "0.14843 ", 1)+plain+plain), 150)
	f.Add([]byte(boxLine+"1a,\"x\n\"\"\",/m/a,1,0.1,0.25,0.5,1,1,0,-1,,1.0\r\n\n"+plain), 1)
	f.Add([]byte(boxLine+"1a,\"x,/m/a,1,0.1,0.25,0.5,1,1,0,-1,,1.0\n"+plain), 50)
	f.Add([]byte(boxLine+"1a,x\"y,/m/a,1,0.1,0.25,0.5,1,1,0,-1,,1.0\n"+plain), 90)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		want, wantErr := transcript(Boxes(bytes.NewReader(text), "f"))
		general, generalErr := transcript(rows(bytes.NewReader(text), "f", func(t *table) (*BoxRow, error) {
			view, err := openBoxes(t)
			t.mayPlain = false
			return view, err
		}))
		var parallel strings.Builder
		parallelErr := scan(t.Context(), scanner{bytes.NewReader(text), "f", 3, 1 + int(uint(size)%200)}, openBoxes,
			func(rows iter.Seq2[*BoxRow, error]) (string, error) {
				text, err := transcript(rows)
				return text, err
			},
			func(part string) error {
				parallel.WriteString(part)
				return nil
			})
		for _, other := range []struct {
			name, text string
			err        error
		}{{"without plain rows", general, generalErr}, {"in parallel", parallel.String(), parallelErr}} {
			if fmt.Sprint(other.err) != fmt.Sprint(wantErr) {
				t.Errorf("%s: got error %v, want %v", other.name, other.err, wantErr)
			}
			if other.err == nil && other.text != want || !strings.HasPrefix(want, other.text) {
				t.Errorf("%s: got %s, want %s", other.name, other.text, want)
			}
		}
	})
}

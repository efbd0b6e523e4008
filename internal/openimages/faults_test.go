package openimages

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const boxLine = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"

func TestBoxes(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Box
		err        string
	}{
		{
			name: "columns by name, in another order, with pandas' index and a column of tomorrow",
			text: ",YMax,YMin,XMax,XMin,LabelName,ImageID,Future\n0,0.4,0.3,0.2,0.1,/m/a,1a,x\n",
			want: []Box{{ImageID: "1a", LabelID: "/m/a", XMin: "0.1", XMax: "0.2", YMin: "0.3", YMax: "0.4", Flags: [NumAttributes]Flag{-1, -1, -1, -1, -1}}},
		},
		{
			name: "flags and numbers as pandas writes them, and rounding noise",
			text: boxLine + "1a,x,/m/a,1.0,-1e-07,1.0000001,1e-05,1,1.0,0.0,-1.0,,1\n",
			want: []Box{{ImageID: "1a", Source: "x", LabelID: "/m/a", Confidence: "1.0", XMin: "-1e-07", XMax: "1.0000001", YMin: "1e-05", YMax: "1",
				Flags: [NumAttributes]Flag{Yes, No, Unknown, Unknown, Yes}}},
		},
		{name: "no rows", text: boxLine},
		{name: "empty file", text: "", err: "b.csv: the file is empty"},
		{name: "one column too few", text: boxLine + "1a,x,/m/a,1,0,1,0,1,0,0,0,0\n", err: "b.csv:2: the row has 12 columns, the header has 13"},
		{name: "one column too many", text: boxLine + "\n1a,x,/m/a,1,0,1,0,1,0,0,0,0,0,0\n", err: "b.csv:3: the row has 14 columns, the header has 13"},
		{name: "column twice", text: "ImageID,LabelName,XMin,XMax,YMin,YMax,XMin\n", err: "b.csv:1:XMin: the header names this column twice"},
		{name: "image id that is a path", text: boxLine + "../x,x,/m/a,1,0,1,0,1,0,0,0,0,0\n", err: `b.csv:2:ImageID: want letters, digits, dots, dashes and underscores, and no dot in front, got "../x"`},
		{name: "long image id", text: boxLine + strings.Repeat("a", 129) + ",x,/m/a,1,0,1,0,1,0,0,0,0,0\n", err: `b.csv:2:ImageID: want at most 128 bytes, got "` + strings.Repeat("a", 120) + `"…`},
		{name: "no label", text: boxLine + "1a,x,,1,0,1,0,1,0,0,0,0,0\n", err: `b.csv:2:LabelName: want a value, got ""`},
		{name: "label with a space", text: boxLine + "1a,x,Hot dog,1,0,1,0,1,0,0,0,0,0\n", err: `b.csv:2:LabelName: want an id without spaces and control characters, got "Hot dog"`},
		{name: "confidence", text: boxLine + "1a,x,/m/a,sure,0,1,0,1,0,0,0,0,0\n", err: `b.csv:2:Confidence: want a number from 0 to 1, got "sure"`},
		{name: "not a number", text: boxLine + "1a,x,/m/a,1,0,NaN,0,1,0,0,0,0,0\n", err: `b.csv:2:XMax: want a number from 0 to 1, got "NaN"`},
		{name: "missing coordinate", text: boxLine + "1a,x,/m/a,1,0,1,,1,0,0,0,0,0\n", err: `b.csv:2:YMin: want a value, got ""`},
		{name: "decimal comma", text: strings.ReplaceAll(boxLine, ",", ";") + "1a;x;/m/a;1;0,5;1;0;1;0;0;0;0;0\n", err: `b.csv:2:XMin: want a number from 0 to 1, got "0,5"`},
		{name: "just outside", text: boxLine + "1a,x,/m/a,1,0,1.00001,0,1,0,0,0,0,0\n", err: `b.csv:2:XMax: want a fraction of the photo's side, from 0 to 1; this looks like pixels, got "1.00001"`},
		{name: "huge", text: boxLine + "1a,x,/m/a,1,0,1e999,0,1,0,0,0,0,0\n", err: `b.csv:2:XMax: want a fraction of the photo's side, from 0 to 1; this looks like pixels, got "1e999"`},
		{name: "flag", text: boxLine + "1a,x,/m/a,1,0,1,0,1,0,0,2,0,0\n", err: `b.csv:2:IsGroupOf: want 1, 0 or -1, got "2"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []Box
			message := ""
			for row, err := range Boxes(strings.NewReader(test.text), "b.csv") {
				if err != nil {
					message = err.Error()
					continue
				}
				got = append(got, row.Box())
			}
			if message != test.err {
				t.Errorf("got error %q, want %q", message, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFraction(t *testing.T) {
	for text, want := range map[string]float64{
		"0": 0, "1": 1, "0.": 0, "0.25": 0.25, "1.000000": 1, "1.0000001": 1, "-0.0000001": 0, "5e-1": 0.5, "+0.5": 0.5, ".5": 0.5,
	} {
		f, err := ParseFraction(text)
		if err != nil || f.Float64() != want {
			t.Errorf("%s: got %v, %v, want %v", text, f.Float64(), err, want)
		}
	}
	for _, text := range []string{"", "1.5", "-0.5", "0x1p-2", "0_1", "1.0.0", "inf", "0.5 ", "2", "1e", "0.2.3", "10"} {
		if _, err := ParseFraction(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestEmpty(t *testing.T) {
	tests := []struct {
		box  Box
		want bool
	}{
		{Box{XMin: "0.1", XMax: "0.2", YMin: "0.1", YMax: "0.2"}, false},
		{Box{XMin: "0.1", XMax: "0.100", YMin: "0.1", YMax: "0.2"}, true},
		{Box{XMin: "0.1", XMax: "0.2", YMin: "0.3", YMax: "0.2"}, true},
		{Box{XMin: "1", XMax: "1.0000001", YMin: "0.1", YMax: "0.2"}, true}, // nothing is left within the photo
	}
	for _, test := range tests {
		if got := test.box.Empty(); got != test.want {
			t.Errorf("%+v: got %v", test.box, got)
		}
		text := "ImageID,LabelName,XMin,XMax,YMin,YMax\n1a,/m/a," + strings.Join([]string{string(test.box.XMin), string(test.box.XMax), string(test.box.YMin), string(test.box.YMax)}, ",")
		for row, err := range Boxes(strings.NewReader(text), "b.csv") {
			if err != nil || row.Empty() != test.want {
				t.Errorf("%s: got %v, %v", text, row.Empty(), err)
			}
		}
	}
}

func TestImages(t *testing.T) {
	header := strings.Join(imageColumns, ",") + "\n"
	tests := []struct {
		name, text string
		want       []Image
		err        string
	}{
		{
			name: "no Rotation, an index, CRLF, commas and lines in a title, a broken character",
			text: ",ImageID,Subset,OriginalURL,Title,OriginalSize\r\n0,1a,train,https://x,\"a, \"\"b\"\"\r\nc \xff\",12.0\r\n",
			want: []Image{{ImageID: "1a", Subset: "train", OriginalURL: "https://x", Title: "a, \"b\"\r\nc \uFFFD", OriginalSize: 12, Rotation: RotationUnknown}},
		},
		{
			name: "rotations",
			text: "ImageID,Thumbnail300KURL,Rotation\n1a,,\n1b,,0\n1c,,90.0\n1d,,270\n1e,,nan\n",
			want: []Image{{ImageID: "1a", Rotation: -1}, {ImageID: "1b"}, {ImageID: "1c", Rotation: 90}, {ImageID: "1d", Rotation: 270}, {ImageID: "1e", Rotation: -1}},
		},
		{name: "another rotation", text: "ImageID,OriginalURL,Rotation\n1a,,45\n", err: `i.csv:2:Rotation: want 0, 90, 180 or 270 degrees, got "45"`},
		{name: "negative size", text: "ImageID,OriginalURL,OriginalSize\n1a,,-4\n", err: `i.csv:2:OriginalSize: want a number of bytes, got "-4"`},
		{name: "MD5 in hexadecimal", text: "ImageID,OriginalURL,OriginalMD5\n1a,,d41d8cd98f00b204e9800998ecf8427e\n", err: `i.csv:2:OriginalMD5: want an MD5 sum in base64, got "d41d8cd98f00b204e9800998ecf8427e"`},
		{name: "no URLs", text: "ImageID,Subset\n", err: `i.csv:1: the header has neither OriginalURL nor Thumbnail300KURL; it has "ImageID,Subset"`},
		{name: "columns", text: header + "1a,train\n", err: "i.csv:2: the row has 2 columns, the header has 12"},
		{name: "id", text: header + "a b,train,,,,,,,,,,\n", err: `i.csv:2:ImageID: want letters, digits, dots, dashes and underscores, and no dot in front, got "a b"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []Image
			message := ""
			for i, err := range SelectedImages(strings.NewReader(test.text), "i.csv") {
				if err != nil {
					message = err.Error()
					continue
				}
				got = append(got, i)
			}
			if message != test.err {
				t.Errorf("got error %q, want %q", message, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadClasses(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Class
		err        string
	}{
		{"plain", "/m/a,A\n/m/b,B b\n", []Class{{"/m/a", "A"}, {"/m/b", "B b"}}, ""},
		{"pandas' copy", ",LabelID,LabelName\n0,/m/a,A\n1,own,\"B, b\"\n", []Class{{"/m/a", "A"}, {"own", "B, b"}}, ""},
		{"V7", "LabelName,DisplayName\n/m/a,A\n", []Class{{"/m/a", "A"}}, ""},
		{"byte order mark, spaces", "\ufeff/m/a, A \n", []Class{{"/m/a", "A"}}, ""},
		{"comma in a name without quotes", "/m/a,A, b\n", nil, `c.csv:1: want a label id and a name, got "/m/a,A, b"`},
		{"unknown header", "id,name\n/m/a,A\n", nil, `c.csv:1:column 1: want a label id such as "/m/0cdn1", got "id"`},
		{"columns exchanged", "Apple,/m/a\n", nil, `c.csv:1:column 1: want a label id such as "/m/0cdn1", got "Apple"`},
		{"no name", "/m/a,A\n/m/b,\n", nil, `c.csv:2:column 2: want a value, got ""`},
		{"id twice", "/m/a,A\n/m/a,B\n", nil, `c.csv:2:column 1: the label /m/a is in the list twice`},
		{"id with a space", "LabelID,LabelName\n/m/ a,A\n", nil, `c.csv:2:LabelID: want an id without spaces and control characters, got "/m/ a"`},
		{"long name", "/m/a," + strings.Repeat("x", 200), nil, `c.csv:1:column 2: want at most 128 bytes, got "` + strings.Repeat("x", 120) + `"…`},
		{"nothing", "\n", nil, "c.csv: the file has no classes"},
		{"only a header", "LabelID,LabelName\n", nil, "c.csv: the file has no classes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := ReadClasses(strings.NewReader(test.text), "c.csv")
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, slices.Collect(c.All())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFind(t *testing.T) {
	c, err := ReadClasses(strings.NewReader("/m/1,Bun\n/m/2,bun\n/m/3,Organ\n/m/4,Organ\n/m/5,Apple\n"), "c.csv")
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]LabelID{"Bun": "/m/1", "bun": "/m/2", "/m/4": "/m/4", "aPPLE": "/m/5"} {
		if got, err := c.Find(asked); err != nil || got.ID != want {
			t.Errorf("find %q: got %v, %v, want %s", asked, got, err, want)
		}
	}
	for asked, want := range map[string][]Class{
		"BUN":   {{"/m/1", "Bun"}, {"/m/2", "bun"}},
		"Organ": {{"/m/3", "Organ"}, {"/m/4", "Organ"}},
	} {
		_, err := c.Find(asked)
		var ambiguous *AmbiguousLabelError
		if !errors.As(err, &ambiguous) || !cmp.Equal(ambiguous.Candidates, want) {
			t.Errorf("find %q: got %v", asked, err)
		}
	}
	_, err = c.Find("Aple")
	var unknown *UnknownLabelError
	if !errors.As(err, &unknown) || !cmp.Equal(unknown.Nearest, []string{"Apple", "Bun", "bun"}) {
		t.Errorf("find Aple: got %v, nearest %q", err, unknown.Nearest)
	}
	if got := c.Name("/m/none"); got != "/m/none" {
		t.Errorf("name of an unknown label: %q", got)
	}
}

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"abcd", "acbd", 1}, {"ca", "abc", 3}, {"brötchen", "brotchen", 1}} {
		if got := edits([]rune(test.a), []rune(test.b)); got != test.want {
			t.Errorf("%s to %s: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestReadHierarchy(t *testing.T) {
	// A label below two others, in one place with its own kinds and in one without.
	h, err := ReadHierarchy(strings.NewReader("\ufeff"+`{"LabelName": "r", "Other": 1, "Subcategory": [
		{"LabelName": "a", "Subcategory": [{"LabelName": "c", "Subcategory": [{"LabelName": "d"}]}, {"LabelName": "c"}]},
		{"LabelName": "b", "Subcategory": [{"LabelName": "a"}, {"LabelName": "c"}], "Part": [{"LabelName": "p", "Subcategory": [{"LabelName": "q"}]}]}]}`), "h.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[LabelID]int{"a": 1, "c": 1, "d": 2}, h.Below("b")); diff != "" {
		t.Errorf("below b: %s", diff)
	}
	if diff := cmp.Diff([]LabelID{"a", "b", "c", "d"}, h.Descendants("r")); diff != "" {
		t.Errorf("below r: %s", diff)
	}
	if diff := cmp.Diff([]LabelID{"c"}, h.Kinds("a")); diff != "" {
		t.Errorf("kinds of a: %s", diff)
	}
	if diff := cmp.Diff([]LabelID{"q"}, h.Descendants("p")); diff != "" || !h.Contains("q") || h.Contains("x") {
		t.Errorf("below p: %s", diff)
	}

	deep := strings.Repeat(`{"LabelName": "x", "Subcategory": [`, 65) + strings.Repeat("]}", 65)
	for text, want := range map[string]string{
		"":                                  "h.json:1: unexpected end of JSON input",
		"{\n\n\"LabelName\": }":             "h.json:3: invalid character '}' looking for beginning of value",
		`{"LabelName": "r"} x`:              "h.json:1: invalid character 'x' after top-level value",
		"[]":                                "h.json:1: want a label with LabelName, Subcategory and Part, not a JSON array",
		"{\"LabelName\": 1}":                "h.json:1:LabelName: want a label with LabelName, Subcategory and Part, not a JSON number",
		`{"Subcategory": []}`:               `h.json: LabelName: want a value, got ""`,
		`{"LabelName": "r", "Part": [{}]}`:  `h.json: LabelName: want a value, got ""`,
		deep:                                "h.json: the label x is more than 64 levels deep",
		strings.Repeat(" ", maxHierarchy+1): "h.json: the hierarchy is larger than 16777216 bytes",
		`{"LabelName": "r", "Subcategory": [{"LabelName": "a", "Subcategory": [{"LabelName": "r"}]}]}`: "h.json: the label a stands below itself",
	} {
		if _, err := ReadHierarchy(strings.NewReader(text), "h.json"); err == nil || err.Error() != want {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

func TestSelectedRoundTrip(t *testing.T) {
	box := SelectedBox{
		Box: Box{
			ImageID: "1a", Source: "xclick", LabelID: "/m/a", Confidence: "1", XMin: "0.10", XMax: "0.2", YMin: "0.3", YMax: "1.0000001",
			Flags: [NumAttributes]Flag{Yes, No, Unknown, No, Yes},
		},
		Subset: "train", LabelName: "A, \"a\"", Label: "some\nthing",
	}
	box.ID = BoxID(box.Digest()[:BoxIDDigits])
	longer := box
	longer.ID = BoxID(box.Digest()[:12])
	boxes := []SelectedBox{box, longer}
	var file strings.Builder
	if err := WriteSelectedBoxes(&file, slices.Values(boxes)); err != nil {
		t.Fatal(err)
	}
	var got []SelectedBox
	for b, err := range SelectedBoxes(strings.NewReader(file.String()), "boxes.csv") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b)
	}
	if diff := cmp.Diff(boxes, got); diff != "" {
		t.Error(diff)
	}
	damaged := strings.Replace(file.String(), "0.10", "0.11", 1)
	for _, err := range SelectedBoxes(strings.NewReader(damaged), "boxes.csv") {
		if err == nil || !strings.HasPrefix(err.Error(), "boxes.csv:2:Box: want the first digits of the digest of label and coordinates, got") {
			t.Errorf("damaged: got %v", err)
		}
	}

	images := []Image{
		{ImageID: "1a", Subset: "train", OriginalURL: "https://x", Author: "O'B, \"x\"", Title: "é\n", OriginalSize: 3, OriginalMD5: "1B2M2Y8AsgTpgAmY7PhCfg==", Rotation: 270},
		{ImageID: "1b", Subset: "test", Rotation: RotationUnknown},
	}
	file.Reset()
	if err := WriteImages(&file, slices.Values(images)); err != nil {
		t.Fatal(err)
	}
	var gotImages []Image
	for i, err := range SelectedImages(strings.NewReader(file.String()), "images.csv") {
		if err != nil {
			t.Fatal(err)
		}
		gotImages = append(gotImages, i)
	}
	if diff := cmp.Diff(images, gotImages); diff != "" {
		t.Error(diff)
	}

	funnel := Funnel{Rules: []FunnelRule{{Rule: "label", Boxes: 1, Images: 2, DroppedBoxes: 3, DroppedImages: 4}}, Moved: []Move{{"A", "<B>", 5}}}
	file.Reset()
	if err := WriteFunnel(&file, funnel); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFunnel(strings.NewReader(file.String()), "funnel.json"); err != nil || !cmp.Equal(got, funnel) {
		t.Errorf("funnel: got %v, %v", got, err)
	}
	file.Reset()
	if err := WriteLabels(&file, []string{"A & B", "C"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\"labels\":[\"A & B\",\"C\"]}\n"; file.String() != want {
		t.Errorf("labels.json: got %s", file.String())
	}
	if got, err := ReadLabels(strings.NewReader(file.String()), "labels.json"); err != nil || !cmp.Equal(got, []string{"A & B", "C"}) {
		t.Errorf("labels: got %v, %v", got, err)
	}
	if _, err := ReadLabels(strings.NewReader("{"), "labels.json"); err == nil {
		t.Error("labels: no error")
	}
}

func TestAttributes(t *testing.T) {
	for a := range NumAttributes {
		if got, err := ParseAttribute(a.String()); err != nil || got != a {
			t.Errorf("%s: got %v, %v", a, got, err)
		}
	}
	if _, err := ParseAttribute("blurry"); err == nil {
		t.Error("blurry: no error")
	}
}

package crops

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/model"
)

const two = "Crop,Label,ImageID,Set\ncrops/S/b.jpg,Sandwich,b,test\n\"crops/H/a,1.jpg\",Hamburger,a,train\n"

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader(two))
	if err != nil {
		t.Fatal(err)
	}
	want := []Crop{
		{Path: "crops/H/a,1.jpg", Label: "Hamburger", ImageID: "a", Set: Train},
		{Path: "crops/S/b.jpg", Label: "Sandwich", ImageID: "b", Set: Test},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:], In(got, Test)); diff != "" {
		t.Errorf("In test (-want +got):\n%s", diff)
	}
	if In(got, Validation) != nil {
		t.Error("In validation: want nothing")
	}
}

func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":        {"", "want the columns Crop,Label,ImageID,Set"},
		"other header": {"Crop,Label,Set,ImageID\n", "want the columns"},
		"short row":    {"Crop,Label,ImageID,Set\na,b,c\n", "line 2"},
		"unknown set":  {two + "x,S,c,val\n", `line 4: want a set of train, validation or test, got "val"`},
		"no label":     {two + "x,,c,test\n", "line 4: want a crop and a label"},
		"twice":        {two + "crops/S/b.jpg,Sandwich,b,train\n", "line 4: the crop crops/S/b.jpg stands here for the second time"},
		"open quote":   {two + "\"x,S,c,test\n", "line 4"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(strings.NewReader(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(two)
	f.Add("Crop,Label,ImageID,Set\r\n\r\na,b,,validation\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for i, c := range list {
			if i > 0 && list[i-1].Path >= c.Path {
				t.Errorf("rows are not sorted and distinct: %q, %q", list[i-1].Path, c.Path)
			}
		}
		if sum := len(In(list, Train)) + len(In(list, Validation)) + len(In(list, Test)); sum != len(list) {
			t.Errorf("%d rows, %d in the sets", len(list), sum)
		}
	})
}

func TestPixels(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	img.Set(0, 0, color.White)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, img, nil); err != nil {
		t.Fatal(err)
	}
	pixels, err := Pixels(t.Context(), file.Bytes(), model.Stretch, 8)
	if err != nil || len(pixels) != 8*8*3 || pixels[0] != 255 {
		t.Errorf("Pixels of a white crop: %d bytes, error %v", len(pixels), err)
	}
	if _, err := Pixels(t.Context(), file.Bytes()[:100], model.Stretch, 8); err == nil {
		t.Error("Pixels of a cut file: no error")
	}
}

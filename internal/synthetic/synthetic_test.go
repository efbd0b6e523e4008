package synthetic

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"image/jpeg"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// memory keeps the files of a data set by name.
type memory map[string]*bytes.Buffer

func (m memory) create(name string) (io.WriteCloser, error) {
	if _, twice := m[name]; twice {
		return nil, errors.New("created twice: " + name)
	}
	m[name] = &bytes.Buffer{}
	return buffered{m[name]}, nil
}

// buffered is a file in memory.
type buffered struct{ io.Writer }

func (buffered) Close() error { return nil }

func (m memory) table(t *testing.T, name string) [][]string {
	t.Helper()
	rows, err := csv.NewReader(m[name]).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// small has each fault once, and a sound photo.
func small() Dataset {
	return Dataset{Seed: 5, Photos: 6, Fault: func(photo int) Fault { return Fault(photo) }}
}

func write(t *testing.T, d Dataset) memory {
	t.Helper()
	files := memory{}
	if err := d.Write(t.Context(), files.create); err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRowsAgreeWithPhotos(t *testing.T) {
	files := write(t, small())
	rows := files.table(t, Dataset{}.imagesFile())
	if diff := cmp.Diff(imageColumns, rows[0]); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if ids := column(rows[1:], 0); !slices.IsSorted(ids) || len(ids) != 6 {
		t.Errorf("image ids are %q, want 6 sorted", ids)
	}
	type state struct {
		original, thumbnail, decodes bool
		rotation                     string
	}
	want := []state{
		Sound:         {true, false, true, "0.0"},
		Dead:          {false, false, false, ""},
		ThumbnailOnly: {false, true, false, "0.0"},
		Broken:        {true, false, false, "0.0"},
		TurnedLeft:    {true, false, true, "90.0"},
		TurnedRight:   {true, false, true, "270.0"},
	}
	var got []state
	for _, row := range rows[1:] {
		original, thumbnail := files[mirrored(row[2])], files[mirrored(row[10])]
		s := state{original: original != nil, thumbnail: thumbnail != nil, rotation: row[11]}
		if original != nil {
			sum := md5.Sum(original.Bytes())
			if row[8] != strconv.Itoa(original.Len()) || row[9] != base64.StdEncoding.EncodeToString(sum[:]) {
				t.Errorf("%s: size %s and MD5 %s are not those of the file", row[0], row[8], row[9])
			}
			_, err := jpeg.Decode(bytes.NewReader(original.Bytes()))
			s.decodes = err == nil
		}
		got = append(got, s)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(state{})); diff != "" {
		t.Errorf("photos (-want +got):\n%s", diff)
	}
}

func TestBoxesAreOfficial(t *testing.T) {
	files := write(t, small())
	boxes, images := files.table(t, Dataset{}.boxesFile()), files.table(t, Dataset{}.imagesFile())
	if diff := cmp.Diff(boxColumns, boxes[0]); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	known := map[string]bool{}
	for _, c := range classes {
		known[c.id] = true
	}
	ids := column(images[1:], 0)
	for _, box := range boxes[1:] {
		if !slices.Contains(ids, box[0]) || !known[box[2]] || box[3] != "1" {
			t.Errorf("box %q: unknown image or label", box)
		}
		var edges [4]float64
		for i := range edges {
			x, err := strconv.ParseFloat(box[4+i], 64)
			if err != nil || x < 0 || x > 1 {
				t.Errorf("box %q: column %s: %v", box, boxes[0][4+i], err)
			}
			edges[i] = x
		}
		if edges[0] >= edges[1] || edges[2] >= edges[3] {
			t.Errorf("box %q is empty", box)
		}
	}
	if !slices.IsSorted(column(boxes[1:], 0)) {
		t.Error("boxes are not sorted by image")
	}
}

// A photo turned on its side has the boxes of the stored pixels: those of the upright
// photo, turned clockwise.
func TestTurnedBoxes(t *testing.T) {
	d := Dataset{Seed: 5, Photos: 1}
	upright, err := d.Photo(0)
	if err != nil {
		t.Fatal(err)
	}
	d.Fault = func(int) Fault { return TurnedLeft }
	turned, err := d.Photo(0)
	if err != nil {
		t.Fatal(err)
	}
	const loose = 0.02 // each edge is drawn anew, as by an annotator
	for _, u := range upright.Boxes {
		want := Box{Label: u.Label, XMin: 1 - u.YMax, XMax: 1 - u.YMin, YMin: u.XMin, YMax: u.XMax}
		if !slices.ContainsFunc(turned.Boxes, func(b Box) bool {
			near := func(x, y float64) bool { return max(x-y, y-x) < loose }
			return b.Label == want.Label && near(b.XMin, want.XMin) && near(b.XMax, want.XMax) &&
				near(b.YMin, want.YMin) && near(b.YMax, want.YMax)
		}) {
			t.Errorf("no box %+v among %+v", want, turned.Boxes)
		}
	}
}

func TestClassesAndHierarchy(t *testing.T) {
	files := write(t, Dataset{})
	if got := files[classesFile].String(); !strings.Contains(got, "\n/m/0cdn1,Hamburger\n") || !strings.HasPrefix(got, "/m/01_bhs,") {
		t.Errorf("class list:\n%s", got)
	}
	for _, c := range classes {
		if !strings.Contains(files[hierarchyFile].String(), `"`+c.id+`"`) {
			t.Errorf("%s (%s) is not in the hierarchy", c.id, c.name)
		}
	}
	if got := slices.Sorted(maps.Keys(files)); len(got) != 4 {
		t.Errorf("an empty data set has the files %q, want the four of the metadata", got)
	}
}

// Neither the photo before nor the number of cores decides what a photo is.
func TestPhotoAlone(t *testing.T) {
	d := Dataset{Seed: 5, Photos: 1000}
	first, err := d.Photo(400)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Photo(7); err != nil {
		t.Fatal(err)
	}
	again, err := d.Photo(400)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("photo 400 made twice (-first +second):\n%s", diff)
	}
}

func TestWriteStops(t *testing.T) {
	full := errors.New("disk full")
	files := memory{}
	err := small().Write(t.Context(), func(name string) (io.WriteCloser, error) {
		if strings.HasSuffix(name, ".jpg") {
			return nil, full
		}
		return files.create(name)
	})
	if !errors.Is(err, full) {
		t.Errorf("with a full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := small().Write(ctx, memory{}.create); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func column(rows [][]string, i int) []string {
	var out []string
	for _, row := range rows {
		out = append(out, row[i])
	}
	return out
}

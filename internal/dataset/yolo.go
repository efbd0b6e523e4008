package dataset

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
)

// yolo has a text file for each photo, with a line for each box: the number of its class,
// its centre, its width and its height, all as fractions of the photo's sides, and maybe a
// confidence. A line with more numbers is the outline of a thing, around which the box is.
type yolo struct{}

func (yolo) Describe() string { return "yolo 1" }

func (yolo) Read(ctx context.Context, in Input, out *Tables) error {
	classes, err := readNames(ctx, in.Files[manifest.Classes])
	if err != nil {
		return err
	}
	for i, name := range classes {
		if err := out.Class(classID(name), name); err != nil {
			return &FaultError{File: in.Files[manifest.Classes].Name, Row: strconv.Itoa(i), Problem: err.Error()}
		}
	}
	photos, err := openAlbum(ctx, in.Files[manifest.Photos])
	if err != nil {
		return err
	}
	files := in.Files[manifest.Annotations]
	for e, err := range files.entries(ctx) {
		if err != nil {
			return err
		}
		if path.Base(e.Path) == "classes.txt" {
			continue // which LabelImg writes among the others
		}
		name := files.place(e.Path)
		text, err := readText(name, func() (io.ReadCloser, error) { return files.OpenIn(ctx, e) })
		if err != nil {
			return err
		}
		boxes, err := parseYOLO(text, name, len(classes))
		if err != nil {
			return err
		}
		if err := tellYOLO(photos, e.Path, name, boxes, classes, out); err != nil {
			return err
		}
	}
	return nil
}

func tellYOLO(photos *album, below, name string, boxes []yoloBox, classes []string, out *Tables) error {
	e, err := photos.find(stem(below)+".jpg", below)
	if err != nil {
		return &FaultError{File: name, Problem: err.Error()}
	}
	id, err := out.Photo(photos.folder.photo(e))
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if err := out.Box(id, classID(classes[b.class]), b.Box); err != nil {
			return err
		}
	}
	return nil
}

// readNames reads the names of the classes, by their numbers: one a line, or in a YAML file
// that has them under names, as a list or by number.
func readNames(ctx context.Context, f File) ([]string, error) {
	text, err := readText(f.Name, func() (io.ReadCloser, error) { return f.Open(ctx) })
	if err != nil {
		return nil, err
	}
	if ext := strings.ToLower(path.Ext(f.Name)); ext == ".yaml" || ext == ".yml" {
		return parseNames(text, f.Name)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		names = append(names, strings.TrimSpace(line))
	}
	for len(names) > 0 && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	return names, nil
}

func parseNames(text []byte, name string) ([]string, error) {
	var file struct {
		Names yaml.Node `yaml:"names"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, &FaultError{File: name, Problem: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var list []string
	if file.Names.Kind == yaml.SequenceNode && file.Names.Decode(&list) == nil {
		return list, nil
	}
	var byNumber map[int]string
	if file.Names.Kind != yaml.MappingNode || file.Names.Decode(&byNumber) != nil {
		return nil, &FaultError{File: name, Row: strconv.Itoa(max(file.Names.Line, 1)), Column: "names", Problem: "want the names of the classes, as a list or by number from 0 on"}
	}
	for i := range len(byNumber) {
		class, ok := byNumber[i]
		if !ok {
			return nil, &FaultError{File: name, Column: "names", Problem: fmt.Sprintf("there are %d names, and none has the number %d", len(byNumber), i)}
		}
		list = append(list, class)
	}
	return list, nil
}

type yoloBox struct {
	openimages.Box
	class int
}

// parseYOLO reads the boxes of a photo from a file that messages call name.
func parseYOLO(text []byte, name string, classes int) ([]yoloBox, error) {
	var boxes []yoloBox
	line := 0
	for row := range bytes.Lines(text) {
		line++
		fields := strings.Fields(string(row))
		if len(fields) == 0 {
			continue
		}
		box, column, err := parseYOLORow(fields, classes)
		if err != nil {
			return nil, &FaultError{File: name, Row: strconv.Itoa(line), Column: column, Problem: err.Error()}
		}
		boxes = append(boxes, box)
	}
	return boxes, nil
}

func parseYOLORow(fields []string, classes int) (_ yoloBox, column string, _ error) {
	class, err := strconv.Atoi(fields[0])
	if err != nil || class < 0 || class >= classes {
		return yoloBox{}, "class", fmt.Errorf("want the number of a class, from 0 to %d, got %s", classes-1, excerpt(fields[0]))
	}
	values := make([]float64, 0, len(fields)-1)
	for i, f := range fields[1:] {
		v, err := number(f)
		if err == nil && (v < -outside || v > 1+outside) {
			err = fmt.Errorf("want a fraction of the photo's side, from 0 to 1, got %s", excerpt(f))
		}
		if err != nil {
			return yoloBox{}, fmt.Sprintf("number %d", i+2), err
		}
		values = append(values, v)
	}
	box := yoloBox{Box: whole(), class: class}
	switch n := len(values); {
	case n == 4 || n == 5:
		box.XMin, box.XMax = fractions(values[0]-values[2]/2, values[0]+values[2]/2, 1)
		box.YMin, box.YMax = fractions(values[1]-values[3]/2, values[1]+values[3]/2, 1)
	case n >= 6 && n%2 == 0:
		lo, hi := [2]float64{1, 1}, [2]float64{}
		for i, v := range values {
			lo[i%2], hi[i%2] = min(lo[i%2], v), max(hi[i%2], v)
		}
		box.XMin, box.XMax = fractions(lo[0], hi[0], 1)
		box.YMin, box.YMax = fractions(lo[1], hi[1], 1)
	default:
		return yoloBox{}, "", fmt.Errorf("want a class and 4 numbers, or an outline of 3 points or more, got %d numbers behind the class", n)
	}
	return box, "", nil
}

// outside is how far beyond the photo a coordinate may be: tools round.
const outside = 1e-3

package dataset

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/manifest"
)

// voc has an XML file for each photo, as Pascal VOC has (Everingham et al., "The PASCAL
// Visual Object Classes Challenge", 2010). Coordinates are pixels from 1 on, the last one
// included. A photo has the file's name, or the one that the file says.
type voc struct{}

func (voc) Describe() string { return "voc 1" }

// annotation is what is read of a file.
type annotation struct {
	Filename string   `xml:"filename"`
	Size     vocSize  `xml:"size"`
	Objects  []object `xml:"object"`
	Owner    struct {
		Name string `xml:"name"`
	} `xml:"owner"`
}

type vocSize struct {
	Width  string `xml:"width"`
	Height string `xml:"height"`
}

type object struct {
	Name      string  `xml:"name"`
	Truncated string  `xml:"truncated"`
	Occluded  string  `xml:"occluded"`
	Box       *bounds `xml:"bndbox"`
}

type bounds struct {
	XMin string `xml:"xmin"`
	YMin string `xml:"ymin"`
	XMax string `xml:"xmax"`
	YMax string `xml:"ymax"`
}

func (voc) Read(ctx context.Context, in Input, out *Tables) error {
	photos, err := openAlbum(ctx, in.Files[manifest.Photos])
	if err != nil {
		return err
	}
	files := in.Files[manifest.Annotations]
	for e, err := range files.entries(ctx) {
		if err != nil {
			return err
		}
		name := files.place(e.Path)
		text, err := readText(name, func() (io.ReadCloser, error) { return files.OpenIn(ctx, e) })
		if err != nil {
			return err
		}
		a, err := parseVOC(text, name)
		if err == nil {
			err = a.tell(photos, e.Path, name, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseVOC reads a file that messages call name.
func parseVOC(text []byte, name string) (*annotation, error) {
	var root struct {
		XMLName xml.Name
		annotation
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&root); err != nil {
		line, _ := d.InputPos()
		problem := err.Error()
		if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok {
			line, problem = syntax.Line, syntax.Msg
		}
		return nil, &FaultError{File: name, Row: strconv.Itoa(line), Problem: "not XML: " + problem}
	}
	if root.XMLName.Local != "annotation" {
		return nil, &FaultError{File: name, Problem: "want an element annotation, got " + root.XMLName.Local}
	}
	return &root.annotation, nil
}

// tell tells out of the photo and its boxes.
func (a *annotation) tell(photos *album, below, name string, out *Tables) error {
	filename := a.Filename
	if filename == "" || filename != path.Base(filename) {
		filename = stem(path.Base(below)) + ".jpg"
	}
	e, err := photos.find(path.Join(path.Dir(below), filename), below)
	if err != nil {
		return &FaultError{File: name, Problem: err.Error()}
	}
	photo := photos.folder.photo(e)
	photo.Author = strings.TrimSpace(a.Owner.Name)
	id, err := out.Photo(photo)
	if err != nil {
		return err
	}
	for i, o := range a.Objects {
		row := fmt.Sprintf("object[%d]", i)
		box, column, err := o.box(a.Size)
		if err != nil {
			return &FaultError{File: name, Row: row, Column: column, Problem: err.Error()}
		}
		class := strings.TrimSpace(o.Name)
		if err := out.Class(classID(class), class); err != nil {
			return &FaultError{File: name, Row: row, Column: "name", Problem: err.Error()}
		}
		if err := out.Box(id, classID(class), box); err != nil {
			return err
		}
	}
	return nil
}

// box returns the box of an object: all of the photo where it has none.
func (o *object) box(size vocSize) (_ openimages.Box, column string, _ error) {
	box := whole()
	box.Flags[openimages.Truncated], box.Flags[openimages.Occluded] = vocFlag(o.Truncated), vocFlag(o.Occluded)
	if o.Box == nil {
		return box, "", nil
	}
	var values [6]float64
	for i, v := range []struct{ column, text string }{
		{"bndbox.xmin", o.Box.XMin}, {"bndbox.xmax", o.Box.XMax}, {"bndbox.ymin", o.Box.YMin}, {"bndbox.ymax", o.Box.YMax},
		{"size.width", size.Width}, {"size.height", size.Height},
	} {
		var err error
		if values[i], err = number(v.text); err != nil {
			return box, v.column, err
		}
		if i >= 4 && values[i] < 1 {
			return box, v.column, fmt.Errorf("want the photo's side in pixels, without which a box says nothing, got %s", excerpt(v.text))
		}
	}
	box.XMin, box.XMax = fractions(values[0]-1, values[1], values[4])
	box.YMin, box.YMax = fractions(values[2]-1, values[3], values[5])
	return box, "", nil
}

func vocFlag(text string) openimages.Flag {
	switch strings.TrimSpace(text) {
	case "1":
		return openimages.Yes
	case "0":
		return openimages.No
	}
	return openimages.Unknown
}

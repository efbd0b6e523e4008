// Package synthetic writes data sets of Open Images' shape that do not exist: class
// list, hierarchy, boxes and photo rows in the official forms, and photos, each where its
// URL says.
//
// A data set is Drawn or Official. Drawn ones are to learn from: package drawing draws each
// photo, and the boxes are around what is in it. Official ones are for size: their rows have
// the labels, counts and lengths of Open Images V4's, so that what is measured on them holds
// there, and their photos are a few drawings that differ in a comment.
//
// Every photo is a pure function of the seed, the number of photos and its own
// number, so a data set of any size is written in one pass and in bounded memory,
// and the same bytes come out on any machine. Chosen photos have the faults that real ones
// have: deleted, broken, turned.
package synthetic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Dataset says what to write.
type Dataset struct {
	Seed   uint64
	Photos int
	Fault  func(photo int) Fault // what is wrong with a photo; nil: nothing with any
	Shape  Shape
	Subset string // which subset the photos are; empty is train
}

// Shape is the sort of a data set.
type Shape int

// The shapes.
const (
	Drawn    Shape = iota // sixteen labels, and photos that show what the boxes say
	Official              // the statistics of Open Images V4; boxes have nothing to do with what photos show
)

// Fault is what is wrong with a photo.
type Fault int

// The faults that a photo can have.
const (
	Sound         Fault = iota
	Dead                // neither the original nor the thumbnail is there any more
	ThumbnailOnly       // the original is gone, its thumbnail is still there
	Broken              // the original ends in the middle, and its digest says that it always did
	TurnedLeft          // the camera stood on its side: turn the photo by 90 degrees, counterclockwise
	TurnedRight         // as above, by 270
)

// Quickstart is the data set of examples/quickstart.
func Quickstart() Dataset {
	return Dataset{
		Seed:   2019,
		Photos: 240,
		Fault: func(photo int) Fault {
			switch photo {
			case 23:
				return TurnedLeft
			case 61:
				return ThumbnailOnly
			case 97:
				return Dead
			case 138:
				return Broken
			case 171:
				return TurnedRight
			}
			return Sound
		},
	}
}

// Create opens a file of the data set for writing. Its name is a slash-separated
// path below the folder of the mirror; no name is used twice.
type Create func(name string) (io.WriteCloser, error)

// The files of the metadata, below the folder of the mirror.
const (
	folder        = "openimages/2018_04/"
	classesFile   = folder + "class-descriptions-boxable.csv"
	hierarchyFile = folder + "bbox_labels_600_hierarchy.json"
)

func (d Dataset) subset() string { return cmp.Or(d.Subset, "train") }

func (d Dataset) boxesFile() string {
	return folder + d.subset() + "/" + d.subset() + "-annotations-bbox.csv"
}

// imagesFile is named as upstream does: the train rows without "boxable" are those of all
// nine million photos.
func (d Dataset) imagesFile() string {
	rows := "-images-with-rotation.csv"
	if d.subset() == "train" {
		rows = "-images-boxable-with-rotation.csv"
	}
	return folder + d.subset() + "/" + d.subset() + rows
}

// Write writes the data set: the metadata below openimages/, as in
// https://storage.googleapis.com/openimages, and every photo below the host of its
// URL.
func (d Dataset) Write(ctx context.Context, create Create) error {
	return d.write(ctx, create, true)
}

// WriteMetadata writes the data set without its photos.
func (d Dataset) WriteMetadata(ctx context.Context, create Create) error {
	return d.write(ctx, create, false)
}

func (d Dataset) write(ctx context.Context, create Create, photos bool) error {
	list, root := classes, drawnHierarchy()
	if d.Shape == Official {
		list, root = officialClasses(), officialHierarchy()
	}
	if err := writeFile(create, classesFile, classList(list)); err != nil {
		return err
	}
	tree, err := hierarchyText(root)
	if err != nil {
		return err
	}
	if err := writeFile(create, hierarchyFile, tree); err != nil {
		return err
	}
	return d.writeRows(ctx, create, photos)
}

// writeRows writes the two large tables, photo by photo in the order of the ids, and
// the photos if they are wanted.
func (d Dataset) writeRows(ctx context.Context, create Create, photos bool) (err error) {
	boxes, err := createTable(create, d.boxesFile(), boxColumns)
	if err != nil {
		return err
	}
	defer boxes.close(&err)
	images, err := createTable(create, d.imagesFile(), imageColumns)
	if err != nil {
		return err
	}
	defer images.close(&err)

	size := 1 // photos in a piece: what takes a core some milliseconds
	if d.Shape == Official {
		size = 512
	}
	batch := 4 * size * runtime.GOMAXPROCS(0) // a few pieces for each core, so that none waits for a slow one for long
	for from := 0; from < d.Photos; from += batch {
		pieces, err := d.pieces(ctx, from, min(from+batch, d.Photos), size, photos)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			boxes.append(p.boxes.Bytes(), &err)
			images.append(p.images.Bytes(), &err)
			for _, photo := range p.photos {
				if err == nil {
					err = photo.write(create)
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// piece is what some photos in a row come to.
type piece struct {
	boxes, images bytes.Buffer // rows
	photos        []Photo      // those to be written
}

// pieces makes the photos from one number to before another, in parallel.
func (d Dataset) pieces(ctx context.Context, from, to, size int, photos bool) ([]piece, error) {
	pieces := make([]piece, (to-from+size-1)/size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range pieces {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return d.fill(&pieces[i], from+i*size, min(from+(i+1)*size, to), photos)
		})
	}
	return pieces, group.Wait()
}

func (d Dataset) fill(p *piece, from, to int, photos bool) error {
	boxes, images := csv.NewWriter(&p.boxes), csv.NewWriter(&p.images)
	var row []string
	for number := from; number < to; number++ {
		photo, err := d.Photo(number)
		if err != nil {
			return err
		}
		for _, box := range photo.Boxes {
			row = box.appendRecord(row[:0], photo.ID)
			if err := boxes.Write(row); err != nil {
				return fmt.Errorf("write %s: %w", d.boxesFile(), err)
			}
		}
		row = photo.appendRecord(row[:0], d.subset())
		if err := images.Write(row); err != nil {
			return fmt.Errorf("write %s: %w", d.imagesFile(), err)
		}
		if photos {
			p.photos = append(p.photos, photo)
		}
	}
	boxes.Flush()
	images.Flush()
	return nil // a bytes.Buffer never fails
}

func (p Photo) write(create Create) error {
	for _, place := range []struct {
		url  string
		data []byte
	}{{p.OriginalURL, p.Original}, {p.ThumbnailURL, p.Thumbnail}} {
		if place.data == nil {
			continue
		}
		if err := writeFile(create, mirrored(place.url), place.data); err != nil {
			return err
		}
	}
	return nil
}

// table is a CSV file being written.
type table struct {
	name string
	file io.WriteCloser
}

func createTable(create Create, name string, columns []string) (*table, error) {
	file, err := create(name)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	t := &table{name: name, file: file}
	if t.append([]byte(strings.Join(columns, ",")+"\n"), &err); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return t, nil
}

// append adds rows to the table, unless there is a fault already.
func (t *table) append(rows []byte, err *error) {
	if *err != nil {
		return
	}
	if _, fault := t.file.Write(rows); fault != nil {
		*err = fmt.Errorf("write %s: %w", t.name, fault)
	}
}

// close closes the table, and reports a fault unless there was one before.
func (t *table) close(err *error) {
	if fault := t.file.Close(); fault != nil && *err == nil {
		*err = fmt.Errorf("write %s: %w", t.name, fault)
	}
}

func writeFile(create Create, name string, data []byte) error {
	file, err := create(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = file.Write(data)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

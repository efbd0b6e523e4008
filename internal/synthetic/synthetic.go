// Package synthetic writes data sets of Open Images' shape that do not exist: class
// list, hierarchy, boxes and photo rows in the official forms, and photos that
// package drawing draws, each where its URL says.
//
// Every photo is a pure function of the seed, the number of photos and its own
// number, so a data set of any size is written in one pass and in bounded memory,
// and the same bytes come out on any machine. Chosen photos have the faults that real ones
// have: deleted, broken, turned.
package synthetic

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Dataset says what to write.
type Dataset struct {
	Seed   uint64
	Photos int
	Fault  func(photo int) Fault // what is wrong with a photo; nil: nothing with any
}

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
	boxesFile     = folder + "train/train-annotations-bbox.csv"
	imagesFile    = folder + "train/train-images-boxable-with-rotation.csv"
)

// Write writes the data set: the metadata below openimages/, as in
// https://storage.googleapis.com/openimages, and every photo below the host of its
// URL.
func (d Dataset) Write(ctx context.Context, create Create) error {
	if err := writeFile(create, classesFile, classList()); err != nil {
		return err
	}
	tree, err := hierarchy()
	if err != nil {
		return err
	}
	if err := writeFile(create, hierarchyFile, tree); err != nil {
		return err
	}
	return d.writeRows(ctx, create)
}

// writeRows writes the two large tables, photo by photo in the order of the ids, and
// the photos.
func (d Dataset) writeRows(ctx context.Context, create Create) (err error) {
	boxes, err := newTable(create, boxesFile, boxColumns)
	if err != nil {
		return err
	}
	defer boxes.close(&err)
	images, err := newTable(create, imagesFile, imageColumns)
	if err != nil {
		return err
	}
	defer images.close(&err)

	batch := 4 * runtime.GOMAXPROCS(0) // a few for each core, so that none waits for a slow one for long
	for from := 0; from < d.Photos; from += batch {
		photos, err := d.draw(ctx, from, min(batch, d.Photos-from))
		if err != nil {
			return err
		}
		for _, p := range photos {
			if err := p.write(create, boxes, images); err != nil {
				return err
			}
		}
	}
	return nil
}

// draw makes n photos from a number on, in parallel.
func (d Dataset) draw(ctx context.Context, from, n int) ([]Photo, error) {
	photos := make([]Photo, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range photos {
		group.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			photos[i], err = d.Photo(from + i)
			return err
		})
	}
	return photos, group.Wait()
}

func (p Photo) write(create Create, boxes, images *table) error {
	for _, box := range p.Boxes {
		if err := boxes.rows.Write(box.record(p.ID)); err != nil {
			return fmt.Errorf("write %s: %w", boxesFile, err)
		}
	}
	if err := images.rows.Write(p.record()); err != nil {
		return fmt.Errorf("write %s: %w", imagesFile, err)
	}
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
	rows *csv.Writer
}

func newTable(create Create, name string, columns []string) (*table, error) {
	file, err := create(name)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	t := &table{name: name, file: file, rows: csv.NewWriter(file)}
	if err := t.rows.Write(columns); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return t, nil
}

// close flushes and closes the table, and reports a fault unless there was one before.
func (t *table) close(err *error) {
	t.rows.Flush()
	for _, fault := range []error{t.rows.Error(), t.file.Close()} {
		if fault != nil && *err == nil {
			*err = fmt.Errorf("write %s: %w", t.name, fault)
		}
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

//go:build linux

package noop

import (
	"bufio"
	"bytes"
	"crypto/md5" // as the official rows have it; it protects nothing
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
)

// manifestText is a manifest whose stages cost as little as stages can, for any number of
// photos. Everything is read from folders beside it.
const manifestText = `version: 1
name: bench/noop
dataset:
  source:
    classes: metadata/classes.csv
    boxes: metadata/{subset}-boxes.csv
    images: metadata/{subset}-images.csv
  labels: [Sandwich, Hamburger]
  images: [original]
crop: {shape: stretch, size: 8}
model:
  layers: [conv: {filters: 1, kernel: 3}, max_pool: 2, flatten]
  batch: 256
  epochs: 1
  early_stopping: none
registry: ./registry
mirrors:
  https://photos.test: ./photos
`

// perFolder is how many photos lie in a folder of the mirror.
const perFolder = 1000

// pictures is how many different pictures the photos show. What follows the end of a JPEG
// is no part of the picture, so that each photo has bytes of its own all the same.
const pictures = 64

// writeProject writes a manifest, its metadata and a mirror with its photos into dir.
func writeProject(dir string, photos int) error {
	if err := os.MkdirAll(filepath.Join(dir, "metadata"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.yaml"), []byte(manifestText), 0o644); err != nil {
		return err
	}
	classes := "/m/0l515,Sandwich\n/m/0cdn1,Hamburger\n"
	if err := os.WriteFile(filepath.Join(dir, "metadata", "classes.csv"), []byte(classes), 0o644); err != nil {
		return err
	}
	return writeTable(filepath.Join(dir, "metadata", "train-boxes.csv"), func(boxes io.Writer) error {
		return writeTable(filepath.Join(dir, "metadata", "train-images.csv"), func(images io.Writer) error {
			return writePhotos(dir, photos, boxes, images)
		})
	})
}

// writeTable creates a file and lets write fill it.
func writeTable(name string, write func(io.Writer) error) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// writePhotos writes the photos, and a row and a box for each.
func writePhotos(dir string, photos int, boxes, images io.Writer) error {
	fmt.Fprintln(boxes, "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside")
	fmt.Fprintln(images, "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,"+
		"OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation")
	drawn := make([][]byte, pictures)
	for i := range drawn {
		var err error
		if drawn[i], err = draw(i); err != nil {
			return err
		}
	}
	for i := range photos {
		place := fmt.Sprintf("%d/%d.jpg", i/perFolder, i)
		file := filepath.Join(dir, "photos", filepath.FromSlash(place))
		if i%perFolder == 0 {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
		}
		data := fmt.Appendf(bytes.Clone(drawn[i%pictures]), "%d", i)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
		label, sum := []string{"/m/0l515", "/m/0cdn1"}[i%2], md5.Sum(data)
		// Both are written through a bufio.Writer, which keeps its first error for Flush.
		fmt.Fprintf(boxes, "%016x,xclick,%s,1,0.1,0.9,0.1,0.9,0,0,0,0,0\n", i, label)
		fmt.Fprintf(images, "%016x,train,https://photos.test/%s,,,,,,%d,%s,,\n",
			i, place, len(data), base64.StdEncoding.EncodeToString(sum[:]))
	}
	return nil
}

// draw returns a JPEG: a field whose brightness depends on number.
func draw(number int) ([]byte, error) {
	picture := image.NewGray(image.Rect(0, 0, 32, 24))
	for i := range picture.Pix {
		picture.Pix[i] = color.Gray{Y: uint8(4*number + i%7)}.Y
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, picture, nil)
	return b.Bytes(), err
}

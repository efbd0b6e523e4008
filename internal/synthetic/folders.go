package synthetic

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"iter"

	"github.com/sandwich-build/sandwich/internal/drawing"
)

// Picture is a picture of one thing.
type Picture struct {
	Name string // <class>/<number>.jpg
	JPEG []byte
}

// Folders yields the pictures of examples/folders: things that are cut out of drawn photos,
// as many of each class.
func Folders() iter.Seq2[Picture, error] {
	const each, photos, least = 36, 200, 40 // pictures, photos to take them from, pixels of a side
	classes := map[string]string{labelOf[drawing.Hamburger]: "Hamburger", labelOf[drawing.Sandwich]: "Sandwich"}
	return func(yield func(Picture, error) bool) {
		d := Dataset{Seed: 1762, Photos: photos}
		count := map[string]int{}
		for number := range photos {
			p, err := d.Photo(number)
			if err != nil {
				yield(Picture{}, err)
				return
			}
			photo, err := jpeg.Decode(bytes.NewReader(p.Original))
			if err != nil {
				yield(Picture{}, fmt.Errorf("photo %d: %w", number, err))
				return
			}
			for _, b := range p.Boxes {
				class, ok := classes[b.Label]
				r := b.pixels(photo.Bounds().Size())
				if !ok || count[b.Label] == each || b.Flags != [5]int{} || min(r.Dx(), r.Dy()) < least {
					continue
				}
				count[b.Label]++
				cut := image.NewRGBA(image.Rectangle{Max: r.Size()})
				draw.Draw(cut, cut.Bounds(), photo, r.Min, draw.Src)
				data, err := encodeJPEG(cut, 60)
				if !yield(Picture{Name: fmt.Sprintf("%s/%02d.jpg", class, count[b.Label]), JPEG: data}, err) || err != nil {
					return
				}
			}
		}
	}
}

// pixels are those of the box on a picture of the size given.
func (b Box) pixels(size image.Point) image.Rectangle {
	return image.Rect(
		int(b.XMin*float64(size.X)), int(b.YMin*float64(size.Y)),
		int(b.XMax*float64(size.X)), int(b.YMax*float64(size.Y)),
	)
}

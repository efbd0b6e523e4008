// Package upright says which way is up on a photo, and where its boxes are.
//
// Open Images' boxes are fractions of the picture as the camera stored it, without
// regard to EXIF: "Rotation" of the image rows is "the degrees (counterclockwise) that
// the image and boxes should be rotated" to be upright
// (storage.googleapis.com/openimages/web/2018-05-17-rotation-information.html). It was
// recovered later from Flickr, whose API calls it "the rotation by which the smaller
// image sizes differ from the original image"
// (www.flickr.com/services/api/flickr.photos.getInfo.html). So:
//
//   - Of an original, or CVDF's copy of it, boxes are measured on the pixels as stored.
//     What is cut out is then turned by Rotation, or where that is not known by the
//     photo's EXIF orientation. Rotation goes before EXIF because it contains it, and
//     what the photo's owner mended by hand.
//   - Of a thumbnail, which Flickr made upright, the boxes are turned by Rotation and
//     the pixels stay as they are.
package upright

import (
	"image"

	"github.com/sandwich-build/sandwich/internal/openimages"
	"github.com/sandwich-build/sandwich/internal/photo"
	"github.com/sandwich-build/sandwich/internal/pinfile"
)

// Frame says how a photo's pixels and its boxes lie to each other.
type Frame struct {
	Stored image.Point       // size of the photo as stored
	Turn   photo.Orientation // turns the stored photo upright
	boxes  photo.Orientation // turns what boxes are measured on into the stored photo
}

// New returns the frame of a photo with that header, found at a place, of which the metadata
// give the rotation. The error is that of a rotation that is no quarter turn.
func New(h *photo.Header, place pinfile.Place, rotation openimages.Rotation) (Frame, error) {
	f := Frame{Stored: image.Point{X: h.Width, Y: h.Height}, boxes: photo.Upright, Turn: h.Orientation}
	if rotation == openimages.RotationUnknown {
		return f, nil
	}
	known, err := photo.Rotation(int(rotation))
	if err != nil {
		return f, err
	}
	if place == pinfile.Thumbnail {
		f.boxes = known
	} else {
		f.Turn = known
	}
	return f, nil
}

// Measured is the size of the picture that boxes are measured on.
func (f *Frame) Measured() image.Point { return f.boxes.Inverse().Size(f.Stored) }

// Upright is the size of the upright photo.
func (f *Frame) Upright() image.Point { return f.Turn.Size(f.Stored) }

// OnStored returns where a rectangle of the picture that boxes are measured on lies in
// the photo as stored.
func (f *Frame) OnStored(r image.Rectangle) image.Rectangle { return f.boxes.Rect(r, f.Measured()) }

// OnUpright returns where a rectangle of the stored photo lies on the upright one.
func (f *Frame) OnUpright(r image.Rectangle) image.Rectangle { return f.Turn.Rect(r, f.Stored) }

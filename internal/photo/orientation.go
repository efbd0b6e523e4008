package photo

import (
	"fmt"
	"image"

	"github.com/disintegration/imaging"
)

// Orientation says how stored pixels are to be turned to show the picture upright. The
// values are those of EXIF, 1 to 8.
type Orientation uint8

// The eight orientations, named after what makes the stored picture upright.
const (
	Upright Orientation = iota + 1
	FlipH
	Rotate180
	FlipV
	Transpose // mirrored along the diagonal from top left
	Rotate270 // counter-clockwise, i.e. a quarter turn clockwise
	Transverse
	Rotate90 // counter-clockwise
)

// Rotation returns the orientation of a picture that is upright after a turn of that
// many degrees counter-clockwise. The error names degrees that are no quarter turn.
func Rotation(degrees int) (Orientation, error) {
	switch degrees {
	case 0:
		return Upright, nil
	case 90:
		return Rotate90, nil
	case 180:
		return Rotate180, nil
	case 270:
		return Rotate270, nil
	}
	return 0, fmt.Errorf("rotation by %d degrees: want 0, 90, 180 or 270", degrees)
}

// swapsSides tells whether width and height change places.
func (o Orientation) swapsSides() bool { return o >= Transpose }

// Size returns the size of an upright picture that is stored with the size given.
func (o Orientation) Size(stored image.Point) image.Point {
	if o.swapsSides() {
		return image.Point{X: stored.Y, Y: stored.X}
	}
	return stored
}

// Rect returns where a rectangle of a stored picture of the size given lies on the
// upright picture.
func (o Orientation) Rect(r image.Rectangle, stored image.Point) image.Rectangle {
	w, h := stored.X, stored.Y
	switch o {
	case FlipH:
		return image.Rect(w-r.Max.X, r.Min.Y, w-r.Min.X, r.Max.Y)
	case Rotate180:
		return image.Rect(w-r.Max.X, h-r.Max.Y, w-r.Min.X, h-r.Min.Y)
	case FlipV:
		return image.Rect(r.Min.X, h-r.Max.Y, r.Max.X, h-r.Min.Y)
	case Transpose:
		return image.Rect(r.Min.Y, r.Min.X, r.Max.Y, r.Max.X)
	case Rotate270:
		return image.Rect(h-r.Max.Y, r.Min.X, h-r.Min.Y, r.Max.X)
	case Transverse:
		return image.Rect(h-r.Max.Y, w-r.Max.X, h-r.Min.Y, w-r.Min.X)
	case Rotate90:
		return image.Rect(r.Min.Y, w-r.Max.X, r.Max.Y, w-r.Min.X)
	}
	return r
}

// Inverse returns the orientation that undoes o.
func (o Orientation) Inverse() Orientation {
	switch o {
	case Rotate90:
		return Rotate270
	case Rotate270:
		return Rotate90
	}
	return o
}

// TurnPlanes returns a picture without subsampling (4:4:4) turned upright: img itself when
// that is nothing to do, and a copy otherwise.
func (o Orientation) TurnPlanes(img *image.YCbCr) *image.YCbCr {
	if o == Upright {
		return img
	}
	from, to := img.Rect.Size(), o.Size(img.Rect.Size())
	n := to.X * to.Y
	all := make([]uint8, 3*n)
	for i, plane := range [][]uint8{img.Y, img.Cb, img.Cr} {
		stride := img.YStride
		if i > 0 {
			stride = img.CStride
		}
		o.turn(all[i*n:(i+1)*n], plane, stride, from)
	}
	return &image.YCbCr{
		Y: all[:n:n], Cb: all[n : 2*n : 2*n], Cr: all[2*n:], YStride: to.X, CStride: to.X,
		SubsampleRatio: image.YCbCrSubsampleRatio444, Rect: image.Rectangle{Max: to},
	}
}

// turn turns a plane of the size given: the sample at (x, y) of the result is found start +
// x·right + y·down samples into the plane.
func (o Orientation) turn(to, from []uint8, stride int, size image.Point) {
	start, right, down := 0, 1, stride
	lastX, lastY := size.X-1, (size.Y-1)*stride
	switch o {
	case FlipH:
		start, right = lastX, -1
	case Rotate180:
		start, right, down = lastX+lastY, -1, -stride
	case FlipV:
		start, down = lastY, -stride
	case Transpose:
		right, down = stride, 1
	case Rotate270:
		start, right, down = lastY, -stride, 1
	case Transverse:
		start, right, down = lastX+lastY, -stride, -1
	case Rotate90:
		start, right, down = lastX, stride, -1
	}
	width := o.Size(size).X
	for y := 0; len(to) > 0; y++ {
		at := start + y*down
		for x := range width {
			to[x] = from[at]
			at += right
		}
		to = to[width:]
	}
}

// Turn returns the picture turned upright. It returns img itself when that is nothing
// to do, and a copy with 4 bytes a pixel otherwise.
func (o Orientation) Turn(img image.Image) image.Image {
	switch o {
	case FlipH:
		return imaging.FlipH(img)
	case Rotate180:
		return imaging.Rotate180(img)
	case FlipV:
		return imaging.FlipV(img)
	case Transpose:
		return imaging.Transpose(img)
	case Rotate270:
		return imaging.Rotate270(img)
	case Transverse:
		return imaging.Transverse(img)
	case Rotate90:
		return imaging.Rotate90(img)
	}
	return img
}

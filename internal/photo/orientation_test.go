package photo_test

import (
	"image"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/google/go-cmp/cmp"

	"github.com/sandwich-build/sandwich/internal/photo"
)

// TestOrientation compares Rect and Size with what Turn does to pixels.
func TestOrientation(t *testing.T) {
	stored := image.NewNRGBA(image.Rect(0, 0, 5, 3))
	for i := range stored.Pix {
		stored.Pix[i] = uint8(i)
	}
	rects := []image.Rectangle{image.Rect(0, 0, 5, 3), image.Rect(1, 0, 3, 1), image.Rect(4, 2, 5, 3), image.Rect(2, 1, 5, 2)}
	for o := photo.Upright; o <= photo.Rotate90; o++ {
		upright := imaging.Clone(o.Turn(stored))
		if got, want := o.Size(stored.Rect.Size()), upright.Rect.Size(); got != want {
			t.Errorf("orientation %d: size %v, want %v", o, got, want)
		}
		for _, r := range rects {
			want := imaging.Clone(o.Turn(imaging.Crop(stored, r)))
			got := imaging.Crop(upright, o.Rect(r, stored.Rect.Size()))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("orientation %d, %v (-want +got):\n%s", o, r, diff)
			}
		}
		if diff := cmp.Diff(stored, imaging.Clone(o.Inverse().Turn(upright))); diff != "" {
			t.Errorf("orientation %d and its inverse (-want +got):\n%s", o, diff)
		}
	}
}

func TestRotation(t *testing.T) {
	// The pixel at the right end of the top row: after a quarter turn counter-clockwise
	// it is at the top left.
	img := image.NewGray(image.Rect(0, 0, 3, 2))
	img.Pix[2] = 200
	for degrees, at := range map[int]image.Point{0: {X: 2, Y: 0}, 90: {X: 0, Y: 0}, 180: {X: 0, Y: 1}, 270: {X: 1, Y: 2}} {
		o, err := photo.Rotation(degrees)
		if err != nil {
			t.Fatal(err)
		}
		if r, _, _, _ := o.Turn(img).At(at.X, at.Y).RGBA(); r == 0 {
			t.Errorf("turned by %d degrees, the pixel is not at %v", degrees, at)
		}
	}
	if _, err := photo.Rotation(45); err == nil {
		t.Error("a rotation by 45 degrees is accepted")
	}
}
